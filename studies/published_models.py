"""Train a model that comes with growreel.

    python studies/published_models.py shapes --out FOLDER
    python studies/published_models.py asl --out FOLDER --videos ASL_GESTURES

`shapes` draws its clips; `asl` learns from the 20 videos of American Sign Language words in the folder asl_gestures of
intel-iot-devkit/sample-videos (CC BY 4.0). They are trained in the parts that published_NAME*.yaml describe, each of which begins with the
weights of the one before. Interrupted, the same command goes on. Writes FOLDER/run-1 and so on, and after the last part of every
size, as FOLDER/NAME-TxHxW.*, what lies in `src/growreel/pretrained/`: the model, the discriminator that a run needs to begin with it,
configuration, statistics and card, and for shapes the shares of clips that the judge by rule accepts and whose form it calls clear.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
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
from growreel.growth import Size
from growreel.models.files import LoadedGenerator, load_generator, save_model
from growreel.preparation.prepare import prepare
from growreel.runtime.durable import replace_text
from growreel.sampling import generate
from growreel.training.initial import save_discriminator
from growreel.training.loop import train

SHAPES, JUDGED = 4096, 512


@dataclass(frozen=True)
class Published:
    """What is particular to one of the models.

    Attributes:
        license: terms of the weights, which depend on the clips that were learnt.
        compared: generated clips to be measured, at most as many as there are real ones.
    """

    license: str
    compared: int


MODELS = {"shapes": Published("Apache-2.0", compared=JUDGED), "asl": Published("CC-BY-4.0", compared=256)}


def write_clips(name: str, store: Path, size: Size, videos: Path | None) -> None:
    """Write the clips that the model learns from."""
    if name == "shapes":
        write_store(store, shape_clips(SHAPES, size), fps=16.0, labels=shape_kinds(SHAPES, size)).close()
    else:
        assert videos is not None
        prepare(videos, store, size, clip_stride=4)


def licensed(model: LoadedGenerator, name: str, folder: Path) -> Path:
    """The model with its licence: the file that is published, and therefore the one that is measured."""
    file = folder / f"{name}-{model.size}.safetensors"
    license = MODELS[name].license
    save_model(file, model.generator, model.config, model.clips_shown, model.fps, license=license, data=model.data)
    return file


def judged(clips: NDArray[np.uint8]) -> dict[str, float]:
    """Shares of clips that pass each rule, and of forms and colours."""
    verdict = judge(clips)
    kinds = variety(clips, verdict.color)
    shares = {part: float(getattr(verdict, part).mean()) for part in ("accepted", "one_blob", "right_color", "continuous")}
    return {**shares, "clear_form": kinds.clear_form, **kinds.forms, **kinds.colors}


def judge_shapes(model: LoadedGenerator, store: Path, file: Path) -> None:
    """Judge generated and real clips, and write the shares to a file."""
    with ClipStore.open(store) as opened:
        real = opened.read(range(JUDGED), model.size)
    shares = {"generated": judged(generate(model, range(JUDGED))), "real": judged(real)}
    replace_text(file, json.dumps(shares, indent=2) + "\n")
    print(json.dumps(shares, indent=2))


def publish(run: Path, store: Path, folder: Path, name: str) -> None:
    """Write the model of a finished run and all that lies beside it in src/growreel/pretrained."""
    published = licensed(load_generator(run), name, folder)
    save_discriminator(run, published)
    if name == "shapes":
        judge_shapes(load_generator(published), store, published.with_suffix(".judged.json"))
    settings = EvaluationOptions(metrics=("swd", "swd3d", "motion", "prdc", "memory"), features="pixels", clips=MODELS[name].compared)
    card, file = evaluate(published, store, settings), published.with_suffix(".card.json")
    card.save(file)
    print(card.table())
    for each in (file, file.with_suffix(".md")):
        each.write_text(without_folders(each.read_text(encoding="utf-8")), encoding="utf-8")
    shutil.copyfile(run / "config.yaml", published.with_suffix(".yaml"))
    shutil.copyfile(run / "stats.jsonl", published.with_suffix(".stats.jsonl"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--videos", type=Path, help="folder of the videos that asl learns from")
    options = parser.parse_args()
    name, store = options.name, options.out / "clips"
    if name == "asl" and options.videos is None:
        parser.error("asl learns from videos; give their folder with --videos")
    parts = [load_config(path) for path in sorted(Path(__file__).parent.glob(f"published_{name}*.yaml"))]
    sizes = [config.growth.plan().sizes[-1] for config in parts]
    if not (store / "index.json").exists():
        write_clips(name, store, sizes[-1], options.videos)
    run = None
    for number, config in enumerate(parts):
        before, run = run, options.out / f"run-{number + 1}"
        result = train(store, run, config, init_from=before)
        if result.signal:
            raise SystemExit(128 + result.signal)
        if sizes[number] not in sizes[number + 1 :]:  # the last of its size
            publish(run, store, options.out, name)


if __name__ == "__main__":
    main()
