"""One step of the discriminator and one of the generator: the mathematics of training and nothing of its bookkeeping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from growreel import distributed
from growreel.config import Config
from growreel.growth import Position
from growreel.losses import Batch, Term, gradient_penalty
from growreel.models.layers import downsample, upsample
from growreel.precision import dtype_of
from growreel.randomness import Purpose, keyed_rng
from growreel.training.augment import Augmentation
from growreel.training.state import TrainingState

Stats = dict[str, Tensor]


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
    """Train discriminator and head on real clips [minibatch / world_size, c, t, h, w]; return named scalars.

    The terms of the loss are differentiated one after the other, each before the next is computed: one graph is alive at a time.
    """
    dtype = dtype_of(config.training.precision, state.device)
    noise = _Noise(Purpose.DISCRIMINATOR_NOISE, state, minibatch, config)
    with torch.no_grad():
        fake = state.generator(noise.latents(), position.stage, position.alpha, dtype=dtype).float()
    augment_real, augment_fake = noise.augmentation(), noise.augmentation()
    batch = Batch(augment_real(real), augment_fake(fake), noise.uniform(), noise.uniform())

    def discriminate(clips: Tensor, *, parts: int = 1, penalty: bool = False) -> Tensor:
        features: Tensor = state.discriminator(
            clips if penalty else clips.to(dtype), position.stage, position.alpha, parts=parts, product_dtype=dtype if penalty else None
        )
        return features

    terms: list[Callable[[Batch], Term | None]] = [lambda part: state.loss.adversarial_term(discriminate, part)]
    interval = config.loss.penalty_interval
    if state.clips_shown // minibatch % interval == 0:
        terms.insert(0, lambda part: gradient_penalty(state.loss, discriminate, part, weight=interval))
    passes = _passes(state, position, len(real))
    stats: Stats = {}
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    for part in batch.passes(passes):
        for compute in terms:
            if (term := compute(part)) is not None:
                (term.value / passes).backward()
                for name, value in {"loss_discriminator": term.value.detach(), **term.stats}.items():
                    stats[name] = stats.get(name, 0) + value / passes
    distributed.average_gradients([*state.discriminator.parameters(), *state.loss.parameters()])
    state.loss.project_gradients()
    state.discriminator_optimizer.step()
    state.loss.retract()
    return stats


def generator_step(state: TrainingState, real: Tensor, position: Position, minibatch: int, config: Config) -> Stats:
    """Train the generator against the frozen discriminator, and move the average after it; return named scalars.

    `real` clips, as the discriminator's step takes them, are looked at only by losses that compare with them.
    """
    dtype = dtype_of(config.training.precision, state.device)
    noise = _Noise(Purpose.GENERATOR_NOISE, state, minibatch, config)
    latents = noise.latents()
    augment_fake, augment_real = noise.augmentation(), noise.augmentation()
    passes = _passes(state, position, len(latents))
    mean_loss = torch.zeros((), device=state.device)
    state.generator_optimizer.zero_grad(set_to_none=True)
    with _frozen(state.discriminator, state.loss):
        for k in range(passes):
            part = slice(k, None, passes)
            fake = state.generator(latents[part], position.stage, position.alpha, dtype=dtype)
            fake_features = state.discriminator(augment_fake.part(part)(fake), position.stage, position.alpha)
            real_features = None
            if state.loss.generator_compares:
                with torch.no_grad():
                    clips = augment_real.part(part)(real[part]).to(dtype)
                    real_features = state.discriminator(clips, position.stage, position.alpha)
            loss = state.loss.generator_loss(fake_features, real_features) / passes
            loss.backward()
            mean_loss += loss.detach()
    distributed.average_gradients(state.generator.parameters())
    state.generator_optimizer.step()
    with torch.no_grad():
        torch._foreach_lerp_(list(state.ema.parameters()), list(state.generator.parameters()), 1 - config.training.ema_decay)
    return {"loss_generator": mean_loss}


def _passes(state: TrainingState, position: Position, clips: int) -> int:
    """How often the networks are run for a minibatch of which this process has so many clips."""
    microbatch = state.plan.stages[position.stage].microbatch
    return 1 if microbatch is None else max(1, clips // microbatch)


class _Noise:
    """Draws for the whole minibatch, of which each process takes its part: two processes see what one would."""

    def __init__(self, purpose: Purpose, state: TrainingState, minibatch: int, config: Config) -> None:
        key = (config.training.seed, state.rollbacks, state.clips_shown)
        self.rng, self.augmentation_rng = keyed_rng(purpose, *key), keyed_rng(Purpose.AUGMENTATION, *key, purpose)
        self.augment_probability = config.training.augment_probability
        self.minibatch, self.device, self.latent_dim = minibatch, state.device, state.generator.latent_dim
        self.part = slice(distributed.rank(), None, distributed.world_size())  # as ClipBatches deals out the real clips

    def latents(self) -> Tensor:
        draws = self.rng.standard_normal((self.minibatch, self.latent_dim), dtype="float32")
        return torch.from_numpy(draws[self.part]).to(self.device)

    def uniform(self) -> Tensor:
        return torch.from_numpy(self.rng.random(self.minibatch, dtype="float32")[self.part]).to(self.device)

    def augmentation(self) -> Augmentation:
        return Augmentation.draw(self.augmentation_rng, self.minibatch, self.augment_probability).part(self.part)


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
