"""SWGAN: the dual sliced Wasserstein loss (arXiv 1810.02419; equations as in the released video code).

    p = E(x) W,  F_i = leaky_relu(s_i p_i + b_i),  S(x) = mean_i F_i
    L_D = mean S(real) - mean S(fake) + 50 GP + 10 FP        (this critic is low on real clips, high on fakes)
    L_G = mean S(G(z))

The columns of the orthogonal matrices W are the directions of the slices; every slice has a 1-D function of its own.

With classes y, S(x, y) = S(x) + mean_j v_yj E(x)_j: what makes a clip real whatever its class, and the projection that tells whether it
is one of its class (`losses.base.ClassProjection`). The new term is a slice, too: along v_y / |v_y|, with a straight line as 1-D
function, which compares the means of real and generated clips of that class. As W is orthogonal and has all d directions, v_y E(x) =
sum_i (W^T v_y)_i p_i: a projection of the features for each class is the same as one more slope, for each class, in every slice's
function. It is kept on the features, so that turning W turns no class; it is left out of FP, which draws all slopes to one value and
would take back what tells classes apart; GP, at clips between real and generated ones of the same class, bounds it with all the rest.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from growreel.losses.base import AdversarialLoss, Batch, ClassProjection, Term, interpolate
from growreel.models.functions import LEAKY_SLOPE, leaky_relu

FeaturePenalty = Literal["released", "slope", "none"]


class SWDBlock(nn.Module):
    """Slices of features: [n, d] -> [n, matrices * d]."""

    def __init__(self, feature_dim: int, matrices: int) -> None:
        super().__init__()
        self.matrices = nn.Parameter(
            torch.stack([nn.init.orthogonal_(torch.empty(feature_dim, feature_dim)) for _ in range(matrices)])
        )  # m, d, d
        self.scale = nn.Parameter(torch.ones(matrices * feature_dim))
        self.bias = nn.Parameter(torch.zeros(matrices * feature_dim))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the 1-D functions F [n, m * d] and their inputs before the leaky ReLU, of the same shape."""
        projections = torch.einsum("nd,mde->nme", features, self.matrices).flatten(1)
        before = self.scale * projections + self.bias
        return leaky_relu(before), before

    @torch.no_grad()
    def project_gradients(self) -> None:
        """Turn the Euclidean gradient g into the Riemannian one on the Stiefel manifold: g - W sym(W^T g)."""
        g = self.matrices.grad
        if g is not None:
            product = self.matrices.mT @ g
            g.sub_(self.matrices @ ((product + product.mT) / 2))

    @torch.no_grad()
    def retract(self) -> None:
        """Replace every matrix W by Q of its QR decomposition."""
        self.matrices.copy_(_orthogonal_factor(self.matrices))


class SlicedWassersteinLoss(AdversarialLoss):
    """SWGAN with a zero-centred gradient penalty and a choice of second penalty on the 1-D functions.

    Args:
        feature_dim: width d of the discriminator's features.
        matrices: number of orthogonal d x d matrices; there are matrices * d slices (paper: 1 for video, 4 for images).
        gradient_weight: weight of GP = mean over clips of ||(1 - t) grad S(xhat)||^2 (paper: 50).
        feature_penalty: form of FP. `released`: mean (s_i |y| slope - target)^2, what the released code computes; `slope`: mean
            (s_i slope_i - target)^2, the derivative of every 1-D function drawn towards 1-Lipschitz, what its comment says;
            `none`.
        feature_weight: weight of FP (paper: 10).
        feature_target: None takes the form's own: 0.01 for `released`, 1 for `slope`.
        classes: how many, 0 for none.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        matrices: int = 1,
        gradient_weight: float = 50.0,
        feature_penalty: FeaturePenalty = "released",
        feature_weight: float = 10.0,
        feature_target: float | None = None,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.swd = SWDBlock(feature_dim, matrices)
        self.projection = ClassProjection(feature_dim, classes, scale=1 / feature_dim) if classes else None
        self.gradient_weight, self.feature_weight = gradient_weight, feature_weight
        self.feature_penalty_form = feature_penalty
        default_target = 0.01 if feature_penalty == "released" else 1.0
        self.feature_target = default_target if feature_target is None else feature_target

    def critic(self, features: Tensor, classes: Tensor | None = None) -> Tensor:
        values: Tensor = self.swd(features)[0]
        scores = values.mean(dim=1)
        return scores if self.projection is None else scores + self.projection(features, classes)

    def adversarial_term(self, features: Tensor, batch: Batch) -> Term:
        real_features, fake_features = features.chunk(2)
        critic_real, critic_fake = (self.critic(each, batch.classes).mean() for each in (real_features, fake_features))
        loss = critic_real - critic_fake
        stats = {"critic_real": critic_real.detach(), "critic_fake": critic_fake.detach()}
        if self.feature_penalty_form != "none":
            feature_penalty = self.feature_penalty(interpolate(real_features, fake_features, batch.feature_mix))
            loss = loss + self.feature_weight * feature_penalty
            stats["feature_penalty"] = feature_penalty.detach()
        return Term(loss, stats)

    def generator_loss(self, fake_features: Tensor, real_features: Tensor | None = None, classes: Tensor | None = None) -> Tensor:
        return self.critic(fake_features, classes).mean()

    def slope_penalty(self, gradient: Tensor, mix: Tensor) -> Tensor:
        """Mean over clips of ||(1 - t) grad S(xhat)||^2 at the mixed clips xhat = (1 - t) real + t fake."""
        return ((1 - mix).square() * gradient.square().sum(dim=(1, 2, 3, 4))).mean()

    def feature_penalty(self, mixed_features: Tensor) -> Tensor:
        """Return the second penalty, in the form chosen, at mixed features [n, d]."""
        values, before = self.swd(mixed_features)
        slope = torch.where(before > 0, torch.ones_like(before), LEAKY_SLOPE)
        if self.feature_penalty_form == "released":
            # The code's 0.1 (|y| - y) + 0.5 (|y| + y) is |y| times the slope of the leaky ReLU at y.
            slope = slope * values.abs()
        return (self.swd.scale * slope - self.feature_target).square().mean()

    def project_gradients(self) -> None:
        self.swd.project_gradients()

    def retract(self) -> None:
        self.swd.retract()


def _orthogonal_factor(matrices: Tensor) -> Tensor:
    """Q of the QR decomposition of [..., d, d], with the diagonal of R positive so that Q is unique and near a nearly orthogonal input.

    Through the Cholesky factor of W^T W = R^T R, in float64: as exact as Householder's way for matrices near orthogonal ones, cheaper, and
    on a card without asking the host. (In float32 what is left of orthogonality would be near the 1e-5 that is promised.)
    """
    wide = matrices.double()
    lower, _ = torch.linalg.cholesky_ex(wide.mT @ wide)
    orthogonal: Tensor = torch.linalg.solve_triangular(lower.mT, wide, upper=True, left=False)
    return orthogonal.to(matrices.dtype)
