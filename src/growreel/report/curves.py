"""Which numbers of stats.jsonl go into which chart, and what a reader should look for in each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from growreel.models.files import load_generator
from growreel.report.chart import Band, Chart, Series, draw
from growreel.report.folder import Run
from growreel.report.words import times

MOST_MODELS = 24
"""Model files that are opened for the sizes of weights; of more, so many evenly."""
NOT_CURVES = {"clips", "stage", "phase", "alpha", "time", "clips_per_second", "peak_memory_bytes"}


@dataclass(frozen=True)
class Subject:
    """A chart: which names of a statistics line it shows (and how it calls them), or all that start or end with a word."""

    title: str
    about: str
    names: dict[str, str]
    word: str | None = None

    def takes(self, name: str) -> bool:
        return name in self.names or (self.word is not None and self.word in name)

    def call(self, name: str) -> str:
        return self.names.get(name, name.replace("_", " "))


SUBJECTS = (
    Subject(
        "Losses",
        "Each network pulls against the other, so neither falls to nothing. Level or slowly drifting is well; one that runs away is not.",
        {"loss_discriminator": "discriminator", "loss_generator": "generator"},
    ),
    Subject(
        "Critic",
        "Mean score of real and of generated clips. The gap is what the discriminator sees between them.",
        {"critic_real": "real clips", "critic_fake": "generated clips"},
    ),
    Subject(
        "Classes",
        "How wrongly clips are named, as cross-entropy. Level at the logarithm of a number of classes: so many are not told apart yet.",
        {"class_real": "real clips", "class_fake": "generated clips"},
    ),
    Subject(
        "Penalties",
        "What keeps the discriminator smooth, before its weight. A jump at the start of a stage is usual and goes.",
        {"gradient_penalty": "gradient", "feature_penalty": "features", "drift": "drift"},
    ),
    Subject("Norms", "Sizes of gradients or weights as training wrote them.", {}, word="norm"),
)
OTHERS = Subject("Other figures", "Everything else that training wrote.", {})
METRIC_WORDS = {
    "swd mean": (
        "Sliced Wasserstein distance",
        "Patches of frames against real ones, times 1000. Lower is better; stages differ in difficulty.",
    ),
    "swd3d mean": ("Sliced distance in space and time", "Patches of clips against real ones, times 1000. Lower is better."),
    "motion spectrum_shape_distance": ("Motion", "Distance of the temporal spectra, in dB. Lower is better."),
    "fvd": ("Frechet video distance", "Lower is better."),
    "fid": ("Frechet Inception distance", "Of single frames. Lower is better."),
    "fid768": ("Frechet Inception distance, 768 features", "Of single frames. Lower is better."),
    "kid": ("Kernel Inception distance", "Lower is better."),
    "is": ("Video Inception Score", "Higher is better."),
    "prdc recall": ("Recall", "Share of real clips that the generator could make. Higher is better."),
    "prdc coverage": ("Coverage", "Share of real clips with a generated one nearby. Higher is better."),
}
"""Metrics that get a chart of their own; the others are on the metric card."""


def bands_of(run: Run) -> list[Band]:
    """The stages as far as the axis goes."""
    bands = []
    for i, stage in enumerate(run.plan.stages):
        start = run.plan.start(i)
        last = i == len(run.plan.stages) - 1
        end = max(run.total, start + stage.fade_clips + stage.stable_clips) if last else run.plan.start(i + 1)
        bands.append(Band(str(stage.size), start, start + stage.fade_clips, end))
    return bands


def training_charts(runs: Sequence[Run]) -> list[Chart]:
    """Losses, critic, penalties, norms, and whatever else is in the lines; several runs on top of each other."""
    present = list(dict.fromkeys(name for run in runs for line in run.intervals for name in line if _is_number(line[name])))
    left = [name for name in present if name not in NOT_CURVES]
    charts: list[Chart | None] = []
    for subject in SUBJECTS:
        names = [name for name in left if subject.takes(name)]
        left = [name for name in left if name not in names]
        if len(runs) == 1:
            charts.append(_chart(subject.title, subject.about, runs, names, subject.call))
        else:  # one chart for each number, a curve for each run
            abouts = [subject.about, *[""] * len(names)]
            charts += [_chart(_title(subject, name), about, runs, [name], subject.call) for name, about in zip(names, abouts, strict=False)]
    for name in left:
        charts.append(_chart(name.replace("_", " ").capitalize(), OTHERS.about, runs, [name], OTHERS.call))
    return [chart for chart in charts if chart is not None]


def _title(subject: Subject, name: str) -> str:
    return f"{subject.title}: {subject.call(name)}"


def metric_charts(runs: Sequence[Run]) -> list[Chart]:
    """Metrics that were measured while training, a chart for each."""
    measured = [[{"clips": line["clips"], **line["metrics"]} for line in run.evaluations] for run in runs]
    charts = []
    for name, (title, about) in METRIC_WORDS.items():
        series = [_series(_called(run, runs), lines, name) for run, lines in zip(runs, measured, strict=True)]
        charts.append(_draw(title, about, runs, series, from_zero=True))
    return [chart for chart in charts if chart is not None]


def speed_charts(runs: Sequence[Run]) -> list[Chart]:
    """Clips a second and memory."""
    speed = [_series(_called(run, runs), run.intervals, "clips_per_second") for run in runs]
    memory = [_series(_called(run, runs), run.intervals, "peak_memory_bytes", scale=1e-9) for run in runs]
    about_speed = "Real clips shown a second. It falls with every stage, because clips grow."
    about_memory = "Most memory that the process had held so far."
    charts = (
        _draw("Speed", about_speed, runs, speed, unit="clips/s", from_zero=True, smooth=False),
        _draw("Memory", about_memory, runs, memory, unit="GB", from_zero=True, smooth=False),
    )
    return [chart for chart in charts if chart is not None]


def weight_chart(run: Run) -> Chart | None:
    """Root mean square of the averaged generator's weights, block by block, over the saved models.

    Raises GrowreelError naming a model that is damaged.
    """
    steps = np.linspace(0, len(run.models) - 1, min(MOST_MODELS, len(run.models))).round().astype(int)
    shown = [list(run.models.items())[k] for k in dict.fromkeys(steps.tolist())]
    rows: dict[str, list[tuple[float, float]]] = {}
    for clips, path in shown:
        squares: dict[str, list[float]] = {}
        for name, tensor in load_generator(path).generator.state_dict().items():
            block = _block(name)
            if block is not None and name.endswith("weight"):
                entry = squares.setdefault(block, [0.0, 0.0])
                entry[0] += float(tensor.double().square().sum())
                entry[1] += tensor.numel()
        for block, (total, size) in squares.items():
            rows.setdefault(block, []).append((clips, (total / size) ** 0.5))
    starts = {str(size): run.plan.start(i) for i, size in enumerate(run.plan.sizes)}
    series = []
    for block in ["first", *map(str, run.plan.sizes)]:
        points = rows.get(block, [])
        active = [point for point in points if point[0] >= starts.get(block, 0)]  # before its stage a block has not moved
        if active:
            x, y = np.array(active, np.float64).T
            series.append(Series("first layers" if block == "first" else times(block), x, y))
    about = "Root mean square of the generator's weights by block, from the saved models. Slow growth is usual; a sudden rise is not."
    return _draw("Size of weights", about, [run], series)


def _block(name: str) -> str | None:
    """`blocks.8x16x16.conv0.weight` is of block 8x16x16; of the layers before, `first`; colours are left out."""
    parts = name.split(".")
    if parts[0] == "blocks":
        return parts[1]
    return "first" if parts[0] in ("dense", "first") else None


def _chart(title: str, about: str, runs: Sequence[Run], names: Sequence[str], call: Callable[[str], str]) -> Chart | None:
    series = [_series(call(name) if len(runs) == 1 else run.name, run.intervals, name) for run in runs for name in names]
    return _draw(title, about, runs, series)


def _called(run: Run, runs: Sequence[Run]) -> str:
    """Of a chart with one curve for each run; that of a single run needs no name."""
    return run.name if len(runs) > 1 else "latest"


def _draw(title: str, about: str, runs: Sequence[Run], series: Sequence[Series], **how: Any) -> Chart | None:
    bands = bands_of(runs[0]) if all(run.plan == runs[0].plan for run in runs) else []
    return draw(title, about, series, start=0, end=max(run.clips_shown for run in runs), bands=bands, **how)


def _series(name: str, lines: Sequence[dict[str, Any]], key: str, scale: float = 1.0) -> Series:
    points = [(line["clips"], line[key] * scale) for line in lines if _is_number(line.get(key))]
    x, y = np.array(points, np.float64).reshape(-1, 2).T
    return Series(name, x, y)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
