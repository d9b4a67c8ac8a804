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

from growreel.config.schema import Resampling, TimePadding
from growreel.growth import Size
from growreel.models.functions import Geometry, convolution


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Divide every position's channel vector (dim 1) by its root mean square."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + eps)


def instance_norm(x_NCTHW: Tensor, eps: float = 1e-5) -> Tensor:
    """Give every channel of every clip mean 0 and deviation 1 over frames, rows and columns (Ulyanov et al. 2016, arXiv 1607.08022, eq. 1).

    (PyTorch's own forgets the channels-last layout, which the next convolution would have to bring back. Mean and variance come from one
    operation: with a mean, and another of squares after it, the compiler made wrong gradients of from 8 channels on; torch 2.13, AVX2.)
    """
    variance, mean = torch.var_mean(x_NCTHW, dim=(2, 3, 4), keepdim=True, correction=0)
    return (x_NCTHW - mean) * torch.rsqrt(variance + eps)


def upsample(x_NCTHW: Tensor, scale: Size, resampling: Resampling = "box") -> Tensor:
    """Repeat every voxel `scale` times along each axis (nearest neighbour), or go smoothly from one to the next (linear)."""
    factors = tuple(map(float, scale))
    if resampling == "box":
        return F.interpolate(x_NCTHW, scale_factor=factors, mode="nearest")
    wide = x_NCTHW.to(torch.promote_types(x_NCTHW.dtype, torch.float32))
    return F.interpolate(wide, scale_factor=factors, mode="trilinear", align_corners=False).to(x_NCTHW.dtype)


def downsample(x_NCTHW: Tensor, scale: Size) -> Tensor:
    """Box average over `scale` voxels along each axis."""
    wide = x_NCTHW.to(torch.promote_types(x_NCTHW.dtype, torch.float32))  # there is no average pooling in bfloat16 on a CPU
    return F.avg_pool3d(wide, kernel_size=tuple(scale), stride=tuple(scale)).to(x_NCTHW.dtype)


def blend(old: Tensor, new: Tensor, alpha: float | Tensor) -> Tensor:
    """(1 - alpha) old + alpha new. A tensor alpha, float32, does not depend on the precision of what it weighs."""
    if isinstance(alpha, Tensor):
        return torch.lerp(old.to(alpha.dtype), new.to(alpha.dtype), alpha).to(new.dtype)
    return torch.lerp(old, new, alpha)


def add(old: Tensor, new: Tensor, alpha: float | Tensor) -> Tensor:
    """old + alpha new, with alpha as in `blend`."""
    if isinstance(alpha, Tensor):
        return (old.to(alpha.dtype) + alpha * new.to(alpha.dtype)).to(new.dtype)
    return torch.add(old, new, alpha=alpha)


def group_of(clips: int, group_size: int = 4) -> int:
    """How many of a minibatch of `clips` form a group of the minibatch deviation: the largest divisor that is at most `group_size`."""
    return max(g for g in range(1, min(group_size, clips) + 1) if clips % g == 0)


