"""A step of training: the mathematics and nothing of its bookkeeping. `train` and `bench` take the same one."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from growreel.config import Config
from growreel.growth import Position, Size
from growreel.models.layers import downsample, upsample
from growreel.runtime import distributed
from growreel.runtime.precision import dtype_of
from growreel.runtime.randomness import Purpose, keyed_rng
from growreel.runtime.transfer import to_device
from growreel.training.augment import Augmentation
from growreel.training.average import ema_weight
from growreel.training.execution import Execution
from growreel.training.objectives import DiscriminatorObjective, GeneratorObjective, Inputs, Stats
from growreel.training.state import TrainingState


class Batches(Protocol):
    """Where real clips come from, such as `data.batches.ClipBatches`."""

    def at(self, clips_shown: int, size: Size, minibatch: int) -> Tensor:
        """Real clips [minibatch / world_size, c, t, h, w] in -1 to 1, on the device."""
        ...

    def classes_at(self, clips_shown: int, minibatch: int) -> Tensor | None:
        """The class of each of these clips, [minibatch / world_size], int64, on the device; None for a model without classes."""
        ...


class StepScalars(NamedTuple):
    """What a step tells about itself: names, one for each of the values [k], which are still on the device. With several discriminator
    steps a name comes as often as it was measured."""

    names: tuple[str, ...]
    values: Tensor


def train_step(state: TrainingState, batches: Batches, position: Position, config: Config, execution: Execution) -> StepScalars:
    """`critic_steps` of the discriminator, each on new real clips, and one of the generator; `clips_shown` moves on."""
    stage, scalars = state.plan.stages[position.stage], list[tuple[tuple[str, ...], Tensor]]()
    for _ in range(config.training.critic_steps):
        real = batches.at(state.clips_shown, stage.size, stage.minibatch).to(state.dtype)
        classes = batches.classes_at(state.clips_shown, stage.minibatch)
        real = fade_real(real, state, position)
        scalars.append(_stacked(discriminator_step(state, real, position, stage.minibatch, config, execution, classes)))
        state.clips_shown += stage.minibatch
    scalars.append(_stacked(generator_step(state, real, position, stage.minibatch, config, execution, classes)))
    return StepScalars(sum((names for names, _ in scalars), ()), torch.cat([values for _, values in scalars]))


def _stacked(stats: Stats) -> tuple[tuple[str, ...], Tensor]:
    """Names and values [k], in memory of their own: a recorded step overwrites its results."""
    return tuple(stats), torch.stack([value.float() for value in stats.values()])


def fade_real(clips: Tensor, state: TrainingState, position: Position) -> Tensor:
    """Blend real clips [n, c, t, h, w] with their own down-then-up version, along exactly the axes that grow, by alpha.

    Down is what made the real clips of the stage before: where time is subsampled, the first of the frames instead of their average. Up
    is what the generator does with its clips of the stage before.
    """
    if position.phase == "stable" or position.stage == 0:
        return clips
    scale = state.plan.scale(position.stage)
    if state.plan.time_reduction == "subsample":
        small = downsample(clips[:, :, :: scale.t], scale._replace(t=1))
    else:
        small = downsample(clips, scale)
    return torch.lerp(upsample(small, scale, state.generator.resampling), clips, position.alpha)


def discriminator_step(
    state: TrainingState,
    real: Tensor,
    position: Position,
    minibatch: int,
    config: Config,
    execution: Execution,
    classes: Tensor | None = None,
) -> Stats:
    """Train discriminator and head on real clips [minibatch / world_size, c, t, h, w]; return named scalars.

    With `classes`, those of the real clips [minibatch / world_size], generated ones are of the same.
    """
    interval = config.loss.penalty_interval
    objective = DiscriminatorObjective(
        state.generator,
        state.discriminator,
        state.loss,
        stage=position.stage,
        dtype=dtype_of(config.training.precision),
        penalty_weight=interval if state.clips_shown // minibatch % interval == 0 else 0,
        voxel_ratio=config.loss.penalty_ratio(state.plan, position.stage),
    )
    inputs = _inputs(Purpose.DISCRIMINATOR_NOISE, state, real, classes, position, minibatch, config)
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    stats = execution(objective, inputs, position, _passes(state, position, len(real)))
    distributed.average_gradients([*state.discriminator.parameters(), *state.loss.parameters()])
    state.loss.project_gradients()
    state.discriminator_optimizer.step()
    state.loss.retract()
    return stats


def generator_step(
    state: TrainingState,
    real: Tensor,
    position: Position,
    minibatch: int,
    config: Config,
    execution: Execution,
    classes: Tensor | None = None,
) -> Stats:
    """Train the generator against the frozen discriminator, and move the average after it; return named scalars.

    `real` clips, as the discriminator's step takes them, are looked at only by losses that compare with them; with `classes`, those of
    the real clips, clips of the same are made.
    """
    objective = GeneratorObjective(
        state.generator,
        state.discriminator,
        state.loss,
        stage=position.stage,
        dtype=dtype_of(config.training.precision),
    )
    inputs = _inputs(Purpose.GENERATOR_NOISE, state, real, classes, position, minibatch, config)
    state.generator_optimizer.zero_grad(set_to_none=True)
    stats = execution(objective, inputs, position, _passes(state, position, len(real)))
    distributed.average_gradients(state.generator.parameters())
    state.generator_optimizer.step()
    weight = ema_weight(config, state.clips_shown, minibatch * config.training.critic_steps)
    with torch.no_grad():
        torch._foreach_lerp_(list(state.ema.parameters()), list(state.generator.parameters()), weight)
    return stats


def _passes(state: TrainingState, position: Position, clips: int) -> int:
    """How often the networks are run for a minibatch of which this process has so many clips."""
    microbatch = state.plan.stages[position.stage].microbatch
    return 1 if microbatch is None else max(1, clips // microbatch)


def _inputs(
    purpose: Purpose, state: TrainingState, real: Tensor, classes: Tensor | None, position: Position, minibatch: int, config: Config
) -> Inputs:
    """Real clips and the noise of a step. Noise is drawn for the whole minibatch, of which each process takes its part, as `ClipBatches`
    deals out the real clips: two processes see what one would."""
    key = (config.training.seed, state.rollbacks, state.clips_shown)
    rng, probability = keyed_rng(purpose, *key), config.training.augment_probability
    draws: list[NDArray[np.float32]] = [rng.standard_normal((minibatch, state.generator.latent_dim), dtype="float32")]
    mixes = 2 if purpose == Purpose.DISCRIMINATOR_NOISE else 0
    draws += [rng.random(minibatch, dtype="float32") for _ in range(mixes)]
    if probability:
        augmentation_rng = keyed_rng(Purpose.AUGMENTATION, *key, purpose)
        draws += [each.numpy() for _ in range(2) for each in Augmentation.draw(augmentation_rng, minibatch, probability)]
    share = slice(distributed.rank(), None, distributed.world_size())
    latents, *others = (each.to(state.dtype) for each in to_device([draw[share] for draw in draws], state.device))
    mix, feature_mix = others[:mixes] or (None, None)
    first, second = (Augmentation(*others[k : k + 4]) if probability else None for k in (mixes, mixes + 4))
    augment_real, augment_fake = (first, second) if mixes else (second, first)
    return Inputs(real, latents, mix, feature_mix, augment_real, augment_fake, classes, position.alpha)
