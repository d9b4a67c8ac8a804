"""The networks, one file each, and the model file that carries a generator."""

from __future__ import annotations

from functools import partial

from growreel.config import Config
from growreel.errors import GrowreelError
from growreel.models.discriminator import Discriminator
from growreel.models.generator import Generator
from growreel.models.modulated import ModulatedGenerator

__all__ = ["Discriminator", "Generator", "ModulatedGenerator", "build_discriminator", "build_generator"]


def build_generator(config: Config) -> Generator:
    """A generator with fresh weights; `network.image_channels` must be resolved (1 or 3), and of a conditional one `network.classes`."""
    network = config.network
    assert network.image_channels is not None
    kind = partial(ModulatedGenerator, planes=network.planes) if network.generator == "modulated" else Generator
    return kind(
        config.growth.plan(),
        base_channels=network.base_channels,
        max_channels=network.max_channels,
        latent_dim=network.latent_dim,
        image_channels=network.image_channels,
        resampling=network.resampling,
        output=network.output,
        skips=network.skips,
        time_padding=network.time_padding,
        classes=len(network.classes),
    )


def build_discriminator(config: Config) -> Discriminator:
    """A discriminator with fresh weights; `network.image_channels` must be resolved (1 or 3).

    Raises GrowreelError for a plan whose first stage is one voxel, with instance norm: of a single value it leaves nothing.
    """
    network, first = config.network, config.growth.plan().sizes[0]
    assert network.image_channels is not None
    if network.discriminator_norm == "instance" and first.voxels == 1:
        raise GrowreelError(
            f"--network.discriminator_norm instance: leaves nothing of channels of one voxel, and the plan begins at {first}; "
            "begin with more voxels, or take none"
        )
    return Discriminator(
        config.growth.plan(),
        base_channels=network.base_channels,
        max_channels=network.max_channels,
        feature_dim=network.feature_dim,
        image_channels=network.image_channels,
        resampling=network.resampling,
        stddev=network.minibatch_stddev,
        skips=network.skips,
        normalization=network.discriminator_norm,
        time_padding=network.time_padding,
    )
