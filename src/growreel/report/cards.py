"""Metric cards as tables, one or several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from growreel.report.words import figure


@dataclass(frozen=True)
class Interval:
    """A number with its interval on a scale from 0 to 100 shared by a row; None where there is no such thing."""

    value: str
    interval: str
    real: str
    at: float | None = None
    low: float | None = None
    high: float | None = None
    real_at: float | None = None


@dataclass(frozen=True)
class Row:
    """A figure of a metric over all cards; a card that lacks it has None."""

    name: str
    about: str
    better: str
    cells: list[Interval | None]


def card_rows(cards: Sequence[dict[str, Any] | None]) -> list[Row]:
    """Every figure that a card has, in the order of the first card that has it."""
    found = [_figures(card) for card in cards]
    rows = []
    for key in dict.fromkeys(key for each in found for key in each):
        entries = [each.get(key) for each in found]
        first = next(entry for entry in entries if entry is not None)
        numbers = [entry[1].get(part) for entry in entries if entry for part in ("value", "low", "high", "real")]
        scale = _scale([number for number in numbers if isinstance(number, int | float)])
        metric, name = key
        title = metric if name == "value" else f"{metric} {name.replace('_', ' ')}"
        cells = [None if entry is None else _interval(entry[1], scale) for entry in entries]
        rows.append(Row(title, first[0].get("about", ""), first[0].get("better", ""), cells))
    return rows


def _figures(card: dict[str, Any] | None) -> dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]]:
    """(metric, figure) to the metric's entry and the figure's."""
    results = card.get("results", []) if card else []
    return {
        (result["name"], name): (result, entry)
        for result in results
        if isinstance(result, dict) and "name" in result
        for name, entry in result.get("figures", {}).items()
        if isinstance(entry, dict) and isinstance(entry.get("value"), int | float)
    }


def _scale(numbers: Sequence[float]) -> tuple[float, float]:
    low, high = min([0.0, *numbers]), max([0.0, *numbers])
    return low, (high - low) or 1.0


def _interval(entry: dict[str, Any], scale: tuple[float, float]) -> Interval:
    def place(name: str) -> float | None:
        number = entry.get(name)
        return None if not isinstance(number, int | float) else (number - scale[0]) / scale[1] * 100

    has_interval = place("low") is not None and place("high") is not None
    return Interval(
        value=figure(entry["value"]),
        interval=f"{figure(entry['low'])} to {figure(entry['high'])}" if has_interval else "",
        real="" if place("real") is None else figure(entry["real"]),
        at=place("value"),
        low=place("low"),
        high=place("high"),
        real_at=place("real"),
    )


def protocol_differences(cards: Sequence[dict[str, Any] | None]) -> list[str]:
    """What keeps numbers of several cards from being compared."""
    there = [card for card in cards if card is not None]
    found = []
    for where, names in (
        ("settings", ("protocol", "frames", "frame stride", "growreel")),
        ("real", ("sha256", "compared")),
        ("fake", ("size", "compared")),
    ):
        for name in names:
            values = list(dict.fromkeys(str(card.get(where, {}).get(name)) for card in there))
            if len(values) > 1:
                what = {"real": "real clips", "fake": "generated clips"}.get(where, "settings")
                found.append(f"{what}, {name}: {' against '.join(value[:12] if name == 'sha256' else value for value in values)}")
    return found
