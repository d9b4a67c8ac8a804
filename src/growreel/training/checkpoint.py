"""Checkpoints: written beside, synced, renamed; the newest readable one is what a run resumes from.

`checkpoints/<clips>/state.pt` holds tensors and plain values only and is loaded with `weights_only=True`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from growreel.errors import GrowreelError
from growreel.runtime.durable import sync_folder

STATE_FILE = "state.pt"


def list_checkpoints(run: Path) -> list[Path]:
    """Finished checkpoint folders, oldest first."""
    folder = run / "checkpoints"
    return sorted((p for p in folder.glob("*") if p.name.isdigit()), key=lambda p: int(p.name)) if folder.is_dir() else []


def save_checkpoint(run: Path, clips_shown: int, state: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint so that it exists whole or not at all, then remove all but the newest `keep`.

    Raises GrowreelError if the disk does not take it, saying which checkpoint is the newest whole one.
    """
    final = run / "checkpoints" / f"{clips_shown:09d}"
    temporary = final.with_name(f"{final.name}.partial")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        with open(temporary / STATE_FILE, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        replaced = final.with_name(f"{final.name}.replaced")
        if final.exists():  # of a run that went back behind this point
            os.rename(final, replaced)
        os.rename(temporary, final)
        sync_folder(final.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        shutil.rmtree(temporary, ignore_errors=True)
        whole = list_checkpoints(run)
        kept = f"the newest whole checkpoint is {whole[-1]}" if whole else "there is no earlier checkpoint"
        raise GrowreelError(
            f"{final}: the checkpoint could not be written ({error}); {kept}; make room and run the same command"
        ) from error
    for old in list_checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    return final


def newest_checkpoint(run: Path, report: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """The newest readable checkpoint and its state; None if the run has none.

    A damaged one is renamed to `<clips>.damaged`, named through `report`, and the one before is taken. Raises GrowreelError if
    checkpoints exist but none can be read: starting over silently would throw a run away.
    """
    checkpoints = list_checkpoints(run)
    for path in reversed(checkpoints):
        try:
            return path, load_checkpoint(path)
        except Exception as error:  # a cut file fails inside zip, pickle or torch, each with its own type
            damaged = path.with_name(f"{path.name}.damaged")
            shutil.rmtree(damaged, ignore_errors=True)
            path.rename(damaged)
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            report(f"checkpoint {path} is damaged ({reason}); kept as {damaged.name}, falling back to the one before")
    if checkpoints:
        raise GrowreelError(f"{run}: none of its {len(checkpoints)} checkpoints can be read; give another --out to start anew")
    return None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state in a checkpoint folder, on the CPU."""
    state: dict[str, Any] = torch.load(path / STATE_FILE, map_location="cpu", weights_only=True)
    return state
