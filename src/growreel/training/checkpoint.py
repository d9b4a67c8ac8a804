"""Checkpoints: whole or not there at all, with checksums; the newest good one is what a run resumes from.

A folder `checkpoints/<clips>/` holds

* `state.pt`: tensors and plain values only, loaded with `weights_only=True`;
* `statistics.jsonl`: a copy of the run's lines up to here;
* `checkpoint.json`: size and sha256 of the two, the header of the model file of these weights, the sha256 of the files that were made from
  this state before it was saved (what is missing of them can be made again), and a sha256 of all this.

Checkpoints of growreel 0.1 are a `state.pt` alone; they are read, too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, cast

import torch

from growreel.errors import GrowreelError
from growreel.reading.faults import fault_of, why
from growreel.reading.files import open_file
from growreel.reading.json_tree import parse_json
from growreel.reading.structure import StructureError, Within, convert
from growreel.reading.words import plain, shown
from growreel.runtime.durable import remove_folder, replacing, replacing_folder, writing
from growreel.runtime.torch_archive import load_archive

STATE_FILE = "state.pt"
STATISTICS_FILE = "statistics.jsonl"
MANIFEST_FILE = "checkpoint.json"
FORMAT = "growreel-checkpoint-2"


MOST_MANIFEST_BYTES = 2**20
MADE = re.compile(r"(models|samples)/\d{1,20}\.(safetensors|webp)", re.ASCII)
"""The files that are made from a checkpoint; a name that leads elsewhere is not followed."""


@dataclass(frozen=True)
class FileFacts:
    """Length and checksum of a file."""

    bytes: Annotated[int, Within(0)]
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What `checkpoint.json` says; see the beginning of this file."""

    format: str
    files: dict[str, FileFacts]
    model: dict[str, str] | None
    made: dict[str, str]
    sha256: str


class DamagedCheckpoint(Exception):
    """The files of a checkpoint prove that it cannot be continued; the message says what is wrong."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it was read.

    Attributes:
        path: its folder.
        state: tensors and plain values, on the CPU.
        statistics: the run's lines up to here; None in checkpoints of growreel 0.1.
        model: header of the model file of these weights; None in checkpoints of growreel 0.1.
        made: sha256 of the files made from this state, by their path in the run folder.
    """

    path: Path
    state: dict[str, Any]
    statistics: str | None = None
    model: dict[str, str] | None = None
    made: dict[str, str] = dataclasses.field(default_factory=dict)


def list_checkpoints(run: Path) -> list[Path]:
    """Return the folders of finished checkpoints, oldest first."""
    folder = run / "checkpoints"
    return sorted((p for p in folder.glob("*") if p.name.isdecimal() and p.is_dir()), key=lambda p: int(p.name)) if folder.is_dir() else []


def save_checkpoint(
    run: Path,
    clips_shown: int,
    state: Mapping[str, Any],
    keep: int,
    *,
    statistics: str = "",
    model: Mapping[str, str] | None = None,
    made: Mapping[str, str] | None = None,
) -> Path:
    """Write a checkpoint so that it exists whole or not at all, then remove all but the newest `keep`. Returns its folder.

    `statistics`, `model` and `made` are as in `Checkpoint`. Raises GrowreelError if the disk does not take it, saying which checkpoint is
    the newest whole one.
    """
    final = run / "checkpoints" / f"{clips_shown:09d}"
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(final) as folder:
            with replacing(folder / STATE_FILE) as file:
                torch.save({"format": FORMAT, **state}, cast(IO[bytes], counted := _Counted(file)))
            with replacing(folder / STATISTICS_FILE) as file:
                file.write(statistics.encode())
            files = {STATE_FILE: counted.facts(), STATISTICS_FILE: _facts(statistics.encode())}
            manifest = {"format": FORMAT, "files": files, "model": None if model is None else dict(model), "made": dict(made or {})}
            with replacing(folder / MANIFEST_FILE) as file:
                file.write(_signed(manifest))
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        whole = list_checkpoints(run)
        still_there = f"the newest whole checkpoint is {whole[-1]}" if whole else "there is no earlier checkpoint"
        raise GrowreelError(
            f"{final}: the checkpoint could not be written ({error}); {still_there}; make room and run the same command"
        ) from error
    prune_checkpoints(run, keep)
    return final


def prune_checkpoints(run: Path, keep: int) -> None:
    """Remove all but the newest `keep`. Raises GrowreelError if the disk does not let it."""
    for old in list_checkpoints(run)[:-keep]:
        with writing(old, "the newer checkpoints are whole"):
            remove_folder(old)


