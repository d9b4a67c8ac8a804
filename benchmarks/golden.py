"""The golden run of tests/test_training.py, trained once for every set of CPU instructions and number of threads: one outcome, or several?

    PYTHONPATH=src python benchmarks/golden.py --out golden.json [--precision float32]

Each run is a process of its own, told by the environment which instructions PyTorch's own kernels, oneDNN's and MKL's may use. Prints the
losses as a table and the largest relative difference from the golden ones; leaves with 1 if that is beyond what the test allows. A run in
float32 begins with other weights; there the difference is from the first row.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import growreel
from growreel.bench.machine import describe_machine
from growreel.bench.report import markdown_rows
from growreel.config import Config, from_dict
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.growth import Size
from growreel.training.loop import train
from growreel.training.stats import read_lines


class Losses(NamedTuple):
    """Means over the 10 steps up to a number of clips."""

    clips: int
    discriminator: float
    generator: float


GOLDEN = (
    Losses(40, 2.498245227, 0.24549042288),
    Losses(80, 3.025602198, 0.08652914099),
    Losses(120, 4.099056411, 0.01470998279),
)
"""What the run gives in float64. A refactor reproduces it; a change of numerics says in its commit why it moved."""
TOLERANCE = 1e-6
"""Relative. A step hands its losses on in float32, so a difference in float64's last digit may show as one of 6e-8 here and there."""
ENVIRONMENTS: tuple[dict[str, str], ...] = (
    {},
    {"ATEN_CPU_CAPABILITY": "default"},
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    {"MKL_ENABLE_INSTRUCTIONS": "AVX2"},  # the products of float64 convolutions are MKL's where it is there; oneDNN has none
)
THREADS = (1, 2)


def golden_config(**training: Any) -> Config:
    """2x4x4 -> 4x8x8 with 4 channels in float64: 40 clips, a fade of 40 and 40 more, in minibatches of 4; with changes of `training`."""
    growth = {"stages": ["2x4x4", "4x8x8"], "fade_clips": 40, "stable_clips": 40, "minibatch": 4, "learning_rate": 0.002}
    return from_dict(
        {
            "growth": growth,
            "network": {"max_channels": 4, "latent_dim": 8, "feature_dim": 8},
            "loss": {"swgan": {"feature_penalty": "slope"}},
            "training": {"precision": "float64", "device": "cpu", "ema_decay": 0.9, "stats_interval": 40, "report": False, **training},
        },
        "golden_config",
    )


def golden_store(path: Path) -> Path:
    """Write the 40 procedural clips of 4x8x8 that the run is trained on."""
    write_store(path, shape_clips(40, Size(4, 8, 8)), fps=8.0)
    return path


def golden_losses(store: Path, run: Path, config: Config) -> list[Losses]:
    """Train in the folder `run` and return what stats.jsonl says."""
    train(store, run, config, progress=False)
    return [Losses(line["clips"], line["loss_discriminator"], line["loss_generator"]) for line in read_lines(run / "stats.jsonl")]


def largest_difference(found: Sequence[Losses], expected: Sequence[Losses] = GOLDEN) -> float:
    """Return the largest relative difference from the golden losses, or others, infinite if there are not as many."""
    if [losses.clips for losses in found] != [losses.clips for losses in expected]:
        return math.inf
    pairs = [(a, b) for ours, theirs in zip(found, expected, strict=True) for a, b in zip(ours[1:], theirs[1:], strict=True)]
    return max(abs(a / b - 1) for a, b in pairs)


def in_environment(changes: dict[str, str], threads: int, precision: str, folder: Path) -> dict[str, Any]:
    """Run this file again under a changed environment, with `--alone`; return what it found, or how it `failed`."""
    environment = {**os.environ, **changes, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(Path(growreel.__file__).parents[1])}
    command = [sys.executable, __file__, "--alone", str(folder), "--precision", precision]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "losses": [Losses(*each) for each in found["losses"]]}


def alone(folder: Path, precision: str) -> dict[str, Any]:
    """Return the losses in this process, and what PyTorch says that it uses."""
    losses = golden_losses(golden_store(folder / "store"), folder / "run", golden_config(precision=precision))
    return {"losses": losses, "kernels": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: a row for each run."""
    rows = [("told by the environment", "PyTorch's kernels", "threads", *(f"losses at {each.clips}" for each in GOLDEN), "difference")]
    for run in runs:
        told = ", ".join(f"{name}={value}" for name, value in run["environment"].items()) or "nothing"
        if "failed" in run:
            rows.append((told, "", str(run["threads"]), *["failed"] * len(GOLDEN), run["failed"]))
            continue
        losses = [f"{discriminator:.8f} {generator:.8f}" for _, discriminator, generator in run["losses"]]
        rows.append((told, run["kernels"], str(run["threads"]), *losses, f"{run['difference']:.1e}"))
    return "\n".join(markdown_rows(rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON file for everything that is printed")
    parser.add_argument("--precision", choices=["float64", "float32"], default="float64", help="float32 shows why the test does not use it")
    parser.add_argument("--alone", type=Path, metavar="FOLDER", help="train once, here, and print JSON")
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.alone, options.precision)))
        return 0
    runs = []
    for changes in ENVIRONMENTS:
        for threads in THREADS:
            with tempfile.TemporaryDirectory() as folder:
                found = in_environment(changes, threads, options.precision, Path(folder))
            runs.append({"threads": threads, "environment": changes, **found})
    expected = GOLDEN if options.precision == "float64" else next((run["losses"] for run in runs if "losses" in run), GOLDEN)
    for run in runs:
        run["difference"] = largest_difference(run.get("losses", ()), expected)
    machine = describe_machine(torch.device("cpu"))
    if options.out:
        options.out.write_text(json.dumps({"machine": machine, "precision": options.precision, "runs": runs}, indent=1) + "\n")
    print(f"{machine['device']}, torch {machine['torch']}, {options.precision}\n\n{table(runs)}")
    return 0 if all(run["difference"] < TOLERANCE for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
