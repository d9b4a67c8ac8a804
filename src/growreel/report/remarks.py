"""How a run goes, in words: what the figures say, what that usually means, what to try."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from growreel.report.clips import Real
from growreel.report.folder import Run
from growreel.report.words import count, duration, figure, plural, times
from growreel.training.diagnosis import diagnose

FEW_CLIPS = 500
"""Fewer training clips than this are usually learnt by heart before they are learnt."""


@dataclass(frozen=True)
class Remark:
    """One sentence or two. `level` is shown as a word as well, not by colour alone."""

    level: Literal["good", "look", "bad"]
    text: str


def remarks(run: Run, real: Real | None) -> list[Remark]:
    """All that can be said, the worst first."""
    found = [*_progress(run), *_steps(run), *_health(run), *_critic(run), *_penalty(run), *_metrics(run), *_speed(run), *_training_set(run)]
    if real is not None:
        found += [*_samples(real), *_copies(real)]
    order = {"bad": 0, "look": 1, "good": 2}
    return sorted(found, key=lambda remark: order[remark.level])


def _progress(run: Run) -> Iterator[Remark]:
    if not run.intervals:
        first = count(run.config.training.stats_interval)
        yield Remark("look", f"No line of statistics has been written yet: the first comes after {first} clips.")
        return
    if run.finished:
        yield Remark("good", f"Training reached its end: {count(run.clips_shown)} clips in {duration(run.seconds)}.")
        return
    share, last = run.clips_shown / run.total, run.intervals[-1]
    interval = run.config.training.stats_interval / max(last["clips_per_second"], 1e-9)
    silent = time.time() - last.get("time", time.time())
    if silent > max(10 * interval, 600):
        text = f"Training stands at {share:.0%} of its plan, and its last line was {duration(silent)} old when this page was written."
        yield Remark("look", f"{text} If it was stopped, the same command goes on.")
    else:
        yield Remark("good", f"Training is at {share:.0%} of its plan, in stage {times(run.size)}.")


def _steps(run: Run) -> Iterator[Remark]:
    if not run.rollbacks:
        if run.intervals:
            yield Remark("good", "No step went wrong: every loss and every weight was finite.")
        return
    last = run.rollbacks[-1]
    reason = last.get("reason", "no reason was written")
    yield Remark(
        "look" if len(run.rollbacks) < 3 else "bad",
        f"{plural(len(run.rollbacks), 'step')} went wrong and the run went back to its last checkpoint, most recently at "
        f"{count(last['clips'])} clips ({reason}). If it comes back, try half the `--growth.learning_rate`.",
    )


def _health(run: Run) -> Iterator[Remark]:
    """What training itself would say at the newest line."""
    findings = diagnose(run.intervals, run.config)
    for finding in findings:
        yield Remark(finding.level, finding.text)
    if not findings and any("variety" in line for line in run.intervals):
        yield Remark("good", "Nothing in the statistics is out of its normal range: the critic, the variety of clips, the newest fade.")


def _critic(run: Run) -> Iterator[Remark]:
    """The gap between the scores of real and generated clips, within the stage: one that only widens is a discriminator that wins."""
    stage = str(run.size)
    lines = [line for line in run.intervals if line["stage"] == stage and line["phase"] == "stable" and "critic_real" in line]
    third = len(lines) // 3
    if third < 4:
        return
    gaps = np.abs([line["critic_real"] - line["critic_fake"] for line in lines])
    before, after = float(np.median(gaps[:third])), float(np.median(gaps[-third:]))
    if before > 0 and after > 4 * before:
        yield Remark(
            "look",
            f"The discriminator's scores of real and generated clips are {after / before:.1f} times as far apart as when stage "
            f"{times(stage)} became stable. If the samples get no better it is winning: try a lower `--growth.learning_rate`, or for a "
            "small set `--training.augment_probability 0.3`.",
        )


def _penalty(run: Run) -> Iterator[Remark]:
    penalties = np.array([line["gradient_penalty"] for line in run.intervals if "gradient_penalty" in line])
    if len(penalties) < 40:
        return
    usual, now = float(np.median(penalties)), float(np.median(penalties[-max(2, len(penalties) // 20) :]))
    if usual > 0 and now > 20 * usual:
        text = f"The gradient penalty is {now / usual:.0f} times its median over the run: the discriminator has become steep."
        yield Remark("look", f"{text} After the start of a stage that passes; if it stays, training may be about to diverge.")


def _metrics(run: Run) -> Iterator[Remark]:
    """The best of the metrics that were measured, within the stage: clips of other sizes have other distances."""
    stage = str(run.size)
    for name, word in (("fvd", "FVD"), ("fid", "FID"), ("swd mean", "sliced distance")):
        points = [(line["metrics"][name], line["clips"]) for line in run.evaluations if line["stage"] == stage and name in line["metrics"]]
        if len(points) < 3:
            continue
        best, now = min(points), points[-1]
        if now[0] > 1.15 * best[0]:
            text = f"The {word} was {figure(best[0])} at {count(best[1])} clips and is {figure(now[0])} now, which is worse."
            yield Remark("look", f"{text} The model file of that time may be the better one.")
        elif best == now:
            yield Remark("good", f"The {word} is at its best in this stage: {figure(now[0])}.")
        return


def _speed(run: Run) -> Iterator[Remark]:
    """Against the same stage's own median: other stages have other speeds."""
    stage = str(run.size)
    speeds = [line["clips_per_second"] for line in run.intervals if line["stage"] == stage]
    if len(speeds) < 20:
        return
    now, usual = float(np.median(speeds[-5:])), float(np.median(speeds))
    if now < 0.6 * usual:
        text = f"The last lines ran at {figure(now)} clips a second, the stage as a whole at {figure(usual)}."
        yield Remark("look", f"{text} Something else may be using the machine.")


