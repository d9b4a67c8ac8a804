"""Train the model that comes with growreel: procedural shapes at 16x32x32, from published_model.yaml.

    python studies/published_model.py --out FOLDER

Interrupted, the same command goes on. Writes FOLDER/run, FOLDER/card.json and .md, FOLDER/judged.json (the shares of clips that the
judge by rule accepts and whose form it calls clear), and as FOLDER/shapes-16x32x32.* what lies in `src/growreel/pretrained/`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from quality_report import without_folders

from growreel.config import load_config
from growreel.data.shapes import shape_clips, shape_kinds
from growreel.data.store import ClipStore
from growreel.data.writer import write_store
from growreel.evaluation.evaluate import evaluate
from growreel.evaluation.options import EvaluationOptions
from growreel.evaluation.shapes_form import variety
from growreel.evaluation.shapes_judge import judge
from growreel.models.files import load_generator, save_model
from growreel.runtime.durable import replace_text
from growreel.sampling import generate
from growreel.training.loop import train

CLIPS, JUDGED = 4096, 512


def licensed(run: Path, folder: Path) -> Path:
    """The model with its licence: the file that is published, and therefore the one that is measured."""
    model = load_generator(run)
    file = folder / f"shapes-{model.size}.safetensors"
    save_model(file, model.generator, model.config, model.clips_shown, model.fps, license="Apache-2.0", data=model.data)
    return file


def judged(clips: NDArray[np.uint8]) -> dict[str, float]:
    """Shares of clips that pass each rule, and of forms and colours."""
    verdict = judge(clips)
    kinds = variety(clips, verdict.color)
    shares = {part: float(getattr(verdict, part).mean()) for part in ("accepted", "one_blob", "right_color", "continuous")}
    return {**shares, "clear_form": kinds.clear_form, **kinds.forms, **kinds.colors}


def publish(run: Path, folder: Path, name: str) -> None:
    """Put beside the model what belongs into src/growreel/pretrained, too: its configuration, statistics, card and verdict."""
    shutil.copyfile(run / "config.yaml", folder / f"{name}.yaml")
    shutil.copyfile(run / "stats.jsonl", folder / f"{name}.stats.jsonl")
    for file in ("card.json", "card.md", "judged.json"):
        (folder / f"{name}.{file}").write_text(without_folders((run.parent / file).read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    config = load_config(Path(__file__).with_name("published_model.yaml"))
    size, store = config.growth.plan().sizes[-1], options.out / "clips"
    if not (store / "index.json").exists():
        write_store(store, shape_clips(CLIPS, size), fps=16.0, labels=shape_kinds(CLIPS, size))
    result = train(store, options.out / "run", config)
    if result.signal:
        raise SystemExit(128 + result.signal)
    published = licensed(options.out / "run", options.out)
    model = load_generator(published)
    with ClipStore.open(store) as opened:
        real = opened.read(range(JUDGED), size)
    shares = {"generated": judged(generate(model, range(JUDGED))), "real": judged(real)}
    replace_text(options.out / "judged.json", json.dumps(shares, indent=2) + "\n")
    print(json.dumps(shares, indent=2))
    settings = EvaluationOptions(metrics=("swd", "swd3d", "motion", "prdc", "memory"), features="pixels", clips=JUDGED)
    card = evaluate(published, store, settings)
    card.save(options.out / "card.json")
    print(card.table())
    publish(options.out / "run", options.out, published.stem)


if __name__ == "__main__":
    main()
