"""What the viewer reaches and what it costs: frames a second of the endless walk, and how much slower a training is with its page open.

    python benchmarks/viewer.py walk --out walk.json
    python benchmarks/viewer.py slowdown STORE --times 20 --out slowdown.json

`walk` makes the frames of the endless walk as the viewer makes them, with networks of the paper's width and random weights. It does so
without the viewer: that gives way to everybody else, so the others would be measured.

`slowdown` lets one training run and takes turns of the same length with and without a client that asks for what the page *Run* asks (the
browser itself is left out: it may be on another machine). For each pair of turns it gives the ratio of what the training needed for a
clip: seconds of the processor in its own code, which others that want the processor change little, and seconds by the clock, which they
change a lot. A slow-down below 1 % drowns in the wandering speed of a machine. So the client may ask `--times` as often as the page, nearly
always with a new line of statistics to be told, and the result is shared out again: `slowdown` is (ratio - 1) / times. Beside it is what
the viewer took of the processor.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from growreel.config import Config, load_preset, to_yaml
from growreel.config.growth import StageConfig
from growreel.models import build_generator
from growreel.models.files import load_generator, save_model
from growreel.training.stats import read_lines
from growreel.view.walking import Knots, walk_frames

POLL_SECONDS = 5
"""How often the page *Run* asks."""
LINE_CLIPS = 8
"""Clips to a line of statistics: as few as there can be, so that every question finds a new one."""
SIZES = ("16x64x64", "32x256x256")


def fetch(address: str) -> bytes:
    with urllib.request.urlopen(address) as answer:
        body: bytes = answer.read()
    return body


def walk(seconds: float, threads: int) -> list[dict[str, Any]]:
    """Frames a second by the clock and of processor time, for clips made every 1 to 16 frames, asked for 16 at a time as the page does."""
    torch.set_num_threads(threads)
    rows = []
    for size in SIZES:
        config = paper_until(size)
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            save_model(path, build_generator(config), config, config.growth.plan().total_clips, 25.0)
            model = load_generator(path)
        for step in (1, 2, 4, 8, 16):
            knots: Knots = {}
            walk_frames(model, 0, 0, 8, step, knots=knots)
            start, frames, cpu, began = 16, 0, time.process_time(), time.perf_counter()
            while time.perf_counter() - began < seconds or frames < 64:
                walk_frames(model, 0, start, 16, step, knots=knots)
                start, frames = start + 16, frames + 16
                for knot in [knot for knot in knots if knot < start // step]:
                    del knots[knot]
            wall, own = time.perf_counter() - began, time.process_time() - cpu
            rows.append({"size": size, "step": step, "frames_per_second": frames / wall, "frames_per_cpu_second": frames / own})
            print(rows[-1], flush=True)
    return rows


def paper_until(size: str) -> Config:
    """The paper's configuration in colour, its plan ended at a size: the networks have the paper's width there."""
    config = load_preset("paper")
    sizes = [str(each) for each in config.growth.plan().sizes]
    stages = config.growth.stages[: sizes.index(size) + 1]
    return to_colored(replace(config, growth=replace(config.growth, target=size, stages=stages)))


def to_colored(config: Config) -> Config:
    return replace(config, network=replace(config.network, image_channels=3))


def slowdown(store: Path, turn: float, pairs: int, threads: int, times: int) -> dict[str, Any]:
    """What a training needs for a clip in turns with the page open that asks `times` as often, over the same without, pair by pair."""
    with tempfile.TemporaryDirectory() as folder:
        run, settings = Path(folder) / "run", Path(folder) / "c.yaml"
        settings.write_text(to_yaml(lasting(load_preset("demo"))))
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "growreel", "train", str(store), "--out", str(run), "--config", str(settings)]
        training = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        viewer: subprocess.Popen[str] | None = None
        try:
            last = str(load_preset("demo").growth.plan().sizes[-1])
            while sum(line.get("stage") == last for line in read_lines(run / "stats.jsonl")) < 60:  # what is done once is over, and growth
                time.sleep(1)
            viewer = subprocess.Popen(
                [sys.executable, "-m", "growreel", "view", str(run), "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment
            )
            assert viewer.stdout is not None
            address = viewer.stdout.readline().split()[1]
            fetch(f"{address}api/run?run=run")  # what is imported once does not count
            with_page, without, used, questions = list[Cost](), list[Cost](), 0.0, 0
            for number in range(2 * pairs):
                page = number % 4 in (1, 2)  # off on on off: a drift of the machine cancels
                began, own = Mark.at_a_line(run, training.pid), sum(cpu_seconds(viewer.pid))
                end = time.perf_counter() + turn
                while time.perf_counter() < end:
                    if page:
                        fetch(f"{address}api/run?run=run")
                        questions += 1
                    time.sleep(min(POLL_SECONDS / times, max(0.0, end - time.perf_counter())))
                if page:
                    used += sum(cpu_seconds(viewer.pid)) - own
                (with_page if page else without).append(Mark.at_a_line(run, training.pid) - began)
                print(number, page, (with_page if page else without)[-1], flush=True)
            ratios = {
                name: interval([getattr(on, name) / getattr(off, name) for on, off in zip(with_page, without, strict=True)])
                for name in ("user", "cpu", "wall")
            }
            return {
                "pairs": pairs,
                "seconds": turn,
                "threads": threads,
                "times": times,
                "clips_per_second": statistics.median(1 / each.wall for each in without),
                "viewer_seconds_per_question": used / questions,
                "ratios": ratios,
                "slowdown": {name: {part: (ratio - 1) / times for part, ratio in found.items()} for name, found in ratios.items()},
                "raw": {"with_page": [asdict(each) for each in with_page], "without": [asdict(each) for each in without]},
            }
        finally:
            training.kill()
            training.wait()
            if viewer is not None:
                viewer.kill()
                viewer.wait()


def lasting(config: Config) -> Config:
    """The same networks soon at their last stage, and there for ever: nothing else changes while turns are compared."""
    sizes = [str(size) for size in config.growth.plan().sizes]
    stages = tuple(StageConfig(size=size, fade_clips=0, stable_clips=800 if size != sizes[-1] else 10**9) for size in sizes)
    training = replace(config.training, stats_interval=LINE_CLIPS, sample_interval=10**9, checkpoint_interval=10**9, report=False)
    return replace(config, growth=replace(config.growth, stages=stages), training=training)


@dataclass(frozen=True)
class Cost:
    """Seconds for a clip: of the processor in the training's own code, of the processor at all, and by the clock."""

    user: float
    cpu: float
    wall: float


