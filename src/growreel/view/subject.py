"""What the viewer was given - a run, a folder of runs, a model file, a clip store - and the runs, models and stores in it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from growreel.data.store import INDEX, ClipStore
from growreel.errors import GrowreelError
from growreel.models.files import PRETRAINED, pretrained_names
from growreel.report.folder import Run, open_store, read_run
from growreel.view.server import Refused

MOST_RUNS = 500
DEPTH = 3
SCAN_SECONDS = 5.0


@dataclass(frozen=True)
class ModelFile:
    """A model that can be played: its file, and how it is called."""

    path: Path
    name: str


class Subject:
    """Everything that the viewer serves comes through here, by names that are looked up, never by a path of a request.

    Args:
        path: a run folder, a folder with runs in it, a `.safetensors` file, the name of a model that comes with growreel, or a clip store.

    Raises GrowreelError if it is none of these.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        if not path.exists() and str(path) in pretrained_names():
            path = PRETRAINED / f"{path}.safetensors"
        self.path = path
        self._scanned, self._runs = float("-inf"), dict[str, Path]()
        if path.is_file() and path.suffix == ".safetensors":
            self.kind = "model"
        elif (path / "config.yaml").is_file():
            self.kind = "run"
        elif (path / INDEX).is_file():
            self.kind = "store"
        elif path.is_dir() and self.runs():
            self.kind = "folder"
        else:
            raise GrowreelError(
                f"{path}: there is nothing to view; give a run folder, a folder of runs, a model file, {' or '.join(pretrained_names())}, "
                "or a clip store"
            )

    def runs(self) -> dict[str, Path]:
        """Run folders by name, the newest first; runs that begin later appear by themselves."""
        if time.monotonic() - self._scanned > SCAN_SECONDS:
            self._runs = self._scan()
            self._scanned = time.monotonic()
        return self._runs

    def _scan(self) -> dict[str, Path]:
        if (self.path / "config.yaml").is_file():
            return {self.path.resolve().name: self.path}
        if not self.path.is_dir() or (self.path / INDEX).is_file():
            return {}
        found, level = list[Path](), [self.path]
        for _ in range(DEPTH):
            below = [each for folder in level for each in _folders(folder)]
            found += [each for each in below if (each / "config.yaml").is_file()]
            level = [each for each in below if not (each / "config.yaml").is_file()][:MOST_RUNS]
        found.sort(key=lambda run: -max((run / name).stat().st_mtime for name in ("stats.jsonl", "config.yaml") if (run / name).exists()))
        return {each.relative_to(self.path).as_posix(): each for each in found[:MOST_RUNS]}

    def run_path(self, name: str) -> Path:
        """Folder of a run. Raises Refused if there is none of that name."""
        path = self.runs().get(name)
        if path is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such run")
        return path

    def run(self, name: str) -> Run:
        return read_run(self.run_path(name))

    def models(self, run: str) -> dict[str, ModelFile]:
        """Models by what a request calls them: of a run the clips that they were trained on, the newest first."""
        if self.kind == "model":
            return {"model": ModelFile(self.path, self.path.stem)}
        saved = self.run(run).models
        return {str(clips): ModelFile(saved[clips], f"{clips:,} clips") for clips in sorted(saved, reverse=True)}

    def model(self, run: str, name: str) -> ModelFile:
        """A model of a run; of an empty name the newest. Raises Refused if it is not there."""
        models = self.models(run)
        found = models.get(name) or (next(iter(models.values()), None) if not name else None)
        if found is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such model" if models else "this run has saved no model yet")
        return ModelFile(inside(found.path, self.path), found.name)

    def store(self, run: str) -> ClipStore:
        """The store of a run's clips, or the one that was given. Raises GrowreelError, saying why, if it cannot be read."""
        return ClipStore.open(self.path) if self.kind == "store" else open_store(self.run(run))


def inside(path: Path, folder: Path) -> Path:
    """The path itself, unless a link in it leads out of the folder: then Refused is raised."""
    resolved, base = path.resolve(), folder.resolve()
    if not (resolved == base or resolved.is_relative_to(base)):
        raise Refused(HTTPStatus.FORBIDDEN, "a link leads out of the folder")
    return path


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir() and not each.is_symlink() and not each.name.startswith("."))
    except OSError:
        return []
