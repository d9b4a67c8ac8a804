"""The run folder: where its files are, what is written first, and whether a command may go on in it."""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from growreel.config import Config, load_config, to_dict, to_yaml
from growreel.data.store import INDEX, ClipStore, file_checksum
from growreel.errors import GrowreelError
from growreel.runtime import distributed
from growreel.runtime.durable import replace_text, writing
from growreel.runtime.precision import resolve_training
from growreel.runtime.version import installed_version
from growreel.training.stats import cut_after

MAY_CHANGE = {
    "clips",
    "device",
    "stats_interval",
    "sample_interval",
    "checkpoint_interval",
    "keep_checkpoints",
    "sample_count",
    "eval_interval",
    "eval_metrics",
    "eval_clips",
    "explosion_limit",
    "report",
}
"""Fields of `training` that may differ when a run is resumed: they do not change what is learnt."""


class RunFolder:
    """Paths of a run folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"
        self.stats = path / "stats.jsonl"
        self.models = path / "models"
        self.samples = path / "samples"

    def open(self, config: Config, allow_config_change: bool, store: ClipStore) -> None:
        """Create the folder, or check that this configuration may resume it; then write config.yaml and environment.json.

        Raises GrowreelError naming the fields in which the configuration differs from the run's, or a folder that is not a run.
        """
        if self.config.exists():
            changed = _differences(to_dict(load_config(self.config)), to_dict(config))
            if changed and not allow_config_change:
                raise GrowreelError(
                    f"--out {self.path}: this run was started with other settings: {'; '.join(changed)}. "
                    "Give those, or another --out, or --allow-config-change to go on with the new ones"
                )
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise GrowreelError(f"--out {self.path}: exists and is not a run folder of growreel; give an empty or a new folder")
        with writing(self.path):
            for folder in (self.models, self.samples):
                folder.mkdir(parents=True, exist_ok=True)
            replace_text(self.config, to_yaml(config))
            replace_text(self.environment, json.dumps(_environment(store), indent=2) + "\n")

    def drop_after(self, clips_shown: int) -> None:
        """Remove statistics, models and samples of clips that a resumed run will show again."""
        cut_after(self.stats, clips_shown)
        for path in (*self.models.glob("*.safetensors"), *self.samples.glob("*.webp")):
            if path.stem.isdigit() and int(path.stem) > clips_shown:
                path.unlink()


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """`name: old -> new` for every leaf that differs and may not."""
    changed = []
    for name, value in now.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            changed += _differences(old, value, f"{prefix}{name}.")
        elif old != value and not (prefix == "training." and name in MAY_CHANGE):
            changed.append(f"{prefix}{name}: {old} -> {value}")
    return changed


def _environment(store: ClipStore) -> dict[str, Any]:
    """What made the run and from what; the store's facts are kept because stores move and go."""
    return {
        "growreel": installed_version("growreel"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu_threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "processes": distributed.world_size(),
        "command": sys.argv,
        "folder": str(Path.cwd()),
        "store": {
            "path": str(store.path.absolute()),
            "sha256": file_checksum(store.path / INDEX),  # the index holds the checksum of every shard
            "clips": len(store),
            "size": str(store.size),
            "channels": store.channels,
            "fps": store.fps,
            "sources": len({clip.source for clip in store.clips}),
            "labels": len(store.labels),
        },
    }


def resolve_config(config: Config, channels: int, store: Path, device: torch.device, run: RunFolder) -> Config:
    """Settle what depends on store and machine, so that the run folder says what was really done; the same in all processes.

    `network.image_channels` comes from the store. `training.precision` and `training.compile`, where they are `auto`, are what the run
    was begun with, and at its beginning what suits the device. Raises GrowreelError if the configuration asks for other channels
    than the store has.
    """
    asked = config.network.image_channels
    if asked not in (None, channels):
        raise GrowreelError(f"--network.image_channels {asked}: the store {store} has {channels}; leave the flag out or prepare it anew")
    training = config.training
    if run.config.exists():
        begun = load_config(run.config).training
        training = dataclasses.replace(
            training,
            precision=begun.precision if training.precision == "auto" else training.precision,
            compile=begun.compile if training.compile == "auto" else training.compile,
        )
    training = distributed.from_first(resolve_training(training, device))
    return dataclasses.replace(config, training=training, network=dataclasses.replace(config.network, image_channels=channels))
