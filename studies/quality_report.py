"""Tables and pictures of studies/quality.py: from its runs to docs/study/.

    python studies/quality_report.py RUNS STORE --out docs/study

Writes tables.md, curves.svg (how far the critic tells real from generated) and samples.png (a row per variant, real clips last), and
keeps configuration and metric cards of every run, which the tables are made from.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from quality import MIDDLE_SIZE, VARIANTS

from growreel.bench.report import markdown_rows
from growreel.data.store import ClipStore
from growreel.models.files import load_generator
from growreel.sampling import generate
from growreel.training.stats import read_lines, seconds_trained
from growreel.video import enlarge, write_clip

FIGURES = {
    "swd": ("swd", "mean"),
    "swd3d": ("swd3d", "mean"),
    "motion, dB": ("motion", "spectrum_shape_distance"),
    "kid x 1000": ("kid", "value"),
    "precision": ("prdc", "precision"),
    "recall": ("prdc", "recall"),
    "coverage": ("prdc", "coverage"),
    "memorised": ("memory (pixels)", "memorised"),
}
T_95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Of Student's distribution, by number of values."""


def value(card: dict[str, Any], figure: str, what: str = "value") -> float | None:
    metric, name = FIGURES[figure]
    for result in card["results"]:
        if result["name"] == metric:
            found = result["figures"][name]
            number = found["mean"] if what == "value" and found["mean"] is not None else found[what]
            return None if number is None else number * (1000 if figure.startswith("kid") else 1)
    return None


def cell(values: list[float]) -> str:
    """Mean and 95 % interval over seeds."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3g}"
    half = T_95[len(values)] * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return f"{mean:.3g} +- {half:.2g}"


def results_table(runs: Path, card: str) -> list[str]:
    rows: list[tuple[str, ...]] = [("", "seeds", *FIGURES, "minutes")]
    floor: dict[str, float | None] = {}
    for variant in VARIANTS:
        found = sorted(run for run in runs.glob(f"{variant}-*") if (run / card).exists())
        cards = [json.loads((run / card).read_text()) for run in found]
        if not cards:
            continue
        floor = {figure: value(cards[0], figure, "real") for figure in FIGURES}
        columns = [cell([number for each in cards if (number := value(each, figure)) is not None]) for figure in FIGURES]
        lines = [read_lines(run / "stats.jsonl") for run in found]
        minutes = float(np.mean([seconds_trained(each) for each in lines])) / 60 if card == "card.json" else 0.0
        rows.append((variant, str(len(cards)), *columns, f"{minutes:.1f}" if minutes else ""))
    rows.append(("real / real", "", *("" if floor[figure] is None else f"{floor[figure]:.3g}" for figure in FIGURES), ""))
    return markdown_rows(rows)


def differences_table(runs: Path, reference: str) -> list[str]:
    """Seed by seed against one variant: the same seed starts from the same weights and sees the same clips."""
    rows: list[tuple[str, ...]] = [(f"minus {reference}", "seeds", "swd", "swd3d", "motion, dB", "recall", "coverage")]
    for variant in VARIANTS:
        pairs = [
            tuple(json.loads((runs / f"{name}-{seed}" / "card.json").read_text()) for name in (variant, reference))
            for seed in range(100)
            if all((runs / f"{name}-{seed}" / "card.json").exists() for name in (variant, reference))
        ]
        if variant == reference or not pairs:
            continue
        cells = []
        for figure in rows[0][2:]:
            numbers = [(value(ours, figure), value(theirs, figure)) for ours, theirs in pairs]
            cells.append(cell([a - b for a, b in numbers if a is not None and b is not None]))
        rows.append((variant, str(len(pairs)), *cells))
    return markdown_rows(rows)


def samples(runs: Path, store: Path, path: Path, clips: int = 2, frames: int = 8) -> list[str]:
    """A picture: per variant (first seed) two clips side by side, every second frame; then real clips. Returns the rows' names."""
    names, rows = [], []
    for variant in VARIANTS:
        run = runs / f"{variant}-0"
        if (run / "card.json").exists():
            made = generate(load_generator(run), range(100, 100 + clips))
            rows.append(np.concatenate(list(np.concatenate(list(made[:, ::2][:, :frames]), axis=0)), axis=1))
            names.append(variant)
    with ClipStore.open(store) as opened:
        size = load_generator(next(runs.glob("*-0"))).size
        real = opened.read(np.random.default_rng(0).integers(0, len(opened), clips).tolist(), size)
        rows.append(np.concatenate(list(np.concatenate(list(real[:, ::2][:, :frames]), axis=0)), axis=1))
    sheet = np.concatenate([np.pad(row, ((0, 1), (0, 0), (0, 0))) for row in rows], axis=0)
    write_clip(path, enlarge(sheet[None, None], 3)[0], fps=1)
    return [*names, "real"]


