"""How a file of clips was made: written into every output, read back to make it again."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from growreel.data.store import file_checksum
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Position
from growreel.models.files import PRETRAINED, LoadedGenerator
from growreel.reading.json_tree import parse_json
from growreel.reading.words import plain, shown
from growreel.runtime.latents import Mix, Place, classes_of_places, parse_place
from growreel.runtime.precision import Arithmetic
from growreel.runtime.version import installed_version
from growreel.video import read_comment

FORMAT = "growreel-recipe-1"
MOST_TEXT = 2**20
MOST_SEEDS, MOST_FRAMES = 10**6, 10**6
"""A recipe comes from anywhere; one that asks for more is not expanded."""


@dataclass(frozen=True)
class Walk:
    """What a walk through the latent space needs besides its seed; as of `sampling.walk`."""

    frames: int
    turns: int
    to: int | None = None
    every: int = 1

    def told(self) -> str:
        """In words."""
        way = f"{self.turns} turns" if self.to is None else f"to seed {self.to} and back"
        return f"{self.frames} frames, {way}" + ("" if self.every == 1 else f", a clip for every {self.every} frames")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the pixels of a file of generated clips.

    Attributes:
        model: the last parts of the model file's path, such as `run/models/000120.safetensors`; never a whole path, which would tell
            whose machine it was to everyone who gets the clip.
        model_sha256: of the model file. None for the samples that training writes: there is a model file of their clips only where a
            checkpoint was due too.
        clips_shown: real clips that the model was trained on.
        stage, alpha: its place in the growth plan: size of the clips and weight of the newest block.
        seeds: of the clips in the file, in their order; also mixes of two.
        truncation: as of `sampling.generate`.
        precision: that the arithmetic was done in.
        fps: of the model's clips in the file.
        scale: how many times pixels were enlarged; None for up to a height of 64.
        growreel, torch: versions.
        walk: None for plain samples.
        frames: of each clip, where they are longer or shorter than the model's (`sampling.continuation`).
        classes: names of those that a conditional model was asked for, of which seed s has number s modulo how many; None for one without.
    """

    model: str
    model_sha256: str | None
    clips_shown: int
    stage: str
    alpha: float
    seeds: tuple[Place, ...]
    truncation: float
    precision: str
    fps: float
    scale: int | None
    growreel: str
    torch: str
    walk: Walk | None = None
    frames: int | None = None
    classes: tuple[str, ...] | None = None

    def class_names(self) -> list[str]:
        """Return the name of each clip's class; of a model with classes."""
        assert self.classes is not None
        return [self.classes[number] for number in classes_of_places(self.seeds, range(len(self.classes)))]

    def of_seeds(self, seeds: tuple[Place, ...]) -> Recipe:
        """The same of other seeds."""
        return replace(self, seeds=seeds)

    def to_json(self) -> str:
        """One line of ASCII."""
        tree = {"format": FORMAT, **asdict(self), "seeds": _shorten(self.seeds)}
        if self.classes is None:  # as before there were any
            del tree["classes"]
        return json.dumps(tree)

    def table(self) -> str:
        """For people, a line per fact."""
        facts = {
            "model": f"{self.model}, {self.clips_shown:,} clips shown",
            "sha256": self.model_sha256 or "not written: samples of a run in training",
            "stage": self.stage + (f", fading in, alpha {self.alpha:g}" if self.alpha < 1 else ""),
            "seeds": _shorten(self.seeds),
            "classes": self.classes and plain(", ".join(self.classes) + (", in turn" if len(self.classes) > 1 else ""), 1000),
            "walk": self.walk and self.walk.told(),
            "length": self.frames and f"{self.frames} frames",
            "truncation": f"{self.truncation:g}",
            "precision": self.precision,
            "played at": f"{self.fps:g} frames a second",
            "enlarged": "up to a height of 64" if self.scale is None else f"{self.scale} times",
            "made by": f"growreel {self.growreel}, torch {self.torch}",
        }
        return "\n".join(f"{name:<11}{value}" for name, value in facts.items() if value is not None)


def recipe_of(
    model: LoadedGenerator,
    seeds: Sequence[Place],
    *,
    fps: float,
    truncation: float = 1.0,
    precision: Arithmetic = "float32",
    scale: int | None = None,
    walk: Walk | None = None,
    frames: int | None = None,
    classes: str | Sequence[str] | None = None,
) -> Recipe:
    """The recipe of clips that a loaded model is about to make; arguments, and errors, are those of the call that makes them."""
    return Recipe(
        model="/".join(model.path.absolute().parts[-3:]) if model.path else "unknown",
        model_sha256=file_checksum(model.path) if model.path else None,
        clips_shown=model.clips_shown,
        stage=str(model.size),
        alpha=model.position.alpha,
        seeds=tuple(seed if isinstance(seed, Mix) else int(seed) for seed in seeds),
        truncation=truncation,
        precision=precision,
        fps=fps,
        scale=scale,
        growreel=installed_version("growreel"),
        torch=installed_version("torch"),
        walk=walk,
        frames=frames,
        classes=model.chosen_classes(classes),
    )


