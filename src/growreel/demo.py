"""The demo: make procedural clips, grow a small model on them, sample it, and let the judge by rule say how many samples are good."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch

from growreel.config import load_preset
from growreel.data.shapes import COLORS, shape_clips
from growreel.data.store import ClipStore
from growreel.data.writer import write_store
from growreel.evaluation.shapes_judge import Verdict, judge
from growreel.models.files import load_generator
from growreel.recipe import recipe_of
from growreel.report import write_report
from growreel.runtime.durable import replace_text
from growreel.sampling import generate, write_samples
from growreel.training.loop import train
from growreel.training.state import TrainingState
from growreel.training.stats import read_lines, seconds_trained
from growreel.video import enlarge, tile_frames, write_clip

REAL_CLIPS = 4096
JUDGED_CLIPS = 256
PICTURED_CLIPS = 10
FPS = 8.0
GOAL = 0.8
"""Share of generated clips that the judge has to accept for the demo to count as passed."""


def run_demo(run: str | Path) -> int:
    """Run the demo in a run folder (an interrupted one goes on) and print where to look.

    Returns the exit code: 0 if the goal was reached, 1 if not, 128 + n if signal n stopped the training.

    Writes `<run>/demo.json` with the shares `accepted`, `accepted_untrained`, `accepted_real`, and `seconds` of the training.
    Raises GrowreelError if the folder holds something else.
    """
    run = Path(run).resolve()
    config = load_preset("demo")
    size = config.growth.plan().sizes[-1]
    store = run.with_name(f"{run.name}-clips")
    if not (store / "index.json").exists():
        print(f"making {REAL_CLIPS} clips of moving shapes, {size}, in {store}")
        write_store(store, shape_clips(REAL_CLIPS, size), fps=FPS)
    result = train(store, run, config)
    if result.signal:
        print(f"stopped by {result.signal.name} at {result.clips_shown} clips; the same command goes on")
        return 128 + result.signal

    seeds = range(JUDGED_CLIPS)
    model = load_generator(run)
    samples = generate(model, seeds)
    untrained = generate(dataclasses.replace(model, generator=TrainingState(model.config, torch.device("cpu")).ema), seeds)
    with ClipStore.open(store) as opened:
        real = opened.read(range(JUDGED_CLIPS), size)
    verdicts = {"accepted": judge(samples), "accepted_untrained": judge(untrained), "accepted_real": judge(real)}
    pictures = write_samples(run / "demo.webp", samples[:64], seeds[:64], fps=FPS, recipe=recipe_of(model, seeds[:64], fps=FPS))
    side_by_side = np.concatenate([samples[:PICTURED_CLIPS], real[:PICTURED_CLIPS]], axis=1)
    write_clip(run / "demo.png", tile_frames(enlarge(side_by_side)), FPS)
    figures = {name: float(verdict.accepted.mean()) for name, verdict in verdicts.items()}
    figures["seconds"] = round(seconds_trained(read_lines(run / "stats.jsonl")), 1)
    pictures.append(write_report([run]))
    replace_text(run / "demo.json", json.dumps(figures, indent=2) + "\n")
    print(_table(verdicts))
    print(
        f"\ntraining took {figures['seconds']:.0f} s; look at:",
        *pictures,
        f"{run / 'demo.png'} (left generated, right real; a clip per row)",
        sep="\n  ",
    )
    return 0 if figures["accepted"] >= GOAL else 1


def _table(verdicts: dict[str, Verdict]) -> str:
    titles = {"accepted": "generated", "accepted_untrained": "untrained", "accepted_real": "real"}
    lines = [f"{'clips':<10}  accepted  one blob  right colour  continuous  " + " ".join(f"{name:>6}" for name in COLORS)]
    for name, verdict in verdicts.items():
        shares = [part.mean() for part in (verdict.accepted, verdict.one_blob, verdict.right_color, verdict.continuous)]
        colors = " ".join(f"{(verdict.color == k).mean():6.0%}" for k in range(len(COLORS)))
        lines.append(f"{titles[name]:<10}  {shares[0]:8.1%}  {shares[1]:8.1%}  {shares[2]:12.1%}  {shares[3]:10.1%}  " + colors)
    return "\n".join(lines)
