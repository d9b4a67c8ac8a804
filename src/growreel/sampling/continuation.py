"""Clips longer than trained: each goes on with another clip that begins as it ends.

A generator makes clips of one length. A clip that goes on is looked for in its latent space: of many random latents the one whose first
frames are nearest to the last ones that there are, which is then moved along the gradient until they agree better still. The frames that
both have are cross-faded. So there is no cut, and what moves goes on moving; but nothing remembers further back than those frames.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from growreel.errors import GrowreelError
from growreel.models.files import LoadedGenerator
from growreel.models.levels import to_levels
from growreel.models.window import frames_of_clips
from growreel.ranges import check_range
from growreel.runtime.latents import Mix, Place, latents_of_places
from growreel.runtime.precision import Arithmetic, named_arithmetic, use_arithmetic
from growreel.runtime.randomness import Purpose, keyed_rng

CANDIDATES = 64
"""Random latents that are looked at for each continuation,"""
REFINED = 2
"""of which so many are moved along the gradient,"""
STEPS, RATE = 80, 0.1
"""in so many steps of Adam, of this size: a latent's numbers are about 1. (`benchmarks/longer.py --search` compares.)"""


def overlap_of(length: int) -> int:
    """Frames that a clip of so many shares with the next one: a quarter, and where it is that short two, without which nothing moves."""
    return min(max(length // 4, 2), length - 1)


def check_length(model: LoadedGenerator, frames: int) -> None:
    """Raise GrowreelError if a model cannot make clips of so many frames."""
    check_range("--frames", frames, least=1)
    if model.size.t == 1 < frames:
        raise GrowreelError(f"--frames {frames}: this model makes pictures, {model.size}, and nothing in one says how it goes on")


def lengthened(
    model: LoadedGenerator,
    place: Place,
    frames: int,
    truncation: float = 1.0,
    precision: Arithmetic = "float32",
    of_class: int | None = None,
) -> NDArray[np.uint8]:
    """A clip of any length, uint8 [frames, h, w, c]: the one of the seed, cut short or continued.

    It depends on the arguments alone, but for rounding, and the beginning of a longer one is the shorter one.

    Args:
        model: from `load_generator`.
        place: a seed, or a mix of two.
        frames: at least 1.
        truncation, precision: as of `sampling.generate`.
        of_class: number of the class that a conditional model, and no other, is to make, all the way (`sampling.class_of_seed`).

    Raises GrowreelError as `check_length` does, for a class that is not of the model, and for a precision that is not of its device.
    """
    check_length(model, frames)
    if of_class not in (range(len(model.classes)) if model.classes else (None,)):
        known = ", ".join(f"{number} ({name})" for number, name in enumerate(model.classes)) or "None: this model has no classes"
        raise GrowreelError(f"of_class {of_class}: must be {known}")
    pieces, made = [], 0
    for piece in _pieces(model, place, truncation, precision, of_class):
        pieces.append(piece)
        made += piece.shape[2]
        if made >= frames:
            break
    clip: NDArray[np.uint8] = to_levels(torch.cat(pieces, dim=2)[:, :, :frames])[0].cpu().numpy()
    return clip


def _pieces(model: LoadedGenerator, place: Place, truncation: float, precision: Arithmetic, of_class: int | None) -> Iterator[Tensor]:
    """Frames [1, c, some, h, w], in -1 to 1, of the clip and its continuations, for ever."""
    device = next(model.generator.parameters()).device
    arithmetic = named_arithmetic(precision, "--precision", device)
    overlap, key = overlap_of(model.size.t), _key(place)
    with use_arithmetic(arithmetic, repeatable=True):
        search = _Search(model, truncation, torch.bfloat16 if arithmetic == "bfloat16" else torch.float32, of_class)
        clip = search.clip(torch.from_numpy(latents_of_places([place], model.generator.latent_dim)).to(device))
    number = 0
    while True:
        yield clip[:, :, :-overlap]
        number += 1
        draws = keyed_rng(Purpose.CONTINUATION, *key, number).standard_normal((CANDIDATES, model.generator.latent_dim), dtype=np.float32)
        with use_arithmetic(arithmetic, repeatable=True):
            ending = clip[:, :, -overlap:]
            clip = search.clip(search.latent_that_begins_with(ending, torch.from_numpy(draws).to(device)))
            shares = (torch.arange(1, overlap + 1, device=device) / (overlap + 1)).view(-1, 1, 1)
            clip = torch.cat([torch.lerp(ending, clip[:, :, :overlap], shares), clip[:, :, overlap:]], dim=2)


def _key(place: Place) -> tuple[int, ...]:
    return (place.seed, place.other, round(place.share * 10_000)) if isinstance(place, Mix) else (place,)


class _Search:
    """Clips of one model, and of one class, and latents by how their clips begin."""

    def __init__(self, model: LoadedGenerator, truncation: float, dtype: torch.dtype, of_class: int | None = None) -> None:
        self.generator, self.length, position = model.generator, model.size.t, model.position
        self.how, self.of_class = (position.stage, position.alpha, truncation, dtype), of_class

    @torch.no_grad()
    def clip(self, latent: Tensor) -> Tensor:
        """The clip [1, c, t, h, w] of a latent [1, d]."""
        return self._frames(latent, self.length)

    def latent_that_begins_with(self, ending: Tensor, candidates: Tensor) -> Tensor:
        """The latent [1, d] whose clip's first frames are nearest to these [1, c, some, h, w], by mean square."""
        with torch.no_grad():
            far = torch.cat([self._distance(latent[None], ending) for latent in candidates])
        latents = candidates[far.argsort()[:REFINED]].clone().requires_grad_()
        optimizer = torch.optim.Adam([latents], lr=RATE)
        best, nearest = latents.detach().clone(), torch.full((len(latents),), torch.inf, device=latents.device)
        for _ in range(STEPS):
            with torch.enable_grad():
                distance = self._distance(latents, ending)
                (latents.grad,) = torch.autograd.grad(distance.sum(), latents)
            better = distance.detach() < nearest
            nearest, best = torch.where(better, distance.detach(), nearest), torch.where(better[:, None], latents.detach(), best)
            optimizer.step()
        return best[nearest.argmin()][None]

    def _distance(self, latents: Tensor, ending: Tensor) -> Tensor:
        return (self._frames(latents, ending.shape[2]) - ending).square().mean(dim=(1, 2, 3, 4))

    def _frames(self, latents: Tensor, count: int) -> Tensor:
        classes = None if self.of_class is None else torch.full((len(latents),), self.of_class, device=latents.device)
        return frames_of_clips(self.generator, latents, *self.how, range(count), classes).float().clamp(-1, 1)
