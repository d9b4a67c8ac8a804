"""Which clips are compared: opening what the user named, at one size, and choosing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from growreel.data.classes import class_numbers, in_proportion
from growreel.data.split import Part, clips_of
from growreel.data.store import INDEX, ClipStore, file_checksum
from growreel.errors import GrowreelError
from growreel.evaluation.clips import ARRAY, ArrayClips, ClipSet, FirstFrames, StoreClips, VideoClips, choose_real
from growreel.evaluation.options import EvaluationOptions
from growreel.growth import Size
from growreel.models.files import load_generator, newest_model
from growreel.runtime.randomness import Purpose, keyed_rng
from growreel.sampling import GeneratedClips

SEEDS_APART = 10**6
"""Model seeds of evaluation seed s begin at s times this; those of seed 0 are the clips that `growreel sample` shows first."""


@dataclass(frozen=True)
class Sets:
    """Generated, real and, where those are others, training clips, all of one size.

    Attributes:
        fake_numbers: the clips of each repeat.
        real_numbers: the real clips that are compared.
    """

    fake: ClipSet
    real: ClipSet
    training: ClipSet | None
    fake_numbers: list[list[int]]
    real_numbers: list[int]


def open_sets(
    fake: Path | NDArray[np.uint8], real: Path, training: Path | None, options: EvaluationOptions, device: torch.device, stack: ExitStack
) -> Sets:
    """Open everything; stores are closed by `stack`.

    Raises GrowreelError if something is not what it should be, sizes or colours differ, or there are fewer clips than were asked for.
    """
    protocol = options.published()
    frames = options.clip_frames or protocol.frames
    count, repeats = options.clips or protocol.clips, options.repeats or protocol.repeats
    store = stack.enter_context(ClipStore.open(real))
    generated: ClipSet
    if isinstance(fake, np.ndarray):
        generated, name = ArrayClips(fake), ARRAY
    else:
        generated, name = _open_fake(fake, store, frames, (count, repeats), options, device, stack), str(fake)
    classes = generated.chosen if isinstance(generated, GeneratedClips) else None
    if options.classes is not None and classes is None:
        raise GrowreelError(f"--classes {options.classes}: is for a conditional model, which {name} is not; leave the flag out")
    real_clips = _at_size_of(generated, name, store, frames, options.split, classes)
    training_clips = _at_size_of(generated, name, store, frames, "training", classes) if options.split == "held-out" else None
    if training is not None:
        training_clips = _at_size_of(generated, name, stack.enter_context(ClipStore.open(training)), frames, "training", classes)
    if frames is not None and generated.size.t != frames:
        generated = FirstFrames(generated, frames)
    per_set = count
    if len(generated) < count * repeats:
        if options.clips is not None or repeats > 1:
            raise GrowreelError(f"--clips {count} --repeats {repeats}: {name} has {len(generated)} clips, needed are {count * repeats}")
        per_set = len(generated)
    if min(per_set, len(real_clips)) < 2:
        raise GrowreelError(f"{name}: {per_set} clips, {real}: {len(real_clips)} clips; a distribution needs at least 2 of each")
    order = np.arange(len(generated))
    if not isinstance(generated, GeneratedClips):  # files have an order that may mean something
        order = keyed_rng(Purpose.EVALUATION, options.seed, 6).permutation(len(generated))
    return Sets(
        generated,
        real_clips,
        training_clips,
        [sorted(order[r * per_set : (r + 1) * per_set].tolist()) for r in range(repeats)],
        choose_real(real_clips, count, options.seed),
    )


def _open_fake(
    path: Path,
    real: ClipStore,
    frames: int | None,
    counts: tuple[int, int],
    options: EvaluationOptions,
    device: torch.device,
    stack: ExitStack,
) -> ClipSet:
    """What FAKE is: by what lies there, not by its name alone."""
    if path.suffix == ".npy":
        return ArrayClips(path)
    if path.suffix == ".safetensors" or (path / "models").is_dir():
        return _open_model(path, real, counts, options, device)
    if (path / INDEX).is_file():
        return StoreClips(stack.enter_context(ClipStore.open(path)), part="all")
    if path.is_dir():
        videos = VideoClips(path, frames or real.size.t, real.channels)
        stack.callback(videos.close)
        return videos
    raise GrowreelError(f"{path}: is no model file (.safetensors), run folder, clip store, folder of videos or .npy of clips")


def _open_model(path: Path, real: ClipStore, counts: tuple[int, int], options: EvaluationOptions, device: torch.device) -> GeneratedClips:
    """`counts`: clips of a repeat, and repeats."""
    file = newest_model(path) if path.is_dir() else path
    model = load_generator(file, device)
    channels = model.config.network.image_channels
    assert channels is not None  # training settles it
    facts = {"path": str(file), "sha256": file_checksum(file), "clips shown": model.clips_shown, "stage": str(model.size)}
    if model.data:
        facts["learnt from"] = "; ".join(f"{each['clips']} clips {each['size']} with content {each['sha256']}" for each in model.data)
    count, repeats = counts
    names = model.chosen_classes(options.classes)
    numbers = None if names is None else _classes_of_real(model.classes, names, real, count, options)
    classes = None if numbers is None else in_proportion(numbers if len(numbers) else np.arange(len(model.classes)), count)
    if classes is not None:
        facts["classes"] = ", ".join(f"{name} {classes.count(number)}" for number, name in enumerate(model.classes) if number in classes)
    first, every = options.seed * SEEDS_APART, None if classes is None else classes * repeats
    made = GeneratedClips(model.generator, model.position, channels, count * repeats, first, facts, options.precision, every)
    made.chosen = names if options.classes is not None else None
    if numbers is not None and not len(numbers):
        made.warnings = ("real clips without a label, or with one that is no class of the model: it made all of its classes equally often",)
    return made


def _classes_of_real(
    known: Sequence[str], wanted: Sequence[str], real: ClipStore, count: int, options: EvaluationOptions
) -> NDArray[np.int64]:
    """The classes, as numbers of those `known` to a model, of the real clips that are compared; empty if one of these clips is of none.

    A conditional model makes clips in the proportions of these, so that no figure says that the one set has more of a class than the other.
    Raises GrowreelError if classes were asked for and no real clip is of any.
    """
    numbers = class_numbers(real, known)[clips_of(real, options.split)]
    if options.classes is not None:
        numbers = numbers[np.isin(numbers, [known.index(name) for name in wanted])]
        if not len(numbers):
            raise GrowreelError(f"--classes {options.classes}: {real.path} has no clips with such a label")
    numbers = numbers[choose_real(numbers, count, options.seed)]
    return numbers[:0] if (numbers < 0).any() else numbers


def _at_size_of(fake: ClipSet, name: str, store: ClipStore, frames: int | None, part: Part, classes: Sequence[str] | None) -> ClipSet:
    """Clips of a part of a store at the size of the fakes, of some classes if that was asked for.

    A model at a stage of its growth has learnt fewer frames as its plan made them, so that is what it is held against. Of files it is not
    known how frames were left out: they must have as many as the store's clips, or the first few of both are compared.
    """
    if fake.channels != store.channels:
        raise GrowreelError(f"{name}: has {fake.channels} colour channels, {store.path} {store.channels}; prepare again with --colors")
    plan = fake.generator.plan if isinstance(fake, GeneratedClips) else None
    size = fake.size._replace(t=store.size.t) if plan is None else fake.size
    if any(have % want for have, want in zip(store.size, size, strict=True)):
        raise GrowreelError(
            f"{name}: has clips of {fake.size}, which do not go evenly into {store.size} of {store.path}; "
            f"run prepare again with --size {fake.size}"
        )
    clips: ClipSet = StoreClips(store, Size(*size), "average" if plan is None else plan.time_reduction, part, classes)
    if frames is None and fake.size.t != size.t:
        shorter = min(fake.size.t, size.t)
        raise GrowreelError(
            f"{name}: has clips of {fake.size.t} frames, {store.path} of {size.t}; compare the first {shorter} of both with "
            f"--clip-frames {shorter}, or run prepare again with --size {fake.size}"
        )
    return clips if frames is None or clips.size.t == frames else FirstFrames(clips, frames)
