"""Train for long and look at what must not grow: memory, open files, threads, processes left behind.

    python benchmarks/reliability/soak.py --steps 600             # small
    python benchmarks/reliability/soak.py --minutes 120 --out soak.json

Small networks, so that many steps fit into the time, and everything that training does besides: statistics with vital signs, samples,
checkpoints, metrics and the report every few dozen steps. Twice the run is stopped as by SIGTERM and goes on in the same process. Memory is
VmRSS of /proc, taken every ten steps; its slope is the least-squares line through what comes after the first fifth, when all buffers have
been made once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from growreel.config import Config, from_dict
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.growth import Size
from growreel.runtime.durable import replace_text
from growreel.training import loop

EVERY = 10
WARM_UP = 0.2
LIMIT_KB = 1000.0
"""Per 1,000 steps."""
HANDLES = ("files", "threads", "children")


def soak_config(report: bool) -> Config:
    """Two stages of 2,000 clips with their fade, then without an end."""
    return from_dict(
        {
            "growth": {
                "stages": [{"size": "2x4x4"}, {"size": "4x8x8", "stable_clips": 10**9}],
                "fade_clips": 400,
                "stable_clips": 400,
                "minibatch": 4,
                "learning_rate": 0.001,
            },
            "network": {"max_channels": 4, "latent_dim": 8, "feature_dim": 8},
            "training": {
                "device": "cpu",
                "precision": "float32",
                "stats_interval": 100,
                "sample_interval": 400,
                "checkpoint_interval": 400,
                "eval_interval": 2000,
                "eval_clips": 8,
                "eval_metrics": ["kid", "motion"],
                "sample_count": 2,
                "report": report,
            },
        },
        "soak_config",
    )


@dataclass
class Soak:
    """Counts the steps of all calls of `train`, and notes what the process holds.

    Attributes:
        steps, seconds: when the run is over, whichever comes first.
        notes: one for every ten steps.
    """

    steps: float
    seconds: float
    notes: list[dict[str, Any]] = field(default_factory=list)
    step: int = 0
    stops: int = 0
    begun: float = field(default_factory=time.monotonic)

    def done(self) -> float:
        """Which part of the run is over, 0 to 1."""
        return max(self.step / self.steps, (time.monotonic() - self.begun) / self.seconds)

    def stepped(self) -> None:
        """After every step; asks for a stop after a third, two thirds and the whole of it."""
        self.step += 1
        if self.step % EVERY == 0:
            self.notes.append({"step": self.step, **held()})
        if self.done() >= (self.stops + 1) / 3 and self.stops < 3:
            self.stops += 1
            os.kill(os.getpid(), signal.SIGTERM)


def held() -> dict[str, int]:
    """What this process holds: kB of memory, open files, threads, child processes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    children = sum(
        len(Path(f"/proc/self/task/{task.name}/children").read_text(encoding="ascii").split()) for task in Path("/proc/self/task").iterdir()
    )
    files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return {"kb": int(status["VmRSS"].split()[0]), "files": files, "threads": int(status["Threads"]), "children": children}


def soak(store: Path, run: Path, steps: float, seconds: float, report: bool = True) -> dict[str, Any]:
    """Train; what was held, and how it grew."""
    state, maintain = Soak(steps, seconds), loop._Loop._maintain

    def counted(self: loop._Loop, before: int) -> None:
        maintain(self, before)
        state.stepped()

    loop._Loop._maintain = counted  # type: ignore[method-assign]
    try:
        while state.stops < 3:
            loop.train(store, run, soak_config(report), progress=False)
    finally:
        loop._Loop._maintain = maintain  # type: ignore[method-assign]
    return {"seconds": time.monotonic() - state.begun, **growth(state.notes), "after": held(), "notes": state.notes}


def growth(notes: list[dict[str, Any]]) -> dict[str, Any]:
    """Memory per 1,000 steps, and the least and most of each kind of handle in the second and in the last fifth."""
    late = [note for note in notes if note["step"] > WARM_UP * notes[-1]["step"]]
    slope = float(np.polyfit([note["step"] for note in late], [note["kb"] for note in late], 1)[0])
    fifth = max(len(late) // 4, 1)
    return {
        "steps": notes[-1]["step"],
        "kb_per_1000_steps": 1000 * slope,
        "kb": [late[0]["kb"], late[-1]["kb"]],
        **{name: [_range(name, late[:fifth]), _range(name, late[-fifth:])] for name in HANDLES},
    }


def _range(name: str, notes: list[dict[str, Any]]) -> list[int]:
    values = [note[name] for note in notes]
    return [min(values), max(values)]


def grows(figures: dict[str, Any]) -> list[str]:
    """What has grown."""
    kilobytes = figures["kb_per_1000_steps"]
    found = [f"memory by {kilobytes:.0f} kB per 1,000 steps"] if kilobytes > LIMIT_KB else []
    return found + [
        f"{name} from {figures[name][0]} to {figures[name][1]}" for name in HANDLES if figures[name][1][0] > figures[name][0][1]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=float, default=float("inf"), help="steps of training at most")
    parser.add_argument("--minutes", type=float, default=10.0, help="minutes at most")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_store(folder / "store", shape_clips(16, Size(4, 8, 8)), fps=8.0).close()
        figures = soak(folder / "store", folder / "run", options.steps, 60 * options.minutes)
    print(json.dumps({name: value for name, value in figures.items() if name != "notes"}))
    if options.out is not None:
        replace_text(options.out, json.dumps(figures) + "\n")
    for what in (found := grows(figures)):
        print(f"grows: {what}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
