"""Make a fixture of what a version of growreel writes: a store, a run that was stopped in a fade, its newest model, clips of the model.

    git archive COMMIT src | tar -x -C OLD
    PYTHONPATH=OLD/src python tests/data/formats/make.py tests/data/formats/NAME.zip

Uses only what every version has had. `README.md` says which commit each fixture is of. A fixture is never made again: it is kept because
such files exist. Facts of the machine (environment.json, local.json, the lock) are left out.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch

import growreel
from growreel.config import from_dict, to_dict
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.growth import Size
from growreel.training.loop import train

LEFT_OUT = ("environment.json", "local.json", ".lock")


def make(folder: Path) -> None:
    """Write `store`, `run` and `clips.npy` (uint8 [2, t, h, w, c], clips of the seeds 0 and 1) into a folder."""
    write_store(folder / "store", shape_clips(8, Size(4, 8, 8)), fps=8.0)
    tree: dict[str, Any] = {
        "growth": {"stages": ["2x4x4", "4x8x8"], "fade_clips": 16, "stable_clips": 16, "minibatch": 4, "learning_rate": 0.002},
        "network": {"max_channels": 2, "latent_dim": 4, "feature_dim": 4},
        "loss": {"swgan": {"feature_penalty": "slope"}},
        "training": {
            "device": "cpu",
            "precision": "float32",
            "clips": 24,
            "ema_decay": 0.9,
            "keep_checkpoints": 1,
            "stats_interval": 8,
            "sample_interval": 1000,
            "checkpoint_interval": 8,
            "sample_count": 1,
        },
    }
    if "report" in to_dict(from_dict(tree, "make.py"))["training"]:  # the page is made of what else is here, by a process that stays behind
        tree["training"]["report"] = False
    train(folder / "store", folder / "run", from_dict(tree, "make.py"), progress=False)
    *older, newest = sorted((folder / "run" / "models").iterdir())
    for path in older:
        path.unlink()
    options: dict[str, Any] = {"precision": "float32"} if "precision" in signature(growreel.generate).parameters else {}
    np.save(folder / "clips.npy", growreel.generate(growreel.load_generator(newest), seeds=(0, 1), **options))


def pack(folder: Path, out: Path) -> None:
    """Put the folder into an archive, without times, so that the same files give the same bytes."""
    with zipfile.ZipFile(out, "x", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in LEFT_OUT:
                entry = zipfile.ZipInfo(str(path.relative_to(folder)), (2026, 1, 1, 0, 0, 0))
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        make(Path(name))
        pack(Path(name), Path(sys.argv[1]))
