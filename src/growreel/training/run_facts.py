"""What a run folder holds: how far the run is, how it went, and where its newest files are. Only reads, also while training writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from growreel.config import load_config
from growreel.errors import GrowreelError
from growreel.training.run_folder import RunFolder
from growreel.training.stats import read_lines, seconds_trained

NOT_LOSSES = {"clips", "stage", "phase", "alpha", "clips_per_second", "peak_memory_bytes", "time"}


def is_run(path: Path) -> bool:
    """Say whether this folder is one that `train` wrote."""
    run = RunFolder(path)
    return run.config.is_file() and run.models.is_dir()


def run_facts(path: Path) -> dict[str, Any]:
    """Return the facts of a run folder, as plain values; what is not there yet is None or empty.

    Raises GrowreelError if it is no run folder, or if its config.yaml is not one of growreel's.
    """
    if not is_run(path):
        raise GrowreelError(f"{path}: is no run folder; give the --out of growreel train")
    run = RunFolder(path)
    config = load_config(run.config)
    plan, lines = config.growth.plan(), read_lines(run.stats)
    intervals = [line for line in lines if "clips_per_second" in line]
    models = _numbered(run.models, "*.safetensors")
    evaluated = [line for line in lines if "metrics" in line]
    clips = max([line["clips"] for line in intervals] + [int(model.stem) for model in models], default=0)
    position = plan.position(clips)
    last = intervals[-1] if intervals else {}
    return {
        "kind": "run",
        "path": str(path),
        "clips_shown": clips,
        "clips_planned": plan.total_clips if config.training.clips is None else config.training.clips,
        "stage": str(plan.sizes[position.stage]),
        "phase": position.phase,
        "alpha": position.alpha,
        "plan": list(map(str, plan.sizes)),
        "loss": config.loss.name,
        "classes": list(config.network.classes),
        "precision": config.training.precision,
        "clips_per_second": last.get("clips_per_second"),
        "losses": {name: value for name, value in last.items() if name not in NOT_LOSSES},
        "peak_memory_bytes": max((line["peak_memory_bytes"] for line in intervals), default=None),
        "hours": seconds_trained(intervals, run.began_at()) / 3600,
        "rollbacks": sum("event" in line for line in lines),
        "metrics": evaluated[-1]["metrics"] if evaluated else {},
        "models": len(models),
        "newest_model": str(models[-1]) if models else None,
        "newest_samples": next((str(sample) for sample in reversed(_numbered(run.samples, "*.webp"))), None),
        "checkpoints": [int(folder.name) for folder in _numbered(path / "checkpoints", "*")],
    }


def _numbered(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder that are named by clips shown, in that order."""
    return sorted((file for file in folder.glob(pattern) if file.stem.isdigit()), key=lambda file: int(file.stem))
