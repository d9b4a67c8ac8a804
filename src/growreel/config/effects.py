"""Settings that decide nothing in a configuration, because another setting leaves them out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from growreel.config.growth import GrowthConfig
from growreel.config.schema import Config
from growreel.errors import GrowreelError

PER_STAGE = ("fade_clips", "stable_clips", "minibatch", "microbatch", "learning_rate")


def idle_settings(config: Config) -> dict[str, str]:
    """Dotted names of the settings, or groups of settings, that cannot take effect in this configuration, each with the reason."""
    idle = dict(_idle_in_growth(config.growth))
    loss, training = config.loss, config.training
    used = loss.name.replace("-", "_")
    for field in dataclasses.fields(loss):
        if dataclasses.is_dataclass(getattr(loss, field.name)) and field.name != used:
            idle[f"loss.{field.name}"] = f"the loss is {loss.name} (--loss.name)"
    if loss.swgan.feature_penalty == "none":
        for name in ("feature_weight", "feature_target"):
            idle[f"loss.swgan.{name}"] = "there is no second penalty (--loss.swgan.feature_penalty none)"
    if config.network.generator != "modulated":
        idle["network.planes"] = f"the generator is {config.network.generator} (--network.generator)"
    if training.ema_decay is not None:
        idle["training.ema_rampup"] = f"the average moves by --training.ema_decay {training.ema_decay:g} in every step"
    if training.eval_interval is None:
        for name in ("eval_metrics", "eval_clips"):
            idle[f"training.{name}"] = "nothing is evaluated while training; add --eval-every"
    return idle


def check_effects(config: Config, base: Config) -> None:
    """Raise GrowreelError, naming flag, value and reason, if a setting that differs from `base` cannot take effect."""
    for name, value in changed_settings(base, config).items():
        for idle, reason in idle_settings(config).items():
            if name == idle or name.startswith(f"{idle}."):
                raise GrowreelError(f"--{name} {value[1]}: has no effect: {reason}")


def changed_settings(before: Config, now: Config) -> dict[str, tuple[Any, Any]]:
    """Old and new value of every single setting that differs, by dotted name."""
    old, new = dict(_leaves(before)), dict(_leaves(now))
    return {name: (old[name], value) for name, value in new.items() if old[name] != value}


def _leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(tree):
        value = getattr(tree, field.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value


def _idle_in_growth(growth: GrowthConfig) -> Iterator[tuple[str, str]]:
    if not growth.stages:
        return
    ladder = "the plan is written out stage by stage (growth.stages)"
    yield "growth.order", f"{ladder}; --order makes a new plan"
    yield "growth.base", f"{ladder}; add --target for a new plan"
    for name in PER_STAGE:
        settled = [getattr(stage, name) is not None for stage in growth.stages]
        if name == "fade_clips":
            settled[0] = True  # the first stage has nothing to fade from
        if all(settled):
            yield f"growth.{name}", f"{ladder}, and every stage there has its own {name}"
