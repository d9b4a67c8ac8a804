"""Layers shared by generator and discriminator. Tensors are `x_NCTHW`: clips, channels, frames, rows, columns.

In memory the channels of a voxel lie side by side (`torch.channels_last_3d`), as in the clip store. oneDNN takes that as it is; any other
layout is reordered before and after every convolution, padded to 16 channels.

Equalised learning rate (Karras et al. 2017, section 4.1, used by the paper's released code): weights are drawn from N(0, 1) and
multiplied at run time by gain / sqrt(fan_in), so that Adam's step has the same relative size in every layer.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growreel.growth import Size
from growreel.models.functions import Geometry, convolution


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Divide every position's channel vector (dim 1) by its root mean square."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + eps)


def upsample(x_NCTHW: Tensor, scale: Size) -> Tensor:
    """Repeat every voxel `scale` times along each axis (nearest neighbour)."""
    return F.interpolate(x_NCTHW, scale_factor=tuple(map(float, scale)), mode="nearest")


def downsample(x_NCTHW: Tensor, scale: Size) -> Tensor:
    """Box average over `scale` voxels along each axis."""
    wide = x_NCTHW.to(torch.promote_types(x_NCTHW.dtype, torch.float32))  # there is no average pooling in bfloat16 on a CPU
    return F.avg_pool3d(wide, kernel_size=tuple(scale), stride=tuple(scale)).to(x_NCTHW.dtype)


def blend(old: Tensor, new: Tensor, alpha: float | Tensor) -> Tensor:
    """(1 - alpha) old + alpha new. A tensor alpha, float32, does not depend on the precision of what it weighs."""
    if isinstance(alpha, Tensor):
        return torch.lerp(old.to(alpha.dtype), new.to(alpha.dtype), alpha).to(new.dtype)
    return torch.lerp(old, new, alpha)


def minibatch_stddev(x_NCTHW: Tensor, group_size: int = 4, eps: float = 1e-8, parts: int = 1) -> Tensor:
    """Append one map holding the standard deviation over a group of clips, averaged over C, T, H and W.

    Clips i, i + n/g, i + 2n/g, ... form a group of g; g is the largest divisor of n that is at most `group_size`. With `parts` the
    batch is so many minibatches of n clips, one after the other, each with groups of its own.
    Returns [parts * n, c + 1, t, h, w].
    """
    clips, _, t, h, w = x_NCTHW.shape
    n = clips // parts
    group = max(g for g in range(1, min(group_size, n) + 1) if n % g == 0)
    grouped = x_NCTHW.view(parts, group, n // group, *x_NCTHW.shape[1:])
    variance = (grouped - grouped.mean(dim=1, keepdim=True)).square().mean(dim=1)
    statistic = (variance + eps).sqrt().mean(dim=(2, 3, 4, 5))
    mapped = torch.cat([x_NCTHW, statistic.repeat(1, group).view(clips, 1, 1, 1, 1).expand(clips, 1, t, h, w)], dim=1)
    return mapped.contiguous(memory_format=torch.channels_last_3d)


def widen_kernel(weight: Tensor, scale: Size) -> Tensor:
    """Convolve a kernel [o, i, 3, 3, 3] with a box of `scale` (1 or 2) voxels: sizes 3 become 4 along the scaled axes."""
    for axis, factor in enumerate(scale, start=2):
        if factor == 2:
            before = [0, 0] * (weight.dim() - 1 - axis)  # F.pad counts axes from the last
            weight = F.pad(weight, [*before, 0, 1]) + F.pad(weight, [*before, 1, 0])
    return weight


def upsample_conv3d(x_NCTHW: Tensor, weight: Tensor, bias: Tensor, scale: Size, product_dtype: torch.dtype | None = None) -> Tensor:
    """`conv3d(upsample(x, scale), weight, bias, padding=1)` without the large intermediate.

    As one transposed convolution: 8 taps per output voxel instead of 27 when all axes grow, 12 when two do.
    """
    kernel = widen_kernel(weight.flip(2, 3, 4).transpose(0, 1), scale)
    return convolution(x_NCTHW, kernel, bias, Geometry(stride=scale, transposed=True), product_dtype)


def conv3d_downsample(x_NCTHW: Tensor, weight: Tensor, bias: Tensor, scale: Size, product_dtype: torch.dtype | None = None) -> Tensor:
    """`downsample(conv3d(x, weight, bias, padding=1), scale)` as one strided convolution, the mirror of `upsample_conv3d`."""
    return convolution(x_NCTHW, widen_kernel(weight, scale) / scale.voxels, bias, Geometry(stride=scale), product_dtype)


class EqualizedConv3d(nn.Module):
    """3-D convolution with bias and 'same' zero padding; [n, c_in, t, h, w] -> [n, c_out, t, h, w] in the precision of its input.

    Kernel size 3 or 1. With `up` the input is first repeated, with `down` the output is averaged, by 1 or 2 along each axis
    (kernel size 3 only).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        gain: float = math.sqrt(2),
        up: Size | None = None,
        down: Size | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_scale = gain / math.sqrt(in_channels * kernel_size**3)
        self.kernel_size, self.up, self.down = kernel_size, up, down

    def forward(self, x_NCTHW: Tensor, product_dtype: torch.dtype | None = None) -> Tensor:
        """`product_dtype`: precision of the products in backward passes, see `functions.convolution`."""
        weight = self.weight * self.weight_scale
        if self.kernel_size == 1:
            return _pointwise(x_NCTHW, weight, self.bias)
        if self.up is not None:
            return upsample_conv3d(x_NCTHW, weight, self.bias, self.up, product_dtype)
        if self.down is not None:
            return conv3d_downsample(x_NCTHW, weight, self.bias, self.down, product_dtype)
        return convolution(x_NCTHW, weight, self.bias, Geometry(), product_dtype)


def _pointwise(x_NCTHW: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolution 1x1x1 as a matrix product: in float32 with three channels on one side up to ten times as fast on a CPU.

    A view: nothing may be done to it in place, see `functions.leaky_relu_`.
    """
    return F.linear(x_NCTHW.movedim(1, -1), weight.flatten(1).to(x_NCTHW.dtype), bias.to(x_NCTHW.dtype)).movedim(-1, 1)


class EqualizedLinear(nn.Module):
    """Dense layer, [n, in] -> [n, out]. `bias_repeats` values in a row share one bias (one bias per channel of a map)."""

    def __init__(self, in_features: int, out_features: int, gain: float = math.sqrt(2), bias_repeats: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features // bias_repeats))
        self.weight_scale = gain / math.sqrt(in_features)
        self.bias_repeats = bias_repeats

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.weight_scale, self.bias.repeat_interleave(self.bias_repeats))
