"""SAN: the discriminative normalised last layer (Takida et al. 2023, arXiv 2301.12811, section 5), with the hinge loss and R1.

    D(x) = <w, h(x)>,  ||w|| = 1
    L_h  = mean relu(1 - D(x)) + mean relu(1 + D(G(z))) + gamma/2 mean ||grad D(x)||^2         (w fixed)
    L_w  = mean D(G(z)) - mean D(x)                                                          (h fixed)
    L_G  = - mean D(G(z))

The direction w is trained for the slice along which real and generated features lie furthest apart (their Wasserstein distance, once they
are separated), the features h for the hinge: so that the generator's gradient is one of a distance.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growreel.losses.base import AdversarialLoss, Batch, Discriminate, Term, half_squared_norm


class SlicingAdversarialLoss(AdversarialLoss):
    """One unit vector as head, high on real clips.

    Args:
        feature_dim: width of the discriminator's features.
        gradient_weight: gamma, of half the squared gradient at real clips.
    """

    def __init__(self, feature_dim: int, *, gradient_weight: float = 1.0) -> None:
        super().__init__()
        self.direction = nn.Parameter(F.normalize(torch.randn(feature_dim), dim=0))
        self.gradient_weight = gradient_weight

    def critic(self, features: Tensor) -> Tensor:
        """Scores for the features' sake: no gradient reaches the direction."""
        return features @ F.normalize(self.direction.detach(), dim=0)

    def adversarial_term(self, discriminate: Discriminate, batch: Batch) -> Term:
        features = discriminate(torch.cat([batch.real, batch.fake]), parts=2)
        scores_real, scores_fake = self.critic(features).chunk(2)
        hinge = F.relu(1 - scores_real).mean() + F.relu(1 + scores_fake).mean()
        along_real, along_fake = (features.detach() @ F.normalize(self.direction, dim=0)).chunk(2)
        stats = {"critic_real": scores_real.mean(), "critic_fake": scores_fake.mean()}
        return Term(hinge + along_fake.mean() - along_real.mean(), {name: value.detach() for name, value in stats.items()})

    def penalty_clips(self, batch: Batch) -> tuple[Tensor, ...]:
        return (batch.real,)

    def slope_penalty(self, gradient: Tensor, mix: Tensor) -> Tensor:
        """R1: half the mean of ||grad D||^2 over real clips."""
        return half_squared_norm(gradient, len(mix))

    def generator_loss(self, fake_features: Tensor, real_features: Tensor | None = None) -> Tensor:
        return -self.critic(fake_features).mean()

    @torch.no_grad()
    def retract(self) -> None:
        """Bring the direction back to the unit sphere: Adam's relative step must not shrink as the vector grows."""
        self.direction.copy_(F.normalize(self.direction, dim=0))
