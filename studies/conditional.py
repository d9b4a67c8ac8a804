"""Told the class or not: the same networks, clips and seeds, conditional and unconditional.

    growreel prepare weizmann STORE --size 16x64x64 --labels
    python studies/conditional.py STORE --out runs/conditional
    python studies/conditional.py STORE --out runs/conditional --only swgan --seeds 0

Every run ends at 8x16x16. Finished runs are not repeated, unfinished ones go on. Then clips of each are measured against all real ones, and
a classifier that was trained on real clips says which class each generated clip is of. Writes OUT/conditional.json, a table to the
terminal, and OUT/<run>.png: a row for each clip, class after class.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.bench.report import markdown_rows
from growreel.config import Config, from_dict
from growreel.data.classes import class_numbers
from growreel.data.store import ClipStore
from growreel.evaluation.clips import StoreClips
from growreel.evaluation.copies import ClipHashes, source_groups
from growreel.evaluation.evaluate import evaluate
from growreel.evaluation.options import EvaluationOptions
from growreel.growth import Size
from growreel.models.files import load_generator
from growreel.sampling import generate
from growreel.training.loop import train
from growreel.video import enlarge, tile_frames, write_clip

METRICS = ("swd", "motion", "kid", "prdc")
FIGURES = ("swd mean", "motion spectrum_distance", "kid value", "prdc precision", "prdc recall", "prdc coverage")
LOSSES = ("swgan", "wgan-gp")
PER_CLASS = 72
RIDGE = 1.0
"""Of the judge, relative to the mean square of the features; it and the features were chosen by real clips of held-out videos, as they are
and degraded."""
SHOWN = 4
"""Clips of each class in a picture,"""
SCALE = 3
"""enlarged so many times."""


def config(loss: str, seed: int, conditional: bool) -> Config:
    """4x4x4 -> 8x8x8 -> 8x16x16 in 40,000 clips, with the settings of studies/quality.py."""
    stages = [
        {"size": "4x4x4", "stable_clips": 10_000},
        {"size": "8x8x8", "fade_clips": 3_000, "stable_clips": 9_000},
        {"size": "8x16x16", "fade_clips": 3_000, "stable_clips": 15_000, "final_learning_rate": 0.0005},
    ]
    return from_dict(
        {
            "growth": {"stages": stages, "minibatch": 8, "learning_rate": 0.005},
            "network": {"max_channels": 16, "latent_dim": 64, "feature_dim": 64, "conditional": conditional},
            "loss": {"name": loss},
            "optimizer": {"reset": "stage"},
            "training": {
                "ema_decay": 0.99,
                "seed": seed,
                "stats_interval": 1_000,
                "sample_interval": 10_000,
                "checkpoint_interval": 10_000,
                "keep_checkpoints": 1,
                "report": False,
            },
        },
        "study",
    )


def smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filter the last three axes of x with 1, 2, 1."""
    for axis in (-3, -2, -1):
        padded = np.concatenate([x.take([0], axis), x, x.take([-1], axis)], axis=axis)
        length = x.shape[axis]
        before, here, after = (padded.take(range(k, k + length), axis) for k in range(3))
        x = before / 4 + here / 2 + after / 4
    return x


