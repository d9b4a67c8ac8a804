"""One step of the discriminator and one of the generator: the mathematics of training and nothing of its bookkeeping."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from growreel import distributed
from growreel.config import TrainingConfig
from growreel.growth import Position
from growreel.models.layers import downsample, upsample
from growreel.randomness import Purpose, keyed_rng
from growreel.training.state import TrainingState

Stats = dict[str, Tensor]


def fade_real(clips: Tensor, state: TrainingState, position: Position) -> Tensor:
    """Blend real clips [n, c, t, h, w] with their own down-then-up version, along exactly the axes that grow, by alpha."""
    if position.phase == "stable" or position.stage == 0:
        return clips
    scale = state.plan.scale(position.stage)
    return torch.lerp(upsample(downsample(clips, scale), scale), clips, position.alpha)


def discriminator_step(state: TrainingState, real: Tensor, position: Position, minibatch: int, config: TrainingConfig) -> Stats:
    """Train discriminator and head on real clips [minibatch / world_size, c, t, h, w]; return named scalars."""
    noise = _Noise(Purpose.DISCRIMINATOR_NOISE, state, minibatch, config)
    with torch.no_grad():
        fake = _generate(state, noise.latents(), position, config)

    def discriminate(clips: Tensor, *, exact: bool = False) -> Tensor:
        with _autocast(state.device, config, enabled=not exact):
            features: Tensor = state.discriminator(clips, position.stage, position.alpha)
        return features.float()

    loss, stats = state.loss.discriminator_loss(discriminate, real, fake, noise.uniform(), noise.uniform())
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    distributed.average_gradients([*state.discriminator.parameters(), *state.loss.parameters()])
    state.loss.project_gradients()
    state.discriminator_optimizer.step()
    state.loss.retract()
    return {"loss_discriminator": loss.detach(), **stats}


def generator_step(state: TrainingState, position: Position, minibatch: int, config: TrainingConfig) -> Stats:
    """Train the generator against the frozen discriminator, and move the average after it; return named scalars."""
    noise = _Noise(Purpose.GENERATOR_NOISE, state, minibatch, config)
    with _frozen(state.discriminator, state.loss):
        fake = _generate(state, noise.latents(), position, config)
        with _autocast(state.device, config):
            features = state.discriminator(fake, position.stage, position.alpha).float()
        loss = state.loss.generator_loss(features)
        state.generator_optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
    distributed.average_gradients(state.generator.parameters())
    state.generator_optimizer.step()
    with torch.no_grad():
        torch._foreach_lerp_(list(state.ema.parameters()), list(state.generator.parameters()), 1 - config.ema_decay)
    return {"loss_generator": loss.detach()}


class _Noise:
    """Draws for the whole minibatch, of which each process takes its part: two processes see what one would."""

    def __init__(self, purpose: Purpose, state: TrainingState, minibatch: int, config: TrainingConfig) -> None:
        self.rng = keyed_rng(purpose, config.seed, state.rollbacks, state.clips_shown)
        self.minibatch, self.device, self.latent_dim = minibatch, state.device, state.generator.latent_dim
        self.part = slice(distributed.rank(), None, distributed.world_size())  # as ClipBatches deals out the real clips

    def latents(self) -> Tensor:
        draws = self.rng.standard_normal((self.minibatch, self.latent_dim), dtype="float32")
        return torch.from_numpy(draws[self.part]).to(self.device)

    def uniform(self) -> Tensor:
        return torch.from_numpy(self.rng.random(self.minibatch, dtype="float32")[self.part]).to(self.device)


def _generate(state: TrainingState, latents: Tensor, position: Position, config: TrainingConfig) -> Tensor:
    with _autocast(state.device, config):
        clips: Tensor = state.generator(latents, position.stage, position.alpha)
    return clips.float()


def _autocast(device: torch.device, config: TrainingConfig, enabled: bool = True) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled and config.precision == "bfloat16")


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
