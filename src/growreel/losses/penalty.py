"""The gradient penalty of any loss: its slope penalty at the clips that it names, in a form that can be differentiated again."""

from __future__ import annotations

import math

import torch

from growreel.losses.base import AdversarialLoss, Batch, Discriminate, Term, repeated
from growreel.models.functions import input_gradients_only


def gradient_penalty(
    loss: AdversarialLoss, discriminate: Discriminate, batch: Batch, weight: float = 1.0, voxel_ratio: float = 1.0
) -> Term | None:
    """The loss's slope penalty of the critic's gradient by its penalty clips, times its weight and `weight`; None if that is zero.

    The released code keeps the clips of every stage at full size, each voxel repeated k times, and takes the gradient there. The critic
    averages them down to its stage first, so each of the k copies gets 1/k of the gradient: the squared norm is 1/k of the one at the
    stage's own size, and the norm 1/sqrt(k), exactly. Nothing has to be computed at full size for that.

    Args:
        voxel_ratio: k, voxels of the size that the penalty is meant for divided by those of the clips (`LossConfig.penalty_ratio`).

    (Differences of two scores instead of a double backward were tried: docs/log.md says why they do not work with leaky ReLUs.)
    """
    weight = weight * loss.gradient_weight
    if not weight:
        return None
    minibatches = loss.penalty_clips(batch)
    clips = torch.cat(minibatches).requires_grad_()
    with input_gradients_only():
        scores = loss.critic(discriminate(clips, parts=len(minibatches), penalty=True), repeated(batch.classes, len(minibatches)))
        (gradient,) = torch.autograd.grad(scores.sum(), clips, create_graph=True)
    penalty = loss.slope_penalty(gradient / math.sqrt(voxel_ratio), batch.mix)
    return Term(weight * penalty, {"gradient_penalty": penalty.detach()})