def _training_set(run: Run) -> Iterator[Remark]:
    store = run.environment.get("store")
    if isinstance(store, dict) and isinstance(store.get("clips"), int) and store["clips"] < FEW_CLIPS:
        yield Remark(
            "look",
            f"There {'is' if store['clips'] == 1 else 'are'} only {plural(store['clips'], 'training clip')}. Overlapping clips "
            "(`prepare --clip-stride`) or `--training.augment_probability 0.3` may help; the nearest training clips below show whether "
            "they are given back.",
        )


def _samples(real: Real) -> Iterator[Remark]:
    if real.variety < 0.5:
        yield Remark(
            "bad" if real.variety < 0.25 else "look",
            f"Samples differ from each other only {real.variety:.0%} as much as real clips do: many seeds give nearly the same clip.",
        )
    else:
        yield Remark("good", f"Samples are varied: they differ from each other {real.variety:.0%} as much as real clips do.")
    if real.motion is not None:
        if real.motion < 0.4:
            yield Remark("look", f"Samples move little: from frame to frame they change {real.motion:.0%} as much as real clips.")
        elif real.motion > 2:
            yield Remark("look", f"Samples flicker or rush: from frame to frame they change {real.motion:.1f} times as much as real clips.")
        else:
            yield Remark("good", f"They move about as much as real clips ({real.motion:.0%} of the change from frame to frame).")
    if abs(real.brightness) > 25:
        word = "brighter" if real.brightness > 0 else "darker"
        yield Remark("look", f"Samples are {word} than real clips, by {abs(real.brightness):.0f} of 255 levels.")


def _copies(real: Real) -> Iterator[Remark]:
    if real.closeness is None:
        yield Remark("look", "All training clips come from one video, so it cannot be said what distance between clips is usual.")
        return
    near = int((real.closeness < 0.3).sum())
    if near:
        yield Remark(
            "look",
            f"{near} of {len(real.closeness)} samples {'lies' if near == 1 else 'lie'} much nearer to a training clip than real clips lie "
            "to each other. Look at the pairs; `growreel evaluate --metrics memory` measures it.",
        )
    else:
        yield Remark("good", "No sample is a copy: none is much nearer to a training clip than real clips are to each other.")
