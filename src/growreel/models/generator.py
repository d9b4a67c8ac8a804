"""The generator: a latent vector in, a clip out, at any stage of the growth plan (table "Networks" of the released code).

A generator of several classes is given, beside the latent, a vector that it learns for each class, as long as the latent and normalised
as it is (as StyleGAN2-ADA does, arXiv 2006.06676; the paper has no classes).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from growreel.config.schema import OutputKind, Resampling, TimePadding
from growreel.growth import GrowthPlan, Size
from growreel.models.functions import leaky_pixel_norm_
from growreel.models.layers import EqualizedConv3d, EqualizedLinear, add, blend, pixel_norm, upsample
from growreel.models.recompute import run_block

OUTPUT_BOUND = 1.1
"""Of an output by tanh: a little beyond -1 and 1, which black and white would else never reach."""


def stage_channels(size: Size, base_channels: int, max_channels: int) -> int:
    """Width of a stage: min(base / 2^i, max) with i = log2(H) - 1, for any H and W by the larger of the two."""
    return max(1, min(2 * base_channels // max(size.h, size.w), max_channels))


class GeneratorBlock(nn.Module):
    """Up-scaling along the axes that grow, then two convolutions 3x3x3."""

    def __init__(self, in_channels: int, out_channels: int, scale: Size, resampling: Resampling, time_padding: TimePadding) -> None:
        super().__init__()
        self.conv0 = EqualizedConv3d(in_channels, out_channels, up=scale, resampling=resampling, time_padding=time_padding)
        self.conv1 = EqualizedConv3d(out_channels, out_channels, time_padding=time_padding)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        return leaky_pixel_norm_(self.conv1(leaky_pixel_norm_(self.conv0(x_NCTHW))))


def bounded(rgb: Tensor, output: OutputKind) -> Tensor:
    """Colours as they are, or between -OUTPUT_BOUND and OUTPUT_BOUND by a tanh."""
    return OUTPUT_BOUND * torch.tanh(rgb) if output == "tanh" else rgb


class Generator(nn.Module):
    """Every block exists from the start, so state-dict keys never change; only those of the active stages run.

    With `skips` a clip is the sum of what every stage makes of its features, each scaled up to the next; a new stage adds to what there is
    and takes nothing away (output skips: Karras et al. 2020, arXiv 1912.04958, section 4.1). Without, only the newest stage makes colours.

    Attributes:
        recompute_voxels: as in the discriminator.
    """

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
    ) -> None:
        super().__init__()
        self.plan, self.latent_dim, self.classes = plan, latent_dim, classes
        self.resampling, self.output, self.skips, self.time_padding = resampling, output, skips, time_padding
        self.recompute_voxels: int | None = None
        sizes = plan.sizes
        widths = [stage_channels(size, base_channels, max_channels) for size in sizes]
        # The small gain keeps the first activations at the scale that pixel norm brings everywhere else (Karras et al. 2017).
        # Drawn first or not at all: the weights of a generator without classes do not depend on whether there could be some.
        self.embedding = nn.Embedding(classes, latent_dim) if classes else None
        self.dense = EqualizedLinear(self.input_dim, widths[0] * sizes[0].voxels, gain=math.sqrt(2) / 4, bias_repeats=sizes[0].voxels)
        self.first = self._first(widths[0])
        self.blocks = nn.ModuleDict({str(sizes[i]): self._block(widths[i - 1], widths[i], plan.scale(i)) for i in range(1, len(sizes))})
        self.to_rgb = nn.ModuleDict(
            {str(size): EqualizedConv3d(width, image_channels, kernel_size=1, gain=1) for size, width in zip(sizes, widths, strict=True)}
        )

    @property
    def input_dim(self) -> int:
        """Numbers that the dense layer is given: the latent, and beside it as many of the class where there are classes."""
        return 2 * self.latent_dim if self.classes else self.latent_dim

    def joined(self, latents: Tensor, truncation: float, classes: Tensor | None) -> Tensor:
        """Return what the dense layer is given, [n, input_dim]: normalised latents [n, latent_dim] times `truncation`, and the normalised
        embeddings of classes [n], which truncation leaves as they are. Without classes, latents alone.
        """
        latents = pixel_norm(latents.to(self.dense.weight.dtype)) * truncation
        if self.embedding is None:
            return latents
        assert classes is not None, "a conditional generator must be told the classes"
        return torch.cat([latents, pixel_norm(self.embedding(classes))], dim=1)

    def _first(self, channels: int) -> nn.Module:
        return EqualizedConv3d(channels, channels, time_padding=self.time_padding)

    def _block(self, in_channels: int, out_channels: int, scale: Size) -> nn.Module:
        return GeneratorBlock(in_channels, out_channels, scale, self.resampling, self.time_padding)

    def _styles(self, given: Tensor) -> tuple[Tensor, ...]:
        """What every convolution is told beside its input, made of what the dense layer is given; here nothing."""
        return ()

    def _activate(self, x_NCTHW: Tensor) -> Tensor:
        """After every convolution but those to RGB; in place."""
        return leaky_pixel_norm_(x_NCTHW)

    def forward(
        self,
        latents: Tensor,
        stage: int,
        alpha: float | Tensor = 1.0,
        truncation: float = 1.0,
        dtype: torch.dtype | None = None,
        classes: Tensor | None = None,
    ) -> Tensor:
        """Return clips of stage `stage`, made from latents.

        Args:
            latents: [n, latent_dim], standard normal.
            stage: index into the plan.
            alpha: weight of the newest block, 0 (previous stage, up-scaled) to 1. A tensor is not looked at: old and new are both computed.
                With skips, `smooth` resampling and a bounded output, 0 is that but for where the bound is taken, after up-scaling.
            truncation: the normalised latent is multiplied by it. 1 is the distribution that was trained; towards 0 the
                dense layer gives its mean over all latents: fewer surprises, less variety.
            dtype: of all arithmetic after the first convolution; None is that of the weights.
            classes: numbers [n], int64, of what is to be made; only, and always, where the generator has classes.

        Returns:
            [n, c, t, h, w] of that dtype, about -1 to 1, not clamped.
        """
        sizes = [str(size) for size in self.plan.sizes]
        given = self.joined(latents, truncation, classes)
        styles = self._styles(given)
        x = self.dense(given).unflatten(1, (-1, *self.plan.sizes[0]))
        x = self._activate(x.clone(memory_format=torch.channels_last_3d))
        x = self._activate(self.first(x, *styles)).to(dtype or given.dtype)
        previous, added = x, self.to_rgb[sizes[0]](x) if self.skips else None
        for i in range(1, stage + 1):
            previous = x
            x = run_block(self.blocks[sizes[i]], x, *styles, when_voxels=self.recompute_voxels, voxels=self.plan.sizes[i].voxels)
            if added is not None:
                added = add(upsample(added, self.plan.scale(i), self.resampling), self.to_rgb[sizes[i]](x), alpha if i == stage else 1.0)
        if added is not None:
            return bounded(added, self.output)
        rgb = bounded(self.to_rgb[sizes[stage]](x), self.output)
        if stage > 0 and (isinstance(alpha, Tensor) or alpha < 1):
            old = upsample(bounded(self.to_rgb[sizes[stage - 1]](previous), self.output), self.plan.scale(stage), self.resampling)
            rgb = blend(old, rgb, alpha)
        return rgb
