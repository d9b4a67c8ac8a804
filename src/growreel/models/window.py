"""Some frames of a clip, without making the others: a walk shows one frame of each of its clips.

A frame depends on its neighbours alone, as far as the kernels reach, and every other operation of the generator looks at one voxel. So each
block is given the frames that the wanted ones depend on; what lies beyond is cut off. At 32x256x256 one frame takes a fraction of the clip.
"""

from __future__ import annotations

import torch
from torch import Tensor

from growreel.models.functions import leaky_pixel_norm_
from growreel.models.generator import Generator, GeneratorBlock, bounded
from growreel.models.layers import blend, upsample

Window = tuple[int, int]
"""First frame, and the one after the last."""


def frames_of_clips(
    generator: Generator,
    latents: Tensor,
    stage: int,
    alpha: float,
    truncation: float,
    dtype: torch.dtype | None,
    frames: range,
    classes: Tensor | None = None,
) -> Tensor:
    """Frames [n, c, len(frames), h, w] of the clips that `Generator.forward` makes of the same arguments, but for rounding.

    A generator of another kind, or with skips, makes the whole clip.
    """
    if type(generator) is not Generator or generator.skips or not all(type(block) is GeneratorBlock for block in generator.blocks.values()):
        whole: Tensor = generator(latents, stage, alpha, truncation, dtype, classes)
        return whole[:, :, frames.start : frames.stop]
    sizes, wanted = generator.plan.sizes, (frames.start, frames.stop)
    outputs = [wanted]  # what is needed of each stage, the last first
    for i in range(stage, 0, -1):
        outputs.append(_input(_before_conv1(outputs[-1], sizes[i].t), generator, i))
    outputs.reverse()

    given = generator.joined(latents, truncation, classes)
    x = generator.dense(given).unflatten(1, (-1, *sizes[0]))
    x = leaky_pixel_norm_(x.clone(memory_format=torch.channels_last_3d))
    x = leaky_pixel_norm_(generator.first(x)).to(dtype or given.dtype)
    x = _cut(x, outputs[0], 0)
    previous = x
    for i in range(1, stage + 1):
        previous, block = x, generator.blocks[str(sizes[i])]
        assert isinstance(block, GeneratorBlock)
        between, began = _before_conv1(outputs[i], sizes[i].t), outputs[i - 1][0] * generator.plan.scale(i).t
        x = _cut(leaky_pixel_norm_(block.conv0(x)), between, began)
        x = _cut(leaky_pixel_norm_(block.conv1(x)), outputs[i], between[0])
    rgb = bounded(generator.to_rgb[str(sizes[stage])](x), generator.output)
    if stage > 0 and alpha < 1:
        old = bounded(generator.to_rgb[str(sizes[stage - 1])](previous), generator.output)
        old = upsample(old, generator.plan.scale(stage), generator.resampling)
        rgb = blend(_cut(old, wanted, outputs[stage - 1][0] * generator.plan.scale(stage).t), rgb, alpha)
    return rgb


def _before_conv1(output: Window, frames: int) -> Window:
    """What the second convolution of a block, 3 frames long, needs for its output."""
    return max(output[0] - 1, 0), min(output[1] + 1, frames)


def _input(output: Window, generator: Generator, i: int) -> Window:
    """What the first convolution of block i needs: of the stage before, whose frames it may double."""
    scale = generator.plan.scale(i).t
    reach = 3 if generator.resampling == "smooth" and scale == 2 else 1  # in frames of the output
    return max((output[0] - reach) // scale, 0), min((output[1] - 1 + reach) // scale + 1, generator.plan.sizes[i - 1].t)


def _cut(x_NCTHW: Tensor, window: Window, began: int) -> Tensor:
    """The frames of a window from those that begin with frame `began`."""
    return x_NCTHW[:, :, window[0] - began : window[1] - began]
