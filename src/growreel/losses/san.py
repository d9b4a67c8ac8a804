"""SAN: the discriminative normalised last layer (Takida et al. 2023, arXiv 2301.12811, section 5), with the hinge loss and R1.

    D(x) = <w, h(x)>,  ||w|| = 1
    L_h  = mean relu(1 - D(x)) + mean relu(1 + D(G(z))) + gamma/2 mean ||grad D(x)||^2         (w fixed)
    L_w  = mean D(G(z)) - mean D(x)                                                          (h fixed)
    L_G  = - mean D(G(z))

The direction w is trained for the slice along which real and generated features lie furthest apart (their Wasserstein distance, once they
are separated), the features h for the hinge: so that the generator's gradient is one of a distance.

With classes there is a direction w for each: the slice along which the features of that class lie furthest apart, as in the authors'
class-conditional example (github.com/sony/san, simple-san). A projection added to one common w would not be of unit length.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growreel.losses.base import AdversarialLoss, Batch, Term, half_squared_norm, repeated


class SlicingAdversarialLoss(AdversarialLoss):
    """One unit vector as head, or one for each class, high on real clips.

    Args:
        feature_dim: width of the discriminator's features.
        gradient_weight: gamma, of half the squared gradient at real clips.
        classes: how many, 0 for none.
    """

    def __init__(self, feature_dim: int, *, gradient_weight: float = 1.0, classes: int = 0) -> None:
        super().__init__()
        shape = (classes, feature_dim) if classes else (feature_dim,)
        self.direction = nn.Parameter(F.normalize(torch.randn(shape), dim=-1))
        self.gradient_weight = gradient_weight

    def critic(self, features: Tensor, classes: Tensor | None = None) -> Tensor:
        """Scores for the features' sake: no gradient reaches the direction."""
        return self._along(features, self.direction.detach(), classes)

    def adversarial_term(self, features: Tensor, batch: Batch) -> Term:
        classes = repeated(batch.classes, 2)
        scores_real, scores_fake = self.critic(features, classes).chunk(2)
        hinge = F.relu(1 - scores_real).mean() + F.relu(1 + scores_fake).mean()
        along_real, along_fake = self._along(features.detach(), self.direction, classes).chunk(2)
        stats = {"critic_real": scores_real.mean(), "critic_fake": scores_fake.mean()}
        return Term(hinge + along_fake.mean() - along_real.mean(), {name: value.detach() for name, value in stats.items()})

    def penalty_clips(self, batch: Batch) -> tuple[Tensor, ...]:
        return (batch.real,)

    def slope_penalty(self, gradient: Tensor, mix: Tensor) -> Tensor:
        """R1: half the mean of ||grad D||^2 over real clips."""
        return half_squared_norm(gradient, len(mix))

    def generator_loss(self, fake_features: Tensor, real_features: Tensor | None = None, classes: Tensor | None = None) -> Tensor:
        return -self.critic(fake_features, classes).mean()

    @torch.no_grad()
    def retract(self) -> None:
        """Bring each direction back to the unit sphere: Adam's relative step must not shrink as the vector grows."""
        self.direction.copy_(F.normalize(self.direction, dim=-1))

    @staticmethod
    def _along(features: Tensor, direction: Tensor, classes: Tensor | None) -> Tensor:
        """Products [n] of features [n, d] with the unit vector along the direction [d]; of [classes, d], along that of each one's class."""
        if direction.dim() == 1:
            return features @ F.normalize(direction, dim=0)
        assert classes is not None, "the head of a conditional model must be told the classes"
        return (features * F.embedding(classes, F.normalize(direction, dim=1))).sum(dim=1)
