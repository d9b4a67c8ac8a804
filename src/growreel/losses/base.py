"""What every adversarial loss offers to the training step.

A loss owns its critic head: the trainable map from discriminator features to scores. The head is trained by the discriminator's
optimiser; `project_gradients` and `retract` keep constrained parameters where they belong and do nothing by default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn


class Discriminate(Protocol):
    """Clips [n, c, t, h, w] -> features [n, d], float32 or wider."""

    def __call__(self, clips: Tensor, *, exact: bool = False) -> Tensor:
        """With `exact`, float32 arithmetic throughout: under bfloat16 a double backward can be off by a third."""
        ...


class AdversarialLoss(nn.Module, ABC):
    """Base of the losses. Heads and penalties compute in the features' precision, float32 in training."""

    @abstractmethod
    def critic(self, features: Tensor) -> Tensor:
        """Scores [n] of features [n, d]. Which sign means 'real' is the loss's own affair."""

    @abstractmethod
    def discriminator_loss(
        self, discriminate: Discriminate, real: Tensor, fake: Tensor, mix: Tensor, feature_mix: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the discriminator and head, and named scalars for the statistics (detached).

        Args:
            real, fake: clips [n, c, t, h, w] in -1 to 1; `fake` carries no gradient.
            mix: [n] uniform in 0 to 1, where on the line from real to fake the gradient penalty looks.
            feature_mix: [n] uniform in 0 to 1, the same for penalties on features.
        """

    @abstractmethod
    def generator_loss(self, fake_features: Tensor) -> Tensor:
        """Loss of the generator from the features [n, d] of its clips."""

    def project_gradients(self) -> None:
        """Called between backward and the optimiser's step."""

    def retract(self) -> None:
        """Called after the optimiser's step."""


def interpolate(real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """(1 - mix) * real + mix * fake, with one weight for each clip or feature vector."""
    return torch.lerp(real, fake, mix.view(-1, *[1] * (real.dim() - 1)))


def input_gradient(critic: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
    """Gradient [n, c, t, h, w] of the summed critic with respect to its clips, itself differentiable."""
    clips = clips.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(clips).sum(), clips, create_graph=True)
    return gradient
