"""A second head on the discriminator's features that names the class of a clip: the auxiliary classifier of AC-GAN."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from growreel.models.layers import EqualizedLinear


class Classifier(nn.Module):
    """Cross-entropy of a softmax over the classes (Odena et al. 2017, arXiv 1610.09585, eq. 3).

    The discriminator learns it from real clips alone, so that its features have to tell classes apart from the beginning, also those that
    differ little; the generator is to make clips that are named rightly. Beside it stays the projection (`base.ClassProjection`), which
    alone can say what of a class generated clips have too little of.

    Args:
        feature_dim: width of the discriminator's features.
        classes: how many, 2 or more.
        weight: of the cross-entropy in the losses of both networks.
    """

    def __init__(self, feature_dim: int, classes: int, weight: float) -> None:
        super().__init__()
        self.head, self.weight = EqualizedLinear(feature_dim, classes, gain=1), weight

    def forward(self, features: Tensor, classes: Tensor | None) -> Tensor:
        """Return the mean cross-entropy, in nats, of features [n, d] of clips of `classes` [n]; without its weight."""
        assert classes is not None, "a classifier must be told the classes"
        return F.cross_entropy(self.head(features), classes)
