"""The page *Play*: clips of any seed, or of any place between two, at any stage; as pictures for a page and as files to take away."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from growreel.growth import Position
from growreel.models.files import LoadedGenerator
from growreel.recipe import Walk, recipe_of
from growreel.runtime.latents import Mix, Place, latents_of_places, parse_place
from growreel.sampling import classes_of_seeds, clips_of_latents, clips_of_recipe, write_samples
from growreel.video import webp_bytes
from growreel.view.server import Asked, Refused, Reply
from growreel.view.studio import Studio
from growreel.view.subject import ModelFile, Subject

MOST_SEED = 2**53 - 1
"""What a number in a browser holds exactly."""
MOST_EXPORTED = 64
MOST_FILM_FRAMES, MOST_STEP = 480, 16
SLOWEST = 0.5
"""Frames a second of the small stages, where a clip has few frames."""
LOSSLESS_HEIGHT = 64
FORMATS = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp", "txt": "text/plain; charset=utf-8"}


def parse_asked(text: str) -> Place:
    """A seed or a place between two, of a request. Raises Refused for anything else, and for a seed that a browser cannot hold."""
    try:
        place = parse_place(text)
    except ValueError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from error
    if (max(place.seed, place.other) if isinstance(place, Mix) else place) > MOST_SEED:
        raise Refused(HTTPStatus.BAD_REQUEST, f"{text[:40]!r}: seeds go to {MOST_SEED}")
    return place


@dataclass(frozen=True)
class View:
    """How clips are to be made: of which model file, at which stage, how far faded in, how truncated, of which class ("": all in turn)."""

    file: ModelFile
    stage: int | None
    alpha: float
    truncation: float
    of_class: str = ""

    @classmethod
    def of(cls, subject: Subject, values: Mapping[str, str]) -> View:
        """Read what a request says. Raises Refused for what is out of range."""
        stage = values.get("stage", "")
        if stage and not re.fullmatch(r"\d{1,2}", stage, re.ASCII):
            raise Refused(HTTPStatus.BAD_REQUEST, f"stage {stage[:20]!r}: is no number of a stage")
        file = subject.model(values.get("run", ""), values.get("model", ""))
        alpha, truncation = number(values, "alpha", 1, 0, 1), number(values, "truncation", 1, 0, 2)
        return cls(file, int(stage) if stage else None, alpha, truncation, values.get("class", ""))

    def key(self) -> tuple[Any, ...]:
        status = self.file.path.stat()
        return (str(self.file.path), status.st_mtime_ns, self.stage, self.alpha, self.truncation, self.of_class)

    @property
    def wanted(self) -> tuple[str, ...] | None:
        """The class, as of `sampling.generate`."""
        return (self.of_class,) if self.of_class else None

    def loaded(self, studio: Studio) -> LoadedGenerator:
        """The model at this stage. Raises Refused for a stage, or a class, that it has not."""
        model = studio.model(self.file.path)
        sizes = model.generator.plan.sizes
        stage = model.position.stage if self.stage is None else self.stage
        if stage >= len(sizes):
            raise Refused(HTTPStatus.BAD_REQUEST, f"stage {stage}: the model has {len(sizes)}, from 0")
        if self.of_class and self.of_class not in model.classes:
            raise Refused(HTTPStatus.BAD_REQUEST, f"class {self.of_class[:40]!r}: is none of the model's")
        alpha = 1.0 if stage == 0 else self.alpha
        fps = model.fps * sizes[stage].t / model.size.t  # a clip lasts as long at every stage
        return replace(model, position=Position(stage, "fade" if alpha < 1 else "stable", alpha), fps=fps)

    def clips(self, model: LoadedGenerator, places: Sequence[Place]) -> NDArray[np.uint8]:
        """uint8 [n, t, h, w, c]."""
        latents = torch.from_numpy(latents_of_places(places, model.generator.latent_dim))
        classes = classes_of_seeds(model, places, self.wanted)
        return np.stack(list(clips_of_latents(model.generator, model.position, latents, self.truncation, classes=classes)))


def number(values: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    """A number of a request. Raises Refused if it is none or out of range."""
    try:
        value = float(values.get(name) or default)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise Refused(HTTPStatus.BAD_REQUEST, f"{name} {values.get(name, '')[:20]!r}: must be a number from {least:g} to {most:g}")
    return value


def model_facts(subject: Subject, studio: Studio, asked: Asked) -> dict[str, Any]:
    """Models of a run, and of the one that is asked for its stages and where it was saved."""
    run = asked.values.get("run", "")
    file = subject.model(run, asked.values.get("model", ""))
    facts = dict[str, Any]()

    def look() -> bytes:
        model = studio.model(file.path)
        sizes = [str(size) for size in model.generator.plan.sizes]
        reached = model.position.stage
        facts.update(stages=sizes, stage=reached, alpha=model.position.alpha, fps=model.fps, clips=model.clips_shown, license=model.license)
        facts.update(classes=list(model.classes))
        return b"."

    studio.get(("facts", str(file.path), file.path.stat().st_mtime_ns, id(facts)), look, asked.is_wanted, keep=False)
    return {**facts, "models": [{"id": name, "name": each.name} for name, each in subject.models(run).items()]}


def clip_reply(subject: Subject, studio: Studio, asked: Asked) -> Reply:
    """One clip as a WebP; `place` says which."""
    view, place = View.of(subject, asked.values), parse_asked(asked.values.get("place", "0"))

    def make() -> bytes:
        model = view.loaded(studio)
        clip = view.clips(model, [place])[0]
        recipe = recipe_of(model, [place], fps=model.fps, truncation=view.truncation, scale=1, classes=view.wanted)
        return webp_bytes(clip, max(model.fps, SLOWEST), recipe.to_json(), None if clip.shape[1] <= LOSSLESS_HEIGHT else 84)

    return Reply(studio.get(("clip", *view.key(), place), make, asked.is_wanted), "image/webp")


def export_reply(subject: Subject, studio: Studio, asked: Asked) -> Reply:
    """A file of clips, `places` with commas, as mp4, GIF or WebP with their recipe, or the list of them as text.

    With `film`, the walk from the first of two seeds to the second and back instead, so many frames long, with a clip for every `step`.
    """
    view, form = View.of(subject, asked.values), asked.values.get("format", "")
    places = [parse_asked(text) for text in asked.values.get("places", "").split(",")[: MOST_EXPORTED + 1]]
    if form not in FORMATS or len(places) > MOST_EXPORTED:
        raise Refused(HTTPStatus.BAD_REQUEST, f"format {form[:20]!r}: must be {', '.join(FORMATS)}, of at most {MOST_EXPORTED} clips")
    film, step = int(number(asked.values, "film", 0, 0, MOST_FILM_FRAMES)), int(number(asked.values, "step", 1, 1, MOST_STEP))
    if film and (form == "txt" or len(places) != 2 or not all(isinstance(place, int) for place in places)):
        raise Refused(HTTPStatus.BAD_REQUEST, "a film is of the walk between two seeds, as mp4, GIF or WebP")

    def make() -> bytes:
        if form == "txt":
            return "".join(f"{place}\n" for place in places).encode()
        model = view.loaded(studio)
        walk = Walk(max(film, 2), 1, places[1], step) if film and isinstance(places[1], int) else None
        shown = places[:1] if walk else places
        recipe = recipe_of(model, shown, fps=max(model.fps, SLOWEST), truncation=view.truncation, walk=walk, classes=view.wanted)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"clips.{form}"
            write_samples(path, clips_of_recipe(model, recipe, while_wanted), shown, fps=recipe.fps, recipe=recipe)
            return path.read_bytes()

    def while_wanted(made: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        for each in made:
            if not asked.is_wanted():
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "no longer wanted")
            yield each

    body = studio.get(("export", *view.key(), form, film, step, tuple(places)), make, asked.is_wanted, keep=False)
    name = "walk" if film else "clips"
    return Reply(body, FORMATS[form], headers={"Content-Disposition": f'attachment; filename="growreel-{name}.{form}"'})
