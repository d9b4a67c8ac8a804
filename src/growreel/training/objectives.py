"""What a step differentiates: the terms of each network's loss, from clips, noise and parameters, without a side effect.

Objectives are modules, so that their parameters can be passed in as well (`torch.func.functional_call`), as `compilation` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from growreel.losses import AdversarialLoss, Batch, Term, gradient_penalty
from growreel.models import Discriminator, Generator
from growreel.training.augment import Augmentation

Stats = dict[str, Tensor]
"""Named scalars, detached."""


class Inputs(NamedTuple):
    """Hold what a step of one network is computed from, for the clips of this process.

    Attributes:
        real: clips [n, c, t, h, w] in -1 to 1; the generator's step looks at them only for losses that compare with them.
        latents: [n, d] standard normal.
        mix, feature_mix: [n] as in `losses.Batch`; None for the generator.
        augment_real, augment_fake: what the discriminator sees of clips; None for no change.
        classes: [n] int64, of the real clip and of the one that is made of the latent; None for a model without classes.
        alpha: weight of the newest block. A tensor is not looked at by the host, so one recorded step serves a whole fade.
    """

    real: Tensor
    latents: Tensor
    mix: Tensor | None
    feature_mix: Tensor | None
    augment_real: Augmentation | None
    augment_fake: Augmentation | None
    classes: Tensor | None
    alpha: float | Tensor

    def part(self, clips: slice) -> Inputs:
        """Return the inputs of some of the clips."""

        def take(value: Any) -> Any:
            return value.part(clips) if isinstance(value, Augmentation) else value if value is None else value[clips]

        return Inputs._make([*map(take, self[:-1]), self.alpha])


class Objective(nn.Module, ABC):
    """The loss of one network at a stage.

    Args:
        generator, discriminator, loss: of the run.
        stage: index into the plan.
        dtype: of the blocks' arithmetic.
    """

    trains: tuple[str, ...]
    """Which of `generator`, `discriminator` and `loss`."""

    def __init__(
        self, generator: Generator, discriminator: Discriminator, loss: AdversarialLoss, *, stage: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.generator, self.discriminator, self.loss = generator, discriminator, loss
        self.stage, self.dtype = stage, dtype

    @abstractmethod
    def terms(self, inputs: Inputs) -> Iterator[Term]:
        """The terms of the loss. Each is to be differentiated before the next is asked for, so that one graph is alive at a time."""

    def trained(self) -> dict[str, Tensor]:
        """Return the parameters that the objective trains, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if name.split(".")[0] in self.trains}

    def _classified(self, term: Term, features: Tensor, classes: Tensor | None, name: str) -> Term:
        """The term, and what the classifier, if there is one, says of features [n, d] of clips of `classes`."""
        classifier = self.loss.classifier
        if classifier is None:
            return term
        error = classifier(features, classes)
        return Term(term.value + classifier.weight * error, {**term.stats, name: error.detach()})

    @contextmanager
    def others_frozen(self) -> Iterator[None]:
        """Inside, no gradients of the other modules' parameters are computed; gradients still pass through to their inputs."""
        others = [module for name, module in self.named_children() if name not in self.trains]
        for module in others:
            module.requires_grad_(False)
        try:
            yield
        finally:
            for module in others:
                module.requires_grad_(True)


class DiscriminatorObjective(Objective):
    """The loss of the discriminator and the critic's head.

    Args:
        penalty_weight: factor of the gradient penalty; 0 leaves it out.
        voxel_ratio: as in `losses.gradient_penalty`.
    """

    trains = ("discriminator", "loss")

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        loss: AdversarialLoss,
        *,
        stage: int,
        dtype: torch.dtype,
        penalty_weight: int,
        voxel_ratio: float,
    ) -> None:
        super().__init__(generator, discriminator, loss, stage=stage, dtype=dtype)
        self.penalty_weight, self.voxel_ratio = penalty_weight, voxel_ratio

    def terms(self, inputs: Inputs) -> Iterator[Term]:
        """The gradient penalty first, which needs most memory; then all the rest. Real and generated clips pass as one batch."""
        assert inputs.mix is not None and inputs.feature_mix is not None
        with torch.no_grad():
            fake = self.generator(inputs.latents, self.stage, inputs.alpha, dtype=self.dtype, classes=inputs.classes)
            fake = fake.to(inputs.real.dtype)
        real, fake = augmented(inputs.real, inputs.augment_real), augmented(fake, inputs.augment_fake)
        batch = Batch(real, fake, inputs.mix, inputs.feature_mix, inputs.classes)

        def discriminate(clips: Tensor, *, parts: int = 1, penalty: bool = False) -> Tensor:
            clips, products = (clips, self.dtype) if penalty else (clips.to(self.dtype), None)
            features: Tensor = self.discriminator(clips, self.stage, inputs.alpha, parts=parts, product_dtype=products)
            return features

        if self.penalty_weight:
            penalty = gradient_penalty(self.loss, discriminate, batch, self.penalty_weight, self.voxel_ratio)
            if penalty is not None:
                yield _counted(penalty, "loss_discriminator")
        features = discriminate(torch.cat([real, fake]), parts=2)
        term = self.loss.adversarial_term(features, batch)
        yield _counted(self._classified(term, features[: len(real)], inputs.classes, "class_real"), "loss_discriminator")


class GeneratorObjective(Objective):
    """The loss of the generator."""

    trains = ("generator",)

    def terms(self, inputs: Inputs) -> Iterator[Term]:
        """Yield the one term of this loss."""
        fake = self.generator(inputs.latents, self.stage, inputs.alpha, dtype=self.dtype, classes=inputs.classes)
        fake = augmented(fake, inputs.augment_fake)
        fake_features, real_features = self.discriminator(fake, self.stage, inputs.alpha), None
        if self.loss.generator_compares:
            with torch.no_grad():
                real = augmented(inputs.real, inputs.augment_real).to(self.dtype)
                real_features = self.discriminator(real, self.stage, inputs.alpha)
        term = Term(self.loss.generator_loss(fake_features, real_features, inputs.classes), {})
        yield _counted(self._classified(term, fake_features, inputs.classes, "class_fake"), "loss_generator")


def accumulate_gradients(objective: Objective, inputs: Inputs, passes: int) -> Stats:
    """Add the gradients of an objective to `grad` of the parameters that it trains; return the scalars of its terms.

    Clip i goes into pass i modulo `passes`: the groups of the minibatch deviation stay together that way.
    """
    trained, stats = list(objective.trained().values()), Stats()
    for k in range(passes):
        for term in objective.terms(inputs.part(slice(k, None, passes))):
            torch.autograd.backward(term.value / passes, inputs=trained)
            add(stats, {name: value / passes for name, value in term.stats.items()})
    return stats


def augmented(clips: Tensor, augmentation: Augmentation | None) -> Tensor:
    return clips if augmentation is None else augmentation(clips)


def add(to: dict[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Add named values to those of the same name."""
    for name, value in values.items():
        to[name] = to[name] + value if name in to else value


def _counted(term: Term, loss: str) -> Term:
    """The term, with its value under the name of the loss it belongs to."""
    return Term(term.value, {loss: term.value.detach(), **term.stats})
