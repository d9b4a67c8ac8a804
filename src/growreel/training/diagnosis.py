"""What the statistics of a run say about its health. A pure function of their lines: training warns with it, the report prints it.

What is normal for the critic depends on loss, stage and strength of the penalty. `bands.json` has, from the runs of the study
(studies/health_bands.py), the 1st and 99th percentile of the distance between the mean scores of real and of generated clips.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import numpy as np

from growreel.config import Config, LossConfig
from growreel.growth import GrowthPlan

Line = Mapping[str, Any]
Sickness = Literal["dead critic", "exploding critic", "collapse", "fade that jumps", "learnt by heart"]

RECENT = 4
"""So many lines of one stage and phase in a row have to agree before anything but a jump is said."""
MARGIN = 10.0
"""How far outside the band the critic's distance has to be."""
STRONG_PENALTY = 32.0
"""From this ratio of voxels on at the last stage (`LossConfig.penalty_ratio`), the bands are those of penalties meant for 32x256x256."""
COLLAPSED, POOR = 0.15, 0.35
"""Variety below which generated clips are all alike, or differ little."""
JUMP_OF_VARIETY, JUMP_OF_BRIGHTNESS = 3.0, 0.35
"""Factor and difference between the lines before and in a fade that people see as a jump."""
BY_HEART = 0.75
"""Share of the critic's gap from which it tells training clips from held-out ones rather than real from generated ones; 0.6 is what
adaptive augmentation steers to (arXiv 2006.06676)."""


@dataclass(frozen=True)
class Finding:
    """A sickness, how bad it is, and in a sentence or two what was seen and what to try."""

    sickness: Sickness
    level: Literal["look", "bad"]
    text: str


def diagnose(lines: Sequence[Line], config: Config) -> list[Finding]:
    """Findings at the end of a run's interval lines, the worst first; none for a healthy run or too few lines.

    `lines` are those of stats.jsonl that have losses; older ones without vital signs (`vitals`) are read, too.
    """
    recent = _recent(lines)
    found = [*_jump(lines)]
    if len(recent) >= RECENT:
        found += [*_critic(recent, config), *_collapse(recent), *_by_heart(recent)]
    return sorted(found, key=lambda finding: finding.level != "bad")


def critic_band(loss: LossConfig, plan: GrowthPlan, stage: str) -> tuple[float, float]:
    """The normal distance between mean scores, of the stage or, for one that no run had, of all stages of that loss."""
    form = loss.name if loss.name != "swgan" else f"swgan-{loss.swgan.feature_penalty}"
    strong = loss.penalty_ratio(plan, len(plan.sizes) - 1) >= STRONG_PENALTY
    stages: dict[str, list[float]] = _bands()[form].get("32x256x256" if strong else "last") or _bands()[form]["last"]
    low, high = stages.get(stage) or (min(band[0] for band in stages.values()), max(band[1] for band in stages.values()))
    return low, high


@functools.cache
def _bands() -> dict[str, dict[str, dict[str, list[float]]]]:
    bands: dict[str, Any] = json.loads(resources.files("growreel.training").joinpath("bands.json").read_text(encoding="utf-8"))
    return bands


def _recent(lines: Sequence[Line]) -> list[Line]:
    """The newest lines, as many as are of one stage and phase, at most RECENT."""
    recent = list[Line]()
    for line in reversed(lines):
        if (recent and (line["stage"], line["phase"]) != (recent[0]["stage"], recent[0]["phase"])) or len(recent) == RECENT:
            break
        recent.append(line)
    return recent[::-1]


def _values(lines: Sequence[Line], name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([line[name] for line in lines if name in line])


def _critic(recent: Sequence[Line], config: Config) -> Iterator[Finding]:
    gaps = np.abs(_values(recent, "critic_real") - _values(recent, "critic_fake"))
    if len(gaps) < RECENT or recent[-1]["phase"] == "fade":
        return
    stage, gap = str(recent[-1]["stage"]), float(np.median(gaps))
    low, high = critic_band(config.loss, config.growth.plan(), stage)
    scores = f"its mean scores of real and generated clips differ by {gap:.2g}, in the study's runs at this size by {low:.2g} to {high:.2g}"
    if gap > MARGIN * high:
        yield Finding(
            "exploding critic",
            "bad",
            f"The critic explodes: {scores}. What the generator learns from it is out of proportion: go back to an earlier "
            "model, and try half the `--growth.learning_rate`.",
        )
    slopes = _values(recent, "critic_slope")
    if gap < low / MARGIN and (len(slopes) < RECENT or np.median(slopes) < 1e-4):
        yield Finding(
            "dead critic",
            "bad",
            f"The critic is dead: {scores}. The generator learns nothing any more; start again from an earlier checkpoint "
            "with half the `--growth.learning_rate`, or with another `--loss.name`.",
        )


def _collapse(recent: Sequence[Line]) -> Iterator[Finding]:
    varieties = _values(recent, "variety")
    if len(varieties) < RECENT:
        return
    variety = float(np.median(varieties))
    if variety < POOR:
        alike = "nearly the same clip" if variety < COLLAPSED else "clips that are much alike"
        yield Finding(
            "collapse",
            "bad" if variety < COLLAPSED else "look",
            f"All seeds give {alike}: generated clips differ from each other {variety:.0%} as much as real ones. It may pass early in a "
            "stage; if it stays, go back to an earlier model, and try half the `--growth.learning_rate` or a larger `--growth.minibatch`.",
        )


def _jump(lines: Sequence[Line]) -> Iterator[Finding]:
    """The newest fade against the line before it."""
    fades = [number for number, line in enumerate(lines) if line["phase"] == "fade" and line["stage"] == lines[-1]["stage"]]
    if not fades or fades[0] == 0:
        return
    before = lines[fades[0] - 1]
    for number in fades:
        after = lines[number]
        if not all(name in line for line in (before, after) for name in ("variety", "brightness")):
            continue
        ratio = max(after["variety"], 1e-6) / max(before["variety"], 1e-6)
        if max(ratio, 1 / ratio) > JUMP_OF_VARIETY or abs(after["brightness"] - before["brightness"]) > JUMP_OF_BRIGHTNESS:
            yield Finding(
                "fade that jumps",
                "look",
                f"The fade to {after['stage']} jumps: from {before['clips']:,} to {after['clips']:,} clips the variety of generated clips "
                f"went from {before['variety']:.0%} to {after['variety']:.0%} of real ones, their brightness by "
                f"{127.5 * (after['brightness'] - before['brightness']):+.0f} of 255 levels. Longer fades (`--growth.fade_clips`) or a "
                "lower rate make it gentle.",
            )
            return


def _by_heart(recent: Sequence[Line]) -> Iterator[Finding]:
    shares = _values(recent, "by_heart")
    if len(shares) >= RECENT and (share := float(np.median(shares))) > BY_HEART:
        yield Finding(
            "learnt by heart",
            "bad" if share > 1 else "look",
            f"The critic knows the training clips by heart: {share:.0%} of its gap between training and generated clips separates "
            "training from held-out ones. More clips, mirroring or `--training.augment_probability 0.3` help; longer training does not.",
        )
