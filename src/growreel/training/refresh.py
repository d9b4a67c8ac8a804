"""Having the report of a run refreshed, by a process that training starts and forgets."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

OF_TRAINING = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
_started: dict[Path, list[subprocess.Popen[bytes]]] = {}


def refresh_report(run: Path, wanted: bool) -> None:
    """Start a process that writes `report.html` of a run folder, if that is wanted. Never waits, never raises.

    Of two that are alive, one writes and the other waits for it and then reads what is new: a third would find nothing to do.
    """
    alive = [process for process in _started.get(run, []) if process.poll() is None]
    if wanted and len(alive) < 2:
        with contextlib.suppress(OSError):  # no more processes, say: the next checkpoint tries again
            alive.append(_start(run))
    _started[run] = alive


def _start(run: Path) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in OF_TRAINING and not name.startswith("TORCHELASTIC")}
    return subprocess.Popen(
        [sys.executable, "-m", "growreel.report.background", str(run.absolute())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C ends the training, not the report of what it reached
        env={**environment, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
