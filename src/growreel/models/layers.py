"""Layers shared by generator and discriminator. Tensors are `x_NCTHW`: clips, channels, frames, rows, columns.

Equalised learning rate (Karras et al. 2017, section 4.1, used by the paper's released code): weights are drawn from N(0, 1) and
multiplied at run time by gain / sqrt(fan_in), so that Adam's step has the same relative size in every layer.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growreel.growth import Size

LEAKY_SLOPE = 0.2


def leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, LEAKY_SLOPE)


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Divide every position's channel vector (dim 1) by its root mean square."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + eps)


def upsample(x_NCTHW: Tensor, scale: Size) -> Tensor:
    """Repeat every voxel `scale` times along each axis (nearest neighbour)."""
    return F.interpolate(x_NCTHW, scale_factor=tuple(map(float, scale)), mode="nearest")


def downsample(x_NCTHW: Tensor, scale: Size) -> Tensor:
    """Box average over `scale` voxels along each axis."""
    return F.avg_pool3d(x_NCTHW, kernel_size=tuple(scale), stride=tuple(scale))


def minibatch_stddev(x_NCTHW: Tensor, group_size: int = 4, eps: float = 1e-8) -> Tensor:
    """Append one map holding the standard deviation over a group of clips, averaged over C, T, H and W.

    Clips i, i + n/g, i + 2n/g, ... form a group of g; g is the largest divisor of n that is at most `group_size`.
    Returns [n, c + 1, t, h, w].
    """
    n, _, t, h, w = x_NCTHW.shape
    group = max(g for g in range(1, min(group_size, n) + 1) if n % g == 0)
    grouped = x_NCTHW.view(group, n // group, *x_NCTHW.shape[1:])
    variance = (grouped - grouped.mean(dim=0)).square().mean(dim=0)
    statistic = (variance + eps).sqrt().mean(dim=(1, 2, 3, 4))
    return torch.cat([x_NCTHW, statistic.repeat(group).view(n, 1, 1, 1, 1).expand(n, 1, t, h, w)], dim=1)


def widen_kernel(weight: Tensor, scale: Size) -> Tensor:
    """Convolve a kernel [o, i, 3, 3, 3] with a box of `scale` (1 or 2) voxels: sizes 3 become 4 along the scaled axes."""
    for axis, factor in enumerate(scale, start=2):
        if factor == 2:
            before = [0, 0] * (weight.dim() - 1 - axis)  # F.pad counts axes from the last
            weight = F.pad(weight, [*before, 0, 1]) + F.pad(weight, [*before, 1, 0])
    return weight


def upsample_conv3d(x_NCTHW: Tensor, weight: Tensor, bias: Tensor, scale: Size) -> Tensor:
    """`conv3d(upsample(x, scale), weight, bias, padding=1)` without the large intermediate.

    As one transposed convolution: 8 taps per output voxel instead of 27 when all axes grow, 12 when two do.
    """
    kernel = widen_kernel(weight.flip(2, 3, 4).transpose(0, 1), scale)
    return F.conv_transpose3d(x_NCTHW, kernel, bias, stride=tuple(scale), padding=1)


def conv3d_downsample(x_NCTHW: Tensor, weight: Tensor, bias: Tensor, scale: Size) -> Tensor:
    """`downsample(conv3d(x, weight, bias, padding=1), scale)` as one strided convolution, the mirror of `upsample_conv3d`."""
    return F.conv3d(x_NCTHW, widen_kernel(weight, scale) / scale.voxels, bias, stride=tuple(scale), padding=1)


class EqualizedConv3d(nn.Module):
    """3-D convolution with bias and 'same' zero padding; [n, c_in, t, h, w] -> [n, c_out, t, h, w].

    With `up` the input is first repeated, with `down` the output is averaged, by 1 or 2 along each axis (kernel size 3 only).
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
        self.padding, self.up, self.down = kernel_size // 2, up, down

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        weight = self.weight * self.weight_scale
        if self.up is not None:
            return upsample_conv3d(x_NCTHW, weight, self.bias, self.up)
        if self.down is not None:
            return conv3d_downsample(x_NCTHW, weight, self.bias, self.down)
        return F.conv3d(x_NCTHW, weight, self.bias, padding=self.padding)


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
