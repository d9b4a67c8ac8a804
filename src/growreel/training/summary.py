"""The growth plan with the size of the networks at every stage, as a table or as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from growreel.config import Config
from growreel.growth import growing_axes
from growreel.losses import build_loss
from growreel.models import build_discriminator, build_generator
from growreel.models.generator import stage_channels


def count_parameters(module: nn.Module) -> int:
    """Return how many numbers the module's parameters hold."""
    return sum(parameter.numel() for parameter in module.parameters())


class PlanSummary:
    """What a configuration plans; networks are counted without being made.

    Args:
        config: colour channels may be open; three are assumed then.

    Raises:
        GrowreelError: the plan does not resolve.
    """

    def __init__(self, config: Config) -> None:
        colors = config.network.image_channels or 3
        self.config = dataclasses.replace(config, network=dataclasses.replace(config.network, image_channels=colors))
        self.plan = self.config.growth.plan()
        with torch.device("meta"):
            self.generator, self.discriminator = build_generator(self.config), build_discriminator(self.config)
        self.head = build_loss(self.config.loss, self.config.network.feature_dim, len(self.config.network.classes))

    def as_dict(self) -> dict[str, Any]:
        """Return `stages`, a dict each, and the totals `parameters` (of `generator`, `discriminator` and `head`), `loss` and `clips`."""
        return {
            "stages": [self._stage(i) for i in range(len(self.plan.stages))],
            "parameters": {
                "generator": count_parameters(self.generator),
                "discriminator": count_parameters(self.discriminator),
                "head": count_parameters(self.head),
            },
            "loss": self.config.loss.name,
            "clips": self.plan.total_clips,
        }

    def table(self) -> str:
        """Return one line per stage: size, what grows, channels, parameters added to each network, minibatch, clips; then the totals."""
        summary = self.as_dict()
        rows = [("stage", "size", "grows", "channels", "G params", "D params", "minibatch", "lr", "fade", "stable", "from clip")]
        for i, stage in enumerate(summary["stages"]):
            rates = dict.fromkeys((f"{stage['learning_rate']:g}", f"{stage['final_learning_rate']:g}"))
            rows.append(
                (
                    str(i),
                    stage["size"],
                    stage["grows"] or "-",
                    str(stage["channels"]),
                    f"{stage['generator_parameters']:,}",
                    f"{stage['discriminator_parameters']:,}",
                    str(stage["minibatch"]),
                    " > ".join(rates) + ("" if stage["decay_clips"] is None else f" in {stage['decay_clips']:,}"),
                    f"{stage['fade_clips']:,}",
                    f"{stage['stable_clips']:,}",
                    f"{stage['from_clip']:,}",
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) if k < 3 else cell.rjust(width) for k, (cell, width) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]
        counts = summary["parameters"]
        totals = (
            f"parameters: generator {counts['generator']:,}, discriminator {counts['discriminator']:,}, "
            f"{summary['loss']} head {counts['head']:,}; clips in all: {summary['clips']:,}"
        )
        return "\n".join([*lines, "", totals])

    def _stage(self, i: int) -> dict[str, Any]:
        stage, size, network = self.plan.stages[i], str(self.plan.sizes[i]), self.config.network
        generator, discriminator = self.generator, self.discriminator
        new_g: list[nn.Module] = [generator.to_rgb[size], *([generator.blocks[size]] if i else [generator.dense, generator.first])]
        new_d: list[nn.Module] = [
            discriminator.from_rgb[size],
            *([discriminator.blocks[size]] if i else [discriminator.last, discriminator.dense]),
        ]
        return {
            "size": size,
            "grows": growing_axes(self.plan.sizes[i - 1], stage.size) if i else None,
            "channels": stage_channels(stage.size, network.base_channels, network.max_channels),
            "generator_parameters": sum(map(count_parameters, new_g)),
            "discriminator_parameters": sum(map(count_parameters, new_d)),
            "minibatch": stage.minibatch,
            "microbatch": stage.microbatch,
            "learning_rate": stage.learning_rate,
            "final_learning_rate": stage.final_learning_rate,
            "decay_clips": stage.decay_clips,
            "fade_clips": stage.fade_clips,
            "stable_clips": stage.stable_clips,
            "from_clip": self.plan.start(i),
        }
