"""The metric card: every number with all that decides it, as JSON, as a table for the terminal, as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from growreel.errors import GrowreelError
from growreel.reading.folders import without_folders
from growreel.runtime.durable import write_report

FORMAT = "growreel-metric-card-1"
Z_95 = 1.96


@dataclass(frozen=True)
class Figure:
    """One number.

    Attributes:
        value: of the first repeat.
        mean, deviation: over the repeats; None for a single one.
        low, high: 95 % interval around `value` from the bootstrap deviation, normal approximation; None without resamples.
        real: the same number of one half of the real clips against the other, halves without a common source video: what a perfect
            generator would get with so few clips. None where there is no such thing.
    """

    value: float
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None
    real: float | None = None

    @classmethod
    def of(cls, values: Sequence[float], bootstrap_deviation: float | None = None, real: float | None = None) -> Figure:
        """Make a figure from the value of each repeat and the first one's bootstrap deviation."""
        first, mean = values[0], math.fsum(values) / len(values)
        half = None if bootstrap_deviation is None else Z_95 * bootstrap_deviation
        return cls(
            value=first,
            mean=mean if len(values) > 1 else None,
            deviation=math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None,
            low=None if half is None else first - half,
            high=None if half is None else first + half,
            real=real,
        )


@dataclass(frozen=True)
class MetricResult:
    """What one metric found.

    Attributes:
        name, about: of the metric.
        better: which way is better.
        figures: by name; a metric of one number calls it `value`.
        protocol: network and sha256 of its file, resize and filter, value range, parameters.
        clips: how many `real` and `fake` ones were compared, and how many in each `half` of the real ones.
        seconds: of comparing, without extraction.
    """

    name: str
    about: str
    better: Literal["lower", "higher", "as real"]
    figures: dict[str, Figure]
    protocol: dict[str, Any]
    clips: dict[str, int]
    seconds: float


@dataclass
class MetricCard:
    """Everything an evaluation found out, in the order in which it is shown.

    Attributes:
        fake, real, training: what was measured, each with a sha256; `training` is None unless clips other than `real` were learnt.
        settings: frames, stride, clips, repeats, resamples, seed, protocol, versions, device, date.
        results: of the metrics that were measured.
        left_out: name of a metric and why it is missing.
        warnings: what a reader must know before comparing.
    """

    fake: dict[str, Any]
    real: dict[str, Any]
    training: dict[str, Any] | None
    settings: dict[str, Any]
    results: list[MetricResult] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def value(self, metric: str, figure: str = "value") -> float:
        """A number by name. Raises GrowreelError saying why it is missing, or what there is."""
        for result in self.results:
            if result.name == metric and figure in result.figures:
                return result.figures[figure].value
        if metric in self.left_out:
            raise GrowreelError(f"{metric}: was left out, {self.left_out[metric]}")
        there = ", ".join(f"{result.name} ({', '.join(result.figures)})" for result in self.results)
        raise GrowreelError(f"{metric} {figure}: is not on the card; there are {there or 'no numbers'}")

    def to_json(self) -> str:
        """Strict JSON; a number that is not finite becomes null. Of paths the last part is kept: cards are passed on."""
        return json.dumps(_finite({"format": FORMAT, **without_folders(asdict(self))}), indent=2, allow_nan=False) + "\n"

    def table(self) -> str:
        """For the terminal: a line per number, then what was left out and the warnings."""
        header = ("metric", "value", "95 % interval", "repeats", "real / real", "better", "clips")
        rows = [header, *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(w) if k in (0, 5) else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip()
            for row in rows
        ]
        lines += [f"left out  {name}: {reason}" for name, reason in self.left_out.items()]
        return "\n".join(lines + [f"warning   {warning}" for warning in self.warnings])

    def markdown(self) -> str:
        """A page with the table, the protocols and the warnings; paths as in the JSON."""
        told = without_folders(asdict(replace(self, results=[])))
        header = ("metric", "value", "95 % interval", "repeats", "real / real", "better", "clips fake / real")
        rows = [header, ("---",) * len(header), *self._rows()]
        lines = ["# Metric card", "", f"{_set_line('Generated', told['fake'])}  ", _set_line("Real", told["real"])]
        if told["training"]:
            lines[-1] += "  "
            lines.append(_set_line("Training", told["training"]))
        lines += ["", "; ".join(f"{name} {value}" for name, value in told["settings"].items() if value is not None), ""]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines += [
            "",
            "`real / real`: one half of the real clips against the other, no source video in both: what a perfect model would get.",
        ]
        lines += ["", "## Protocols", ""]
        lines += [
            f"- **{r.name}** ({r.about}): " + "; ".join(f"{k} {v}" for k, v in without_folders(r.protocol).items()) for r in self.results
        ]
        if told["left_out"]:
            lines += ["", "## Left out", "", *(f"- **{name}**: {reason}" for name, reason in told["left_out"].items())]
        if told["warnings"]:
            lines += ["", "## Warnings", "", *(f"- {warning}" for warning in told["warnings"])]
        return "\n".join(lines) + "\n"

    def save(self, path: Path) -> list[Path]:
        """Write the JSON to `path`, which ends in .json, and the Markdown beside it. Returns both paths."""
        return write_report(path, "--card", self.to_json(), self.markdown())

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for result in self.results:
            clips = f"{result.clips['fake']:,} / {result.clips['real']:,}"
            for name, figure in result.figures.items():
                yield (
                    result.name if name == "value" else f"{result.name} {name.replace('_', ' ')}",
                    _short(figure.value),
                    "" if figure.low is None or figure.high is None else f"{_short(figure.low)} to {_short(figure.high)}",
                    "" if figure.mean is None or figure.deviation is None else f"{_short(figure.mean)} +- {_short(figure.deviation)}",
                    "" if figure.real is None else _short(figure.real),
                    result.better,
                    clips,
                )


def _set_line(name: str, facts: dict[str, Any]) -> str:
    return f"**{name}**: " + ", ".join(f"{key} {value}" for key, value in facts.items() if not isinstance(value, dict))


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.1f}"


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {str(key): _finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
