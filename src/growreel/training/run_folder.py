"""The run folder: where its files are, who may write there, what is written first, and what is made again.

One order of writing keeps the files of a run consistent: samples, statistics and the model come first, the checkpoint last. Whatever
stops a run, its newest checkpoint has all that belongs to it, and what is newer than that checkpoint is made again.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from growreel.config import Config, load_config, to_yaml
from growreel.data.record import DataRecord
from growreel.data.store import INDEX, ClipStore, file_checksum
from growreel.errors import GrowreelError
from growreel.models.files import write_model
from growreel.reading.files import read_file
from growreel.reading.folders import command_without_folders
from growreel.reading.json_tree import parse_json
from growreel.runtime import distributed
from growreel.runtime.durable import PARTIAL, replace_text, tidy, writing
from growreel.runtime.locks import held
from growreel.runtime.precision_choice import resolve_training
from growreel.runtime.version import installed_version
from growreel.training.checkpoint import Checkpoint, DamagedCheckpoint, list_checkpoints, load_checkpoint, made_by
from growreel.training.compatibility import check_data, check_settings, of_store
from growreel.training.initial import InitialWeights
from growreel.training.stats import restore_lines

MOST_BYTES = 2**24
"""Of data.json."""


class RunFolder:
    """Paths of a run folder, and what is done to it as a whole.

    Attributes:
        data: the stores that the run has learnt from, the present one last; known once `record` was called.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"
        self.local = path / "local.json"
        self.data_file = path / "data.json"
        self.lock = path / ".lock"
        self.stats = path / "stats.jsonl"
        self.models = path / "models"
        self.samples = path / "samples"
        self.data: list[DataRecord] = []

    @contextmanager
    def open(
        self, config: Config, data: DataRecord, store: Path, *, allow_config_change: bool = False, allow_data_change: bool = False
    ) -> Iterator[None]:
        """Make sure that this configuration and these clips may be trained on here, and keep other processes out until the block ends.

        Creates the folder where there is none, and removes what a killed process has left half written. Changes nothing else.

        Raises GrowreelError naming the settings or facts of the clips in which they differ from the run's, if another process trains
        here, or if the folder is not a run.
        """
        if not self.config.exists() and not self._is_new():
            raise GrowreelError(f"--out {self.path}: exists and is not a run folder of growreel; give an empty or a new folder")
        with ExitStack() as stack:
            with writing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held(self.lock, f"--out {self.path}: another process is training here"))
            if self.config.exists():
                check_settings(self.path, load_config(self.config), config, allow_config_change)
            if known := self.read_data():
                check_data(self.path, known[-1], data, store, allow_data_change)
            with writing(self.path):
                for folder in (self.path, self.path / "checkpoints", self.models, self.samples):
                    tidy(folder)
            yield

    def record(self, config: Config, data: DataRecord, store: ClipStore, clips_shown: int, initial: InitialWeights | None = None) -> None:
        """Write down with what the run goes on from `clips_shown`: config.yaml, data.json, and a line in environment.json and local.json.

        A run that begins with the `initial` weights of another has learnt what that one had; it comes first in data.json. What starts
        have left that came to no checkpoint is written over.
        Of these local.json alone has paths of this machine: it is left out where a run is passed on.
        """
        begun = bool(list_checkpoints(self.path))
        before = self.read_data() if begun else [] if initial is None else initial.records()
        self.data = [record for record in before if record.since <= clips_shown]
        if not self.data or self.data[-1].differences(data):
            self.data.append(replace(data, since=clips_shown))
        records = [record.facts() for record in self.data]
        with writing(self.path):
            for folder in (self.models, self.samples):
                folder.mkdir(parents=True, exist_ok=True)
            now = time.time()
            replace_text(self.local, _rows([*_read_rows(self.local), _places(store, now)]))
            start = _environment(store, clips_shown, now) | ({} if initial is None else {"init_from": initial.facts()})
            replace_text(self.environment, _rows([*(_read_rows(self.environment) if begun else []), start]))
            _replace_if_other(self.data_file, _rows(records))
            _replace_if_other(self.config, to_yaml(config))

    def read_data(self) -> list[DataRecord]:
        """Return what data.json says; nothing for runs of growreel 0.1. Raises GrowreelError if it is damaged."""
        if not self.data_file.exists():
            return []
        try:
            records = parse_json(read_file(self.data_file, MOST_BYTES, "restore it from a copy"))
        except GrowreelError:
            raise
        except ValueError as error:
            raise GrowreelError(f"{self.data_file}: is damaged ({error}); restore it from a copy") from error
        return [DataRecord.read(facts, str(self.data_file)) for facts in (records if isinstance(records, list) else [records])]

    def restore(self, checkpoint: Checkpoint, clips_shown: int, report: Callable[[str], None]) -> None:
        """Make the folder that of a run at its checkpoint: statistics as they were, nothing that is newer, no model missing."""
        restore_lines(self.stats, checkpoint.statistics, clips_shown)
        for path in (*self.models.glob("*.safetensors"), *self.samples.glob("*.webp")):
            if path.stem.isdecimal() and int(path.stem) > clips_shown:
                with writing(path, "the checkpoints are whole"):
                    path.unlink()
        for path in list_checkpoints(self.path):
            for name in self.missing(made_by(path)):
                if name.startswith(f"{self.models.name}/"):
                    self._make_model(path, name, report)

    def missing(self, digests: dict[str, str]) -> list[str]:
        """The files, of those that belong to a checkpoint, that are not there or not what they were."""
        return [name for name, digest in digests.items() if not (self.path / name).is_file() or file_checksum(self.path / name) != digest]

    def has_models(self, beyond: int) -> bool:
        """Say whether models that were trained on more clips lie in the folder."""
        return any(path.stem.isdecimal() and int(path.stem) > beyond for path in self.models.glob("*.safetensors"))

    def _make_model(self, path: Path, name: str, report: Callable[[str], None]) -> None:
        try:
            checkpoint = load_checkpoint(path)
        except DamagedCheckpoint:
            return  # it is not the one that the run goes on from
        if checkpoint.model is not None and isinstance(checkpoint.state.get("ema"), dict):
            write_model(self.path / name, checkpoint.state["ema"], checkpoint.model)
            report(f"{self.path / name} was missing or damaged; made again from checkpoint {path.name}")

    def _is_new(self) -> bool:
        """Whether nothing is here, or only what a run writes before its first configuration."""
        if not self.path.exists():
            return True
        own = {self.lock.name, self.models.name, self.samples.name, self.environment.name, self.local.name, self.data_file.name}
        entries = list(self.path.iterdir()) if self.path.is_dir() else [self.path]
        return all((e.name in own and not (e.is_dir() and any(e.iterdir()))) or PARTIAL.fullmatch(e.name) for e in entries)

    def starts(self) -> list[Any]:
        """The lines of environment.json, each with what local.json has of the same moment: command, folder, and where the store lies."""
        places = {each.get("time"): each for each in _read_rows(self.local) if isinstance(each, dict)}
        starts = list[Any]()
        for start in _read_rows(self.environment):
            if isinstance(start, dict) and (place := places.get(start.get("time"))) and isinstance(start.get("store"), dict):
                start = {**start, **place, "store": {**start["store"], "path": place.get("store")}}
            starts.append(start)
        return starts

    def began_at(self) -> int:
        """Clips of the plan at which the run began: more than 0 if it began with the weights of another."""
        match self.starts():
            case [{"init_from": _, "clips": int(clips)}, *_]:
                return clips
        return 0


