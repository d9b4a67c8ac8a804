"""One step of the discriminator and one of the generator: the mathematics of training and nothing of its bookkeeping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from growreel.config import Config
from growreel.growth import Position
from growreel.models.layers import downsample, upsample
from growreel.runtime import distributed
from growreel.runtime.precision import dtype_of
from growreel.runtime.randomness import Purpose, keyed_rng
from growreel.training.augment import Augmentation
from growreel.training.average import ema_weight
from growreel.training.compiled import CompiledFunction
from growreel.training.gradients import Alpha, DiscriminatorGradients, GeneratorGradients, Gradients, Stats, add
from growreel.training.state import TrainingState


def fade_real(clips: Tensor, state: TrainingState, position: Position) -> Tensor:
    """Blend real clips [n, c, t, h, w] with their own down-then-up version, along exactly the axes that grow, by alpha.

    Down is what made the real clips of the stage before: where time is subsampled, the first of the frames instead of their average.
    """
    if position.phase == "stable" or position.stage == 0:
        return clips
    scale = state.plan.scale(position.stage)
    if state.plan.time_reduction == "subsample":
        small = downsample(clips[:, :, :: scale.t], scale._replace(t=1))
    else:
        small = downsample(clips, scale)
    return torch.lerp(upsample(small, scale), clips, position.alpha)


def discriminator_step(state: TrainingState, real: Tensor, position: Position, minibatch: int, config: Config) -> Stats:
    """Train discriminator and head on real clips [minibatch / world_size, c, t, h, w]; return named scalars."""
    noise, passes = _Noise(Purpose.DISCRIMINATOR_NOISE, state, minibatch, config), _passes(state, position, len(real))
    latents, (augment_real, augment_fake) = noise.latents(), noise.augmentations()
    mix, feature_mix, alpha = noise.uniform(), noise.uniform(), _alpha(state, position, config)
    interval = config.loss.penalty_interval
    penalty_weight = interval if state.clips_shown // minibatch % interval == 0 else 0
    run = _function(DiscriminatorGradients, state, position, config, penalty_weight=penalty_weight, share=1 / passes)
    stats: Stats = {}
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    for k in range(passes):  # clip i in pass i modulo `passes`: groups of the minibatch deviation stay together that way
        inputs = (real, latents, mix, feature_mix, augment_real, augment_fake)
        gradients, of_pass = run(*(_part(each, slice(k, None, passes)) for each in inputs), alpha)
        _accumulate({"discriminator": state.discriminator, "loss": state.loss}, gradients)
        add(stats, {name: value.clone() for name, value in of_pass.items()})
    distributed.average_gradients([*state.discriminator.parameters(), *state.loss.parameters()])
    state.loss.project_gradients()
    state.discriminator_optimizer.step()
    state.loss.retract()
    return stats


def generator_step(state: TrainingState, real: Tensor, position: Position, minibatch: int, config: Config) -> Stats:
    """Train the generator against the frozen discriminator, and move the average after it; return named scalars.

    `real` clips, as the discriminator's step takes them, are looked at only by losses that compare with them.
    """
    noise, passes = _Noise(Purpose.GENERATOR_NOISE, state, minibatch, config), _passes(state, position, len(real))
    latents, (augment_fake, augment_real) = noise.latents(), noise.augmentations()
    alpha = _alpha(state, position, config)
    stats: Stats = {}
    state.generator_optimizer.zero_grad(set_to_none=True)
    with _frozen(state.discriminator, state.loss):
        run = _function(GeneratorGradients, state, position, config, share=1 / passes)
        for k in range(passes):
            inputs = (_part(each, slice(k, None, passes)) for each in (real, latents, augment_real, augment_fake))
            gradients, of_pass = run(*inputs, alpha)
            _accumulate({"generator": state.generator}, gradients)
            add(stats, {name: value.clone() for name, value in of_pass.items()})
    distributed.average_gradients(state.generator.parameters())
    state.generator_optimizer.step()
    weight = ema_weight(config, state.clips_shown, minibatch * config.training.critic_steps)
    with torch.no_grad():
        torch._foreach_lerp_(list(state.ema.parameters()), list(state.generator.parameters()), weight)
    return stats


def _function(
    kind: type[DiscriminatorGradients | GeneratorGradients], state: TrainingState, position: Position, config: Config, **settings: Any
) -> Callable[..., tuple[Gradients, Stats]]:
    """What computes gradients at this stage; compiled ones are kept until the next."""
    dtype = dtype_of(config.training.precision, state.device)
    key = (position.stage, kind.__name__, *settings.values())
    if key in state.compiled:
        return state.compiled[key]
    function = kind(state.generator, state.discriminator, state.loss, stage=position.stage, dtype=dtype, **settings)
    if config.training.compile != "on":
        return function
    state.compiled = {other: compiled for other, compiled in state.compiled.items() if other[0] == position.stage}
    state.compiled[key] = CompiledFunction(function, state.plan.sizes[position.stage].voxels)
    return state.compiled[key]


def _alpha(state: TrainingState, position: Position, config: Config) -> Alpha:
    """As a tensor where it is the input of a graph, which then serves fade and stable phase."""
    return torch.tensor(position.alpha, device=state.device) if config.training.compile == "on" else position.alpha


def _part(value: Tensor | Augmentation | None, clips: slice) -> Tensor | Augmentation | None:
    return value.part(clips) if isinstance(value, Augmentation) else value if value is None else value[clips]


def _accumulate(modules: dict[str, nn.Module], gradients: Gradients) -> None:
    """Add up in `grad`, in memory of its own (the results of a graph are overwritten by its next run), laid out as the parameter: a fused
    optimiser takes both as plain rows of numbers."""
    for prefix, module in modules.items():
        for name, parameter in module.named_parameters():
            if (gradient := gradients.get(f"{prefix}.{name}")) is None:
                continue
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
            else:
                parameter.grad.add_(gradient)


def _passes(state: TrainingState, position: Position, clips: int) -> int:
    """How often the networks are run for a minibatch of which this process has so many clips."""
    microbatch = state.plan.stages[position.stage].microbatch
    return 1 if microbatch is None else max(1, clips // microbatch)


class _Noise:
    """Draws for the whole minibatch, of which each process takes its part: two processes see what one would."""

    def __init__(self, purpose: Purpose, state: TrainingState, minibatch: int, config: Config) -> None:
        key = (config.training.seed, state.rollbacks, state.clips_shown)
        self.rng, self.augmentation_key = keyed_rng(purpose, *key), (*key, purpose)
        self.augment_probability = config.training.augment_probability
        self.minibatch, self.device, self.latent_dim = minibatch, state.device, state.generator.latent_dim
        self.part = slice(distributed.rank(), None, distributed.world_size())  # as ClipBatches deals out the real clips

    def latents(self) -> Tensor:
        draws = self.rng.standard_normal((self.minibatch, self.latent_dim), dtype="float32")
        return torch.from_numpy(draws[self.part]).to(self.device)

    def uniform(self) -> Tensor:
        return torch.from_numpy(self.rng.random(self.minibatch, dtype="float32")[self.part]).to(self.device)

    def augmentations(self) -> tuple[Augmentation, Augmentation] | tuple[None, None]:
        """Two draws, for real and for generated clips."""
        if not self.augment_probability:
            return None, None
        rng = keyed_rng(Purpose.AUGMENTATION, *self.augmentation_key)
        first, second = (Augmentation.draw(rng, self.minibatch, self.augment_probability) for _ in range(2))
        return first.part(self.part, self.device), second.part(self.part, self.device)


@contextmanager
def _frozen(*modules: nn.Module) -> Iterator[None]:
    """No gradients for the modules' parameters inside; gradients still pass through to their inputs."""
    for module in modules:
        module.requires_grad_(False)
    try:
        yield
    finally:
        for module in modules:
            module.requires_grad_(True)
