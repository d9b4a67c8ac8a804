"""The growth plan as a table, with the size of the networks at every stage."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from growreel.config import Config
from growreel.growth import growing_axes
from growreel.losses import build_loss
from growreel.models import build_discriminator, build_generator
from growreel.models.generator import stage_channels


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def plan_table(config: Config) -> str:
    """One line per stage: size, what grows, channels, parameters added to each network, minibatch, clips; then the totals."""
    colors = config.network.image_channels or 3
    config = dataclasses.replace(config, network=dataclasses.replace(config.network, image_channels=colors))
    plan = config.growth.plan()
    with torch.device("meta"):
        generator, discriminator = build_generator(config), build_discriminator(config)
    head = build_loss(config.loss, config.network.feature_dim)
    rows = [("stage", "size", "grows", "channels", "G params", "D params", "minibatch", "lr", "fade", "stable", "from clip")]
    for i, stage in enumerate(plan.stages):
        size = str(stage.size)
        grows = growing_axes(plan.sizes[i - 1], stage.size) if i else "-"
        new_g: list[nn.Module] = [generator.to_rgb[size], *([generator.blocks[size]] if i else [generator.dense, generator.first])]
        new_d: list[nn.Module] = [
            discriminator.from_rgb[size],
            *([discriminator.blocks[size]] if i else [discriminator.last, discriminator.dense]),
        ]
        rows.append(
            (
                str(i),
                size,
                grows,
                str(stage_channels(stage.size, config.network.base_channels, config.network.max_channels)),
                f"{sum(map(count_parameters, new_g)):,}",
                f"{sum(map(count_parameters, new_d)):,}",
                str(stage.minibatch),
                f"{stage.learning_rate:g}"
                + (f" > {stage.final_learning_rate:g}" if stage.final_learning_rate != stage.learning_rate else ""),
                f"{stage.fade_clips:,}",
                f"{stage.stable_clips:,}",
                f"{plan.start(i):,}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) if k < 3 else cell.rjust(width) for k, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    totals = (
        f"parameters: generator {count_parameters(generator):,}, discriminator {count_parameters(discriminator):,}, "
        f"{config.loss.name} head {count_parameters(head):,}; clips in all: {plan.total_clips:,}"
    )
    return "\n".join([*lines, "", totals])
