"""WGAN-GP (Gulrajani et al. 2017) with ProGAN's drift term: the paper's baseline PG-WGAN-3D.

L_D = mean D(fake) - mean D(real) + 10 mean (||grad D(xhat)|| - 1)^2 + 0.001 mean D(real)^2
L_G = - mean D(G(z))
"""

from __future__ import annotations

from torch import Tensor

from growreel.losses.base import Batch, ScalarLoss, Term


class WassersteinGPLoss(ScalarLoss):
    """One scalar head, high on real clips.

    Args:
        feature_dim: width of the discriminator's features.
        gradient_weight: weight of the gradient penalty.
        gradient_target: the norm that the gradient is drawn to.
        drift_weight: weight of mean D(real)^2, which keeps scores near zero.
        classes: how many, 0 for none.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        gradient_weight: float = 10.0,
        gradient_target: float = 1.0,
        drift_weight: float = 0.001,
        classes: int = 0,
    ) -> None:
        super().__init__(feature_dim, classes)
        self.gradient_weight, self.gradient_target, self.drift_weight = gradient_weight, gradient_target, drift_weight

    def adversarial_term(self, features: Tensor, batch: Batch) -> Term:
        scores_real, scores_fake = self.scores(features, batch)
        drift = scores_real.square().mean()
        loss = scores_fake.mean() - scores_real.mean() + self.drift_weight * drift
        stats = {"critic_real": scores_real.mean(), "critic_fake": scores_fake.mean(), "drift": drift}
        return Term(loss, {name: value.detach() for name, value in stats.items()})

    def slope_penalty(self, gradient: Tensor, mix: Tensor) -> Tensor:
        """Mean over clips of (||grad D(xhat)|| - target)^2."""
        norms = (gradient.square().sum(dim=(1, 2, 3, 4)) + 1e-12).sqrt()  # the small term keeps the root's slope finite at 0
        return (norms - self.gradient_target).square().mean()

    def generator_loss(self, fake_features: Tensor, real_features: Tensor | None = None, classes: Tensor | None = None) -> Tensor:
        return -self.critic(fake_features, classes).mean()
