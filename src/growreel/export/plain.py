"""A generator without anything that only training needs: the form that other programs are given."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growreel.growth import Position
from growreel.models.functions import LEAKY_SLOPE
from growreel.models.generator import Generator
from growreel.models.layers import EqualizedConv3d, EqualizedLinear, pixel_norm, upsample


class PlainLayer(nn.Module):
    """A convolution whose kernel is finished: scaled, filtered, no longer a function of parameters."""

    kernel: Tensor
    bias: Tensor

    def __init__(self, layer: EqualizedConv3d) -> None:
        super().__init__()
        kernel = layer.weight * layer.weight_scale
        self.register_buffer("kernel", kernel if layer.resampling is None else layer.resampling(kernel).contiguous())
        self.register_buffer("bias", layer.bias.clone())
        self.stride, self.transposed = layer.geometry.stride, layer.geometry.transposed
        self.padding = layer.geometry.padding if layer.kernel_size > 1 else (0, 0, 0)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        convolve = F.conv_transpose3d if self.transposed else F.conv3d
        return convolve(x_NCTHW, self.kernel, self.bias, stride=self.stride, padding=self.padding)


class PlainGenerator(nn.Module):
    """A generator at one position of its plan, in float32, of operations that every exporter knows; its clips are clamped.

    Args:
        generator: the source; its weights are copied.
        position: stage and alpha.
    """

    weight: Tensor
    bias: Tensor

    @torch.no_grad()
    def __init__(self, generator: Generator, position: Position) -> None:
        super().__init__()
        dense: EqualizedLinear = generator.dense
        self.register_buffer("weight", dense.weight * dense.weight_scale)
        self.register_buffer("bias", dense.bias.repeat_interleave(dense.bias_repeats))
        sizes = generator.plan.sizes[: position.stage + 1]
        self.first_size, self.alpha, self.resampling = sizes[0], position.alpha, generator.resampling
        self.layers = nn.ModuleList([PlainLayer(generator.first)])
        for size in sizes[1:]:
            block = generator.blocks[str(size)]
            self.layers.extend([PlainLayer(block.conv0), PlainLayer(block.conv1)])
        self.to_rgb = PlainLayer(generator.to_rgb[str(sizes[-1])])
        self.old_rgb, self.scale = None, None
        if position.stage > 0 and position.alpha < 1:
            self.old_rgb, self.scale = PlainLayer(generator.to_rgb[str(sizes[-2])]), generator.plan.scale(position.stage)

    def forward(self, latents: Tensor, truncation: Tensor) -> Tensor:
        """Clips [n, c, t, h, w] in -1 to 1 of latents [n, d], standard normal; truncation [1] as in `Generator.forward`."""
        x = F.linear(pixel_norm(latents) * truncation, self.weight, self.bias)
        x = _leaky_pixel_norm(x.reshape(-1, x.shape[1] // self.first_size.voxels, *self.first_size))
        previous = x
        for number, layer in enumerate(self.layers):
            if number == len(self.layers) - 2:
                previous = x
            x = _leaky_pixel_norm(layer(x))
        rgb: Tensor = self.to_rgb(x)
        if self.old_rgb is not None and self.scale is not None:
            rgb = torch.lerp(upsample(self.old_rgb(previous), self.scale, self.resampling), rgb, self.alpha)
        return rgb.clamp(-1, 1)


def _leaky_pixel_norm(x_NCTHW: Tensor) -> Tensor:
    return pixel_norm(F.leaky_relu(x_NCTHW, LEAKY_SLOPE))