@dataclass(frozen=True)
class Mark:
    """A moment in which a training wrote a line: clips shown, and its seconds."""

    clips: int
    user: float
    system: float
    wall: float

    @classmethod
    def at_a_line(cls, run: Path, process: int) -> Mark:
        """Wait for the next line."""
        file = run / "stats.jsonl"
        size = file.stat().st_size
        while file.stat().st_size == size:
            time.sleep(0.01)
        wall, (user, system) = time.perf_counter(), cpu_seconds(process)
        return cls(read_lines(file)[-1]["clips"], user, system, wall)

    def __sub__(self, other: Mark) -> Cost:
        clips = self.clips - other.clips
        user, system, wall = self.user - other.user, self.system - other.system, self.wall - other.wall
        return Cost(user / clips, (user + system) / clips, wall / clips)


def interval(ratios: list[float]) -> dict[str, float]:
    """The median, and the two of the values between which the true median lies with at least 95 %, whatever their distribution."""
    ordered, n = sorted(ratios), len(ratios)
    below = max((k for k in range(n // 2) if sum(math.comb(n, j) for j in range(k + 1)) / 2**n <= 0.025), default=0)
    return {"median": statistics.median(ordered), "low": ordered[below], "high": ordered[n - 1 - below]}


def cpu_seconds(process: int) -> tuple[float, float]:
    """Seconds of the processor that all threads of a process have had: in its own code, and in the system's for it."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK"), int(fields[12]) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("what", choices=["walk", "slowdown"])
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    found: Any = (
        walk(options.seconds, options.threads)
        if options.what == "walk"
        else slowdown(options.store, options.seconds, options.pairs, options.threads, options.times)
    )
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
