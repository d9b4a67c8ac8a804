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
FIGURES = ("swd mean", "motion distance", "kid x 1000", "prdc precision", "prdc recall", "prdc coverage")
LOSSES = ("swgan", "wgan-gp")
PER_CLASS = 72
RIDGE = 0.1
"""Of the classifier, relative to the mean square of the features: of 0.01, 0.1 and 1 the best on held-out videos."""
SHOWN = 4
"""Clips of each class in a picture."""


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


def features(clips: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Where and when clips [n, t, h, w, c] move, [n, h + 2 * w + t - 1]: mean change from frame to frame by row, by column (with its mirror
    image, sorted, so that left and right are the same), and by time."""
    changes = np.abs(np.diff(clips.mean(axis=-1) / 255, axis=1))
    rows, columns = changes.mean(axis=(1, 3)), changes.mean(axis=(1, 2))
    both_ways = np.sort(np.stack([columns, columns[:, ::-1]], axis=1), axis=1).reshape(len(clips), -1)
    return np.concatenate([rows, both_ways, changes.mean(axis=(2, 3))], axis=1)


class Judge:
    """Ridge regression from features to one of the classes."""

    def __init__(self, learnt: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        self.mean, self.deviation = learnt.mean(axis=0), learnt.std(axis=0) + 1e-9
        self.learnt = (learnt - self.mean) / self.deviation
        kernel = self.learnt @ self.learnt.T / self.learnt.shape[1]
        self.weights = np.linalg.solve(kernel + RIDGE * np.eye(len(kernel)), np.eye(labels.max() + 1)[labels] - 1 / (labels.max() + 1))

    def __call__(self, asked: NDArray[np.float64]) -> NDArray[np.int64]:
        """The class of each row [n]."""
        place = (asked - self.mean) / self.deviation
        found: NDArray[np.int64] = ((place @ self.learnt.T / self.learnt.shape[1]) @ self.weights).argmax(axis=1)
        return found


def on_held_out_videos(rows: NDArray[np.float64], labels: NDArray[np.int64], groups: NDArray[np.int64]) -> float:
    """Share of real clips whose class the judge finds when it has not seen their video, nor its mirrored twin."""
    right = np.zeros(len(labels), bool)
    for group in np.unique(groups):
        held_out = groups == group
        right[held_out] = Judge(rows[~held_out], labels[~held_out])(rows[held_out]) == labels[held_out]
    return float(right.mean())


def measured(run: Path, store: Path, judge: Judge, folder: Path) -> dict[str, Any]:
    """What the card says of a finished run, and of clips of each class what the judge says."""
    card = evaluate(run, store, EvaluationOptions(metrics=METRICS, clips=4 * PER_CLASS, repeats=2, resamples=0, device="cpu"))
    figures = {f"{result.name} {name}": figure.value for result in card.results for name, figure in result.figures.items()}
    model = load_generator(run)
    seeds = range(len(model.classes or range(4)) * PER_CLASS)
    clips = generate(model, seeds)
    said = judge(features(clips))
    found: dict[str, Any] = {"figures": figures, "shares": (np.bincount(said, minlength=4) / len(said)).tolist()}
    if model.classes:
        asked = np.array(seeds) % len(model.classes)
        found["accuracy"] = {name: float((said[asked == k] == k).mean()) for k, name in enumerate(model.classes)}
        order = np.argsort(asked, kind="stable").reshape(len(model.classes), -1)[:, :SHOWN].ravel()
    else:
        order = np.arange(4 * SHOWN)
    write_clip(folder / f"{run.name}.png", enlarge(tile_frames(clips[order])[:, :, :, :], 3), 8.0)
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
    with ClipStore.open(options.store) as store:
        real = StoreClips(store, Size(8, 16, 16))
        clips, numbers = real.read(range(len(real))), range(len(real))
        labels = np.array([store.clips[number].label for number in real.numbers], np.int64)
        groups = source_groups(real.sources, ClipHashes()(clips, numbers))
        rows = features(clips)
        judge, names_of = Judge(rows, labels), store.labels
    report: dict[str, Any] = {"real": {"held-out accuracy": on_held_out_videos(rows, labels, groups), "classes": names_of}}
    report |= {name: measured(options.out / name, options.store, judge, options.out) for name in names.values()}
    (options.out / "conditional.json").write_text(json.dumps(report, indent=1) + "\n")
    header = ("run", *FIGURES, *(f"class {name}" for name in names_of))
    table = [header]
    for name in names.values():
        found = report[name]
        shares = found.get("accuracy") or dict(zip(names_of, found["shares"], strict=True))
        figures = [f"{found['figures'].get(figure, float('nan')):.3g}" for figure in FIGURES]
        table.append((name, *figures, *(f"{share:.2f}" for share in shares.values())))
    print(f"judge on real clips of held-out videos: {report['real']['held-out accuracy']:.3f}\n")
    print("\n".join(markdown_rows(table)))


if __name__ == "__main__":
    main()
