"""What a bench found: numbers as JSON, a table to post."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from growreel.runtime.durable import write_report

FORMAT = "growreel-bench-1"


@dataclass
class StageFigures:
    """Figures of one stage. Rates are in clips a second, one per round.

    Attributes:
        train, fade: real clips shown a second in the stable phase and in the fade (empty at the first stage).
        sample, load: clips generated; clips read, scaled and brought to the device by the loader alone.
        operations: `train` and `sample`: `flops` and `bytes` for one clip.
        peak, at_start: bytes of the training process (of tensors, on a card): the most, and before it had networks.
    """

    size: str
    minibatch: int
    fade_clips: int
    stable_clips: int
    train: list[float] = field(default_factory=list)
    fade: list[float] = field(default_factory=list)
    sample: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    operations: dict[str, dict[str, float]] = field(default_factory=dict)
    peak: int = 0
    at_start: int = 0

    def hours(self) -> float:
        """Return the hours that the plan spends at this stage, at the median speeds of its fade and of its stable phase."""
        seconds = self.stable_clips / statistics.median(self.train)
        return (seconds + (self.fade_clips / statistics.median(self.fade) if self.fade else 0)) / 3600


@dataclass
class BenchReport:
    """Everything that one bench found.

    Attributes:
        machine, settings: facts.
        precision: of training and sampling.
        matrix_rates: operations a second of large matrix products in that precision, and bytes a second of copies, one per round and stage.
        stages: in the order of the plan; those left out are missing.
        plan: every size of the plan.
    """

    machine: dict[str, Any]
    settings: dict[str, Any]
    precision: str
    plan: list[str]
    stages: list[StageFigures] = field(default_factory=list)
    matrix_rates: list[float] = field(default_factory=list)
    copy_rates: list[float] = field(default_factory=list)

    def table(self) -> str:
        """Return the facts, a table of all stages and the forecast as Markdown that is readable as it is."""
        matrix, copy = statistics.median(self.matrix_rates), statistics.median(self.copy_rates)
        header = (
            "stage",
            "minibatch",
            "train clips/s",
            "of matrix / copy rate",
            "peak memory",
            "sample clips/s",
            "of matrix / copy rate",
            "loader clips/s",
            "loader / train",
        )
        rows = [header]
        for stage in self.stages:
            train, load = statistics.median(stage.train), statistics.median(stage.load)
            rows.append(
                (
                    stage.size,
                    str(stage.minibatch),
                    spread(stage.train),
                    self._fractions(stage, "train", train, matrix, copy),
                    f"{(stage.peak - stage.at_start) / 1e9:.2f} GB",
                    spread(stage.sample),
                    self._fractions(stage, "sample", statistics.median(stage.sample), matrix, copy),
                    spread(stage.load),
                    f"{load / train:.0f}x" if load >= 10 * train else f"{load / train:.1f}x",
                )
            )
        facts = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        lines = [
            f"{self.precision}, {facts}",
            f"matrix products {matrix / 1e12:.2f} TFLOP/s, copies {copy / 1e9:.1f} GB/s; medians of {self.settings['repeats']} rounds "
            "(least to most); memory without what the process held before it had networks",
            "",
            *markdown_rows(rows),
            "",
            self._forecast(),
        ]
        return "\n".join(lines)

    def save(self, path: Path) -> list[Path]:
        """Write the JSON to `path`, which ends in .json, and the table beside it as .md. Returns both paths."""
        return write_report(path, "--out", json.dumps(self.as_dict(), indent=2) + "\n", self.table() + "\n")

    def as_dict(self) -> dict[str, Any]:
        """Return all figures as plain values, with the `format` that they are in."""
        return {"format": FORMAT, **asdict(self)}

    def _forecast(self) -> str:
        hours = [stage.hours() for stage in self.stages]
        clips = sum(stage.fade_clips + stage.stable_clips for stage in self.stages)
        what = "the whole plan" if len(self.stages) == len(self.plan) else f"these {len(self.stages)} of {len(self.plan)} stages"
        each = ", ".join(f"{stage.size} {hour:.3g}" for stage, hour in zip(self.stages, hours, strict=True))
        return f"forecast: {sum(hours):,.1f} hours for {what} ({clips:,} clips; {each})"

    @staticmethod
    def _fractions(stage: StageFigures, what: str, rate: float, matrix: float, copy: float) -> str:
        counted = stage.operations[what]
        return f"{counted['flops'] * rate / matrix:.0%} / {counted['bytes'] * rate / copy:.0%}"


def markdown_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table with aligned columns; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|", *lines[1:]]


def spread(values: Sequence[float]) -> str:
    """Write the median of some values, and in parentheses the least and the most."""
    return f"{_short(statistics.median(values))} ({_short(min(values))} to {_short(max(values))})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
