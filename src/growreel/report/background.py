"""`python -m growreel.report.background RUN`: what training starts at its checkpoints. It gives way to everything else.

Nobody waits for it and nobody reads what it says, so what goes wrong is written to `report.log` in the run folder.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from pathlib import Path

LOG, LOCK = "report.log", ".report.lock"


def refresh(run: Path) -> int:
    """Write the report once no other process is writing it. Returns the exit code."""
    give_way()
    try:
        with open(run / LOCK, "w") as lock:
            _wait_for(lock.fileno())
            import torch

            from growreel.report import write_report

            torch.set_num_threads(1)
            write_report([run])
    except Exception:
        with contextlib.suppress(OSError):
            (run / LOG).write_text(traceback.format_exc(), encoding="utf-8")
        return 1
    (run / LOG).unlink(missing_ok=True)
    return 0


def give_way() -> None:
    """Take the processor time that others leave, and a sixtieth of what they would have where they leave none: it must end some day."""
    with contextlib.suppress(OSError, AttributeError):  # not every system has it
        os.nice(19)


def _wait_for(descriptor: int) -> None:
    """Hold the lock until this process ends. Where files cannot be locked the last one that writes wins, which does no harm."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)


if __name__ == "__main__":
    sys.exit(refresh(Path(sys.argv[1])))
