"""From the UCF-101 download to its video Inception Score, in one command; docs/ucf101.md has what it needs and how long it takes.

    python studies/ucf101.py UCF-101 --out runs/ucf101

Prepares clips, trains, and scores under the protocol of TGAN. Interrupted, the same command goes on. Writes OUT/clips, OUT/run and
OUT/card.json.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from growreel.config import load_config, load_preset
from growreel.errors import GrowreelError
from growreel.evaluation.card import MetricCard
from growreel.evaluation.evaluate import evaluate
from growreel.evaluation.extractors import weights
from growreel.evaluation.options import EvaluationOptions
from growreel.growth import Size
from growreel.preparation.prepare import prepare
from growreel.training.loop import train

NEEDED = ("c3d-ucf101", "c3d-ucf101-mean")


def recipe(
    videos: Path,
    out: Path,
    *,
    preset: str = "ucf101-128",
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
    config = load_config(config_file) if config_file else load_preset(preset)
    if conditional:
        config = dataclasses.replace(config, network=dataclasses.replace(config.network, conditional=True))
    size: Size = config.growth.plan().sizes[-1]
    if not (out / "clips" / "index.json").exists():
        print(prepare(videos, out / "clips", size, labels=True).table())
    result = train(out / "clips", out / "run", config)
    if result.signal:
        raise SystemExit(128 + result.signal)
    options = EvaluationOptions(metrics=("is",), protocol="tgan", clips=clips, repeats=repeats, resamples=0)
    card = evaluate(out / "run", out / "clips", options)
    card.save(out / "card.json")
    return card


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("videos", type=Path, help="the unpacked download: a folder for each class")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="ucf101-128")
    parser.add_argument("--config", type=Path, default=None, help="a configuration of your own instead")
    parser.add_argument("--clips", type=int, default=None, help="generated clips per repeat; the protocol says 10,000")
    parser.add_argument("--repeats", type=int, default=None, help="the protocol says 4")
    parser.add_argument("--conditional", action="store_true", help="learn the 101 classes apart; OUT must be another than without")
    options = parser.parse_args()
    card = recipe(
        options.videos,
        options.out,
        preset=options.preset,
        config_file=options.config,
        clips=options.clips,
        repeats=options.repeats,
        conditional=options.conditional,
    )
    print(card.table())


if __name__ == "__main__":
    main()
