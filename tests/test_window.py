"""Some frames of a clip are those of the whole clip, and take less."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from conftest import make_plan
from growreel.config.schema import Resampling, TimePadding
from growreel.models.generator import Generator, GeneratorBlock
from growreel.models.window import frames_of_clips

PLAN = make_plan("4x4x4", "8x8x8", "8x16x16", "16x16x16", "16x32x32")


def make(resampling: Resampling, time_padding: TimePadding = "zeros", skips: bool = False) -> Generator:
    torch.manual_seed(0)
    shared: dict[str, Any] = {"resampling": resampling, "time_padding": time_padding, "skips": skips}
    return Generator(PLAN, base_channels=32, max_channels=8, latent_dim=8, image_channels=3, **shared).double()


@pytest.mark.parametrize("time_padding", ["zeros", "replicate"])
@pytest.mark.parametrize("resampling", ["box", "smooth"])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("stage", range(5))
@pytest.mark.parametrize("skips", [False, True])
@torch.no_grad()
def test_frames_are_those_of_the_whole_clip(
    resampling: Resampling, time_padding: TimePadding, alpha: float, stage: int, skips: bool
) -> None:
    generator, latents = (
        make(resampling, time_padding, skips),
        torch.randn(2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
    )
    whole = generator(latents, stage, alpha, 0.8)
    length = PLAN.sizes[stage].t
    for frames in [*(range(k, k + 1) for k in range(length)), range(1, length - 1), range(length)]:
        some = frames_of_clips(generator, latents, stage, alpha, 0.8, torch.float64, frames)
        assert torch.allclose(some, whole[:, :, frames.start : frames.stop], rtol=1e-9, atol=1e-10), frames


@torch.no_grad()
def test_one_frame_takes_a_fraction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Voxels that the convolutions of the last block make, counted."""
    generator, made = make("box"), list[int]()
    block = generator.blocks["16x32x32"]
    assert isinstance(block, GeneratorBlock)
    for convolution in (block.conv0, block.conv1):
        convolution.register_forward_hook(lambda _, __, result: made.append(result.shape[2]))
    frames_of_clips(generator, torch.randn(1, 8, dtype=torch.float64), 4, 1.0, 1.0, torch.float64, range(7, 8))
    assert made == [5, 3], "of 16 frames each"
