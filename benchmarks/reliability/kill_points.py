"""Stop a small training run at every call by which it changes a file, resume it, and compare with a run that nobody disturbed.

    python benchmarks/reliability/kill_points.py                  # every 10th call, under a minute
    python benchmarks/reliability/kill_points.py --every 1 --out kill_points.json
    python benchmarks/reliability/kill_points.py --every 1 --how full
    python benchmarks/reliability/kill_points.py --every 1 --how broken

Each run is a forked process. Before its n-th change of a file in the run folder (open for writing, write, fsync, rename, mkdir, remove; a
write after its first half) it is killed by SIGKILL. With `--how full` the disk takes nothing more from then on (ENOSPC), with
`--how broken` it fails in everything that would change it (EIO), and the process has to end with a GrowreelError. The same run then goes on
to its end. What counts: models, samples, newest checkpoint and statistics (without times) are those of the undisturbed run, to the byte,
and nothing is left over.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from file_calls import HOW, FileCalls

from growreel.config import Config, from_dict
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.runtime.durable import replace_text
from growreel.training.loop import train
from growreel.training.stats import read_lines

TIMES = ("time", "clips_per_second", "peak_memory_bytes", "seconds")
REFUSED, CRASHED = 3, 4


def small_config() -> Config:
    """Two stages with a fade, 28 clips; statistics, samples and checkpoints fall together and apart."""
    return from_dict(
        {
            "growth": {"stages": ["2x4x4", "4x8x8"], "fade_clips": 12, "stable_clips": 8, "minibatch": 4, "learning_rate": 0.002},
            "network": {"max_channels": 2, "latent_dim": 4, "feature_dim": 4},
            "training": {
                "device": "cpu",
                "stats_interval": 8,
                "sample_interval": 8,
                "checkpoint_interval": 8,
                "sample_count": 1,
                "report": False,
            },
        },
        "small_config",
    )


def count_changes(store: Path, run: Path) -> int:
    """Train once in a forked process; how many changes it makes."""
    return int(_forked(store, run, None, "kill")[1])


def train_until_stopped(store: Path, run: Path, point: int, how: str) -> str | None:
    """Train in a forked process that is stopped just before its n-th change, counted from 1. How it ended, unless as it has to then."""
    status, said = _forked(store, run, point, how)
    if status == (-signal.SIGKILL if how == "kill" else REFUSED):
        return None
    return "it came to its end" if status == 0 else said or f"exit code {status}"


def _forked(store: Path, run: Path, point: int | None, how: str) -> tuple[int, str]:
    """The exit code of the process, or minus the signal that ended it; the number of changes if it came to its end, else its error."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code, said, calls = CRASHED, "", FileCalls(run, point, how)
        try:
            calls.install()
            train(store, run, small_config(), progress=False)
            code, said = 0, str(calls.count)
        except GrowreelError as error:
            code, said = REFUSED, str(error)
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, said.encode())
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def outcome(run: Path) -> dict[str, Any]:
    """Every file of a run folder and what must be the same however the run went; times are left out."""
    found: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        if path.is_dir() or path.name in ("environment.json", "local.json", ".lock", "checkpoint.json", "statistics.jsonl"):
            continue
        found[str(path.relative_to(run))] = path.read_bytes()
    found["stats.jsonl"] = [{name: v for name, v in line.items() if name not in TIMES} for line in read_lines(run / "stats.jsonl")]
    return found


def differences(run: Path, expected: dict[str, Any]) -> list[str]:
    """Names of files that are missing, left over, or other than they should be."""
    found = outcome(run)
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def survey(store: Path, folder: Path, points: Iterable[int], how: str = "kill") -> dict[str, Any]:
    """Stop and resume at each of the points; how often that was possible, what else happened, and which of them left a difference."""
    train(store, folder / "whole", small_config(), progress=False)
    expected, stopped, unlike, wrong = outcome(folder / "whole"), 0, {}, {}
    for point in points:
        run = folder / "stopped"
        ended = train_until_stopped(store, run, point, how)
        if ended is None:
            stopped += 1
        else:
            unlike[point] = ended
        try:
            train(store, run, small_config(), progress=False)
            if found := differences(run, expected):
                wrong[point] = found
        except Exception as error:
            wrong[point] = [f"{type(error).__name__}: {error}"]
        shutil.rmtree(run, ignore_errors=True)
    return {"stopped": stopped, "unlike": unlike, "wrong": wrong}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=10, help="take every n-th change")
    parser.add_argument("--how", choices=tuple(HOW), default="kill", help="SIGKILL, a full disk, or one that fails")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_store(folder / "store", shape_clips(8, Size(4, 8, 8)), fps=8.0).close()
        changes = count_changes(folder / "store", folder / "counted")
        figures = {"changes": changes, **survey(folder / "store", folder, range(1, changes + 1, options.every), options.how)}
    print(f"{figures['changes']} changes of files; stopped at {figures['stopped']}; {len(figures['wrong'])} times something differed")
    for point, ended in figures["unlike"].items():
        print(f"  from change {point} on: {ended}")
    for point, found in figures["wrong"].items():
        print(f"  before change {point}: {', '.join(found)}")
    if options.out is not None:
        replace_text(options.out, json.dumps(figures, indent=2) + "\n")
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
