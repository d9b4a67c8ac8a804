"""A chart as numbers between 0 and 1000 in both directions: the template stretches them over whatever room a screen has."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from growreel.report.words import figure, power_of_ten, short_count

EXTENT = 1000
STYLES = 6
"""Colours that the style sheet has."""
MOST_POINTS = 1000
"""Longer series are averaged over neighbours; what is lost is shown as an area from the lowest to the highest."""
SMOOTHED_OVER = 40
"""A series of more points than four times this gets a running mean over a 20th of it, beside the values themselves."""


@dataclass(frozen=True)
class Series:
    """A named curve: x and y, [n] each. `dash` tells it apart without colour."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True)
class Band:
    """A stage on the x axis: from start over the end of its fade to its end."""

    label: str
    start: float
    fade_end: float
    end: float


@dataclass(frozen=True)
class Line:
    """A series as a template draws it; `points`, `smooth` and `area` are lists of coordinates for SVG."""

    name: str
    style: int
    points: str
    smooth: str
    area: str
    last: str


@dataclass(frozen=True)
class Tick:
    """A label at `at` percent of the axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """Everything that a template needs.

    Attributes:
        title, about: a heading, and what a reader should look for.
        summary: the chart in words, for who cannot see it.
        low, high, logarithmic: the y axis, for reading values back from coordinates.
        start, end: the x axis.
        bands: left, width of the fade and width in percent, and the label; it is left out where there is no room for it.
        cut: values outside the axis, which are few.
    """

    title: str
    about: str
    unit: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    bands: list[tuple[float, float, float, str]]
    summary: str
    low: float
    high: float
    logarithmic: bool
    start: float
    end: float
    cut: int


def draw(
    title: str,
    about: str,
    series: Sequence[Series],
    *,
    start: float,
    end: float,
    bands: Sequence[Band] = (),
    unit: str = "",
    from_zero: bool = False,
    smooth: bool = True,
) -> Chart | None:
    """Lay out a chart; None if there is no finite value to show. `smooth` lets long series have a running mean beside their values.

    The y axis holds 99 of 100 values: a few wild ones would flatten everything else. Where positive values span more than two and a half
    powers of ten it is logarithmic.
    """
    finite = [(style, _finite(each)) for style, each in enumerate(series)]
    finite = [(style, each) for style, each in finite if len(each.x)]  # a run without this number leaves its colour unused
    if not finite or end <= start:
        return None
    values = np.concatenate([each.y for _, each in finite])
    low, high, logarithmic = _axis(values, from_zero)
    to_y = _scale(low, high, logarithmic)
    width = end - start

    def to_x(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return (x - start) / width * EXTENT

    lines = [_line(style, each, to_x, to_y, smooth) for style, each in finite]
    return Chart(
        title=title,
        about=about,
        unit=unit,
        lines=lines,
        x_ticks=[Tick((x - start) / width * 100, short_count(x)) for x in _nice_ticks(start, end, 5)],
        y_ticks=[Tick(100 - float(to_y(np.array([y]))[0]) / EXTENT * 100, _tick_label(y)) for y in _y_ticks(low, high, logarithmic)],
        bands=[_band(each, start, end) for each in bands if each.start < end],
        summary=" ".join(_in_words(each, unit) for _, each in finite),
        low=low,
        high=high,
        logarithmic=logarithmic,
        start=start,
        end=end,
        cut=int(((values < low) | (values > high)).sum()),
    )


def _finite(series: Series) -> Series:
    good = np.isfinite(series.x) & np.isfinite(series.y)
    return Series(series.name, series.x[good], series.y[good])


def _axis(values: NDArray[np.float64], from_zero: bool) -> tuple[float, float, bool]:
    """Lowest and highest value of the y axis, and whether it is logarithmic."""
    low, high = (float(np.quantile(values, q)) for q in (0.005, 0.995))
    least, most = float(values.min()), float(values.max())
    if most - least < 2 * (high - low):
        low, high = least, most
    if low > 0 and high / low > 300:
        margin = (high / low) ** 0.04
        return low / margin, high * margin, True
    if from_zero:
        low = min(0.0, low)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return (low if from_zero and low == 0 else low - room), high + room, False


def _scale(low: float, high: float, logarithmic: bool) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    if logarithmic:
        return lambda y: np.log(np.maximum(y, 1e-300) / low) / math.log(high / low) * EXTENT
    return lambda y: (y - low) / (high - low) * EXTENT


def _line(
    style: int,
    series: Series,
    to_x: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    to_y: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    smooth: bool,
) -> Line:
    x, y, lowest, highest = _thin(series.x, series.y)

    def points(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> str:
        heights = np.clip(EXTENT - to_y(ys), -EXTENT, 2 * EXTENT)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(to_x(xs), heights, strict=True))

    mean = points(x, _running_mean(y, len(y) // SMOOTHED_OVER)) if smooth and len(y) > 4 * SMOOTHED_OVER else ""
    thinned = len(x) < len(series.x)
    area = points(np.concatenate([x, x[::-1]]), np.concatenate([lowest, highest[::-1]])) if thinned else ""
    return Line(series.name, style % STYLES, points(x, y), mean, area, figure(float(series.y[-1])))


def _thin(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """At most MOST_POINTS points: means over neighbours, and the lowest and highest of each."""
    if len(x) <= MOST_POINTS:
        return x, y, y, y
    edges = np.linspace(0, len(x), MOST_POINTS + 1).astype(int)[:-1]
    counts = np.diff(np.append(edges, len(x)))
    means = [np.add.reduceat(each, edges) / counts for each in (x, y)]
    return means[0], means[1], np.minimum.reduceat(y, edges), np.maximum.reduceat(y, edges)


def _running_mean(y: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Mean over `reach` neighbours to either side, fewer at the ends."""
    total = np.concatenate([[0.0], np.cumsum(y)])
    places = np.arange(len(y))
    first, last = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(y))
    mean: NDArray[np.float64] = (total[last] - total[first]) / (last - first)
    return mean


def _nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high, about so many."""
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _y_ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    if not logarithmic:
        return _nice_ticks(low, high, 4)
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    every = max(1, len(powers) // 5)
    return [10.0**power for power in powers][::every]


def _tick_label(value: float) -> str:
    if value and abs(value) < 1e-4:
        return power_of_ten(value, 2)
    return short_count(value)


def _band(band: Band, start: float, end: float) -> tuple[float, float, float, str]:
    left, right = max(band.start, start), min(band.end, end)
    fade = max(0.0, min(band.fade_end, right) - left)
    share = 100 / (end - start)
    return (
        (left - start) * share,
        fade * share,
        (right - left) * share,
        band.label if (right - left) * share > 1.8 * len(band.label) else "",
    )


def _in_words(series: Series, unit: str) -> str:
    after = f" {unit}" if unit else ""
    first, last = figure(float(series.y[0])), figure(float(series.y[-1]))
    return (
        f"{series.name}: from {first} to {last}{after}, lowest {figure(float(series.y.min()))}, "
        f"highest {figure(float(series.y.max()))}, {len(series.x)} values."
    )
