"""How fast the extractors are, and whether memory stays flat with the number of clips.

    python benchmarks/extractors.py --out FOLDER

Networks have random weights, which are as fast as trained ones. Speeds are medians over interleaved rounds; memory is the peak of a
process of its own for each number of clips. Writes FOLDER/extractors.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from growreel.data.writer import write_store
from growreel.evaluation.extractors import c3d, i3d, inception
from growreel.evaluation.extractors.motion import MotionStatistics
from growreel.evaluation.extractors.networks import C3DProbabilities, I3DLogits, InceptionFeatures
from growreel.evaluation.extractors.patches import PyramidPatches
from growreel.evaluation.extractors.pixels import PixelFeatures
from growreel.evaluation.extractors.weights import WeightsFile, identify
from growreel.growth import Size

SIZES = (Size(16, 64, 64), Size(32, 256, 256))
MEMORY = {"fid768": (32, 64, 128), "swd,swd3d,motion,kid,prdc": (128, 512, 2048)}


def weights_of(network: nn.Module, path: Path) -> WeightsFile:
    """Random weights in the layout that `load` reads."""
    state = network.state_dict()
    if isinstance(network, inception.InceptionV3):
        scopes = dict(inception._scopes())
        arrays = {f"{scopes[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": t.numpy() for name, t in state.items()}
        np.savez(path.with_suffix(".npz"), **arrays)
    elif isinstance(network, c3d.C3D):
        arrays = {name.replace(".weight", "/W").replace(".bias", "/b"): t.numpy() for name, t in state.items()}
        np.savez(path.with_suffix(".npz"), **arrays)
    else:
        torch.save(state, path.with_suffix(".pt"))
    return identify(next(path.parent.glob(f"{path.name}.*")))


def extractors(folder: Path, size: Size) -> dict[str, Callable[[NDArray[np.uint8], range], NDArray[Any]]]:
    cpu = torch.device("cpu")
    np.savez(folder / "mean.npz", mean=np.zeros(c3d.MEAN_SHAPE, np.float32))
    return {
        "inception-768": InceptionFeatures(weights_of(inception.InceptionV3(768), folder / "inception"), 768, cpu),
        "i3d": I3DLogits(weights_of(i3d.I3D(), folder / "i3d"), "stretch", cpu),
        "c3d": C3DProbabilities(weights_of(c3d.C3D(), folder / "c3d"), identify(folder / "mean.npz"), "tganv2", cpu),
        "patches": PyramidPatches(size, 3, 16, False, 0),
        "patches3d": PyramidPatches(size, 3, 16, True, 0),
        "motion": MotionStatistics(),
        "pixels": PixelFeatures(),
    }


def speeds(rounds: int) -> list[dict[str, Any]]:
    rows = []
    for size in SIZES:
        clips = np.random.default_rng(0).integers(0, 256, (4, *size, 3), dtype=np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            each = extractors(Path(folder), size)
            times: dict[str, list[float]] = {name: [] for name in each}
            for number in range(rounds + 1):  # the first one warms up
                for name, extractor in each.items():
                    started = time.perf_counter()
                    extractor(clips, range(len(clips)))
                    if number:
                        times[name].append(time.perf_counter() - started)
        for name, taken in times.items():
            rates = sorted(len(clips) / seconds for seconds in taken)
            rows.append(
                {"size": str(size), "extractor": name, "clips_per_second": statistics.median(rates), "from": rates[0], "to": rates[-1]}
            )
            print(rows[-1], flush=True)
    return rows


def peak_memory(folder: Path, metrics: str, count: int) -> int:
    """Bytes, of an evaluation of `count` clips of 16x64x64 against as many, in a process of its own."""
    store = folder / f"{metrics}-{count}"
    rng = np.random.default_rng(0)
    write_store(store, (rng.integers(0, 256, (16, 64, 64, 3), dtype=np.uint8) for _ in range(count)), fps=8)
    program = (
        "import sys; from growreel import EvaluationOptions, evaluate; "
        "evaluate(sys.argv[1], sys.argv[1], EvaluationOptions(metrics=sys.argv[2].split(','), features='pixels', resamples=0)); "
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"  # ru_maxrss would begin with the parent's
    )
    environment = {**os.environ, "GROWREEL_WEIGHTS": str(folder / "weights")}
    done = subprocess.run([sys.executable, "-c", program, str(store), metrics], check=True, capture_output=True, text=True, env=environment)
    return int(done.stdout) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = speeds(options.rounds)
    memory: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "weights").mkdir()
        weights_of(inception.InceptionV3(768), folder / "weights" / "inception-768")
        for metrics, counts in MEMORY.items():
            for count in counts:
                memory.append({"metrics": metrics, "clips": count, "peak_bytes": peak_memory(folder, metrics, count)})
                print(memory[-1], flush=True)
    report = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "date": time.strftime("%Y-%m-%d"),
        "speed": rows,
        "memory": memory,
    }
    (options.out / "extractors.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    lines = ["| extractor | " + " | ".join(f"{size}" for size in SIZES) + " |", "|---|---|---|"]
    for name in dict.fromkeys(row["extractor"] for row in rows):
        cells = [f"{r['clips_per_second']:.3g} ({r['from']:.3g} - {r['to']:.3g})" for r in rows if r["extractor"] == name]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| metrics | clips | peak memory, MiB |", "|---|---|---|"]
    lines += [f"| {m['metrics']} | {m['clips']} | {m['peak_bytes'] / 2**20:.0f} |" for m in memory]
    (options.out / "extractors.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