def curves(runs: Path, path: Path) -> None:
    """An SVG with a panel per variant, a line per seed: how far apart the critic's means of real and generated clips are."""
    width, height, gap = 210, 110, 40
    variants = [variant for variant in VARIANTS if list(runs.glob(f"{variant}-*/stats.jsonl"))]
    columns = 4
    total = (height + gap) * math.ceil(len(variants) / columns) + gap
    box = f'width="{(width + gap) * columns + gap}" height="{total}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="11">']
    for number, variant in enumerate(variants):
        x0, y0 = gap + number % columns * (width + gap), gap + number // columns * (height + gap)
        series = [[line for line in read_lines(file) if "critic_real" in line] for file in sorted(runs.glob(f"{variant}-*/stats.jsonl"))]
        gaps = [[(line["clips"], abs(line["critic_real"] - line["critic_fake"])) for line in lines] for lines in series]
        most, last = max(v for one in gaps for _, v in one), max(c for one in gaps for c, _ in one)
        parts.append(f'<rect x="{x0}" y="{y0}" width="{width}" height="{height}" fill="none" stroke="#999"/>')
        parts.append(f'<text x="{x0}" y="{y0 - 6}">{variant}, up to {most:.2g}</text>')
        for one, color in zip(gaps, ("#06c", "#c60", "#090", "#909"), strict=False):
            points = " ".join(f"{x0 + width * c / last:.1f},{y0 + height * (1 - v / most):.1f}" for c, v in one)
            parts.append(f'<polyline fill="none" stroke="{color}" points="{points}"/>')
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def without_folders(text: str) -> str:
    """Absolute paths cut down to their last name."""
    return re.sub(r"(?<![\w.:/])/(?:[\w.-]+/)+([\w.-]+)", r"\1", text)


def keep(runs: Path, folder: Path) -> None:
    """Configuration and cards of every finished run; of paths only the last name, the rest is this machine's affair."""
    for card in sorted(runs.glob("*/card.json")):
        place = folder / card.parent.name
        place.mkdir(parents=True, exist_ok=True)
        for name in ("config.yaml", "card.json", "card-middle.json"):
            if (card.parent / name).exists():
                (place / name).write_text(without_folders((card.parent / name).read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="what quality.py wrote")
    parser.add_argument("store", type=Path, help="the clips that were learnt")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    keep(options.runs, options.out / "runs")
    names = samples(options.runs, options.store, options.out / "samples.png")
    curves(options.runs, options.out / "curves.svg")
    pages = ["### At 16x16x16", "", *results_table(options.runs, "card.json"), ""]
    pages += ["### Seed by seed", "", *differences_table(options.runs, "swgan-released"), ""]
    pages += [f"### At {MIDDLE_SIZE}, before growing on", "", *results_table(options.runs, "card-middle.json"), ""]
    pages += ["Rows of samples.png, from above: " + ", ".join(names) + ".", ""]
    (options.out / "tables.md").write_text("\n".join(pages), encoding="utf-8")
    print("\n".join(pages))


if __name__ == "__main__":
    main()
