"""A generator without anything that only training needs: the form that other programs are given."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growreel.config.schema import Resampling
from growreel.growth import Position
from growreel.models.functions import LEAKY_SLOPE, Geometry
from growreel.models.generator import Generator, GeneratorBlock
from growreel.models.layers import EqualizedConv3d, EqualizedLinear, pixel_norm, upsample


class PlainLayer(nn.Module):
    """A convolution whose kernel is finished: scaled, filtered, no longer a function of parameters.

    Where voxels are to be repeated, they are, before a plain convolution: onnxruntime has no transposed 3-D convolution on WebGPU, and on a
    processor its own takes as long.
    """

    kernel: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Module, resampling: Resampling) -> None:
        """`layer` is an EqualizedConv3d of a generator."""
        super().__init__()
        assert isinstance(layer, EqualizedConv3d)
        kernel, geometry = layer.weight * layer.weight_scale, layer.geometry
        self.repeats = geometry.stride if geometry.transposed and resampling == "box" else None
        if layer.resampling is None or self.repeats is not None:
            geometry = Geometry(padding=(0, 0, 0) if layer.kernel_size == 1 else (1, 1, 1))
        else:
            kernel = layer.resampling(kernel).contiguous()
        self.geometry = geometry
        self.register_buffer("kernel", kernel)
        self.register_buffer("bias", layer.bias.clone())

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        if self.repeats is not None:
            x_NCTHW = _repeated(x_NCTHW, self.repeats)
        convolve = F.conv_transpose3d if self.geometry.transposed else F.conv3d
        return convolve(x_NCTHW, self.kernel, self.bias, stride=self.geometry.stride, padding=self.geometry.padding)


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
        self.layers = nn.ModuleList([PlainLayer(generator.first, generator.resampling)])
        for size in sizes[1:]:
            block = generator.blocks[str(size)]
            assert isinstance(block, GeneratorBlock)
            self.layers.extend([PlainLayer(block.conv0, generator.resampling), PlainLayer(block.conv1, generator.resampling)])
        self.to_rgb = PlainLayer(generator.to_rgb[str(sizes[-1])], generator.resampling)
        self.old_rgb, self.scale = None, None
        if position.stage > 0 and position.alpha < 1:
            self.old_rgb, self.scale = (
                PlainLayer(generator.to_rgb[str(sizes[-2])], generator.resampling),
                generator.plan.scale(position.stage),
            )

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


def _repeated(x_NCTHW: Tensor, times: tuple[int, int, int]) -> Tensor:
    """Every voxel so many times along each axis, of operations that every runtime has for five axes."""
    (t, h, w), (a, b, c) = x_NCTHW.shape[2:], times
    wide = x_NCTHW.reshape(-1, x_NCTHW.shape[1], t, 1, h, 1, w, 1).expand(-1, -1, -1, a, -1, b, -1, c)
    return wide.reshape(-1, x_NCTHW.shape[1], t * a, h * b, w * c)


def _leaky_pixel_norm(x_NCTHW: Tensor) -> Tensor:
    return pixel_norm(F.leaky_relu(x_NCTHW, LEAKY_SLOPE))
