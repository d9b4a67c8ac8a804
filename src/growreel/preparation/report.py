"""What became of every source, in a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from growreel.runtime.terminal import printable

DEFAULT_FPS = 25.0  # for sources without a rate: frames, strips and arrays
NAMED = 3  # sources that a summary names


@dataclass(frozen=True)
class SourceRow:
    """What became of one source.

    Attributes:
        name: path relative to SOURCE, with `#r1c2` for a tile.
        status: `used`, `skipped`, or `ignored` for a file that never claimed to be a video or image, or was left out by a rule.
        clips: clips cut from it.
        frames: frames looked at.
        fps: the rate its clips play at, where the source has one.
        note: why it was skipped, or what was odd about it.
        damaged: something of it could not be read.
        faces: what `--crop faces` found in it (`faces.manifest`); JSON values.
    """

    name: str
    status: Literal["used", "skipped", "ignored"]
    clips: int = 0
    frames: int = 0
    fps: float | None = None
    note: str = ""
    damaged: bool = False
    faces: dict[str, Any] | None = None


@dataclass(frozen=True)
class PrepareReport:
    """Result of `prepare`. `store` is None if nothing was written; `notes` are about the store as a whole."""

    store: Path | None
    clips: int
    rows: tuple[SourceRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def skipped(self) -> tuple[SourceRow, ...]:
        return tuple(row for row in self.rows if row.status == "skipped")

    @property
    def exit_code(self) -> int:
        """0 everything was read; 1 clips were written but something was skipped or damaged; 2 nothing was written."""
        return 2 if self.store is None else 1 if any(row.status == "skipped" or row.damaged for row in self.rows) else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: all sources, with what became of each, and the notes about the store."""
        store = None if self.store is None else str(self.store)
        sources = [{name: value for name, value in asdict(row).items() if name != "faces"} for row in self.rows]
        return {"store": store, "clips": self.clips, "sources": sources, "notes": list(self.notes)}

    def table(self, verbose: bool = False) -> str:
        """What was skipped or damaged, a line each; what was left out and notes about the others in summary; the totals.

        `verbose`: a line for every source. Names are shown with escapes in place of what is no printable character.
        """
        listed = [row for row in self.rows if verbose or row.status == "skipped" or row.damaged]
        lines = list[str]()
        if listed:
            width = max([len(printable(row.name)) for row in listed] + [6])
            lines.append(f"{'source':<{width}}  {'status':<7}  {'clips':>6}  {'frames':>7}  note")
            for row in listed:
                line = f"{printable(row.name):<{width}}  {row.status:<7}  {row.clips:>6,}  {row.frames:>7,}  {printable(row.note)}"
                lines.append(line.rstrip())
        if not verbose:
            lines += _noted("ignored", (row for row in self.rows if row.status == "ignored"))
            lines += _noted("note", (row for row in self.rows if row.status == "used" and not row.damaged and row.note))
        statuses = Counter(row.status for row in self.rows)
        counts = ", ".join(f"{statuses[status]:,} {status}" for status in ("used", "skipped", "ignored") if statuses[status])
        where = f"{self.clips:,} clips in {printable(str(self.store))}" if self.store else "no clips: no store was made"
        return "\n".join([*lines, f"{where}; sources: {counts}", *self.notes])


def _noted(heading: str, rows: Iterable[SourceRow]) -> list[str]:
    """One line for each distinct note, with the first of the sources that have it."""
    names: dict[str, list[str]] = {}
    for row in rows:
        names.setdefault(row.note, []).append(printable(row.name))
    lines = []
    for note, noted in names.items():
        more = f" and {len(noted) - NAMED:,} more" if len(noted) > NAMED else ""
        lines.append(f"{heading}: {', '.join(noted[:NAMED])}{more}: {printable(note)}")
    return lines


def clips_at_rates(rows: Sequence[SourceRow]) -> Counter[float]:
    """How many clips play at each rate; those of sources without one are not counted."""
    clips: Counter[float] = Counter()
    for row in rows:
        if row.clips and row.fps:
            clips[row.fps] += row.clips
    return clips


def store_rate(rows: Sequence[SourceRow]) -> tuple[float, tuple[str, ...]]:
    """The rate at which most clips play, and a note if not all do."""
    clips = clips_at_rates(rows)
    if not clips:
        return DEFAULT_FPS, ()
    rate = clips.most_common(1)[0][0]
    listed = list(dict.fromkeys(f"{each:.4g}" for each in sorted(clips)))
    if len(listed) == 1:
        return rate, ()
    shown = ", ".join(listed) if len(listed) <= 8 else f"{', '.join(listed[:4])}, ... {', '.join(listed[-3:])}"
    return rate, (f"note: clips play at different rates ({shown} frames per second); --fps would make them equal",)
