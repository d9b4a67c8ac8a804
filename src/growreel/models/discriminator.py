"""The discriminator, the paper's encoder E: a clip in, a feature vector out. The scalar head belongs to the loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from growreel.config.schema import MinibatchStddev, Normalization, Resampling, TimePadding
from growreel.growth import GrowthPlan, Size
from growreel.models.functions import leaky_relu, leaky_relu_
from growreel.models.generator import stage_channels
from growreel.models.layers import EqualizedConv3d, EqualizedLinear, add, blend, downsample, instance_norm, minibatch_stddev
from growreel.models.recompute import run_block


class DiscriminatorBlock(nn.Module):
    """Two convolutions 3x3x3, the second with averaging along the axes that grew: a generator block in the mirror."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        scale: Size,
        resampling: Resampling,
        normalization: Normalization,
        time_padding: TimePadding,
    ) -> None:
        super().__init__()
        self.normalization = normalization
        self.conv0 = EqualizedConv3d(in_channels, in_channels, time_padding=time_padding)
        self.conv1 = EqualizedConv3d(in_channels, out_channels, down=scale, resampling=resampling, time_padding=time_padding)

    def forward(self, x_NCTHW: Tensor, product_dtype: torch.dtype | None) -> Tensor:
        for conv in (self.conv0, self.conv1):
            x_NCTHW = conv(x_NCTHW, product_dtype)
            if self.normalization == "instance":
                x_NCTHW = instance_norm(x_NCTHW)
            x_NCTHW = leaky_relu_(x_NCTHW, product_dtype)
        return x_NCTHW


class Discriminator(nn.Module):
    """Every block exists from the start, so state-dict keys never change; only those of the active stages run.

    With `skips` every block's output is added to what is seen of the clip at that size, so that a new stage adds to what the smaller ones
    have learnt to see (input skips: Karras et al. 2020, arXiv 1912.04958, section 4.1). Without, only the largest size is looked at.

    Attributes:
        recompute_voxels: blocks whose clips have at least so many voxels t * h * w are computed again in the backward pass; None for none.
    """

    def __init__(
        self,
        plan: GrowthPlan,
        *,
        base_channels: int,
        max_channels: int,
        feature_dim: int,
        image_channels: int,
        resampling: Resampling = "box",
        stddev: MinibatchStddev = "mean",
        skips: bool = False,
        normalization: Normalization = "none",
        time_padding: TimePadding = "zeros",
    ) -> None:
        super().__init__()
        self.plan, self.feature_dim, self.stddev, self.skips = plan, feature_dim, stddev, skips
        self.recompute_voxels: int | None = None
        sizes = plan.sizes
        widths = [stage_channels(size, base_channels, max_channels) for size in sizes]
        self.from_rgb = nn.ModuleDict(
            {str(size): EqualizedConv3d(image_channels, width, kernel_size=1) for size, width in zip(sizes, widths, strict=True)}
        )
        self.blocks = nn.ModuleDict(
            {
                str(sizes[i]): DiscriminatorBlock(widths[i], widths[i - 1], plan.scale(i), resampling, normalization, time_padding)
                for i in range(1, len(sizes))
            }
        )
        self.last = EqualizedConv3d(widths[0] * 2 if stddev == "channels" else widths[0] + 1, widths[0], time_padding=time_padding)
        self.dense = EqualizedLinear(widths[0] * sizes[0].voxels, feature_dim)

    def forward(
        self, clips_NCTHW: Tensor, stage: int, alpha: float | Tensor = 1.0, *, parts: int = 1, product_dtype: torch.dtype | None = None
    ) -> Tensor:
        """Return the features of clips.

        Args:
            clips_NCTHW: [n, c, t, h, w] in -1 to 1 at the stage's own size; their dtype is that of the blocks' arithmetic.
            stage, alpha: as in the generator.
            parts: the batch is so many minibatches one after the other; they share nothing but the arithmetic.
            product_dtype: precision of the products in backward passes, see `functions.convolution`.

        Returns:
            [n, feature_dim], float32 or wider: what follows the last block is computed in no less.
        """
        sizes = [str(size) for size in self.plan.sizes]
        x = leaky_relu(self.from_rgb[sizes[stage]](clips_NCTHW), product_dtype)
        for i in range(stage, 0, -1):
            x = run_block(self.blocks[sizes[i]], x, product_dtype, when_voxels=self.recompute_voxels, voxels=self.plan.sizes[i].voxels)
            weight = alpha if i == stage else 1.0
            if self.skips or isinstance(weight, Tensor) or weight < 1:
                clips_NCTHW = downsample(clips_NCTHW, self.plan.scale(i))
                old = leaky_relu(self.from_rgb[sizes[i - 1]](clips_NCTHW), product_dtype)
                x = (add if self.skips else blend)(old, x, weight)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        x = leaky_relu_(self.last(minibatch_stddev(x, parts=parts, per_channel=self.stddev == "channels"), product_dtype))
        features: Tensor = leaky_relu_(self.dense(x.flatten(1)))
        return features
