"""Train the same in 1, 2, 3 and 4 processes, for every loss, with and without passes and a rarer penalty, and compare all weights.

    python benchmarks/reliability/agreement.py --losses swgan --processes 3     # small
    python benchmarks/reliability/agreement.py --out agreement.json
    python benchmarks/reliability/agreement.py --precision float32

Eight steps of 48 clips: two at 2x4x4, four through the fade to 4x8x8, two at 4x8x8. Compared is the last checkpoint: the largest difference
of any weight (generator, discriminator, loss, moving average) from that of one process. In float64, with the optimiser's usual eps;
`--precision float32` shows what rounding alone makes of it: Adam turns the sign of a gradient near zero into a whole step.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from processes import in_processes

from growreel.config import Config, from_dict
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.growth import Size
from growreel.runtime.durable import replace_text
from growreel.training.checkpoint import list_checkpoints, load_checkpoint
from growreel.training.loop import train

LOSSES = ("swgan", "wgan-gp", "relativistic", "san")
PROCESSES = (2, 3, 4)
VARIANTS = ((None, 1), (None, 3), (4, 1), (4, 3))
"""Microbatch and interval of the gradient penalty."""
AIM = 1e-5


def config(loss: str, microbatch: int | None, penalty_interval: int, precision: str) -> Config:
    """The plan of the comparison; 48 clips are 12 for each of four processes."""
    return from_dict(
        {
            "growth": {
                "stages": ["2x4x4", "4x8x8"],
                "fade_clips": 192,
                "stable_clips": 96,
                "minibatch": 48,
                "microbatch": microbatch,
                "learning_rate": 0.002,
            },
            "network": {"max_channels": 4, "latent_dim": 8, "feature_dim": 8},
            "loss": {"name": loss, "penalty_interval": penalty_interval},
            "training": {"device": "cpu", "precision": precision, "report": False, "sample_count": 1, "checkpoint_interval": 96},
        },
        "config",
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    """All weights of the newest checkpoint, by name."""
    state = load_checkpoint(list_checkpoints(run)[-1]).state
    return {f"{part}.{name}": value for part in ("generator", "discriminator", "loss", "ema") for name, value in state[part].items()}


def compare(
    folder: Path, losses: Sequence[str], processes: Sequence[int], precision: str, variants: Sequence[tuple[int | None, int]] = VARIANTS
) -> list[dict[str, Any]]:
    """A row for every combination and number of processes, with the largest difference of a weight from one process."""
    store, rows = folder / "store", []
    write_store(store, shape_clips(96, Size(4, 8, 8)), fps=8.0).close()
    for loss, (microbatch, interval) in itertools.product(losses, variants):
        settings = config(loss, microbatch, interval, precision)
        runs = {}
        for count in (1, *processes):
            out = folder / f"{loss}-{microbatch}-{interval}-{count}"
            in_processes(count, partial(train, store, out, settings, progress=False), folder / "said.txt")
            runs[count] = weights(out)
        for count in processes:
            most = max(float((runs[count][name] - alone).abs().max()) for name, alone in runs[1].items())
            rows.append({"loss": loss, "microbatch": microbatch, "penalty_interval": interval, "processes": count, "most": most})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES)
    parser.add_argument("--processes", nargs="+", type=int, default=PROCESSES)
    parser.add_argument("--precision", choices=("float32", "float64"), default="float64")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        rows = compare(Path(name), options.losses, options.processes, options.precision)
    for row in rows:
        print("{loss:13} microbatch {microbatch!s:5} penalty every {penalty_interval} {processes} processes: {most:.1e}".format(**row))
    if options.out is not None:
        replace_text(options.out, json.dumps(rows, indent=1) + "\n")
    worst = max(row["most"] for row in rows)
    print(f"largest difference of a weight: {worst:.1e}")
    return 1 if worst > AIM else 0


if __name__ == "__main__":
    sys.exit(main())
