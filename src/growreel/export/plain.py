"""A generator without anything that only training needs: the form that other programs are given."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growreel.config.schema import Resampling
from growreel.growth import Position, Size
from growreel.models.functions import LEAKY_SLOPE, Geometry
from growreel.models.generator import Generator, bounded
from growreel.models.layers import EqualizedConv3d, EqualizedLinear, pixel_norm, upsample, with_edge_frames
from growreel.models.modulated import ModulatedConv3d, ModulatedGenerator, coordinates, demodulation, per_channel


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
        self.edge_frames = layer.edge_frames
        if self.repeats is not None:
            geometry = Geometry(padding=(0 if self.edge_frames else 1, 1, 1))
        elif layer.resampling is not None:
            kernel = layer.resampling(kernel).contiguous()
        self.geometry = geometry
        self.register_buffer("kernel", kernel)
        self.register_buffer("bias", layer.bias.clone())

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        if self.repeats is not None:
            x_NCTHW = _repeated(x_NCTHW, self.repeats)
        if self.edge_frames:
            x_NCTHW = with_edge_frames(x_NCTHW, self.edge_frames)
        convolve = F.conv_transpose3d if self.geometry.transposed else F.conv3d
        return convolve(x_NCTHW, self.kernel, self.bias, stride=self.geometry.stride, padding=self.geometry.padding)


class PlainModulatedLayer(nn.Module):
    """A `ModulatedConv3d` whose kernel, and whose coordinates of one size, are finished."""

    scale_weight: Tensor
    scale_bias: Tensor
    power: Tensor
    slopes_weight: Tensor
    slopes_bias: Tensor
    places: Tensor

    def __init__(self, layer: ModulatedConv3d, resampling: Resampling, size: Size) -> None:
        super().__init__()
        self.layer = PlainLayer(layer.conv, resampling)
        weight, bias = _finished(layer.scale)
        self.register_buffer("scale_weight", weight)
        self.register_buffer("scale_bias", bias + 1)
        self.register_buffer("power", layer.power())
        for name, value in zip(("slopes_weight", "slopes_bias"), _finished(layer.slopes), strict=True):
            self.register_buffer(name, value)
        self.register_buffer("places", coordinates(size, layer.planes, like=weight))
        self.size = size

    def forward(self, x_NCTHW: Tensor, style: Tensor) -> Tensor:
        scale = F.linear(style, self.scale_weight, self.scale_bias)
        y = self.layer(x_NCTHW * per_channel(scale)) * per_channel(demodulation(scale, self.power))
        slopes = F.linear(style, self.slopes_weight, self.slopes_bias)
        planes = (self.places @ slopes.reshape(-1, self.places.shape[1], y.shape[1])).transpose(1, 2)
        result: Tensor = y + planes.reshape(-1, y.shape[1], *self.size)
        return result


class PlainGenerator(nn.Module):
    """A generator at one position of its plan, in float32, of operations that every exporter knows; its clips are clamped.

    Args:
        generator: the source; its weights are copied.
        position: stage and alpha.
    """

    embedding: Tensor | None

    @torch.no_grad()
    def __init__(self, generator: Generator, position: Position) -> None:
        super().__init__()
        embedding = None if generator.embedding is None else pixel_norm(generator.embedding.weight)
        self.register_buffer("embedding", embedding)
        self.dense = _Dense(generator.dense)
        mapping = generator.mapping.layers if isinstance(generator, ModulatedGenerator) else ()
        self.mapping = nn.ModuleList(_Dense(layer) for layer in mapping)
        sizes, resampling = generator.plan.sizes[: position.stage + 1], generator.resampling
        self.first_size, self.alpha, self.resampling = sizes[0], position.alpha, resampling
        self.layers = nn.ModuleList([_plain(generator.first, resampling, sizes[0])])
        for size in sizes[1:]:
            block = generator.blocks[str(size)]
            self.layers.extend(_plain(layer, resampling, size) for layer in block.children())
        self.skips, self.output = generator.skips, generator.output
        # The stages whose colours are seen: with skips all, otherwise the last, and in a fade the one before it.
        self.seen = 0 if self.skips else max(0, position.stage - (position.alpha < 1))
        self.to_rgb = nn.ModuleList(PlainLayer(generator.to_rgb[str(size)], resampling) for size in sizes[self.seen :])
        self.scales = [generator.plan.scale(i) for i in range(self.seen + 1, position.stage + 1)]

    def forward(self, latents: Tensor, truncation: Tensor, classes: Tensor | None = None) -> Tensor:
        """Clips [n, c, t, h, w] in -1 to 1 of latents [n, d], standard normal; truncation [1], and of a conditional generator classes [n],
        as in `Generator.forward`.
        """
        latents = pixel_norm(latents) * truncation
        if self.embedding is not None:
            assert classes is not None, "a conditional generator must be told the classes"
            latents = torch.cat([latents, F.embedding(classes, self.embedding)], dim=1)
        style = latents
        for layer in self.mapping:
            style = F.leaky_relu(layer(style), LEAKY_SLOPE)
        styles = (style,) if len(self.mapping) else ()
        x = self.dense(latents)
        x = self._activate(x.reshape(-1, x.shape[1] // self.first_size.voxels, *self.first_size))
        colors: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            x = self._activate(layer(x, *styles))
            if number % 2 == 0 and number // 2 >= self.seen:  # the last layer of a stage
                colors.append(self.to_rgb[len(colors)](x))
        return self._together(colors).clamp(-1, 1)

    def _together(self, colors: list[Tensor]) -> Tensor:
        """One clip of the colours of all stages that are seen, the smallest first."""
        if not self.skips:
            colors = [bounded(each, self.output) for each in colors]
        rgb = colors[0]
        for k, (new, scale) in enumerate(zip(colors[1:], self.scales, strict=True), start=2):
            rgb, alpha = upsample(rgb, scale, self.resampling), self.alpha if k == len(colors) else 1.0
            rgb = rgb + alpha * new if self.skips else torch.lerp(rgb, new, alpha)
        return bounded(rgb, self.output) if self.skips else rgb

    def _activate(self, x_NCTHW: Tensor) -> Tensor:
        """Leaky ReLU, and pixel norm where no modulation takes its place."""
        x_NCTHW = F.leaky_relu(x_NCTHW, LEAKY_SLOPE)
        return x_NCTHW if len(self.mapping) else pixel_norm(x_NCTHW)


class _Dense(nn.Module):
    """A dense layer whose weights are finished."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        for name, value in zip(("weight", "bias"), _finished(layer), strict=True):
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


def _finished(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of an EqualizedLinear as it uses them."""
    assert isinstance(layer, EqualizedLinear)
    return layer.weight * layer.weight_scale, layer.bias.repeat_interleave(layer.bias_repeats)


def _plain(layer: nn.Module, resampling: Resampling, size: Size) -> nn.Module:
    """The plain form of a convolution whose output has this size."""
    return PlainModulatedLayer(layer, resampling, size) if isinstance(layer, ModulatedConv3d) else PlainLayer(layer, resampling)


def _repeated(x_NCTHW: Tensor, times: tuple[int, int, int]) -> Tensor:
    """Every voxel so many times along each axis, of operations that every runtime has for five axes."""
    (t, h, w), (a, b, c) = x_NCTHW.shape[2:], times
    wide = x_NCTHW.reshape(-1, x_NCTHW.shape[1], t, 1, h, 1, w, 1).expand(-1, -1, -1, a, -1, b, -1, c)
    return wide.reshape(-1, x_NCTHW.shape[1], t * a, h * b, w * c)
