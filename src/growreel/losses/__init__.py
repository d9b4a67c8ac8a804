"""Adversarial losses; each owns its critic head."""

from __future__ import annotations

import dataclasses

from growreel.config import LossConfig
from growreel.losses.base import AdversarialLoss, Batch, Term
from growreel.losses.classifier import Classifier
from growreel.losses.penalty import gradient_penalty
from growreel.losses.relativistic import RelativisticLoss
from growreel.losses.san import SlicingAdversarialLoss
from growreel.losses.sliced import SlicedWassersteinLoss
from growreel.losses.wasserstein_gp import WassersteinGPLoss

__all__ = [
    "AdversarialLoss",
    "Batch",
    "Classifier",
    "RelativisticLoss",
    "SlicedWassersteinLoss",
    "SlicingAdversarialLoss",
    "Term",
    "WassersteinGPLoss",
    "build_loss",
    "gradient_penalty",
]


def build_loss(config: LossConfig, feature_dim: int, classes: int = 0) -> AdversarialLoss:
    """The loss that the configuration names, with fresh heads for features [n, feature_dim] of clips of so many classes, 0 for none."""
    loss = _adversarial_loss(config, feature_dim, classes)
    if config.class_weight and classes:
        loss.classifier = Classifier(feature_dim, classes, config.class_weight)
    return loss


def _adversarial_loss(config: LossConfig, feature_dim: int, classes: int) -> AdversarialLoss:
    match config.name:
        case "swgan":
            return SlicedWassersteinLoss(feature_dim, **dataclasses.asdict(config.swgan), classes=classes)
        case "wgan-gp":
            return WassersteinGPLoss(feature_dim, **dataclasses.asdict(config.wgan_gp), classes=classes)
        case "relativistic":
            return RelativisticLoss(feature_dim, **dataclasses.asdict(config.relativistic), classes=classes)
        case "san":
            return SlicingAdversarialLoss(feature_dim, **dataclasses.asdict(config.san), classes=classes)
