"""Kill a training run at random times, again and again until it is done, and compare it with one that nobody disturbed.

    python benchmarks/reliability/random_kills.py --kills 8          # small
    python benchmarks/reliability/random_kills.py --kills 200 --out random_kills.json

Every process of training is killed by SIGKILL from outside. Of eight kills four come at any time since training began, one of them early,
while a run is loaded; two while a checkpoint is saved; one in a fade and one while the stage changes, each at a random time within what it
is aimed at. Of every run four processes in a row are killed, and the fifth goes on to the end. Then all its files are compared, to the
byte, with those of the undisturbed run; nothing may be left over. A process that was faster than its kill does not count and ends its run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from kill_points import differences, outcome

from growreel.config import Config, from_dict
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.growth import Size
from growreel.runtime.durable import replace_text
from growreel.training import loop

T = TypeVar("T")
AIMS = ("any", "saving", "any", "fade", "loading", "saving", "any", "growth")
IN_A_ROW = 4


def config() -> Config:
    """Three stages with fades, 120 clips, a checkpoint in every second step."""
    return from_dict(
        {
            "growth": {"stages": ["2x4x4", "4x4x4", "4x8x8"], "fade_clips": 24, "stable_clips": 24, "minibatch": 4, "learning_rate": 0.002},
            "network": {"max_channels": 2, "latent_dim": 4, "feature_dim": 4},
            "training": {
                "device": "cpu",
                "precision": "float32",
                "stats_interval": 8,
                "sample_interval": 16,
                "checkpoint_interval": 8,
                "sample_count": 1,
                "report": False,
            },
        },
        "config",
    )


def moments(tell: Callable[[str], object]) -> None:
    """In this process, tell whenever training comes to something that kills are aimed at, and when it has passed."""
    step, save, load = loop._Loop._step, loop._Loop._save_checkpoint, loop._Loop._load

    def telling_step(self: loop._Loop, caught: list[signal.Signals]) -> tuple[bool, bool]:
        stage, phase = self.state.position.stage, self.state.position.phase
        name = "growth" if (stage, phase) != tuple(self.state.optimizers_for) else "fade" if phase == "fade" else None
        return _told(name, lambda: step(self, caught))

    def _told(name: str | None, work: Callable[[], T]) -> T:
        if name is not None:
            tell(name)
        result = work()
        if name is not None:
            tell("passed")
        return result

    loop._Loop._step = telling_step  # type: ignore[method-assign]
    loop._Loop._save_checkpoint = lambda self: _told("saving", lambda: save(self))  # type: ignore[method-assign]
    loop._Loop._load = lambda self: _told("loading", lambda: load(self))  # type: ignore[method-assign]


class Training:
    """A forked process that trains and tells what it comes to."""

    def __init__(self, store: Path, run: Path) -> None:
        self.reader, writer = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            code = 1
            try:
                moments(lambda name: os.write(writer, f"{name}\n".encode()))
                os.write(writer, b"any\n")
                loop.train(store, run, config(), progress=False)
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        self.lines = os.fdopen(self.reader, "rb", buffering=0)

    def kill(self, aim: str, number: int, delay: float) -> bool:
        """Kill the process so many seconds after it has come to its aim for the n-th time, or as that passes; False if it ended before."""
        for _ in range(number):
            if not self._comes_to(aim):
                self.wait()
                return False
        if aim == "any":
            time.sleep(delay)
        else:
            select.select([self.lines], [], [], delay)  # what comes next says that it has passed
        os.kill(self.child, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def wait(self) -> int:
        """The exit code, or minus the number of a signal."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        self.lines.close()
        return code

    def _comes_to(self, aim: str) -> bool:
        line = b""
        while byte := self.lines.read(1):
            line += byte
            if byte == b"\n":
                if line.strip().decode() == aim:
                    return True
                line = b""
        return False


def spans(store: Path, run: Path) -> dict[str, tuple[int, float]]:
    """Of an undisturbed run: how often each aim comes, and how many seconds it takes on average."""
    told: list[tuple[str, float]] = []
    plain = {name: getattr(loop._Loop, name) for name in ("_step", "_save_checkpoint", "_load")}
    begun = time.monotonic()
    try:
        moments(lambda name: told.append((name, time.monotonic())))
        loop.train(store, run, config(), progress=False)
    finally:
        for name, method in plain.items():
            setattr(loop._Loop, name, method)
    seconds: dict[str, list[float]] = {"any": [time.monotonic() - begun]}
    for (name, at), (_, until) in itertools.pairwise(told):
        if name != "passed":
            seconds.setdefault(name, []).append(until - at)
    return {name: (len(values), sum(values) / len(values)) for name, values in seconds.items()}


def survey(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill until it was done so often; how often inside what, and what was wrong after which kills."""
    store = folder / "store"
    write_store(store, shape_clips(12, Size(4, 8, 8)), fps=8.0).close()
    loop.train(store, folder / "warm", config(), progress=False)  # or the first steps of the process would make the spans too long
    times = spans(store, folder / "whole")
    expected, draw = outcome(folder / "whole"), random.Random(seed)
    done: Counter[str] = Counter()
    wrong: list[dict[str, Any]] = []
    runs = missed = 0
    while done.total() < kills:
        run, row = folder / f"run-{runs}", []
        for _ in range(min(IN_A_ROW, kills - done.total())):
            aim = AIMS[done.total() % len(AIMS)]
            count, seconds = times[aim]
            number = draw.randint(1, max(count // 2, 1))  # what was before the checkpoint does not come again
            if not Training(store, run).kill(aim, number, draw.uniform(0, seconds)):
                missed += 1
                break
            done[aim] += 1
            row.append(aim)
        try:
            loop.train(store, run, config(), progress=False)
            found = differences(run, expected)
        except Exception as error:
            found = [f"{type(error).__name__}: {error}"]
        if found:
            wrong.append({"run": runs, "killed in": row, "found": found})
        shutil.rmtree(run, ignore_errors=True)
        runs += 1
    return {"kills": done.total(), "inside": dict(done), "missed": missed, "runs": runs, "wrong": wrong}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn; when a kill comes depends on the machine, too")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        figures = survey(Path(name), options.kills, options.seed)
    print(json.dumps(figures, indent=1))
    if options.out is not None:
        replace_text(options.out, json.dumps(figures, indent=1) + "\n")
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