def newest_checkpoint(run: Path, report: Callable[[str], None], check: Callable[[Mapping[str, Any]], None]) -> Checkpoint | None:
    """The newest good checkpoint; None if the run has none.

    A checkpoint that its own files prove damaged, or whose state `check` refuses by raising DamagedCheckpoint, gives way to the one
    before. It is named through `report` and kept as `<clips>.damaged`, but only once an earlier one has turned out to be good.

    Raises GrowreelError if checkpoints exist but none is good, for starting over silently would throw a run away; and if one cannot be
    read for another reason (no permission, too little memory), for then it may well be whole.
    """
    damaged: list[tuple[Path, str]] = []
    for path in reversed(list_checkpoints(run)):
        try:
            checkpoint = load_checkpoint(path)
            if checkpoint.state["clips_shown"] != int(path.name):
                raise DamagedCheckpoint(f"it holds the state at {checkpoint.state['clips_shown']} clips")
            check(checkpoint.state)
        except DamagedCheckpoint as error:
            damaged.append((path, str(error)))
            continue
        for bad, reason in damaged:
            aside = bad.with_name(f"{bad.name}.damaged")
            shutil.rmtree(aside, ignore_errors=True)
            with writing(aside, f"checkpoint {path.name} is whole"):
                bad.rename(aside)
            report(f"checkpoint {bad} is damaged ({reason}); kept as {aside.name}, falling back to {path.name}")
        return checkpoint
    if damaged:
        reasons = "; ".join(f"{path.name}: {reason}" for path, reason in damaged)
        raise GrowreelError(
            f"{run}: none of its {len(damaged)} checkpoints can be read ({reasons}); restore one from a copy, or give another --out"
        )
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder and compare its files with their checksums.

    Raises DamagedCheckpoint if the files prove that it is not whole or no checkpoint; GrowreelError if it cannot be read for another
    reason.
    """
    try:
        packed = _read(path / STATE_FILE)
        manifest = _manifest(path)
        if manifest is None:
            statistics = None
        else:
            _compare(STATE_FILE, packed, manifest)
            text = _read(path / STATISTICS_FILE)
            _compare(STATISTICS_FILE, text, manifest)
            statistics = text.decode(errors="replace")
        state = _unpack(packed)
    except (OSError, MemoryError, RuntimeError) as error:
        what = fault_of(error) or (why(error) if isinstance(error, OSError) else plain(error))
        raise GrowreelError(f"{path}: the checkpoint cannot be read ({what}); nothing was changed; see to that, or move it away") from error
    if manifest is None:
        if "format" in state:
            raise DamagedCheckpoint(f"{MANIFEST_FILE} is missing")
        return Checkpoint(path, state)
    state.pop("format", None)
    return Checkpoint(path, state, statistics, manifest.model, manifest.made)


def made_by(path: Path) -> dict[str, str]:
    """The files of the run folder that were made from a checkpoint's state and their sha256; none if its manifest cannot tell."""
    try:
        manifest = _manifest(path)
    except (DamagedCheckpoint, OSError):
        return {}
    return {} if manifest is None else dict(manifest.made)


class _Counted:
    """A stream that passes on what is written and adds it up, so that the checksum is of what was meant to be on the disk."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.bytes, self.digest = stream, 0, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.bytes += len(data)
        return int(self.stream.write(data))

    def flush(self) -> None:
        self.stream.flush()

    def facts(self) -> dict[str, Any]:
        return {"bytes": self.bytes, "sha256": self.digest.hexdigest()}


def _facts(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _read(file: Path) -> bytes:
    try:
        with open_file(file) as stream:
            return stream.read()
    except FileNotFoundError as error:
        raise DamagedCheckpoint(f"{file.name} is missing") from error
    except GrowreelError as error:  # a pipe or a folder
        raise DamagedCheckpoint(f"{file.name} is no file") from error


def _manifest(path: Path) -> Manifest | None:
    """`checkpoint.json`, or None where there is none."""
    if not (path / MANIFEST_FILE).exists():
        return None
    text = _read(path / MANIFEST_FILE)
    if len(text) > MOST_MANIFEST_BYTES:
        raise DamagedCheckpoint(f"{MANIFEST_FILE}: has {len(text):,} bytes")
    try:
        manifest = parse_json(text)
        intact = _signed({name: value for name, value in manifest.items() if name != "sha256"}) == text
    except (ValueError, AttributeError, RecursionError):
        intact = False
    if not intact:
        raise DamagedCheckpoint(f"{MANIFEST_FILE}: its checksum is not that of its contents")
    if manifest.get("format") != FORMAT:
        raise GrowreelError(
            f"{path}: is a checkpoint of format {shown(manifest.get('format'))}, this growreel reads {FORMAT}; update growreel"
        )
    try:
        checked: Manifest = convert(manifest, Manifest, MANIFEST_FILE)
    except StructureError as error:
        raise DamagedCheckpoint(str(error)) from error
    if not {STATE_FILE, STATISTICS_FILE} <= checked.files.keys():
        raise DamagedCheckpoint(f"{MANIFEST_FILE}: does not speak of {STATE_FILE} and {STATISTICS_FILE}")
    if stray := sorted(name for name in checked.made if not MADE.fullmatch(name)):
        raise DamagedCheckpoint(f"{MANIFEST_FILE}: {shown(stray[0])} is no file that a run makes")
    return checked


def _signed(manifest: Mapping[str, Any]) -> bytes:
    """The text of `checkpoint.json`, with a checksum of the rest of it."""
    digest = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    return (json.dumps({**manifest, "sha256": digest}, indent=1) + "\n").encode()


def _compare(name: str, data: bytes, manifest: Manifest) -> None:
    expected = manifest.files[name]
    if expected.bytes != len(data):
        raise DamagedCheckpoint(f"{name}: has {len(data):,} bytes instead of {expected.bytes:,}")
    if dataclasses.asdict(expected) != _facts(data):
        raise DamagedCheckpoint(f"{name}: its checksum is not that of its contents")


def _unpack(packed: bytes) -> dict[str, Any]:
    try:
        state = load_archive(packed)
    except ValueError as error:
        raise DamagedCheckpoint(f"{STATE_FILE}: {error}") from error
    if not isinstance(state, dict) or type(state.get("clips_shown")) is not int:
        raise DamagedCheckpoint(f"{STATE_FILE} is no checkpoint (it does not say how many clips were shown)")
    return state
