"""Restore a run at five points of every stage, and compare what it does then with what the run itself did after that point.

    python benchmarks/reliability/continuation.py --points 1     # small
    python benchmarks/reliability/continuation.py --out continuation.json

One run keeps a checkpoint of every step. At each point its folder is copied without the newer checkpoints, and another process goes on from
there. Every later checkpoint of both is compared: weights, moments, averages and counts, bit for bit; then models, samples and statistics.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from kill_points import differences, outcome
from processes import in_processes
from torch import Tensor

from growreel.config import Config, from_dict
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.growth import Size
from growreel.runtime.durable import replace_text
from growreel.training.checkpoint import list_checkpoints, load_checkpoint
from growreel.training.loop import train

LOSSES = ("swgan", "wgan-gp", "relativistic", "san")


def config(loss: str) -> Config:
    """Three stages of 20 clips and two fades of 20; augmentation and a rarer penalty depend on where a run stands, too."""
    return from_dict(
        {
            "growth": {"stages": ["2x4x4", "4x4x4", "4x8x8"], "fade_clips": 20, "stable_clips": 20, "minibatch": 4, "learning_rate": 0.002},
            "network": {"max_channels": 4, "latent_dim": 8, "feature_dim": 8},
            "loss": {"name": loss, "penalty_interval": 3},
            "training": {
                "device": "cpu",
                "precision": "float32",
                "stats_interval": 12,
                "sample_interval": 20,
                "checkpoint_interval": 4,
                "keep_checkpoints": 1000,
                "sample_count": 1,
                "augment_probability": 0.5,
                "report": False,
            },
        },
        "config",
    )


def points(settings: Config, per_stage: int) -> list[int]:
    """Numbers of clips, spread over each stage with its fade; the first is the stage's begin but for the first stage."""
    plan, minibatch = settings.growth.plan(), 4
    chosen, begin = [], 0
    for stage in plan.stages:
        steps = (stage.fade_clips + stage.stable_clips) // minibatch
        first = 1 if begin == 0 else 0
        chosen += [begin + minibatch * (first + k * (steps - first) // per_stage) for k in range(per_stage)]
        begin += steps * minibatch
    return chosen


def unlike(a: Any, b: Any, where: str = "state") -> list[str]:
    """Where two trees of tensors and plain values differ."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [where]
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [name for key in a for name in unlike(a[key], b[key], f"{where}.{key}")]
    return [] if a == b else [where]


def compare(folder: Path, loss: str, per_stage: int) -> dict[str, Any]:
    """How many checkpoints were compared after how many points, and which differed where."""
    store, whole, settings = folder / "store", folder / f"whole-{loss}", config(loss)
    train(store, whole, settings, progress=False)
    expected = outcome(whole)
    states = {path.name: load_checkpoint(path).state for path in list_checkpoints(whole)}
    compared, wrong, chosen = 0, {}, points(settings, per_stage)
    for point in chosen:
        run = Path(shutil.copytree(whole, folder / "restored"))
        for path in list_checkpoints(run):
            if int(path.name) > point:
                shutil.rmtree(path)
        in_processes(1, partial(train, store, run, settings, progress=False), folder / "said.txt")
        later = [path for path in list_checkpoints(run) if int(path.name) > point]
        compared += len(later)
        found = [f"{path.name}: {name}" for path in later for name in unlike(load_checkpoint(path).state, states[path.name])]
        if found := found + differences(run, expected):
            wrong[point] = found
        shutil.rmtree(run)
    return {"loss": loss, "points": chosen, "checkpoints compared": compared, "wrong": wrong}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=5, help="for every stage")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        write_store(Path(name) / "store", shape_clips(30, Size(4, 8, 8)), fps=8.0).close()
        figures = [compare(Path(name), loss, options.points) for loss in options.losses]
    for row in figures:
        compared, wrong = row["checkpoints compared"], len(row["wrong"])
        print(f"{row['loss']}: restored at {len(row['points'])} points, {compared} later checkpoints compared, {wrong} points differ")
    if options.out is not None:
        replace_text(options.out, json.dumps(figures, indent=1) + "\n")
    return 1 if any(row["wrong"] for row in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
