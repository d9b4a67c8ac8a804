"""Kill processes of a training under torchrun, one at a time, until it has come back so often, and compare with an undisturbed run.

    python benchmarks/reliability/kill_ranks.py --kills 3            # small
    python benchmarks/reliability/kill_ranks.py --kills 20 --processes 3 --out kill_ranks.json

`torchrun --max-restarts` has to bring all processes back by itself each time; in the end the models, the samples and the statistics have
to be those of a run that nobody disturbed, to the byte, and nothing may be left over. The ranks take turns. Of four kills one comes while
the processes start and look for each other, the others at a random time after a step that moves on from kill to kill.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kill_points import differences, outcome

from growreel.config import Config, from_dict, to_yaml
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.growth import Size
from growreel.runtime.durable import replace_text

MINIBATCH = 24
STEPS_PER_KILL = 6
STARTING, TRAINING = 1.5, 0.4
"""Seconds within which a kill comes, from the start of the process or from its step."""
PATIENCE = 300.0
"""Seconds without a start, a step or a kill after which a run is said to hang."""


def config(kills: int) -> Config:
    """Two stages with a fade and six steps for each kill; a checkpoint in every second step."""
    clips = STEPS_PER_KILL * MINIBATCH * (kills + 1)
    growth = {
        "stages": ["2x4x4", "4x8x8"],
        "fade_clips": clips // 3,
        "stable_clips": clips // 3,
        "minibatch": MINIBATCH,
        "learning_rate": 0.002,
    }
    training = {
        "device": "cpu",
        "precision": "float32",
        "stats_interval": 2 * MINIBATCH,
        "sample_interval": 4 * MINIBATCH,
        "checkpoint_interval": 2 * MINIBATCH,
        "sample_count": 1,
        "report": False,
    }
    return from_dict({"growth": growth, "network": {"max_channels": 2, "latent_dim": 4, "feature_dim": 4}, "training": training}, "config")


def planned_kills(kills: int, processes: int, seed: int) -> list[dict[str, Any]]:
    """One entry for each start of the processes, see `killed_rank.py`."""
    draw, plan = random.Random(seed), []
    for number in range(kills):
        starting = number % 4 == 3
        delay = draw.uniform(0, STARTING if starting else TRAINING)
        clips = None if starting else MINIBATCH * draw.randint(STEPS_PER_KILL * number, STEPS_PER_KILL * number + STEPS_PER_KILL // 2)
        plan.append({"rank": number % processes, "clips": clips, "delay": delay})
    return plan


def train_and_kill(folder: Path, store: Path, settings: Config, plan: list[dict[str, Any]], processes: int) -> list[float]:
    """Train under torchrun while processes die as planned. Seconds from each kill to the next step.

    Raises RuntimeError, with what was printed, if the training fails, hangs, or was over before a kill.
    """
    folder.mkdir()
    (folder / "kills.json").write_text(json.dumps(plan), encoding="ascii")
    (folder / "config.yaml").write_text(to_yaml(settings), encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    worker = [str(Path(__file__).with_name("killed_rank.py")), str(folder)]
    command = ["train", str(store), "--out", str(folder / "run"), "--config", str(folder / "config.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "said.txt").open("w") as said:
        run = subprocess.Popen(
            [*torchrun, f"--max-restarts={len(plan)}", *worker, *command],
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            hung = not _ends(run, folder)
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)  # our own session: torchrun and its processes
                run.wait()
    happened = [number for number in range(len(plan)) if (folder / f"kill-{number}").exists()]
    if hung or run.returncode or len(happened) < len(plan):
        state = "hung" if hung else f"ended with exit code {run.returncode}"
        raise RuntimeError(f"{state} after {len(happened)} of {len(plan)} kills: {(folder / 'said.txt').read_text()[-4000:]}")
    return [_back_after(folder, number) for number in happened]


def _ends(run: subprocess.Popen[bytes], folder: Path) -> bool:
    """Wait for the end of the run; False if nothing happens for too long."""
    seen, since = -1, time.monotonic()
    while run.poll() is None:
        happened = sum(1 for _ in folder.glob("run/checkpoints/*")) + sum(1 for _ in folder.glob("*-*"))
        newest = max((path.stat().st_mtime_ns for path in folder.glob("run/models/*")), default=0) + happened
        if newest != seen:
            seen, since = newest, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            return False
        time.sleep(0.2)
    return True


def _back_after(folder: Path, number: int) -> float:
    """Seconds from a kill to the first step after it; another kill may have come before that."""
    killed = float((folder / f"kill-{number}").read_text())
    return min(t for path in folder.glob("step-*") if (t := float(path.read_text())) > killed) - killed


def survey(folder: Path, kills: int, processes: int, seed: int) -> dict[str, Any]:
    """The undisturbed and the disturbed run, and what differs."""
    store, settings = folder / "store", config(kills)
    write_store(store, shape_clips(48, Size(4, 8, 8)), fps=8.0).close()
    train_and_kill(folder / "whole", store, settings, [], processes)
    plan = planned_kills(kills, processes, seed)
    seconds = train_and_kill(folder / "killed", store, settings, plan, processes)
    wrong = differences(folder / "killed" / "run", outcome(folder / "whole" / "run"))
    by_rank = [sum(each["rank"] == rank for each in plan) for rank in range(processes)]
    return {"kills": kills, "processes": processes, "of rank": by_rank, "seconds to the next step": seconds, "wrong": wrong}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn; where a kill hits depends on the machine, too")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = survey(Path(name), options.kills, options.processes, options.seed)
    print(json.dumps(figures))
    if options.out is not None:
        replace_text(options.out, json.dumps(figures, indent=1) + "\n")
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
