"""Adversarial losses; each owns its critic head."""

from __future__ import annotations

from growreel.config import LossConfig
from growreel.losses.base import AdversarialLoss
from growreel.losses.sliced import SlicedWassersteinLoss
from growreel.losses.wasserstein_gp import WassersteinGPLoss

__all__ = ["AdversarialLoss", "SlicedWassersteinLoss", "WassersteinGPLoss", "build_loss"]


def build_loss(config: LossConfig, feature_dim: int) -> AdversarialLoss:
    """The loss that the configuration names, with a fresh head for features [n, feature_dim]."""
    if config.name == "swgan":
        c = config.swgan
        return SlicedWassersteinLoss(
            feature_dim,
            matrices=c.matrices,
            gradient_weight=c.gradient_weight,
            feature_penalty=c.feature_penalty,
            feature_weight=c.feature_weight,
            feature_target=c.feature_target,
        )
    g = config.wgan_gp
    return WassersteinGPLoss(feature_dim, gradient_weight=g.gradient_weight, gradient_target=g.gradient_target, drift_weight=g.drift_weight)
