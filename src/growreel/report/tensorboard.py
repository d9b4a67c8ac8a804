"""A run folder for TensorBoard: `stats.jsonl` and sample grids as event files, once or for as long as the run grows."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from growreel.config import to_yaml
from growreel.errors import GrowreelError
from growreel.report.folder import Run, read_run
from growreel.video import read_frames

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

EVENTS = "tensorboard"
GROUPS = {"loss": "loss", "critic": "critic", "penalty": "penalty", "drift": "penalty", "norm": "norm"}
"""Word in a name to the heading under which TensorBoard shows it; what has none of them is under `run`."""


def copy_to_tensorboard(runs: list[Path], out: Path | None = None, *, follow: bool = False, every: float = 5.0) -> list[Path]:
    """Write event files of run folders. The step of everything is real clips shown.

    Args:
        runs: run folders; training knows nothing of this and is not slowed down.
        out: folder for the event files, one in it for each run; None is `tensorboard` in each run folder.
        follow: go on until interrupted, looking for new lines every so many seconds.
        every: seconds between two looks.

    Returns:
        The folders to give to `tensorboard --logdir`.

    Raises:
        GrowreelError: TensorBoard is not installed, a folder is no run folder, or an event file cannot be written.
    """
    copies = [_Copy(read_run(path), path / EVENTS if out is None else out / path.resolve().name) for path in runs]
    try:
        for copy in copies:
            copy.catch_up()
        while follow:
            time.sleep(every)
            for copy in copies:
                copy.run = read_run(copy.run.path)
                copy.catch_up()
    finally:
        for copy in copies:
            copy.close()
    return [copy.folder for copy in copies]


@dataclass
class _Copy:
    """One run, and what of it has been written: `lines` by clips and time, `grids` by clips."""

    run: Run
    folder: Path
    lines: list[tuple[int, float]] = field(default_factory=list)
    grids: set[int] = field(default_factory=set)
    writer: SummaryWriter | None = None

    def catch_up(self) -> None:
        """Write what is new. Where a run went back and showed clips again, TensorBoard is told to forget what it had of them."""
        lines = sorted([*self.run.intervals, *self.run.evaluations], key=lambda line: line["clips"])
        keys = [(line["clips"], line.get("time", 0.0)) for line in lines]
        kept = next((k for k, (old, new) in enumerate(zip(self.lines, keys, strict=False)) if old != new), min(len(self.lines), len(keys)))
        if self.writer is None or kept < len(self.lines):
            back_to = keys[kept - 1][0] if kept else 0
            self.start(purge_from=back_to + 1 if self.lines else None)
            self.grids = {clips for clips in self.grids if clips <= back_to}
        for line in lines[kept:]:
            self.write(line)
        self.lines = keys
        for clips in self.run.samples.keys() - self.grids:
            self.write_grid(clips, self.run.samples[clips])
        assert self.writer is not None
        self.writer.flush()

    def start(self, purge_from: int | None) -> None:
        """Open an event file; steps from `purge_from` on in the ones before it no longer count."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise GrowreelError("tensorboard: is not installed; pip install 'growreel[tensorboard]'") from error
        if self.writer is not None:
            self.writer.close()
        elif self.folder.is_dir():
            for old in self.folder.glob("events.out.tfevents.*"):  # of an earlier call: everything is written anew
                old.unlink()
        try:
            self.writer = SummaryWriter(str(self.folder), purge_step=purge_from)
        except OSError as error:
            raise GrowreelError(f"--out {self.folder}: cannot be written ({error.strerror}); choose another place") from error
        if purge_from is None:
            self.writer.add_text("config.yaml", f"```yaml\n{to_yaml(self.run.config)}```", 0)

    def write(self, line: dict[str, Any]) -> None:
        assert self.writer is not None
        for name, value in _scalars(line):
            self.writer.add_scalar(name, value, line["clips"], walltime=line.get("time"), new_style=False)

    def write_grid(self, clips: int, path: Path) -> None:
        """An animated GIF, which TensorBoard plays."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        assert self.writer is not None
        first, *rest = [Image.fromarray(frame) for frame in read_frames(path, colors=3)]
        stream = io.BytesIO()
        first.save(stream, "GIF", save_all=True, append_images=rest, duration=round(1000 / max(self.fps(clips), 1)), loop=0)
        image = Summary.Image(encoded_image_string=stream.getvalue(), height=first.height, width=first.width, colorspace=3)
        self.writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag="samples", image=image)]), clips)
        self.grids.add(clips)

    def fps(self, clips: int) -> float:
        """Clips last as long at every stage."""
        store = self.run.environment.get("store")
        size = self.run.plan.sizes[self.run.plan.position(clips).stage]
        final = int(str(store["size"]).split("x")[0]) if isinstance(store, dict) else self.run.plan.sizes[-1].t
        return (store["fps"] if isinstance(store, dict) else 8.0) * size.t / final

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def _scalars(line: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Names with their headings, and values, of a line of averages or of metrics."""
    values = {f"metrics/{name}": value for name, value in line.get("metrics", {}).items()}
    if not values:
        for name, value in line.items():
            group = next((heading for word, heading in GROUPS.items() if word in name), "run")
            if name not in ("clips", "time"):
                values[f"{group}/{name}"] = value
    for name, value in values.items():
        if isinstance(value, int | float) and np.isfinite(value):
            yield name.replace(" ", "_"), float(value)
