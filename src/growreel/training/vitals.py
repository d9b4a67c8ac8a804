"""Vital signs: what losses do not tell, measured once per statistics interval on a few clips.

variety      how much generated clips differ from each other, as a multiple of how much real ones do
brightness   the mean of generated clips minus that of real ones, in units of -1 to 1
critic_slope how much the critic's score of a generated clip changes with the clip, the norm of its gradient: what the generator
             learns from. Divided by the square root of the ratio of voxels, as in the gradient penalty.
by_heart     of the gap between the scores of training and of generated clips, the share that separates training from held-out ones
             (Karras et al. 2020, arXiv 2006.06676, eq. 1, there called r_v): 0 for a critic that knows no clip, 1 for one that takes
             held-out clips for generated ones. Only for a store that holds clips out (`prepare --holdout`)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from growreel.config import Config
from growreel.data.batches import ClipBatches
from growreel.data.split import clips_of
from growreel.runtime.precision import dtype_of
from growreel.runtime.randomness import Purpose, keyed_rng
from growreel.training.state import TrainingState

CLIPS = 16
"""At most so many generated clips and as many real ones, and no more than a minibatch: they need no more memory than a step."""
SCORED = 64
"""At most so many training and held-out clips are scored for `by_heart`, a minibatch at a time: with 8 it jumped between -4 and 1."""


class Vitals:
    """Measures the generator that is being trained (not its average) and the critic, always on the same clips and latents."""

    def __init__(self, config: Config, batches: ClipBatches, fade: Callable[[Tensor], Tensor]) -> None:
        """`fade` does to real clips of a stage what the current phase asks for."""
        self.config, self.batches, self.fade = config, batches, fade
        rng = keyed_rng(Purpose.EVALUATION, config.training.seed, 7)
        self.latents = rng.standard_normal((CLIPS, config.network.latent_dim), dtype="float32")
        self.training = rng.permutation(batches.training_clips)[:SCORED]
        holds_out = bool(batches.store.held_out)
        self.held_out = rng.permutation(clips_of(batches.store, "held-out"))[:SCORED] if holds_out else None

    def __call__(self, state: TrainingState) -> dict[str, float]:
        """The signs at the state's position. Nothing of the state is changed. Those that too few clips cannot tell are left out."""
        position, stage = state.position, state.plan.stages[state.position.stage]
        count = min(CLIPS, len(self.training), stage.minibatch)
        if count < 2:
            return {}
        dtype = dtype_of(self.config.training.precision)
        latents = torch.from_numpy(self.latents[:count]).to(state.device, state.dtype)
        classes = self._classes(self.training[:count])

        def scores(clips: Tensor, classes: Tensor | None) -> Tensor:
            return state.loss.critic(state.discriminator(clips.to(dtype), position.stage, position.alpha), classes)

        with torch.no_grad():
            real = self._real(self.training[:count], state)
            fake = state.generator(latents, position.stage, position.alpha, dtype=dtype, classes=classes).to(state.dtype)
            signs = {"variety": _spread(fake) / max(_spread(real), 1e-12), "brightness": (fake.mean() - real.mean()).item()}
        fake.requires_grad_()
        with torch.enable_grad():
            fake_scores = scores(fake, classes)
            (gradient,) = torch.autograd.grad(fake_scores.sum(), fake)
        ratio = self.config.loss.penalty_ratio(state.plan, position.stage)
        signs["critic_slope"] = gradient.float().flatten(1).norm(dim=1).mean().item() / math.sqrt(ratio)
        if self.held_out is not None and (rounds := min(len(self.held_out), len(self.training)) // count):
            with torch.no_grad():
                learnt, unseen = (
                    torch.stack(
                        [
                            scores(self._real(each, state), self._classes(each)).mean()
                            for each in numbers[: rounds * count].reshape(rounds, count)
                        ]
                    ).mean()
                    for numbers in (self.training, self.held_out)
                )
            gap = (learnt - fake_scores.mean()).item()
            if gap:
                signs["by_heart"] = (learnt - unseen).item() / gap
        return signs

    def _classes(self, numbers: NDArray[np.int64]) -> Tensor | None:
        return self.batches.classes_of(numbers.tolist())

    def _real(self, numbers: NDArray[np.int64], state: TrainingState) -> Tensor:
        """Clips of the store as the phase shows them."""
        return self.fade(self.batches.of(numbers.tolist(), state.plan.sizes[state.position.stage]).to(state.dtype))


def _spread(clips: Tensor) -> float:
    """Standard deviation over clips [n, c, t, h, w], root mean square over everything else."""
    return clips.float().var(dim=0).mean().sqrt().item()
