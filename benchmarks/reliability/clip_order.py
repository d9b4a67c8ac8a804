"""Stop a run, go on with another number of processes, and compare which clips come next with what one undisturbed process is shown.

    python benchmarks/reliability/clip_order.py --clips 960      # small
    python benchmarks/reliability/clip_order.py --out clip_order.json

Noted are, in every process, the number in the store and the mirroring of each clip of each batch that the discriminator gets. The run is
stopped after a third as many clips as follow; so it has been through some epochs of its 977 clips, and stands in the middle of one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from processes import in_processes
from torch import Tensor

from growreel.config import Config, from_dict
from growreel.data.batches import ClipBatches
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.growth import Size
from growreel.runtime.durable import replace_text
from growreel.training.loop import train

MINIBATCH = 24
PROCESSES = (1, 2, 3)


def config(clips: int) -> Config:
    """One small stage: what is compared does not depend on the networks."""
    growth = {"stages": ["2x4x4"], "fade_clips": 0, "stable_clips": clips, "minibatch": MINIBATCH, "learning_rate": 0.001}
    training = {
        "device": "cpu",
        "precision": "float32",
        "sample_count": 1,
        "checkpoint_interval": 10**6,
        "sample_interval": 10**6,
        "report": False,
    }
    return from_dict({"growth": growth, "network": {"max_channels": 2, "latent_dim": 4, "feature_dim": 4}, "training": training}, "config")


def noting(store: Path, run: Path, settings: Config, notes: Path) -> None:
    """Train, and write down the clips of every batch of this process: a line with its position, its rank, and [clip, mirrored] for each."""
    plain = ClipBatches.at

    def at(self: ClipBatches, clips_shown: int, size: Size, minibatch: int) -> Tensor:
        clips, mirrored = plain(self, clips_shown, size, minibatch), self._mirrored(clips_shown, minibatch) > 0
        numbers = [self._index(place) for place in range(clips_shown + self.rank, clips_shown + minibatch, self.world_size)]
        for clip, stored, flip in zip(clips, self.of(numbers, size), mirrored, strict=True):
            assert torch.equal(clip, stored.flip(-1) if flip else stored), "a batch holds other clips than its numbers say"
        rows = [[number, bool(flip)] for number, flip in zip(numbers, mirrored, strict=True)]
        with open(notes / f"{self.rank}.jsonl", "a", encoding="ascii") as file:
            file.write(json.dumps([clips_shown, self.rank, self.world_size, rows]) + "\n")
        return clips

    ClipBatches.at = at  # type: ignore[method-assign]
    train(store, run, settings, progress=False)


def clips_in_order(notes: Path) -> list[Any]:
    """All clips by their place in the run, whichever process was shown them."""
    placed = {}
    for file in notes.iterdir():
        for line in file.read_text(encoding="ascii").splitlines():
            position, rank, processes, rows = json.loads(line)
            placed.update({position + rank + k * processes: row for k, row in enumerate(rows)})
    return [placed[place] for place in sorted(placed)]


def compare(folder: Path, clips: int, processes: Sequence[int]) -> list[dict[str, Any]]:
    """A row for every number of processes: how many clips came after the resume, and how many of them were others."""
    store, stop = folder / "store", -(-clips // 3 // MINIBATCH) * MINIBATCH
    write_store(store, shape_clips(977, Size(2, 4, 4)), fps=8.0).close()
    settings = config(stop + -(-clips // MINIBATCH) * MINIBATCH)
    shorter = dataclasses.replace(settings, training=dataclasses.replace(settings.training, clips=stop))

    def shown(run: Path, count: int, what: Config, name: str) -> list[Any]:
        notes = folder / name
        notes.mkdir()
        in_processes(count, partial(noting, store, run, what, notes), folder / "said.txt")
        return clips_in_order(notes)

    whole = shown(folder / "whole", 1, settings, "whole-notes")
    assert shown(folder / "stopped", 1, shorter, "stopped-notes") == whole[:stop]
    rows = []
    for count in processes:
        run = Path(shutil.copytree(folder / "stopped", folder / f"resumed-{count}"))
        after = shown(run, count, settings, f"resumed-notes-{count}")
        others = sum(a != b for a, b in zip(after, whole[stop:], strict=True))
        rows.append({"processes": count, "stopped at": stop, "clips after": len(after), "other": others})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=10_000, help="at least so many after the resume")
    parser.add_argument("--processes", nargs="+", type=int, default=PROCESSES)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        rows = compare(Path(name), options.clips, options.processes)
    for row in rows:
        print("{processes} processes: {clips after} clips after {stopped at}, {other} others".format(**row))
    if options.out is not None:
        replace_text(options.out, json.dumps(rows, indent=1) + "\n")
    return 1 if any(row["other"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
