"""Fixtures: small plans, small stores, a small configuration. Everything is made here; nothing is read from outside."""

from __future__ import annotations

import dataclasses
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from growreel.config import Config, from_dict
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.growth import GrowthPlan, Size, Stage
from growreel.training import progress

CACHE = tempfile.TemporaryDirectory(prefix="growreel-tests-")
os.environ["XDG_CACHE_HOME"] = CACHE.name  # what is remembered there is not of this user's clips
torch.set_num_threads(1)  # tests run side by side; two threads each would fight for two cores
progress.FIRST_LOOK_SECONDS = math.inf  # else a run on a slow machine shows, and writes, what one on a fast machine does not


@pytest.fixture(autouse=True)
def same_weights_in_every_order() -> None:
    """Networks that a test builds without a seed are the same ones whatever ran before it in its process."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shapes_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 40 procedural clips, 4x8x8."""
    path = tmp_path_factory.mktemp("stores") / "shapes"
    write_store(path, shape_clips(40, Size(4, 8, 8)), fps=8.0)
    return path


def make_plan(*sizes: str, minibatch: int = 4) -> GrowthPlan:
    """A plan with fades of 10 clips and stable phases of 20."""
    return GrowthPlan(tuple(Stage(Size.parse(size), 0 if i == 0 else 10, 20, minibatch, 0.001, 0.001) for i, size in enumerate(sizes)))


def tiny_config(**training: Any) -> Config:
    """2x4x4 -> 4x8x8 with 4 channels: 40 clips, a fade of 40 and 40 more, in minibatches of 4, everything written every few steps."""
    return from_dict(
        {
            "growth": {
                "stages": ["2x4x4", "4x8x8"],
                "fade_clips": 40,
                "stable_clips": 40,
                "minibatch": 4,
                "learning_rate": 0.002,
            },
            "network": {"max_channels": 4, "latent_dim": 8, "feature_dim": 8},
            "loss": {"swgan": {"feature_penalty": "slope"}},
            "training": {
                "ema_decay": 0.9,
                "device": "cpu",
                "stats_interval": 12,
                "sample_interval": 40,
                "checkpoint_interval": 20,
                "sample_count": 2,
                "report": False,
                **training,
            },
        },
        "tiny_config",
    )


def with_other_networks(config: Config) -> Config:
    """The same run with networks that are not the paper's: a modulated generator with curved planes and bounded colours, a
    discriminator that is told of every channel's deviation and normalises its own, frames that are repeated at both ends, and
    stages that add to one another.
    """
    network = dataclasses.replace(
        config.network,
        generator="modulated",
        planes="curved",
        output="tanh",
        minibatch_stddev="channels",
        discriminator_norm="instance",
        skips=True,
        time_padding="replicate",
    )
    return dataclasses.replace(config, network=network)


def colored(config: Config) -> Config:
    """The configuration for clips of three channels, as training resolves it from a store."""
    return dataclasses.replace(config, network=dataclasses.replace(config.network, image_channels=3))