def features(clips: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Where the dark figure of clips [n, t, h, w, c] is and where it moves, [n, k]: profiles by row and by column.

    Columns are sorted with their mirror images, so that left and right are the same. Brightness and contrast of the whole clip make no
    difference.
    """
    light = clips.mean(axis=-1)
    light = light - np.median(light, axis=(1, 2, 3), keepdims=True)
    light = smooth(light / light.std(axis=(1, 2, 3), keepdims=True))
    dark, changes = np.clip(-light, 0, None), np.abs(np.diff(light, axis=1))
    changes /= changes.mean(axis=(1, 2, 3), keepdims=True)
    upper, lower = np.split(dark, 2, axis=2)

    def both_ways(columns: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sort(np.stack([columns, columns[:, ::-1]], axis=1), axis=1).reshape(len(columns), -1)

    figure = [both_ways(summary) for part in (dark, upper, lower) for summary in (part.mean(axis=(1, 2)), part.mean(axis=2).std(axis=1))]
    rows = dark.mean(axis=3)
    motion = [changes.mean(axis=(1, 3)), both_ways(changes.mean(axis=(1, 2)))]
    return np.concatenate([rows.mean(axis=1), rows.std(axis=1), *figure, *motion], axis=1)


def degraded(clips: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blurred clips with fine and coarse noise: what is wrong with small networks' clips, but of known class."""
    rng = np.random.default_rng(0)
    x = np.moveaxis(smooth(np.moveaxis(clips.astype(np.float64), -1, 1)), 1, -1)
    coarse = np.moveaxis(smooth(rng.normal(0, 10, (len(clips), clips.shape[-1], *clips.shape[1:-1]))), 1, -1)
    return np.clip(x + rng.normal(0, 8, x.shape) + coarse, 0, 255).astype(np.uint8)


class Judge:
    """Ridge regression from features to one of the classes, learnt from clips as they are and degraded."""

    def __init__(self, rows: NDArray[np.float64], worse: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        learnt, labels = np.concatenate([rows, worse]), np.concatenate([labels, labels])
        classes = int(labels.max()) + 1
        self.mean, self.deviation = learnt.mean(axis=0), learnt.std(axis=0) + 1e-9
        self.learnt = (learnt - self.mean) / self.deviation
        kernel = self.learnt @ self.learnt.T / self.learnt.shape[1]
        self.weights = np.linalg.solve(kernel + RIDGE * np.eye(len(kernel)), np.eye(classes)[labels] - 1 / classes)

    def __call__(self, asked: NDArray[np.float64]) -> NDArray[np.int64]:
        """The class of each row [n]."""
        place = (asked - self.mean) / self.deviation
        found: NDArray[np.int64] = ((place @ self.learnt.T / self.learnt.shape[1]) @ self.weights).argmax(axis=1)
        return found


class Real:
    """The real clips: their features, classes, and the judge that has learnt them."""

    def __init__(self, path: Path) -> None:
        with ClipStore.open(path) as store:
            clips = StoreClips(store, Size(8, 16, 16))
            pixels = clips.read(range(len(clips)))
            self.labels = class_numbers(store, store.labels)[clips.numbers]
            self.groups, self.names = source_groups(clips.sources, ClipHashes()(pixels, range(len(clips)))), store.labels
        self.rows, self.worse = features(pixels), features(degraded(pixels))
        self.judge = Judge(self.rows, self.worse, self.labels)

    def on_held_out_videos(self) -> dict[str, float]:
        """Share of real clips whose class a judge finds that has not seen their video, nor its mirrored twin; and of degraded ones."""
        right = np.zeros((2, len(self.labels)), bool)
        for group in np.unique(self.groups):
            out = self.groups == group
            judge = Judge(self.rows[~out], self.worse[~out], self.labels[~out])
            right[:, out] = [judge(rows[out]) == self.labels[out] for rows in (self.rows, self.worse)]
        return {"clips": float(right[0].mean()), "degraded": float(right[1].mean())}


def measured(run: Path, store: Path, real: Real, folder: Path) -> dict[str, Any]:
    """What the card says of a finished run; of clips of each class, what the judge says; and of real clips, what one says that has learnt
    from generated clips alone (Ravuri & Vinyals 2019, arXiv 1905.10887).
    """
    card = evaluate(run, store, EvaluationOptions(metrics=METRICS, clips=4 * PER_CLASS, repeats=2, resamples=0, device="cpu"))
    model = load_generator(run)
    count = len(real.names)
    clips = generate(model, range(count * PER_CLASS))
    rows, asked = features(clips), np.arange(len(clips)) % count
    said = real.judge(rows)
    found: dict[str, Any] = {"figures": {name: card.value(*name.split(" ", 1)) for name in FIGURES}}
    found["shares"] = dict(zip(real.names, np.bincount(said, minlength=count) / len(said), strict=True))
    order = np.arange(count * SHOWN)
    if model.classes:
        found["accuracy"] = {name: float((said[asked == k] == k).mean()) for k, name in enumerate(model.classes)}
        found["taught"] = float((Judge(rows, features(degraded(clips)), asked)(real.rows) == real.labels).mean())
        order = np.argsort(asked, kind="stable").reshape(count, -1)[:, :SHOWN].ravel()
    write_clip(folder / f"{run.name}.png", tile_frames(enlarge(clips[order], SCALE)), 8.0)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", choices=LOSSES, default=LOSSES)
    parser.add_argument("--train-only", action="store_true")
    options = parser.parse_args()
    runs = [(loss, seed, conditional) for seed in options.seeds for loss in options.only for conditional in (True, False)]
    names = {each: f"{each[0]}{'-conditional' if each[2] else ''}-{each[1]}" for each in runs}
    for each, name in names.items():
        train(options.store, options.out / name, config(*each), progress=False)
    if options.train_only:
        return
    real = Real(options.store)
    report: dict[str, Any] = {"held-out videos": real.on_held_out_videos()}
    report |= {name: measured(options.out / name, options.store, real, options.out) for name in names.values()}
    (options.out / "conditional.json").write_text(json.dumps(report, indent=1) + "\n")
    table = [("run", *FIGURES, *(f"asked for {name}" for name in real.names), "mean", "taught")]
    for name in names.values():
        found = report[name]
        figures = [f"{found['figures'][figure]:.3g}" for figure in FIGURES]
        if "accuracy" in found:
            shares = list(found["accuracy"].values())
            figures += [*(f"{share:.0%}" for share in shares), f"{np.mean(shares):.0%}", f"{found['taught']:.0%}"]
        table.append((name, *figures, *[""] * (len(table[0]) - 1 - len(figures))))
    print(f"judge on real clips of held-out videos: {report['held-out videos']}\n")
    print("\n".join(markdown_rows(table)))


if __name__ == "__main__":
    main()
