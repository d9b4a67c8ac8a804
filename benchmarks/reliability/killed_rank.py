"""`growreel` as one of the processes that `kill_ranks.py` starts: it kills itself where the plan says so.

    torchrun ... killed_rank.py FOLDER train STORE --out RUN ...

FOLDER/kills.json is a list with one entry for each start: the rank to die, the clips shown from which on (None: from the start), and after
how many seconds. Files in FOLDER say when what happened: `start-N` (the first of all processes), `kill-N`, `step-N` (the first step).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from growreel.cli.main import main
from growreel.training import loop


class Death:
    """What this process does in this start."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.start = folder, int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        plan: list[dict[str, Any]] = json.loads((folder / "kills.json").read_text(encoding="ascii"))
        mine = self.start < len(plan) and plan[self.start]["rank"] == int(os.environ["RANK"])
        self.planned = plan[self.start] if mine else None
        self.note("start")
        if self.planned and self.planned["clips"] is None:
            self.approach()

    def note(self, what: str) -> None:
        """Write down the time, if no other process has."""
        try:
            with open(self.folder / f"{what}-{self.start}", "x", encoding="ascii") as file:
                file.write(str(time.time()))
        except FileExistsError:
            return

    def stepping(self, clips_shown: int) -> None:
        """Before each step."""
        self.note("step")
        if self.planned and self.planned["clips"] is not None and clips_shown >= self.planned["clips"]:
            self.approach()

    def approach(self) -> None:
        """Die after the planned delay, wherever the main thread is by then."""
        assert self.planned is not None
        delay, self.planned = float(self.planned["delay"]), None

        def die() -> None:
            time.sleep(delay)
            self.note("kill")
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=die, daemon=True).start()


if __name__ == "__main__":
    death, plain = Death(Path(sys.argv[1])), loop._Loop._step

    def step(self: loop._Loop, caught: list[signal.Signals]) -> tuple[bool, bool]:
        death.stepping(self.state.clips_shown)
        return plain(self, caught)

    loop._Loop._step = step  # type: ignore[method-assign]
    sys.exit(main(sys.argv[2:]))
