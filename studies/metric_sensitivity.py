"""What do the metrics see? Real clips against real clips that were damaged in known ways.

    python studies/metric_sensitivity.py --frames STORE --other STORE --motion STORE --out FOLDER

Writes FOLDER/metric_sensitivity.md with three tables and FOLDER/swd_monotone.svg. Tables in docs/evaluation.md came from it; FID needs
weights for 768 features (`growreel weights list`). One half of the videos is held against the other, which is damaged; the halves
share no video.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from growreel.data.store import ClipStore
from growreel.evaluation.copies import ClipHashes, source_groups
from growreel.evaluation.measure import source_halves
from growreel.evaluation.protocols import PROTOCOLS
from growreel.evaluation.suite import Metric, Rows, Setting, build_metric
from growreel.growth import Size

Clips = NDArray[np.uint8]


def noise(sigma: float) -> Callable[[Clips], Clips]:
    def damage(clips: Clips) -> Clips:
        rng = np.random.default_rng(0)
        return np.stack([np.clip(clip + rng.normal(0, sigma, clip.shape), 0, 255).round().astype(np.uint8) for clip in clips])

    return damage


def blur(side: int) -> Callable[[Clips], Clips]:
    """Mean over side x side pixels."""

    def one(clip: Clips) -> Clips:
        frames = torch.from_numpy(clip).movedim(-1, 1).float()
        padded = F.pad(frames, (side // 2,) * 4, mode="reflect")
        return F.avg_pool2d(padded, side, stride=1).round().to(torch.uint8).movedim(1, -1).numpy()

    return lambda clips: np.stack([one(clip) for clip in clips])


def shuffled(clips: Clips) -> Clips:
    rng = np.random.default_rng(0)
    return np.stack([clip[rng.permutation(len(clip))] for clip in clips])


def frozen(clips: Clips) -> Clips:
    return clips[:, :1].repeat(clips.shape[1], axis=1)


def blurred_in_time(clips: Clips) -> Clips:
    padded = np.pad(clips, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)), mode="edge").astype(np.uint16)
    return ((padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:] + 2) // 4).astype(np.uint8)


def halves(path: str, most: int) -> tuple[Clips, Clips]:
    """At most `most` clips of each half of a store's videos."""
    with ClipStore.open(path) as store:
        clips = store.read(range(len(store)), store.size)
        groups = source_groups([clip.source for clip in store.clips], ClipHashes()(clips, range(len(store))))
        found = source_halves(groups, seed=0)
        assert found is not None, f"{path}: needs clips of two videos"
        rng = np.random.default_rng(0)
        first, second = (clips[np.sort(rng.permutation(half)[:most])] for half in found)
        return first, second


def metrics_for(clips: Clips, names: Iterable[str]) -> list[Metric]:
    setting = Setting(Size(*clips.shape[1:4]), clips.shape[-1], len(clips), PROTOCOLS["growreel"])
    return [build_metric(name, setting) for name in names]


def extract(metric: Metric, clips: Clips) -> Rows:
    return np.concatenate([metric.extractor(clips[k : k + 8], range(k, min(k + 8, len(clips)))) for k in range(0, len(clips), 8)])


def compare(metrics: Sequence[Metric], reference: Clips, others: dict[str, Clips]) -> dict[str, list[float]]:
    """The first figure of every metric, for each of the others against the reference."""
    references = [extract(metric, reference) for metric in metrics]
    table = {}
    for name, clips in others.items():
        values = [metric.compare(known, extract(metric, clips))(None, None) for metric, known in zip(metrics, references, strict=True)]
        table[name] = [next(iter(value.values())) for value in values]
        print(name, *(f"{value:.4g}" for value in table[name]), flush=True)
    return table


def markdown(title: str, metrics: Sequence[Metric], table: dict[str, list[float]]) -> str:
    lines = [f"### {title}", "", "| | " + " | ".join(metric.name for metric in metrics) + " |", "|---|" + "---|" * len(metrics)]
    lines += [f"| {name} | " + " | ".join(f"{value:.4g}" for value in values) + " |" for name, values in table.items()]
    return "\n".join([*lines, ""])


