"""How fast the generator's moving average follows the generator."""

from __future__ import annotations

from growreel.config import Config


def ema_weight(config: Config, clips_shown: int, clips_per_update: int) -> float:
    """The share of the generator, from 0 to 1, that one update puts into its moving average.

    With a half-life of h clips, what the average held before weighs half as much after h more clips, whatever the minibatch: the share
    is 1 - 0.5^(clips_per_update / h). While few clips have been shown, the half-life is at most `training.ema_rampup` of them, so that
    the average does not hold on to its random beginning (StyleGAN2-ADA). With `training.ema_decay` the share is 1 - ema_decay, always.

    Args:
        config: its `training` has the settings.
        clips_shown: real clips shown so far, those of this update too.
        clips_per_update: real clips shown from one update to the next: minibatch times critic steps.
    """
    training = config.training
    if training.ema_decay is not None:
        return 1 - training.ema_decay
    half_life = training.ema_halflife
    if training.ema_rampup is not None:
        half_life = min(half_life, training.ema_rampup * clips_shown)
    return 1 - 0.5 ** (clips_per_update / half_life) if half_life > 0 else 1.0
