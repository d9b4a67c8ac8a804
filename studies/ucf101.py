"""From the UCF-101 download to its video Inception Score, in one command; docs/ucf101.md has what it needs and how long it takes.

    python studies/ucf101.py UCF-101 --list ucfTrainTestlist/trainlist01.txt --out runs/ucf101

Prepares clips, trains, and scores, by one of the recipes of `growreel prepare --recipe`. Interrupted, the same command goes on. Writes
OUT/clips, OUT/run and OUT/card.json.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from growreel.config import Config, load_config, load_preset
from growreel.errors import GrowreelError
from growreel.evaluation.card import MetricCard
from growreel.evaluation.evaluate import evaluate
from growreel.evaluation.extractors import weights
from growreel.evaluation.options import EvaluationOptions
from growreel.growth import Size, ladder
from growreel.preparation.prepare import prepare
from growreel.preparation.recipes import load_recipe
from growreel.training.loop import train

NEEDED = ("c3d-ucf101", "c3d-ucf101-mean")
PRESET = "ucf101-128"
FIRST_STAGE = {"ucf101-paper": "4x4x4", "ucf101-tgan": "4x4x4", "ucf101-tganv2": "4x3x3"}  # from which doubling leads to the recipe's size
PROTOCOL = {"ucf101-paper": "tgan", "ucf101-tgan": "tgan", "ucf101-tganv2": "tganv2"}


def config_for(recipe: str) -> Config:
    """The preset with the plan that ends at the recipe's size; its other stages keep their schedule."""
    config = load_preset(PRESET)
    sizes = ladder(Size.parse(load_recipe(recipe).size, "size"), config.growth.order, Size.parse(FIRST_STAGE[recipe], "size"))
    return dataclasses.replace(config, growth=config.growth.along(sizes)[0])


def study(
    videos: Path,
    out: Path,
    *,
    recipe: str = "ucf101-paper",
    only: Path | None = None,
    config_file: Path | None = None,
    clips: int | None = None,
    repeats: int | None = None,
    conditional: bool = False,
) -> MetricCard:
    """Everything in turn. Raises GrowreelError at the start if the weights that score at the end are not there."""
    for role in NEEDED:
        if weights.find(role) is None:
            raise GrowreelError(
                f"weights for {role} are not in {weights.folder()}; see growreel weights list, then growreel weights add FILE"
            )
    config = load_config(config_file) if config_file else config_for(recipe)
    if conditional:
        config = dataclasses.replace(config, network=dataclasses.replace(config.network, conditional=True))
    if not (out / "clips" / "index.json").exists():
        how = {**load_recipe(recipe).arguments(), "size": config.growth.plan().sizes[-1]}
        print(prepare(videos, out / "clips", only=only, **how).table())
    result = train(out / "clips", out / "run", config)
    if result.signal:
        raise SystemExit(128 + result.signal)
    options = EvaluationOptions(metrics=("is",), protocol=PROTOCOL[recipe], clips=clips, repeats=repeats, resamples=0)
    card = evaluate(out / "run", out / "clips", options)
    card.save(out / "card.json")
    return card


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("videos", type=Path, help="the unpacked download: a folder for each class")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", choices=list(PROTOCOL), default="ucf101-paper", help="whose clips, plan and score")
    parser.add_argument("--list", type=Path, default=None, help="a split list, such as trainlist01.txt; default: all videos")
    parser.add_argument("--config", type=Path, default=None, help="a configuration of your own instead of the recipe's plan")
    parser.add_argument("--clips", type=int, default=None, help="generated clips per repeat; the protocol says 10,000 (tganv2: 2,048)")
    parser.add_argument("--repeats", type=int, default=None, help="the protocol says 4 (tganv2: 10)")
    parser.add_argument("--conditional", action="store_true", help="learn the 101 classes apart; OUT must be another than without")
    options = parser.parse_args()
    card = study(
        options.videos,
        options.out,
        recipe=options.recipe,
        only=options.list,
        config_file=options.config,
        clips=options.clips,
        repeats=options.repeats,
        conditional=options.conditional,
    )
    print(card.table())


if __name__ == "__main__":
    main()
