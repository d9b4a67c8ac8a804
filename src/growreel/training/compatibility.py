"""Whether a configuration fits its store and the number of processes, and may go on in a run that was begun with others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import nn

from growreel.config import Config, NetworkConfig, changed_settings, idle_settings
from growreel.data.classes import class_names
from growreel.data.record import DataRecord
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan
from growreel.losses import build_loss
from growreel.models import build_discriminator, build_generator
from growreel.models.layers import group_of
from growreel.runtime import distributed

MAY_CHANGE = {
    "clips",
    "device",
    "stats_interval",
    "sample_interval",
    "checkpoint_interval",
    "keep_checkpoints",
    "sample_count",
    "eval_interval",
    "eval_metrics",
    "eval_clips",
    "explosion_limit",
    "compile",
    "cuda_graphs",
    "report",
    "watchdog_seconds",
}
"""Fields of `training` that may differ when a run is resumed: they do not change what is learnt."""


def check_plan(plan: GrowthPlan, store: ClipStore) -> None:
    """Find out before the first step what would stop a later one. Raises GrowreelError with the stage and what to change."""
    for stage in plan.stages:
        store.level_for(stage.size)
        if stage.minibatch % distributed.world_size():
            raise GrowreelError(
                f"stage {stage.size}: minibatch {stage.minibatch} does not divide over {distributed.world_size()} processes; "
                "set --growth.minibatch to a multiple"
            )
        share = stage.minibatch // distributed.world_size()
        if group_of(share) != group_of(stage.minibatch):
            raise GrowreelError(
                f"stage {stage.size}: minibatch {stage.minibatch} on {distributed.world_size()} processes leaves {share} for each, and "
                f"the minibatch deviation would compare {group_of(share)} instead of {group_of(stage.minibatch)}: another discriminator. "
                f"Set --growth.minibatch to a multiple of {4 * distributed.world_size()}, or use fewer processes"
            )
        if stage.microbatch is not None and stage.microbatch < share and share % stage.microbatch:
            raise GrowreelError(f"stage {stage.size}: microbatch {stage.microbatch} does not divide the {share} clips of each process")


def of_store(network: NetworkConfig, store: ClipStore) -> NetworkConfig:
    """Return the networks' settings with what the store decides: the colours of clips, and for a conditional model the classes.

    Raises GrowreelError if other ones are asked for, or if the store's labels are no classes (`data.classes.class_names`).
    """
    if network.image_channels not in (None, store.channels):
        raise GrowreelError(
            f"--network.image_channels {network.image_channels}: the store {store.path} has {store.channels}; leave the flag out or "
            "prepare it anew"
        )
    classes = class_names(store) if network.conditional else ()
    if network.classes not in ((), classes):
        raise GrowreelError(
            f"--network.classes {','.join(network.classes)}: the store {store.path} has {','.join(classes)}; give that store whose labels "
            "these are, or leave the classes out to train a model of its own"
        )
    return dataclasses.replace(network, image_channels=store.channels, classes=classes)


def check_settings(run: Path, before: Config, now: Config, allowed: bool) -> None:
    """Raise GrowreelError, naming the settings, unless a run begun with `before` may go on with `now`.

    Settings that do not change what is learnt may always differ. The others may if the user has `allowed` it and the networks stay
    of the same shape.
    """
    changed = _differences(before, now)
    if changed and not allowed:
        raise GrowreelError(
            f"--out {run}: this run was started with other settings: {'; '.join(changed)}. "
            "Give those, or another --out; growreel train --allow-config-change goes on with the new ones"
        )
    if changed and (reason := _other_networks(before, now)):
        raise GrowreelError(
            f"--out {run}: the networks of the new settings are not those of this run: {reason} ({'; '.join(changed)}). "
            "Give another --out; nothing was changed"
        )


def check_data(run: Path, before: DataRecord, now: DataRecord, store: Path, allowed: bool) -> None:
    """Raise GrowreelError, saying what differs, unless the store has the clips that the run has learnt from, or others are `allowed`."""
    changed = before.differences(now)
    if changed and not allowed:
        raise GrowreelError(
            f"--out {run}: this run has learnt from other clips than {store} holds: {'; '.join(changed)}. "
            "Give that store, or another --out, or --allow-data-change to go on with these"
        )


def _differences(before: Config, now: Config) -> list[str]:
    """`name: old -> new` for every setting that differs, may not, and has an effect in one of the two."""
    idle = idle_settings(before).keys() & idle_settings(now).keys()
    free = {f"training.{name}" for name in MAY_CHANGE}
    same_plan = before.growth.plan() == now.growth.plan()
    return [
        f"{name}: {_plain(old)} -> {_plain(new)}"
        for name, (old, new) in changed_settings(before, now).items()
        if name not in free and not any(name == each or name.startswith(f"{each}.") for each in idle)
        if not (same_plan and name.startswith("growth."))
    ]


def _plain(value: object) -> object:
    return ", ".join(stage.size for stage in value) if isinstance(value, tuple) and value and hasattr(value[0], "size") else value


def _other_networks(before: Config, now: Config) -> str | None:
    """The first weight that one has and the other has not, or in another shape; None if a state of one fits the other."""
    old, new = _shapes(before), _shapes(now)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            return f"{name} is {old.get(name, 'nowhere')} in the run and {new.get(name, 'nowhere')} now"
    return None


def _shapes(config: Config) -> dict[str, str]:
    colors = config.network.image_channels or 3
    modules = empty_modules(dataclasses.replace(config, network=dataclasses.replace(config.network, image_channels=colors)))
    return {f"{part} {key}": "x".join(map(str, v.shape)) for part, module in modules.items() for key, v in module.state_dict().items()}


def empty_modules(config: Config) -> dict[str, nn.Module]:
    """`generator`, `discriminator` and `loss` of a configuration, its colours known, without values: on the device `meta`."""
    with torch.device("meta"):
        return {
            "generator": build_generator(config),
            "discriminator": build_discriminator(config),
            "loss": build_loss(config.loss, config.network.feature_dim, len(config.network.classes)),
        }