def recipe_in_training(plan: GrowthPlan, clips_shown: int, seeds: Sequence[int], fps: float, classes: Sequence[str] = ()) -> Recipe:
    """The recipe of the samples that a run writes of its averaged generator, of all its classes in turn if it has any.

    It is the same wherever the run folder lies.
    """
    position = plan.position(clips_shown)
    return Recipe(
        model=f"models/{clips_shown:09d}.safetensors",
        model_sha256=None,
        clips_shown=clips_shown,
        stage=str(plan.sizes[position.stage]),
        alpha=position.alpha,
        seeds=tuple(seeds),
        truncation=1.0,
        precision="float32",
        fps=fps,
        scale=None,
        growreel=installed_version("growreel"),
        torch=installed_version("torch"),
        classes=tuple(classes) or None,
    )


def read_recipe(path: str | Path) -> Recipe:
    """The recipe in a `.mp4`, `.webp`, `.gif` or `.png` file, or beside a `.npy`.

    Raises GrowreelError if the file cannot be read or growreel left no recipe in it: some services strip comments from what is uploaded.
    """
    path = Path(path)
    text = read_comment(path)
    if text is None:
        raise GrowreelError(f"{path}: has no recipe of growreel; was it made by something else, or sent through a service that strips it?")
    try:
        tree = parse_json(text)
        if not isinstance(tree, dict) or not str(tree.pop("format", "")).startswith("growreel-recipe-"):
            raise ValueError("its comment is something else's")
        walk, frames, classes = tree.pop("walk", None), tree.pop("frames", None), tree.pop("classes", None)
        known = {name: tree[name] for name in Recipe.__dataclass_fields__ if name not in ("seeds", "walk", "frames", "classes")}
        seeds = _expand(tree["seeds"])
        if walk and not all(isinstance(seed, int) for seed in seeds):
            raise ValueError("its walk begins between two seeds")
        if frames is not None and (type(frames) is not int or not 0 < frames <= MOST_FRAMES):
            raise ValueError(f"its clips have {shown(frames)} frames")
        if classes is not None and not (isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)):
            raise ValueError(f"its classes are {shown(classes)}")
        named = None if classes is None else tuple(classes)
        return Recipe(**known, seeds=seeds, walk=Walk(**walk) if walk else None, frames=frames, classes=named)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise GrowreelError(f"{path}: has no recipe that this growreel can read ({plain(error)}); it has {shown(text)}") from error


def find_model(recipe: Recipe, clip: Path) -> Path:
    """The model file that a recipe names: below the current folder, or in the folders that the clip lies in.

    Raises GrowreelError, saying what to look for, if it is not there or has another checksum.
    """
    named = Path(recipe.model)
    folders = [Path(), *clip.absolute().parents, PRETRAINED]
    tails = [Path(*named.parts[start:]) for start in range(len(named.parts))]
    different = None
    for place in (folder / tail for folder in folders for tail in tails):
        if place.is_file() and place.suffix == ".safetensors":
            if recipe.model_sha256 in (None, file_checksum(place)):
                return place
            different = place
    wanted = f"{recipe.model}, sha256 {recipe.model_sha256 or 'unknown'}"
    if different is not None:
        raise GrowreelError(f"{clip}: was made with another model than {different} now is; give the right one as MODEL ({wanted})")
    hint = "" if recipe.model_sha256 else "; samples of a run in training can be made again only where a model was saved with them"
    raise GrowreelError(f"{clip}: its model is not here; give it as MODEL ({wanted}){hint}")


def check_model(recipe: Recipe, model: LoadedGenerator, clip: Path) -> None:
    """Raise GrowreelError if a model that was given is not the one that made the clip."""
    same = model.path is not None and recipe.model_sha256 in (None, file_checksum(model.path))
    if not same or recipe.clips_shown != model.clips_shown or recipe.stage not in map(str, model.generator.plan.sizes):
        raise GrowreelError(
            f"{model.path}: is not the model that made {clip}; that one is {recipe.model}, {recipe.stage} after "
            f"{recipe.clips_shown:,} clips, sha256 {recipe.model_sha256 or 'unknown'}"
        )


def at_stage(model: LoadedGenerator, recipe: Recipe) -> LoadedGenerator:
    """The model at the recipe's stage and alpha, which need not be where it was saved. Raises GrowreelError for a stage that it lacks."""
    stages = [str(size) for size in model.generator.plan.sizes]
    if recipe.stage not in stages:
        raise GrowreelError(f"{model.path}: has no stage {recipe.stage}; its plan is {' '.join(stages)}")
    return replace(model, position=Position(stages.index(recipe.stage), "fade" if recipe.alpha < 1 else "stable", recipe.alpha))


def _shorten(seeds: tuple[Place, ...]) -> str:
    """`0-15,40,7~12~0.25` for 0 to 15, 40, and a quarter of the way from 7 to 12."""
    runs: list[list[Place]] = []
    for seed in seeds:
        if runs and isinstance(seed, int) and isinstance(runs[-1][1], int) and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _expand(text: Any) -> tuple[Place, ...]:
    if not isinstance(text, str) or len(text) > MOST_TEXT:
        raise ValueError(f"seeds are {shown(str(text))}")
    seeds: list[Place] = []
    for part in text.split(","):
        if not re.fullmatch(r"\d+-\d+", part, flags=re.ASCII):
            seeds.append(parse_place(part))
            continue
        first, _, last = part.partition("-")
        run = range(int(first), int(last) + 1)
        if len(seeds) + len(run) > MOST_SEEDS:
            raise ValueError(f"it names more than {MOST_SEEDS:,} seeds")
        seeds += run
    return tuple(seeds)
