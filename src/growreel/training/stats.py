"""stats.jsonl: one line of averages per interval, the truth about how a run went."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from growreel.runtime.durable import replace_text, writing


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
        """The averages, and start anew."""
        means = {name: self.sums[name] / self.counts[name] for name in self.sums}
        self.sums, self.counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self.sums), "counts": dict(self.counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append one JSON object and flush it, so that a killed run loses no whole line."""
    with writing(path, "the last checkpoint is whole"), open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole line; a last line cut by a kill is left out."""
    lines: list[dict[str, Any]] = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break
    return lines


def seconds_trained(lines: Sequence[Mapping[str, Any]]) -> float:
    """Seconds that a run took from its first clip on, with all its stops and resumptions, from the speeds in its lines."""
    seconds, before = 0.0, 0
    for line in lines:
        if "clips_per_second" in line:  # not an event, not an evaluation
            seconds += (line["clips"] - before) / line["clips_per_second"]
            before = line["clips"]
    return seconds


def cut_after(path: Path, clips_shown: int) -> None:
    """Drop lines of clips that a resumed run will show again, atomically; lines about rollbacks stay."""
    if not path.exists():
        return
    kept = [line for line in read_lines(path) if line["clips"] <= clips_shown or "event" in line]
    replace_text(path, "".join(json.dumps(line) + "\n" for line in kept))
