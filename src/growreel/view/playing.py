"""The page *Play*: clips of any seed, or of any place between two, at any stage; as pictures for a page and as files to take away."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from growreel.growth import Position
from growreel.models.files import LoadedGenerator
from growreel.recipe import recipe_of
from growreel.runtime.randomness import latents_of_seeds
from growreel.sampling import clips_of_latents, write_samples
from growreel.video import webp_bytes
from growreel.view.server import Asked, Refused, Reply
from growreel.view.studio import Studio
from growreel.view.subject import ModelFile, Subject

MOST_SEED = 2**53 - 1
"""What a number in a browser holds exactly."""
MOST_EXPORTED = 64
LOSSLESS_HEIGHT = 64
FORMATS = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp", "txt": "text/plain; charset=utf-8"}
PLACE = re.compile(r"(\d{1,16})(?:~(\d{1,16})~(0(?:\.\d{1,4})?|1(?:\.0{1,4})?))?", re.ASCII)


@dataclass(frozen=True)
class Place:
    """A point of the latent space: a seed, or `share` of the way along the arc from one seed to another. Written `7` or `7~12~0.25`."""

    seed: int
    other: int | None = None
    share: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises Refused for anything else."""
        match = PLACE.fullmatch(text)
        if match is None or max(int(match[1]), int(match[2] or 0)) > MOST_SEED:
            raise Refused(HTTPStatus.BAD_REQUEST, f"{text[:40]!r}: is no seed and no place between two, such as 7 or 7~12~0.25")
        return cls(int(match[1])) if match[2] is None else cls(int(match[1]), int(match[2]), float(match[3]))

    def latent(self, latent_dim: int) -> NDArray[np.float32]:
        """[latent_dim]; a share of 0 is the seed's own clip, to the pixel."""
        ends = latents_of_seeds([self.seed] if self.other is None else [self.seed, self.other], latent_dim)
        first, last = np.asarray(ends[0], np.float32), np.asarray(ends[-1], np.float32)
        if self.other is None or self.share in (0, 1):
            return last if self.share == 1 else first
        a, b = (end / np.linalg.norm(end) for end in ends.astype(np.float64))
        angle = np.arccos(np.clip(a @ b, -1, 1))
        if angle < 1e-6:
            return first
        mixed = (np.sin((1 - self.share) * angle) * a + np.sin(self.share * angle) * b) / np.sin(angle)
        return np.asarray(mixed * np.sqrt(latent_dim), np.float32)


@dataclass(frozen=True)
class View:
    """How clips are to be made: of which model file, at which stage, how far faded in, how truncated."""

    file: ModelFile
    stage: int | None
    alpha: float
    truncation: float

    @classmethod
    def of(cls, subject: Subject, values: Mapping[str, str]) -> View:
        """Read what a request says. Raises Refused for what is out of range."""
        stage = values.get("stage", "")
        if stage and not re.fullmatch(r"\d{1,2}", stage, re.ASCII):
            raise Refused(HTTPStatus.BAD_REQUEST, f"stage {stage[:20]!r}: is no number of a stage")
        file = subject.model(values.get("run", ""), values.get("model", ""))
        return cls(file, int(stage) if stage else None, number(values, "alpha", 1, 0, 1), number(values, "truncation", 1, 0, 2))

    def key(self) -> tuple[Any, ...]:
        status = self.file.path.stat()
        return (str(self.file.path), status.st_mtime_ns, self.stage, self.alpha, self.truncation)

    def loaded(self, studio: Studio) -> LoadedGenerator:
        """The model at this stage. Raises Refused for a stage that it has not."""
        model = studio.model(self.file.path)
        sizes = model.generator.plan.sizes
        stage = model.position.stage if self.stage is None else self.stage
        if stage >= len(sizes):
            raise Refused(HTTPStatus.BAD_REQUEST, f"stage {stage}: the model has {len(sizes)}, from 0")
        alpha = 1.0 if stage == 0 else self.alpha
        fps = model.fps * sizes[stage].t / model.size.t  # a clip lasts as long at every stage
        return replace(model, position=Position(stage, "fade" if alpha < 1 else "stable", alpha), fps=fps)

    def clips(self, model: LoadedGenerator, places: Sequence[Place]) -> NDArray[np.uint8]:
        """uint8 [n, t, h, w, c]."""
        latents = torch.from_numpy(np.stack([place.latent(model.generator.latent_dim) for place in places]))
        return np.stack(list(clips_of_latents(model.generator, model.position, latents, self.truncation)))


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
        return b"."

    studio.get(("facts", str(file.path), file.path.stat().st_mtime_ns, id(facts)), look, asked.is_wanted, keep=False)
    return {**facts, "models": [{"id": name, "name": each.name} for name, each in subject.models(run).items()]}


def clip_reply(subject: Subject, studio: Studio, asked: Asked) -> Reply:
    """One clip as a WebP; `place` says which."""
    view, place = View.of(subject, asked.values), Place.parse(asked.values.get("place", "0"))

    def make() -> bytes:
        model = view.loaded(studio)
        clip = view.clips(model, [place])[0]
        recipe = None if place.other is not None else recipe_of(model, [place.seed], fps=model.fps, truncation=view.truncation, scale=1)
        return webp_bytes(
            clip, max(model.fps, 0.5), None if recipe is None else recipe.to_json(), None if clip.shape[1] <= LOSSLESS_HEIGHT else 84
        )

    return Reply(studio.get(("clip", *view.key(), place), make, asked.is_wanted), "image/webp")


def export_reply(subject: Subject, studio: Studio, asked: Asked) -> Reply:
    """A file of clips, `places` with commas, as mp4, GIF or WebP with the recipe of its seeds, or the list of them as text."""
    view, form = View.of(subject, asked.values), asked.values.get("format", "")
    places = [Place.parse(text) for text in asked.values.get("places", "").split(",")[: MOST_EXPORTED + 1]]
    if form not in FORMATS or len(places) > MOST_EXPORTED:
        raise Refused(HTTPStatus.BAD_REQUEST, f"format {form[:20]!r}: must be {', '.join(FORMATS)}, of at most {MOST_EXPORTED} clips")

    def make() -> bytes:
        if form == "txt":
            return "".join(f"{text}\n" for text in asked.values["places"].split(",")).encode()
        model = view.loaded(studio)
        seeds = [place.seed for place in places]
        between = any(place.other is not None for place in places)  # no recipe of growreel's says that
        recipe = None if between else recipe_of(model, seeds, fps=model.fps, truncation=view.truncation)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"clips.{form}"
            write_samples(path, view.clips(model, places), seeds, fps=max(model.fps, 0.5), recipe=recipe)
            return path.read_bytes()

    body = studio.get(("export", *view.key(), form, tuple(places)), make, asked.is_wanted, keep=False)
    return Reply(body, FORMATS[form], headers={"Content-Disposition": f'attachment; filename="growreel-clips.{form}"'})
