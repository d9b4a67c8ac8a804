"""What a step differentiates: functions from clips, noise and parameters to gradients, without a side effect.

They are modules, so that parameters can be passed in as well (`torch.func.functional_call`): `compiled.py` makes one graph of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from growreel.losses import AdversarialLoss, Batch, Term, gradient_penalty
from growreel.models import Discriminator, Generator
from growreel.training.augment import Augmentation

Gradients = dict[str, Tensor]
"""By the name of the parameter in the module; parameters that had no part in the loss are left out."""
Stats = dict[str, Tensor]
Alpha = float | Tensor


class DiscriminatorGradients(nn.Module):
    """Of discriminator and head.

    Args:
        stage: index into the plan.
        dtype: of the blocks' arithmetic.
        penalty_weight: factor of the gradient penalty; 0 leaves it out.
        share: factor of everything, for a minibatch that comes in several passes.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        loss: AdversarialLoss,
        *,
        stage: int,
        dtype: torch.dtype,
        penalty_weight: int,
        share: float,
    ) -> None:
        super().__init__()
        self.generator, self.discriminator, self.loss = generator, discriminator, loss
        self.stage, self.dtype, self.penalty_weight, self.share = stage, dtype, penalty_weight, share

    def forward(
        self,
        real: Tensor,
        latents: Tensor,
        mix: Tensor,
        feature_mix: Tensor,
        augment_real: Augmentation | None,
        augment_fake: Augmentation | None,
        alpha: Alpha,
    ) -> tuple[Gradients, Stats]:
        """`real` [n, c, t, h, w], `latents` [n, d], the others as in `Batch` and `Augmentation`.

        The terms of the loss are differentiated one after the other, each before the next is computed: one graph is alive at a time.
        """
        with torch.no_grad():
            fake = self.generator(latents, self.stage, alpha, dtype=self.dtype).float()
        batch = Batch(augmented(real, augment_real), augmented(fake, augment_fake), mix, feature_mix)

        def discriminate(clips: Tensor, *, parts: int = 1, penalty: bool = False) -> Tensor:
            clips, products = (clips, self.dtype) if penalty else (clips.to(self.dtype), None)
            features: Tensor = self.discriminator(clips, self.stage, alpha, parts=parts, product_dtype=products)
            return features

        terms: list[Callable[[], Term | None]] = [lambda: self.loss.adversarial_term(discriminate, batch)]
        if self.penalty_weight:
            terms.insert(0, lambda: gradient_penalty(self.loss, discriminate, batch, weight=self.penalty_weight))
        trained = {name: parameter for name, parameter in self.named_parameters() if not name.startswith("generator.")}
        gradients: Gradients = {}
        stats: Stats = {}
        for compute in terms:
            if (term := compute()) is not None:
                add(gradients, differentiate(term.value * self.share, trained))
                add(stats, {"loss_discriminator": term.value.detach() * self.share})
                add(stats, {name: value * self.share for name, value in term.stats.items()})
        return gradients, stats


class GeneratorGradients(nn.Module):
    """Of the generator; the parameters of discriminator and head should not ask for any, which would be computed for nothing."""

    def __init__(
        self, generator: Generator, discriminator: Discriminator, loss: AdversarialLoss, *, stage: int, dtype: torch.dtype, share: float
    ) -> None:
        super().__init__()
        self.generator, self.discriminator, self.loss = generator, discriminator, loss
        self.stage, self.dtype, self.share = stage, dtype, share

    def forward(
        self, real: Tensor, latents: Tensor, augment_real: Augmentation | None, augment_fake: Augmentation | None, alpha: Alpha
    ) -> tuple[Gradients, Stats]:
        """Arguments as of `DiscriminatorGradients`; `real` is looked at only by losses that compare with it."""
        fake = augmented(self.generator(latents, self.stage, alpha, dtype=self.dtype), augment_fake)
        fake_features, real_features = self.discriminator(fake, self.stage, alpha), None
        if self.loss.generator_compares:
            with torch.no_grad():
                real_features = self.discriminator(augmented(real, augment_real).to(self.dtype), self.stage, alpha)
        loss = self.loss.generator_loss(fake_features, real_features) * self.share
        trained = {name: parameter for name, parameter in self.named_parameters() if name.startswith("generator.")}
        return differentiate(loss, trained), {"loss_generator": loss.detach()}


def augmented(clips: Tensor, augmentation: Augmentation | None) -> Tensor:
    return clips if augmentation is None else augmentation(clips)


def differentiate(value: Tensor, parameters: Mapping[str, Tensor]) -> Gradients:
    found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(parameters, found, strict=True) if gradient is not None}


def add(to: dict[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        to[name] = to[name] + value if name in to else value
