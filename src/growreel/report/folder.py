"""A run folder, read: configuration, environment, statistics, and which files are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from growreel.config import Config, load_config
from growreel.data.store import INDEX, ClipStore, file_checksum
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Position, Size
from growreel.reading.files import read_file
from growreel.reading.folders import without_folders
from growreel.reading.json_tree import parse_json
from growreel.training.run_folder import RunFolder
from growreel.training.stats import read_lines, seconds_trained

MOST_BYTES = 2**24
"""Of a card."""
CARD_FORMAT = "growreel-metric-card-1"


@dataclass(frozen=True)
class Run:
    """What is in a run folder at one moment.

    Attributes:
        path, name: of the folder.
        config, plan: resolved, as training wrote them.
        environment: versions, command and facts of the store, of the latest start; empty if the file is missing.
        began_at: clips of the plan at which it began, more than 0 if it began with the weights of another.
        init_from: that model, as it was named, without folders; None for a run that began from nothing.
        intervals: the lines of averages of stats.jsonl, in order.
        evaluations: its lines with metrics.
        rollbacks: its lines of steps that went wrong.
        models: saved models by the clips that they were trained on, oldest first.
        samples: grids that training wrote, by clips, oldest first.
        card: `card.json`, parsed, or None.
    """

    path: Path
    name: str
    config: Config
    plan: GrowthPlan
    environment: dict[str, Any]
    began_at: int
    init_from: str | None
    intervals: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    rollbacks: list[dict[str, Any]]
    models: dict[int, Path]
    samples: dict[int, Path]
    card: dict[str, Any] | None

    @property
    def clips_shown(self) -> int:
        """As far as the files tell."""
        return max([0, *self.models, *(int(line["clips"]) for line in self.intervals[-1:])])

    @property
    def total(self) -> int:
        """Clips at which training ends."""
        return self.plan.total_clips if self.config.training.clips is None else self.config.training.clips

    @property
    def position(self) -> Position:
        """Where the last step was taken; at the very end of a stage that is this stage, not the next."""
        return self.plan.position(max(0, self.clips_shown - 1))

    @property
    def size(self) -> Size:
        return self.plan.sizes[self.position.stage]

    @property
    def finished(self) -> bool:
        return self.clips_shown >= self.total

    @property
    def seconds(self) -> float:
        """Of training, without the time that evaluations took."""
        return seconds_trained(self.intervals, self.began_at)

    def entered_stages(self) -> int:
        return self.position.stage + 1

    def model_after_stage(self, stage: int) -> int | None:
        """Clips shown of the newest model that was trained no further than this stage, and in it; None if none was saved."""
        start = self.plan.start(stage)
        last = self.plan.start(stage + 1) if stage + 1 < len(self.plan.stages) else None
        inside = [clips for clips in self.models if start < clips and (last is None or clips <= last)]
        return max(inside, default=None)


def read_run(path: Path) -> Run:
    """Read a run folder. Raises GrowreelError if it is none or its configuration cannot be read."""
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise GrowreelError(f"{path}: is no run folder (it has no config.yaml); give what growreel train wrote with --out")
    config, starts = load_config(folder.config), [start for start in folder.starts() if isinstance(start, dict)]
    lines = [line for line in read_lines(folder.stats) if isinstance(line, dict) and isinstance(line.get("clips"), int)]
    return Run(
        path=path,
        name=path.resolve().name,
        config=config,
        plan=config.growth.plan(),
        environment=starts[-1] if starts else {},
        began_at=folder.began_at(),
        init_from=_model_of(starts[0]) if starts else None,
        intervals=[line for line in lines if "clips_per_second" in line],
        evaluations=[line for line in lines if "metrics" in line],
        rollbacks=[line for line in lines if "event" in line],
        models=_numbered(folder.models, ".safetensors"),
        samples=_numbered(folder.samples, ".webp"),
        card=_read_card(path / "card.json"),
    )


def _model_of(start: dict[str, Any]) -> str | None:
    """The model whose weights a start began with, as it was named without folders."""
    model = start.get("init_from")
    return str(model["model"]) if isinstance(model, dict) and "model" in model else None


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    files = [path for path in folder.glob(f"*{suffix}") if path.stem.isdigit()] if folder.is_dir() else []
    return {int(path.stem): path for path in sorted(files, key=lambda path: int(path.stem))}


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        tree = parse_json(read_file(path, MOST_BYTES))
    except ValueError:  # GrowreelError is one
        return None
    return tree if isinstance(tree, dict) else None


def _read_card(path: Path) -> dict[str, Any] | None:
    card = _read_json(path)
    if card is None or card.get("format") != CARD_FORMAT or not isinstance(card.get("results"), list):
        return None
    if not all(isinstance(card.get(part), dict) for part in ("fake", "real", "settings")):
        return None
    found: dict[str, Any] = without_folders(card)
    return found


def open_store(run: Run) -> ClipStore:
    """The store that the run was trained on, where local.json says it is. Raises GrowreelError, saying why, if it is not there."""
    known = run.environment.get("store")
    if not isinstance(known, dict):
        known = {"path": _store_in_command(run.environment.get("command", []))}
    if not known["path"]:
        raise GrowreelError("environment.json does not say which clips the run was trained on")
    path = Path(known["path"])
    if not (path / INDEX).is_file():
        raise GrowreelError(f"the store of the training clips, {path.name}, is no longer where it was")
    if known.get("sha256") not in (None, file_checksum(path / INDEX)):
        raise GrowreelError(f"the store {path.name} is not the one that the run was trained on: it was prepared anew")
    return ClipStore.open(path)


def _store_in_command(command: Sequence[str]) -> str | None:
    """STORE of `growreel train STORE ...`, for runs whose environment names no store."""
    after = list(command)[list(command).index("train") + 1 :] if "train" in command else []
    return after[0] if after and not after[0].startswith("-") else None
