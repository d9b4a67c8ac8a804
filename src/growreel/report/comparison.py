"""The report of several runs beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from growreel.config import to_dict
from growreel.report.cards import card_rows, protocol_differences
from growreel.report.clips import STRIP_SEEDS, make
from growreel.report.curves import metric_charts, speed_charts, training_charts
from growreel.report.folder import Run
from growreel.report.page import render
from growreel.report.pictures import Picture
from growreel.report.single import STRIP_ROWS, _pictures, facts, flat

SETTINGS_THAT_MATTER_LITTLE = {"training.device", "training.report"}


def comparison_page(runs: Sequence[Run]) -> str:
    """The page of several runs, as HTML."""
    cards = [run.card for run in runs]
    return render(
        "comparison.html",
        title=" / ".join(run.name for run in runs),
        runs=runs,
        facts=[dict(facts(run)) for run in runs],
        differences=_differences(runs),
        stages=_same_seeds(runs),
        seeds_differ=len({run.config.network.latent_dim for run in runs}) > 1,
        same_plan=all(run.plan == runs[0].plan for run in runs),
        training_charts=training_charts(runs),
        metric_charts=metric_charts(runs),
        speed_charts=speed_charts(runs),
        cards=cards,
        card_rows=card_rows(cards),
        card_differences=protocol_differences(cards),
        sizes=[" ".join(map(str, run.plan.sizes)) for run in runs],
    )


def _differences(runs: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """Settings that are not the same in all runs. Stages are written as `16x64x64 fade 2,000 stable 8,000`."""
    settings = [dict(flat(to_dict(run.config))) for run in runs]
    for each, run in zip(settings, runs, strict=True):
        each["growth.stages"] = "; ".join(
            f"{stage.size} fade {stage.fade_clips:,} stable {stage.stable_clips:,}" for stage in run.plan.stages
        )
    rows = [(name, [each[name] for each in settings]) for name in settings[0] if name not in SETTINGS_THAT_MATTER_LITTLE]
    return [(name, values) for name, values in rows if any(value != values[0] for value in values)]


def _same_seeds(runs: Sequence[Run]) -> list[tuple[str, list[tuple[str, int | None, list[Picture]]]]]:
    """For every size, the largest first, a row of clips of every run that came so far."""
    sizes = sorted({size for run in runs for size in run.plan.sizes[: run.entered_stages()]}, key=lambda size: -size.voxels)
    found = []
    for size in sizes:
        rows = []
        for run in runs:
            stage = run.plan.sizes.index(size) if size in run.plan.sizes[: run.entered_stages()] else None
            clips = None if stage is None else run.model_after_stage(stage)
            pictures = [] if clips is None else _pictures(make(run, clips, STRIP_SEEDS, stage), f"{run.name}, sample", STRIP_ROWS)
            rows.append((run.name, clips, pictures))
        found.append((str(size), rows))
    return found