def _read_rows(path: Path) -> list[Any]:
    """A list with one value per line; growreel 0.1 kept the last start alone."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError):
        return [{"error": "the lines before were damaged"}]
    return rows if isinstance(rows, list) else [rows]


def _rows(values: list[Any]) -> str:
    """A JSON list with one value per line."""
    return "[\n" + ",\n".join(json.dumps(value) for value in values) + "\n]\n"


def _replace_if_other(path: Path, text: str) -> None:
    if not path.exists() or path.read_bytes() != text.encode():
        replace_text(path, text)


def _places(store: ClipStore, now: float) -> dict[str, Any]:
    """Where the run was started and where its store lies: what is nobody else's business."""
    return {"time": now, "command": sys.argv, "folder": str(Path.cwd()), "store": str(store.path.absolute())}


def _environment(store: ClipStore, clips_shown: int, now: float) -> dict[str, Any]:
    """What made the run and from what, without folders; the store's facts are kept because stores move and go."""
    return {
        "time": now,
        "clips": clips_shown,
        "growreel": installed_version("growreel"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu_threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "processes": distributed.world_size(),
        "command": command_without_folders(sys.argv),
        "store": {
            "path": store.path.absolute().name,
            "sha256": file_checksum(store.path / INDEX),  # the index holds the checksum of every shard
            "clips": len(store),
            "size": str(store.size),
            "channels": store.channels,
            "fps": store.fps,
            "sources": len({clip.source for clip in store.clips}),
            "labels": len(store.labels),
        },
    }


def resolve_config(config: Config, store: ClipStore, device: torch.device, run: RunFolder) -> Config:
    """Settle what depends on store and machine, so that the run folder says what was really done; the same in all processes.

    `network.image_channels` comes from the store, and so do the `network.classes` of a conditional model. `training.precision`, where it
    is `auto`, is what the run was begun with, and at its beginning what suits the device; so is the length of the moving average where
    nothing is said of it.
    Raises GrowreelError if the configuration asks for other channels or classes than the store has.
    """
    network = of_store(config.network, store)
    training = config.training
    if run.config.exists():
        begun = load_config(run.config).training
        if training.ema_decay is None and training.ema_halflife_clips is None:
            training = replace(training, ema_decay=begun.ema_decay, ema_halflife_clips=begun.ema_halflife_clips)
        training = replace(training, precision=begun.precision if training.precision == "auto" else training.precision)
    training = distributed.from_first(resolve_training(training, device))
    return replace(config, training=training, network=network)
