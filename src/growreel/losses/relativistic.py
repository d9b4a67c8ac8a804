"""Relativistic pairing with zero-centred penalties on real and on generated clips: R3GAN (Huang et al. 2024, arXiv 2501.05441, eq. 1-3).

L_D = mean softplus(D(G(z)) - D(x)) + gamma/2 (mean ||grad D(x)||^2 + mean ||grad D(G(z))||^2)
L_G = mean softplus(D(x) - D(G(z)))
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from growreel.losses.base import Batch, ScalarLoss, Term, half_squared_norm


class RelativisticLoss(ScalarLoss):
    """One scalar head, high on real clips; what counts is by how much a real clip is above the generated one it is paired with.

    Args:
        feature_dim: width of the discriminator's features.
        gradient_weight: gamma, of half the squared gradients at real (R1) and at generated clips (R2).
        classes: how many; a clip is paired with one of its class. 0 for none.
    """

    generator_compares = True

    def __init__(self, feature_dim: int, *, gradient_weight: float = 1.0, classes: int = 0) -> None:
        super().__init__(feature_dim, classes)
        self.gradient_weight = gradient_weight

    def adversarial_term(self, features: Tensor, batch: Batch) -> Term:
        scores_real, scores_fake = self.scores(features, batch)
        stats = {"critic_real": scores_real.mean(), "critic_fake": scores_fake.mean()}
        return Term(F.softplus(scores_fake - scores_real).mean(), {name: value.detach() for name, value in stats.items()})

    def penalty_clips(self, batch: Batch) -> tuple[Tensor, ...]:
        return batch.real, batch.fake

    def slope_penalty(self, gradient: Tensor, mix: Tensor) -> Tensor:
        """R1 + R2: half the mean of ||grad D||^2 over real clips, plus the same over generated ones."""
        return half_squared_norm(gradient, len(mix))

    def generator_loss(self, fake_features: Tensor, real_features: Tensor | None = None, classes: Tensor | None = None) -> Tensor:
        assert real_features is not None
        return F.softplus(self.critic(real_features, classes) - self.critic(fake_features, classes)).mean()
