"""What every adversarial loss offers to the training step.

A loss owns its critic head: the trainable map from discriminator features to scores. The head is trained by the discriminator's
optimiser; `project_gradients` and `retract` keep constrained parameters where they belong and do nothing by default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from growreel.losses.classifier import Classifier
from growreel.models.layers import EqualizedLinear


class Discriminate(Protocol):
    """Clips [n, c, t, h, w] -> features [n, d], float32 or wider."""

    def __call__(self, clips: Tensor, *, parts: int = 1, penalty: bool = False) -> Tensor:
        """`parts`: the batch is so many minibatches one after the other. `penalty`: the gradient by the clips will be differentiated."""
        ...


@dataclass(frozen=True)
class Batch:
    """What a discriminator loss is computed from.

    Attributes:
        real, fake: clips [n, c, t, h, w] in -1 to 1; `fake` carries no gradient.
        mix: [n] uniform in 0 to 1, where on the line from real to fake the gradient penalty looks.
        feature_mix: [n] uniform in 0 to 1, the same for penalties on features.
        classes: numbers [n], int64: clip i is of class i whether real or fake, so every line from a real to a fake clip stays in its class.
            None where the model has no classes.
    """

    real: Tensor
    fake: Tensor
    mix: Tensor
    feature_mix: Tensor
    classes: Tensor | None = None


class Term(NamedTuple):
    """A part of a loss, with its weight already in it, and named scalars for the statistics (detached)."""

    value: Tensor
    stats: dict[str, Tensor]


class AdversarialLoss(nn.Module, ABC):
    """Base of the losses. Heads and penalties compute in the features' precision, float32 in training.

    Attributes:
        gradient_weight: weight of the gradient penalty (`losses.penalty`) in the discriminator's loss; 0 for none.
        generator_compares: the generator's loss compares its clips with real ones.
        classifier: a second head, whose loss comes to that of either network; None for none.
    """

    gradient_weight: float
    generator_compares = False

    def __init__(self) -> None:
        super().__init__()
        self.classifier: Classifier | None = None

    @abstractmethod
    def critic(self, features: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return scores [n] of features [n, d], as clips of `classes` [n] if the head has classes.

        Which sign means 'real' is the loss's own affair.
        """

    def penalty_clips(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the minibatches [n, c, t, h, w] at which the gradient penalty looks: here, one on the lines from real to fake clips."""
        return (interpolate(batch.real, batch.fake, batch.mix),)

    @abstractmethod
    def slope_penalty(self, gradient: Tensor, mix: Tensor) -> Tensor:
        """Return how far the critic's gradient at `penalty_clips`, one after the other in [n, c, t, h, w], is from what the loss asks.

        It is a scalar, 0 for perfect.
        """

    @abstractmethod
    def adversarial_term(self, features: Tensor, batch: Batch) -> Term:
        """Return all of the discriminator's loss but the gradient penalty and the classifier's.

        `features` [2n, d] are of the batch's real clips, then of the fake ones, which have passed as one batch.
        """

    @abstractmethod
    def generator_loss(self, fake_features: Tensor, real_features: Tensor | None = None, classes: Tensor | None = None) -> Tensor:
        """Return the generator's loss from the features [n, d] of its clips, and of real ones (no gradient) if `generator_compares`.

        Both are of the same classes [n].
        """

    def project_gradients(self) -> None:
        """Keep the gradients of constrained parameters tangential. It is called between backward and the optimiser's step."""

    def retract(self) -> None:
        """Bring constrained parameters back to where they belong. It is called after the optimiser's step."""


class ClassProjection(nn.Module):
    """The part of a critic that knows the class: scale <v_class, f> for features f [n, d], with a vector v for each class.

    Miyato & Koyama 2018 (arXiv 1802.05637, eq. 3-5): the log ratio of the densities of real and generated pairs (x, y) is one of x alone,
    which is what the rest of the head approximates, plus one of y given x, which is linear in the features if a softmax of them tells
    classes apart. It says whether a clip of this class should have more or less of a feature; without it, or were it a plain bias of
    the class, a generator that swaps two classes would never be found out.
    """

    def __init__(self, feature_dim: int, classes: int, scale: float) -> None:
        super().__init__()
        self.embedding, self.scale = nn.Embedding(classes, feature_dim), scale

    def forward(self, features: Tensor, classes: Tensor | None) -> Tensor:
        """Return [n] for features [n, d] and classes [n]."""
        assert classes is not None, "the head of a conditional model must be told the classes"
        result: Tensor = (self.embedding(classes) * features).sum(dim=1) * self.scale
        return result


class ScalarLoss(AdversarialLoss):
    """A loss with one scalar head, high on real clips. With classes it is that of the projection discriminator: <w + v_class, f> + b."""

    def __init__(self, feature_dim: int, classes: int = 0) -> None:
        super().__init__()
        self.head = EqualizedLinear(feature_dim, 1, gain=1)
        self.projection = ClassProjection(feature_dim, classes, scale=feature_dim**-0.5) if classes else None

    def critic(self, features: Tensor, classes: Tensor | None = None) -> Tensor:
        scores: Tensor = self.head(features).squeeze(1)
        return scores if self.projection is None else scores + self.projection(features, classes)

    def scores(self, features: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the scores of real and of fake clips, [n] each, from the features [2n, d] of both."""
        real, fake = self.critic(features, repeated(batch.classes, 2)).chunk(2)
        return real, fake


def repeated(classes: Tensor | None, times: int) -> Tensor | None:
    """Return the classes of so many minibatches one after the other; None for None."""
    return None if classes is None else classes.repeat(times)


def half_squared_norm(gradient: Tensor, clips: int) -> Tensor:
    """R1 or R2, without its weight: half of ||gradient||^2, summed over what is given and divided by the clips of a minibatch."""
    return gradient.square().sum() / (2 * clips)


def interpolate(real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """(1 - mix) * real + mix * fake, with one weight for each clip or feature vector."""
    return torch.lerp(real, fake, mix.view(-1, *[1] * (real.dim() - 1)))
