"""The discriminator, the paper's encoder E: a clip in, a feature vector out. The scalar head belongs to the loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from growreel.growth import GrowthPlan, Size
from growreel.models.generator import stage_channels
from growreel.models.layers import EqualizedConv3d, EqualizedLinear, downsample, leaky_relu, minibatch_stddev


class DiscriminatorBlock(nn.Module):
    """Two convolutions 3x3x3, the second with average pooling along the axes that grew: a generator block in the mirror."""

    def __init__(self, in_channels: int, out_channels: int, scale: Size) -> None:
        super().__init__()
        self.conv0 = EqualizedConv3d(in_channels, in_channels)
        self.conv1 = EqualizedConv3d(in_channels, out_channels, down=scale)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        return leaky_relu(self.conv1(leaky_relu(self.conv0(x_NCTHW))))


class Discriminator(nn.Module):
    """Every block exists from the start, so state-dict keys never change; only those of the active stages run."""

    def __init__(self, plan: GrowthPlan, *, base_channels: int, max_channels: int, feature_dim: int, image_channels: int) -> None:
        super().__init__()
        self.plan, self.feature_dim = plan, feature_dim
        sizes = plan.sizes
        widths = [stage_channels(size, base_channels, max_channels) for size in sizes]
        self.from_rgb = nn.ModuleDict(
            {str(size): EqualizedConv3d(image_channels, width, kernel_size=1) for size, width in zip(sizes, widths, strict=True)}
        )
        self.blocks = nn.ModuleDict(
            {str(sizes[i]): DiscriminatorBlock(widths[i], widths[i - 1], plan.scale(i)) for i in range(1, len(sizes))}
        )
        self.last = EqualizedConv3d(widths[0] + 1, widths[0])
        self.dense = EqualizedLinear(widths[0] * sizes[0].voxels, feature_dim)

    def forward(self, clips_NCTHW: Tensor, stage: int, alpha: float = 1.0) -> Tensor:
        """Features [n, feature_dim] of clips [n, c, t, h, w] (-1 to 1) at the stage's own size; `alpha` as in the generator."""
        sizes = [str(size) for size in self.plan.sizes]
        x = leaky_relu(self.from_rgb[sizes[stage]](clips_NCTHW))
        for i in range(stage, 0, -1):
            x = self.blocks[sizes[i]](x)
            if i == stage and alpha < 1:
                old = leaky_relu(self.from_rgb[sizes[i - 1]](downsample(clips_NCTHW, self.plan.scale(i))))
                x = torch.lerp(old, x, alpha)
        x = leaky_relu(self.last(minibatch_stddev(x)))
        features: Tensor = leaky_relu(self.dense(x.flatten(1)))
        return features
