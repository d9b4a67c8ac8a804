"""stats.jsonl: one line of averages per interval, the truth about how a run went."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from growreel.runtime.durable import replace_text, sync_folder, writing


class RunningMeans:
    """Averages of named scalars over steps, kept in float64 and stored in checkpoints, so that a resumed line is the same line."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: Iterable[tuple[str, float]]) -> None:
        """Count named values; a name may come several times."""
        for name, value in values:
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """Return the averages and start anew."""
        means = {name: self.sums[name] / self.counts[name] for name in self.sums}
        self.sums, self.counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self.sums), "counts": dict(self.counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append one JSON object and flush it, so that a killed run loses no whole line."""
    with writing(path, "the last checkpoint is whole"):
        is_new = not path.exists()
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_folder(path.parent)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return every whole line. What was cut by a kill or damaged is left out, and only that."""
    return parse_lines(path.read_text(encoding="utf-8", errors="replace")) if path.exists() else []


def parse_lines(text: str) -> list[dict[str, Any]]:
    """Return the lines in a text that are JSON objects and say at how many clips they were written."""
    lines: list[dict[str, Any]] = []
    for row in text.split("\n"):
        try:
            line = json.loads(row)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and isinstance(line.get("clips"), int):
            lines.append(line)
    return lines


def seconds_trained(lines: Sequence[Mapping[str, Any]], began_at: int = 0) -> float:
    """Seconds that a run took from its first clip on, with all its stops and resumptions, from the speeds in its lines.

    `began_at` is `RunFolder.began_at`.
    """
    seconds, before = 0.0, began_at
    for line in lines:
        if "clips_per_second" in line:  # not an event, not an evaluation
            seconds += (line["clips"] - before) / line["clips_per_second"]
            before = line["clips"]
    return seconds


def restore_lines(path: Path, saved: str | None, clips_shown: int) -> None:
    """Make the file that of a run at `clips_shown`, atomically: lines of clips that will be shown again go, lines about rollbacks stay.

    `saved` are the lines as they were at that point, from the checkpoint; None if it has none, and then the file's own are taken.
    """
    present = read_lines(path)
    if saved is None:
        still_true = [line for line in present if line["clips"] <= clips_shown or "event" in line]
        text = "".join(json.dumps(line) + "\n" for line in still_true)
    else:
        known = parse_lines(saved)
        text = saved + "".join(json.dumps(line) + "\n" for line in present if "event" in line and line not in known)
    with writing(path, "the checkpoints are whole"):
        if (path.read_bytes() if path.exists() else b"") != text.encode():
            replace_text(path, text)
