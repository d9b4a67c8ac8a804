"""The demo: make procedural clips, grow a small model on them, sample it, and let the judge by rule say how many samples are good.

The model is conditional: it is told which colour and form to make, as a critic is told which it should see.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from growreel.config import Config, load_preset
from growreel.data.shapes import COLORS, shape_clips, shape_kinds
from growreel.data.store import ClipStore
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.evaluation.shapes_form import CORNERS, FORMS, Variety, forms, outlines, variety, variety_floor
from growreel.evaluation.shapes_judge import Verdict, judge
from growreel.models.files import load_generator
from growreel.ranges import check_range
from growreel.recipe import recipe_of
from growreel.report import write_report
from growreel.runtime.durable import replace_text
from growreel.runtime.latents import classes_of_places
from growreel.sampling import generate, write_samples
from growreel.training.loop import train
from growreel.training.state import TrainingState
from growreel.training.stats import read_lines, seconds_trained
from growreel.video import enlarge, tile_frames, write_clip

logger = logging.getLogger("growreel")

REAL_CLIPS = 4096
JUDGED_CLIPS = 256
PICTURED_CLIPS = 10
FPS = 8.0
GOAL = 0.8
"""Share of generated clips that the judge has to accept for the demo to count as passed."""
TITLES = {"accepted": "generated", "accepted_untrained": "untrained", "accepted_real": "real"}


@dataclass(frozen=True)
class DemoResult:
    """How the demo ended.

    Attributes:
        exit_code: 0 if the goal was reached, 1 if not, 128 + n if signal n stopped the training.
        summary: for people: the judge's table and where to look.
    """

    exit_code: int
    summary: str


def run_demo(run: str | Path, clips: int | None = None) -> DemoResult:
    """Run the demo in a run folder; an interrupted one goes on.

    Args:
        run: folder for training, samples and figures. The clips that are learnt lie beside it.
        clips: to show in all (`demo_config`); None is as many as the preset does.

    Writes `<run>/demo.json` with the shares `accepted`, `accepted_untrained`, `accepted_real`, and `seconds` of the training.
    `variety`, and for real clips `variety_real`, hold the share of clips of a clear form, the shares of forms and of colours, and the
    distance of the kinds of clips from real ones (`Variety.distance`); `variety_floor` is that distance of as many real clips. `as_asked`
    holds the shares of clips that have the colour, are nearer to the form than to the other, and have it clearly, that was asked for.
    Raises GrowreelError if the folder holds something else, and as `demo_config` does.
    """
    run = Path(run).resolve()
    config = demo_config(clips)
    size = config.growth.plan().sizes[-1]
    store = run.with_name(f"{run.name}-clips")
    kinds = shape_kinds(REAL_CLIPS, size)
    if not (store / "index.json").exists():
        logger.info("making %d clips of moving shapes, %s, in %s", REAL_CLIPS, size, store)
        write_store(store, shape_clips(REAL_CLIPS, size), fps=FPS, labels=kinds).close()
    with ClipStore.open(store) as opened:
        if set(opened.labels) != set(kinds):
            raise GrowreelError(
                f"{store}: these are not the demo's clips, or those of an older version; remove it and {run}, or give another --out"
            )
    result = train(store, run, config)
    if result.signal:
        stopped = f"stopped by {result.signal.name} at {result.clips_shown} clips; the same command goes on"
        return DemoResult(128 + result.signal, stopped)

    seeds = range(JUDGED_CLIPS)
    model = load_generator(run)
    samples = generate(model, seeds)
    untrained = generate(dataclasses.replace(model, generator=TrainingState(model.config, torch.device("cpu")).ema), seeds)
    with ClipStore.open(store) as opened:
        real = opened.read(range(JUDGED_CLIPS), size)
    judged = {"accepted": samples, "accepted_untrained": untrained, "accepted_real": real}
    verdicts = {name: judge(clips) for name, clips in judged.items()}
    as_asked = _as_asked(model.classes, seeds, samples, verdicts["accepted"])
    varieties = {name: variety(clips, verdicts[name].color) for name, clips in judged.items()}
    floor = variety_floor(JUDGED_CLIPS)
    pictures = write_samples(run / "demo.webp", samples[:64], seeds[:64], fps=FPS, recipe=recipe_of(model, seeds[:64], fps=FPS))
    side_by_side = np.concatenate([samples[:PICTURED_CLIPS], real[:PICTURED_CLIPS]], axis=1)
    write_clip(run / "demo.png", tile_frames(enlarge(side_by_side)), FPS)
    figures = {name: float(verdict.accepted.mean()) for name, verdict in verdicts.items()}
    figures["seconds"] = round(seconds_trained(read_lines(run / "stats.jsonl")), 1)
    kept = figures | {
        "variety": _variety_figures(varieties["accepted"]),
        "variety_real": _variety_figures(varieties["accepted_real"]),
        "variety_floor": {"mean": floor[0], "95_of_100_below": floor[1]},
        "as_asked": as_asked,
    }
    replace_text(run / "demo.json", json.dumps(kept, indent=2) + "\n")
    pictures.append(write_report([run]))
    places = [*map(str, pictures), f"{run / 'demo.png'} (left generated, right real; a clip per row)"]
    asked = f"asked for a colour and a form: that colour in {as_asked['color']:.1%}, nearer to that form in {as_asked['nearer_form']:.1%}, "
    asked += f"clearly that form in {as_asked['form']:.1%}"
    tables = f"{_table(verdicts)}\n\n{_variety_table(varieties, floor)}\n{asked}"
    summary = "\n  ".join([f"{tables}\n\ntraining took {figures['seconds']:.0f} s; look at:", *places])
    return DemoResult(0 if figures["accepted"] >= GOAL else 1, summary)


def demo_config(clips: int | None = None) -> Config:
    """The preset `demo`, told the classes. `clips` in all, when given, make its last stage longer or shorter.

    The other stages are left alone: they have no room for a form, and a discriminator that stays there long does not learn it later
    (docs/log.md, 2026-11-27). More clips are shown before the rate falls, which it does through as many as in the preset (2026-11-28).

    Raises GrowreelError if `clips` end before the last stage has begun.
    """
    preset = load_preset("demo")
    config = dataclasses.replace(preset, network=dataclasses.replace(preset.network, conditional=True))
    if clips is None:
        return config
    *first, last = config.growth.stages
    plan = config.growth.plan()
    begun = plan.total_clips - plan.stages[-1].stable_clips
    check_range("demo --clips", clips, least=begun + plan.stages[-1].minibatch)
    decay = None if last.decay_clips is None else min(last.decay_clips, clips - begun)
    stages = (*first, dataclasses.replace(last, stable_clips=clips - begun, decay_clips=decay))
    return dataclasses.replace(config, growth=dataclasses.replace(config.growth, stages=stages))


def _as_asked(classes: Sequence[str], seeds: Sequence[int], samples: NDArray[np.uint8], verdict: Verdict) -> dict[str, float]:
    """Shares of samples that have the colour, are nearer to the form, and have it clearly, of the class that is of their seed.

    Nearer: by `Outlines.corners`, on average over the frames. Which seed is of which class, `sampling.generate` says.
    """
    kinds = [classes[number].split() for number in classes_of_places(seeds, range(len(classes)))]
    colors = [list(COLORS)[number] for number in verdict.color]
    measured = outlines(samples)
    shapes = [FORMS[number] for number in forms(measured)]
    from_disc, from_square = (np.abs(measured.corners.mean(axis=1) - corners) for corners in CORNERS)  # nan where there is no blob
    nearer = {"disc": from_disc < from_square, "square": from_square < from_disc}
    return {
        "color": float(np.mean([color == asked for color, (asked, _) in zip(colors, kinds, strict=True)])),
        "nearer_form": float(np.mean([nearer[asked][k] for k, (_, asked) in enumerate(kinds)])),
        "form": float(np.mean([form == asked for form, (_, asked) in zip(shapes, kinds, strict=True)])),
    }


def _variety_figures(found: Variety) -> dict[str, object]:
    return {"clear_form": found.clear_form, "forms": found.forms, "colors": found.colors, "distance": found.distance}


def _variety_table(varieties: dict[str, Variety], floor: tuple[float, float]) -> str:
    lines = [f"{'clips':<10}  clear form    disc  square  distance from real kinds"]
    for name, found in varieties.items():
        shares = f"{found.clear_form:10.1%}  {found.forms['disc']:6.1%}  {found.forms['square']:6.1%}"
        lines.append(f"{TITLES[name]:<10}  {shares}  {found.distance:24.3f}")
    lines.append(
        f"(a kind: colour, form and quarter of the frame; an unclear form is no real kind; real clips by chance {floor[0]:.3f} on average,"
    )
    lines.append(f"95 of 100 sets below {floor[1]:.3f})")
    return "\n".join(lines)


def _table(verdicts: dict[str, Verdict]) -> str:
    lines = [f"{'clips':<10}  accepted  one blob  right colour  continuous  " + " ".join(f"{name:>6}" for name in COLORS)]
    for name, verdict in verdicts.items():
        shares = [part.mean() for part in (verdict.accepted, verdict.one_blob, verdict.right_color, verdict.continuous)]
        colors = " ".join(f"{(verdict.color == k).mean():6.0%}" for k in range(len(COLORS)))
        lines.append(f"{TITLES[name]:<10}  {shares[0]:8.1%}  {shares[1]:8.1%}  {shares[2]:12.1%}  {shares[3]:10.1%}  " + colors)
    return "\n".join(lines)