def minibatch_stddev(x_NCTHW: Tensor, group_size: int = 4, eps: float = 1e-8, parts: int = 1, per_channel: bool = False) -> Tensor:
    """Append one map holding the standard deviation over a group of clips, averaged over C, T, H and W; or, `per_channel`, a map for each
    channel, averaged over T, H and W.

    Clips i, i + n/g, i + 2n/g, ... form a group of g; g is the largest divisor of n that is at most `group_size`. With `parts` the
    batch is so many minibatches of n clips, one after the other, each with groups of its own.
    Returns [parts * n, c + 1, t, h, w], or [parts * n, 2 * c, t, h, w] per channel.
    """
    clips, _, t, h, w = x_NCTHW.shape
    n = clips // parts
    group = group_of(n, group_size)
    grouped = x_NCTHW.view(parts, group, n // group, *x_NCTHW.shape[1:])
    variance = (grouped - grouped.mean(dim=1, keepdim=True)).square().mean(dim=1)
    statistic = (variance + eps).sqrt().mean(dim=(3, 4, 5) if per_channel else (2, 3, 4, 5)).view(parts, n // group, -1)
    maps = statistic.repeat(1, group, 1).view(clips, -1, 1, 1, 1).expand(-1, -1, t, h, w)
    mapped = torch.cat([x_NCTHW, maps], dim=1)
    return mapped.contiguous(memory_format=torch.channels_last_3d)


Taps = tuple[float, ...]
"""A filter along one axis, as what its taps weigh."""


class KernelFilter(nn.Module):
    """Convolves kernels [o, i, 3, 3, 3] with a separable filter: one product with a constant matrix.

    A convolution before or after a fixed filter is one convolution whose kernel is the full convolution of both. Along one axis that is
    linear in the three weights, a matrix (`filter_matrix`); the matrix of all axes, 27 weights to the filtered kernel's taps, is the
    Kronecker product of theirs. Derivatives of every order are products with the same matrix. The result is channels-last, as
    convolutions take it.

    Args:
        filters: one for frames, rows and columns, such as a box (1, 1), or (1, 3, 3, 1) for a smoother one; (1,) leaves the axis as it is.
        transposed: make kernels of transposed convolutions, [i, o, ...]: turned round along all axes before they are filtered.
    """

    matrix: Tensor

    def __init__(self, filters: tuple[Taps, Taps, Taps], transposed: bool = False) -> None:
        super().__init__()
        self.transposed = transposed
        t, h, w = map(filter_matrix, filters)
        self.taps = len(t), len(h), len(w)
        matrix = torch.kron(torch.kron(t, h), w)
        self.register_buffer("matrix", matrix.flip(1) if transposed else matrix, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        columns = weight.flatten(2).permute(1, 2, 0) if self.transposed else weight.flatten(2).mT  # [i, 27, o] or [o, 27, i]
        kernel: Tensor = (self.matrix @ columns).unflatten(1, self.taps)
        return kernel.movedim(-1, 1)


def filter_matrix(taps: Taps, kernel_size: int = 3) -> Tensor:
    """Matrix [kernel_size + len(taps) - 1, kernel_size] that takes a column of weights to its full convolution with the taps.

    Column j holds the taps from row j on: weight j contributes to as many places as the filter is long.
    """
    matrix = torch.zeros(kernel_size + len(taps) - 1, kernel_size)
    for column in range(kernel_size):
        matrix[column : column + len(taps), column] = torch.tensor(taps)
    return matrix


UP_FILTERS: dict[Resampling, Taps] = {"box": (1.0, 1.0), "smooth": (0.25, 0.75, 0.75, 0.25)}
"""What makes, of voxels between zeros, voxels repeated twice, or voxels between which values go linearly."""


def _up_filters(scale: Size, resampling: Resampling) -> tuple[Taps, Taps, Taps]:
    t, h, w = (UP_FILTERS[resampling] if factor == 2 else (1.0,) for factor in scale)
    return t, h, w


def _down_filters(scale: Size, resampling: Resampling) -> tuple[Taps, Taps, Taps]:
    """Averages: the filters of up-scaling, with a sum of 1."""
    t, h, w = (tuple(tap / sum(taps) for tap in taps) for taps in _up_filters(scale, resampling))
    return t, h, w


def with_edge_frames(x_NCTHW: Tensor, frames: int) -> Tensor:
    """The first and the last frame so many times more, before and after the others."""
    first, last = x_NCTHW[:, :, :1], x_NCTHW[:, :, -1:]
    return torch.cat([first] * frames + [x_NCTHW] + [last] * frames, dim=2)  # in this form it stays channels-last


class EqualizedConv3d(nn.Module):
    """3-D convolution with bias and 'same' padding; [n, c_in, t, h, w] -> [n, c_out, t, h, w] in the precision of its input.

    Kernel size 3 or 1. With `up` the input is first scaled up, with `down` the output is averaged, by 1 or 2 along each axis
    (kernel size 3 only). Either is one convolution with stride, without the large intermediate. With `box` resampling its kernel is of up
    to 4x4x4: per voxel of the large side 8 products instead of 27 when all axes change, 12 when two do. With `smooth` resampling (the
    filter 1, 3, 3, 1 of StyleGAN) it is of up to 6x6x6, 27 products, and voxels beyond the border count as zero.

    Rows and columns are padded with zeros; frames with zeros or, with `replicate` time padding, with the first and the last frame.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        gain: float = math.sqrt(2),
        up: Size | None = None,
        down: Size | None = None,
        resampling: Resampling = "box",
        time_padding: TimePadding = "zeros",
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_scale = gain / math.sqrt(in_channels * kernel_size**3)
        around = kernel_size // 2
        self.kernel_size, self.geometry = kernel_size, Geometry(padding=(around, around, around))
        self.resampling: KernelFilter | None = None
        if up is not None:
            self.resampling = KernelFilter(_up_filters(up, resampling), transposed=True)
            self.geometry = Geometry(up, _padding(self.resampling.taps, up), transposed=True)
        elif down is not None:
            self.resampling = KernelFilter(_down_filters(down, resampling))
            self.geometry = Geometry(down, _padding(self.resampling.taps, down))
        self.edge_frames = 0
        if time_padding == "replicate" and kernel_size > 1:
            self.edge_frames, self.geometry = _replicating(self.geometry)

    def forward(self, x_NCTHW: Tensor, product_dtype: torch.dtype | None = None) -> Tensor:
        """`product_dtype`: precision of the products in backward passes, see `functions.convolution`."""
        weight = self.weight * self.weight_scale
        if self.kernel_size == 1:
            return _pointwise(x_NCTHW, weight, self.bias)
        if self.resampling is not None:
            weight = self.resampling(weight)
        if self.edge_frames:
            x_NCTHW = with_edge_frames(x_NCTHW, self.edge_frames)
        return convolution(x_NCTHW, weight, self.bias, self.geometry, product_dtype)


def _padding(taps: tuple[int, int, int], scale: Size) -> tuple[int, int, int]:
    """With which the large side has exactly `scale` times the voxels of the small one, and the kernel sits in its middle."""
    t, h, w = ((taps_of_axis - factor) // 2 for taps_of_axis, factor in zip(taps, scale, strict=True))
    return t, h, w


def _replicating(geometry: Geometry) -> tuple[int, Geometry]:
    """How many frames to add at either end of the input in place of a geometry's zeros, and the geometry that then gives as many frames.

    What is scaled up gets one of its own frames, which reaches beyond any zeros, and the output is cut.
    """
    stride, (frames, rows, columns) = geometry.stride[0], geometry.padding
    if geometry.transposed:
        return 1, geometry._replace(padding=(frames + stride, rows, columns))
    return frames, geometry._replace(padding=(0, rows, columns))


def _pointwise(x_NCTHW: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolution 1x1x1 as a matrix product: in float32 with three channels on one side up to ten times as fast on a CPU.

    A view: nothing may be done to it in place, see `functions.leaky_relu_`.
    """
    return F.linear(x_NCTHW.movedim(1, -1), weight.flatten(1).to(x_NCTHW.dtype), bias.to(x_NCTHW.dtype)).movedim(-1, 1)


class EqualizedLinear(nn.Module):
    """Dense layer, [n, in] -> [n, out]. `bias_repeats` values in a row share one bias (one bias per channel of a map). With a `rate` the
    same layer learns so many times as fast: its weights are kept so much larger, and made smaller at run time."""

    def __init__(self, in_features: int, out_features: int, gain: float = math.sqrt(2), bias_repeats: int = 1, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / rate)
        self.bias = nn.Parameter(torch.zeros(out_features // bias_repeats))
        self.weight_scale = gain * rate / math.sqrt(in_features)
        self.bias_repeats = bias_repeats

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.weight_scale, self.bias.repeat_interleave(self.bias_repeats))