def motion_over_splits(path: str, splits: int) -> str:
    """How often each kind of damage is further away than real clips are, over many draws of the halves: one draw proves nothing."""
    with ClipStore.open(path) as store:
        clips = store.read(range(len(store)), store.size)
        groups = source_groups([clip.source for clip in store.clips], ClipHashes()(clips, range(len(store))))
    metric = metrics_for(clips, ("motion",))[0]
    damaged = {"real": clips, "shuffled": shuffled(clips), "frozen": frozen(clips), "blurred in time": blurred_in_time(clips)}
    rows = {name: extract(metric, each) for name, each in damaged.items()}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in damaged}
    for seed in range(splits):
        split = source_halves(groups, seed)
        assert split is not None
        for name, each in rows.items():
            found[name].append(metric.compare(rows["real"][split[0]], each[split[1]])(None, None))
    names = [name for name in found["real"][0] if "distance" in name]
    lines = [f"### Motion over {splits} draws of the halves: mean, and how often above real", ""]
    lines += ["| | " + " | ".join(damaged) + " | real, 95 % below |", "|---|" + "---|" * (len(damaged) + 1)]
    for number in names:
        values = {name: np.array([each[number] for each in found[name]]) for name in damaged}
        cells = [f"{v.mean():.3g}" + ("" if name == "real" else f" ({int((v > values['real']).sum())})") for name, v in values.items()]
        lines.append(f"| {number} | " + " | ".join(cells) + f" | {np.quantile(values['real'], 0.95):.3g} |")
    return "\n".join([*lines, ""])


def chart(series: dict[str, list[tuple[str, float]]]) -> str:
    """An SVG with a panel per series: damage shrinking from left to right, distance upwards."""
    width, height, left, top = 360, 240, 50, 30
    size = f'width="{(width + left + 20) * len(series)}" height="{height + 90}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">']
    for number, (name, points) in enumerate(series.items()):
        x0, highest = left + number * (width + left + 20), max(value for _, value in points)
        places = [(x0 + k * width / (len(points) - 1), top + height * (1 - value / highest)) for k, (_, value) in enumerate(points)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts += [
            f'<rect x="{x0}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>',
            f'<text x="{x0}" y="{top - 10}">{name}</text>',
            f'<text x="{x0 - 8}" y="{top + 12}" text-anchor="end">{highest:.0f}</text>',
            f'<text x="{x0 - 8}" y="{top + height}" text-anchor="end">0</text>',
            f'<polyline fill="none" stroke="#06c" stroke-width="2" points="{line}"/>',
        ]
        for (x, y), (label, _) in zip(places, points, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#06c"/>')
            parts.append(f'<text x="{x:.1f}" y="{top + height + 18}" text-anchor="middle">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", required=True, help="clip store whose frames are damaged")
    parser.add_argument("--other", required=True, help="clip store of something else")
    parser.add_argument("--motion", required=True, help="clip store whose motion is damaged")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=72, help="at most so many of each half")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pages = []

    reference, clean = halves(options.motion, options.clips)
    metrics = metrics_for(clean, ("swd", "swd3d"))
    damages = {f"noise {s}": noise(s) for s in (40, 30, 20, 10, 5)} | {f"blur {k}x{k}": blur(k) for k in (11, 9, 7, 5, 3)}
    table = compare(metrics, reference, {name: damage(clean) for name, damage in damages.items()} | {"clean": clean})
    pages.append(markdown("Noise and blur taken away step by step", metrics, table))
    series = {}
    for column, metric in enumerate(metrics):
        for kind in ("noise", "blur"):
            steps = [name for name in table if name.startswith(kind)] + ["clean"]
            series[f"{metric.name} mean, {kind}"] = [(name.removeprefix(kind).strip(), table[name][column]) for name in steps]
    (options.out / "swd_monotone.svg").write_text(chart(series), encoding="utf-8")

    pages.append(motion_over_splits(options.motion, 200))
    print(pages[-1], flush=True)
    metrics = metrics_for(clean, ("motion", "swd3d", "swd", "fid768"))
    moved = {"other half": clean, "shuffled": shuffled(clean), "frozen": frozen(clean), "blurred in time": blurred_in_time(clean)}
    pages.append(markdown("Motion damaged", metrics, compare(metrics, reference, moved)))

    reference, clean = halves(options.frames, options.clips)
    frames = {"other half": clean, "noise 10": noise(10)(clean), "blur 5x5": blur(5)(clean), "noise 30": noise(30)(clean)}
    with ClipStore.open(options.other) as store:
        count = min(len(store), max(2, len(clean) * clean.shape[1] // store.size.t))
        chosen = np.random.default_rng(0).permutation(len(store))[:count]
        frames["other clips"] = store.read(sorted(chosen.tolist()), store.size)
    metrics = metrics_for(clean, ("fid768",))
    pages.append(markdown("Frames damaged", metrics, compare(metrics, reference, frames)))
    (options.out / "metric_sensitivity.md").write_text("\n".join(pages), encoding="utf-8")


if __name__ == "__main__":
    main()
