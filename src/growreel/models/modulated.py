"""The modulated generator: the latent decides not only where a clip begins but how every convolution works (after StyleGAN2).

What differs from the paper's generator (`models.generator`), and where it comes from:

- Two dense layers turn the latent into a style. Every convolution multiplies its input's channels by what it makes of the style, and what
  that does to the size of its output is taken back (modulation and demodulation: Karras et al. 2020, arXiv 1912.04958, section 2.2). That
  takes the place of pixel norm, which makes the channels of every voxel equally large, ground or edge.
- To its output each convolution adds a plane per channel, a linear function of frame, row and column whose slopes come from the style.
  Where a thing is and where it moves are then a few numbers, instead of something to be carried up from 4x4x4. `curved` planes also have an
  offset, and bend with time: with slopes alone the middle of a path has to be carried up all the same, and every path is straight.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growreel.config.schema import OutputKind, PlanesKind, Resampling, TimePadding
from growreel.growth import GrowthPlan, Size
from growreel.models.functions import LEAKY_SLOPE, leaky_relu_
from growreel.models.generator import Generator
from growreel.models.layers import EqualizedConv3d, EqualizedLinear

MAPPING_RATE = 0.1
"""Learning rate of the mapping's layers relative to all others (StyleGAN: 0.01, with eight layers)."""
COORDINATES: dict[PlanesKind, int] = {"linear": 3, "curved": 5}
"""How many numbers `coordinates` says of a voxel."""
PLANE_GAIN = 0.5
"""Of the dense layer that makes slopes: a plane begins at a third of the size of what it is added to."""


class Mapping(nn.Module):
    """Normalised latents, and classes if there are any, [n, given] -> styles [n, d]: two dense layers that learn slowly."""

    def __init__(self, given: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EqualizedLinear(width, dim, rate=MAPPING_RATE) for width in (given, dim))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.leaky_relu(layer(x), LEAKY_SLOPE)
        return x


class ModulatedConv3d(nn.Module):
    """Convolution 3x3x3 whose input channels are weighed, and whose output channels get a plane, by the style.

    sqrt(2) (conv(x * scale) + bias) / sqrt(sum over inputs and taps of (scale * weight)^2) + slopes . coordinates
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style_dim: int,
        *,
        up: Size | None = None,
        resampling: Resampling = "box",
        time_padding: TimePadding,
        planes: PlanesKind = "linear",
    ) -> None:
        super().__init__()
        self.planes: PlanesKind = planes
        self.conv = EqualizedConv3d(in_channels, out_channels, gain=1, up=up, resampling=resampling, time_padding=time_padding)
        self.scale = EqualizedLinear(style_dim, in_channels, gain=1)
        self.slopes = EqualizedLinear(style_dim, COORDINATES[planes] * out_channels, gain=PLANE_GAIN)

    def forward(self, x_NCTHW: Tensor, style: Tensor) -> Tensor:
        """[n, c_in, t, h, w] and styles [n, d] -> [n, c_out, t, h, w] in the precision of x; the style's part is computed in its own."""
        dtype, scale = x_NCTHW.dtype, 1 + self.scale(style)
        y = self.conv(x_NCTHW * per_channel(scale).to(dtype))
        y = y * per_channel(demodulation(scale, self.power())).to(dtype)
        places = coordinates(Size(*y.shape[2:]), self.planes, like=style)
        planes = places @ self.slopes(style).unflatten(1, (places.shape[1], -1))  # [n, t * h * w, c_out]
        result: Tensor = y + planes.unflatten(1, y.shape[2:]).movedim(-1, 1).to(dtype)
        return result

    def power(self) -> Tensor:
        """Sum over the taps of the squared weights, [c_out, c_in]."""
        return (self.conv.weight * self.conv.weight_scale).square().sum(dim=(2, 3, 4))


def per_channel(x: Tensor) -> Tensor:
    """[n, c] -> [n, c, 1, 1, 1]."""
    return x[:, :, None, None, None]


def demodulation(scale: Tensor, power: Tensor) -> Tensor:
    """Factors [n, c_out] for scales [n, c_in] and powers [c_out, c_in], with the gain of a leaky ReLU."""
    return (scale.square() @ power.mT + 1e-8).rsqrt() * math.sqrt(2)


def coordinates(size: Size, planes: PlanesKind, *, like: Tensor) -> Tensor:
    """Frame, row and column of every voxel [t * h * w, 3]: -1 and 1 are the outer edges of the first and the last. Of `curved` planes
    [t * h * w, 5]: then the second Legendre polynomial of the frame, which is 1 at both edges and -1/2 half way, and 1.
    """
    axes = [(2 * torch.arange(n, device=like.device, dtype=like.dtype) + 1) / n - 1 for n in size]
    linear = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 2)
    if planes == "linear":
        return linear
    time = linear[:, :1]
    return torch.cat([linear, 1.5 * time.square() - 0.5, torch.ones_like(time)], dim=1)


class ModulatedBlock(nn.Module):
    """Up-scaling along the axes that grow, then two modulated convolutions."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style_dim: int,
        scale: Size,
        resampling: Resampling,
        time_padding: TimePadding,
        planes: PlanesKind,
    ) -> None:
        super().__init__()
        shared: dict[str, Any] = {"time_padding": time_padding, "planes": planes}
        self.conv0 = ModulatedConv3d(in_channels, out_channels, style_dim, up=scale, resampling=resampling, **shared)
        self.conv1 = ModulatedConv3d(out_channels, out_channels, style_dim, **shared)

    def forward(self, x_NCTHW: Tensor, style: Tensor) -> Tensor:
        return leaky_relu_(self.conv1(leaky_relu_(self.conv0(x_NCTHW, style)), style))


class ModulatedGenerator(Generator):
    """Same arguments, same stages and same call as the paper's; truncation shrinks the latent before it becomes the style."""

    def __init__(
        self,
        plan: GrowthPlan,
        *,
        base_channels: int,
        max_channels: int,
        latent_dim: int,
        image_channels: int,
        resampling: Resampling = "box",
        output: OutputKind = "linear",
        skips: bool = False,
        time_padding: TimePadding = "zeros",
        classes: int = 0,
        planes: PlanesKind = "linear",
    ) -> None:
        self.planes: PlanesKind = planes  # before the layers, which are made there
        super().__init__(
            plan,
            base_channels=base_channels,
            max_channels=max_channels,
            latent_dim=latent_dim,
            image_channels=image_channels,
            resampling=resampling,
            output=output,
            skips=skips,
            time_padding=time_padding,
            classes=classes,
        )
        self.mapping = Mapping(self.input_dim, latent_dim)

    def _first(self, channels: int) -> nn.Module:
        return ModulatedConv3d(channels, channels, self.latent_dim, time_padding=self.time_padding, planes=self.planes)

    def _block(self, in_channels: int, out_channels: int, scale: Size) -> nn.Module:
        return ModulatedBlock(in_channels, out_channels, self.latent_dim, scale, self.resampling, self.time_padding, self.planes)

    def _styles(self, given: Tensor) -> tuple[Tensor, ...]:
        return (self.mapping(given),)

    def _activate(self, x_NCTHW: Tensor) -> Tensor:
        return leaky_relu_(x_NCTHW)
