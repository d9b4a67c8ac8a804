"""What the viewer reaches and what it costs: frames a second of the endless walk, and how much slower a training is with its page open.

    python benchmarks/viewer.py walk --out walk.json
    python benchmarks/viewer.py slowdown STORE --out slowdown.json

`walk` asks a viewer for frames over HTTP, as the page does, with networks of the paper's width and random weights. `slowdown` lets one
training run, takes turns of the same length with and without a client that asks for what the page asks, and gives the ratio of the steps
made; beside it the processor time that the viewer has taken, which does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import torch

from growreel.config import load_preset, to_yaml
from growreel.models import build_generator
from growreel.models.files import save_model
from growreel.training.stats import read_lines
from growreel.view.serve import open_viewer

CASES = (("weizmann-64", "16x64x64"), ("trailerfaces-256", "32x256x256"))


def fetch(address: str) -> bytes:
    with urllib.request.urlopen(address) as answer:
        body: bytes = answer.read()
    return body


def walk(seconds: float, threads: int) -> list[dict[str, Any]]:
    """Frames a second by wall clock, and a processor's seconds a frame, for clips made every 1 to 16 frames."""
    torch.set_num_threads(threads)
    rows = []
    for preset, size in CASES:
        config = load_preset(preset)
        plan = config.growth.plan()
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            colored = to_colored(config)
            save_model(path, build_generator(colored), colored, plan.total_clips, 25.0)
            server, address = open_viewer(path, port=0)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            assert size == str(plan.sizes[-1]), plan.sizes[-1]
            for step in (1, 2, 4, 8, 16):
                fetch(f"{address}api/walk?step={step}&count=8")
                start, frames, cpu, began = 8, 0, time.process_time(), time.perf_counter()
                while time.perf_counter() - began < seconds:
                    fetch(f"{address}api/walk?step={step}&count=16&start={start}")
                    start, frames = start + 16, frames + 16
                wall = time.perf_counter() - began
                rows.append(
                    {
                        "size": size,
                        "step": step,
                        "frames_per_second": frames / wall,
                        "cpu_seconds_per_frame": (time.process_time() - cpu) / frames,
                    }
                )
                print(rows[-1], flush=True)
            server.shutdown()
            server.server_close()
    return rows


def to_colored(config: Any) -> Any:
    from dataclasses import replace

    return replace(config, network=replace(config.network, image_channels=3))


def slowdown(store: Path, turn: float, turns: int) -> dict[str, Any]:
    """Ratio of clips shown in turns with the page open to those without, pair by pair."""
    with tempfile.TemporaryDirectory() as folder:
        run, settings = Path(folder) / "run", Path(folder) / "c.yaml"
        settings.write_text(to_yaml(load_preset("demo")))
        environment = {**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())}
        command = [sys.executable, "-m", "growreel", "train", str(store), "--out", str(run), "--config", str(settings)]
        extra = ["--clips", "100000000", "--training.stats_interval", "64", "--training.report", "false"]
        training = subprocess.Popen([*command, *extra], stdout=subprocess.DEVNULL, env=environment)
        viewer: subprocess.Popen[str] | None = None
        try:
            while len(read_lines(run / "stats.jsonl")) < 5:
                time.sleep(1)
            viewer = subprocess.Popen(
                [sys.executable, "-m", "growreel", "view", str(run), "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment
            )
            assert viewer.stdout is not None
            address = viewer.stdout.readline().split()[1]
            shown = dict[bool, list[float]]({True: [], False: []})
            used = list[float]()
            fetch(f"{address}api/run?run=run")  # what is imported once does not count
            for number in range(2 * turns):
                page = number % 4 in (1, 2)  # off on on off: a drift of the machine cancels
                cpu, before, began = cpu_seconds(viewer.pid), progress(run), time.perf_counter()
                while time.perf_counter() - began < turn:
                    if page:
                        fetch(f"{address}api/run?run=run")
                    time.sleep(5)
                after = progress(run)
                shown[page].append((after[0] - before[0]) / (after[1] - before[1]))
                if page:
                    used.append((cpu_seconds(viewer.pid) - cpu) / (time.perf_counter() - began))
            ratios = [on / off for on, off in zip(shown[True], shown[False], strict=True)]
            return {
                "turns": turns,
                "seconds": turn,
                "median_ratio": statistics.median(ratios),
                "ratios": ratios,
                "viewer_share_of_a_core": statistics.mean(used),
            }
        finally:
            training.kill()
            training.wait()
            if viewer is not None:
                viewer.kill()
                viewer.wait()


def progress(run: Path) -> tuple[int, float]:
    """Clips shown and time of the newest line."""
    last = read_lines(run / "stats.jsonl")[-1]
    return last["clips"], last["time"]


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("what", choices=["walk", "slowdown"])
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    found: Any = (
        walk(options.seconds, options.threads) if options.what == "walk" else slowdown(options.store, options.seconds, options.turns)
    )
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
