"""Generator and discriminator against the float64 reference, the paper's parameter counts, and the meaning of alpha."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import reference
from conftest import colored, make_plan
from growreel.config import from_dict, load_preset
from growreel.config.schema import Resampling, TimePadding
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.losses import build_loss
from growreel.models import Discriminator, Generator, ModulatedGenerator, build_discriminator, build_generator
from growreel.models.layers import EqualizedConv3d, KernelFilter, Taps, downsample, minibatch_stddev, upsample
from growreel.training.summary import PlanSummary, count_parameters

LADDER = ("2x3x4", "4x3x4", "4x6x8", "8x12x8")  # time, then space, then time and height


def networks(resampling: Resampling = "box", colors: int = 3, kind: str = "paper") -> tuple[Generator, Discriminator]:
    """Of the paper's kind, or `other`: modulated with bounded colours, and told of every channel's deviation, its own normalised; both
    with frames repeated at the ends. `curved`: the same with planes that bend. `skips`: the same, and stages that add to one another.
    """
    torch.manual_seed(0)
    plan = make_plan(*LADDER)
    shared: Any = {"base_channels": 24, "max_channels": 6, "image_channels": colors, "resampling": resampling}
    if kind == "paper":
        generator, discriminator = Generator(plan, latent_dim=5, **shared), Discriminator(plan, feature_dim=7, **shared)
    else:
        shared |= {"time_padding": "replicate", "skips": kind == "skips"}
        generator = ModulatedGenerator(plan, latent_dim=5, output="tanh", planes="linear" if kind == "other" else "curved", **shared)
        discriminator = Discriminator(plan, feature_dim=7, **shared, stddev="channels", normalization="instance")
    for module in (generator, discriminator):
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter)
    return generator.double(), discriminator.double()


def arrays(module: torch.nn.Module) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("stage", range(len(LADDER)))
@pytest.mark.parametrize(("kind", "colors"), [("paper", 1), ("paper", 3), ("other", 3), ("curved", 3), ("skips", 3)])
def test_networks_equal_the_reference(stage: int, alpha: float, kind: str, colors: int) -> None:
    generator, discriminator = networks(colors=colors, kind=kind)
    sizes = generator.plan.sizes
    latents = torch.randn(4, 5, dtype=torch.float64)
    clips = torch.randn(4, colors, *sizes[stage], dtype=torch.float64)
    with torch.no_grad():
        ours_g, ours_d = generator(latents, stage, alpha).numpy(), discriminator(clips, stage, alpha).numpy()
    skips = kind == "skips"
    reference_g = reference.generator if kind == "paper" else partial(reference.modulated_generator, bound=1.1, held=True, skips=skips)
    np.testing.assert_allclose(ours_g, reference_g(arrays(generator), sizes, stage, alpha, latents.numpy()), rtol=1e-10, atol=1e-12)
    expected = reference.discriminator(arrays(discriminator), sizes, stage, alpha, clips.numpy(), other=kind != "paper", skips=skips)
    np.testing.assert_allclose(ours_d, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("resampling", "kind"), [("box", "paper"), ("smooth", "paper"), ("box", "other"), ("smooth", "other"), ("box", "skips")]
)
@pytest.mark.parametrize("stage", range(1, len(LADDER)))
def test_alpha_0_is_the_previous_stage_and_1_the_new_one(stage: int, resampling: Resampling, kind: str) -> None:
    generator, discriminator = networks(resampling, kind=kind)
    scale, size = generator.plan.scale(stage), generator.plan.sizes[stage]
    latents, clips = torch.randn(4, 5).double(), torch.randn(4, 3, *size).double()
    assert torch.equal(generator(latents, stage, 0.0), upsample(generator(latents, stage - 1), scale, resampling))
    assert torch.equal(discriminator(clips, stage, 0.0), discriminator(downsample(clips, scale), stage - 1))
    for network, inputs in ((generator, latents), (discriminator, clips)):
        new, old, half = network(inputs, stage, 1.0), network(inputs, stage, 0.0), network(inputs, stage, 0.5)
        assert not torch.allclose(new, old)
        assert not torch.allclose(half, new) and not torch.allclose(half, old)
    if kind == "skips":
        return
    # With alpha 1 the old to-RGB and from-RGB take no part.
    before = generator(latents, stage, 1.0), discriminator(clips, stage, 1.0)
    with torch.no_grad():
        for layer in (generator.to_rgb, discriminator.from_rgb):
            layer[str(generator.plan.sizes[stage - 1])].weight.zero_()  # type: ignore[operator]
    assert torch.equal(before[0], generator(latents, stage, 1.0)) and torch.equal(before[1], discriminator(clips, stage, 1.0))


def test_parameter_counts_of_the_paper() -> None:
    config = colored(load_preset("trailerfaces-256"))
    assert count_parameters(build_generator(config)) == 3_703_597
    assert count_parameters(build_discriminator(config)) == 3_707_656
    assert count_parameters(build_loss(config.loss, config.network.feature_dim)) == 16_640
    assert reference.parameter_counts(config.growth.plan().sizes) == (3_703_597, 3_707_656)
    assert config.growth.plan().total_clips == 12_000_000


def test_plan_table_says_what_the_networks_are() -> None:
    table = PlanSummary(load_preset("trailerfaces-256")).table()
    lines = table.splitlines()
    assert "generator 3,703,597, discriminator 3,707,656, swgan head 16,640; clips in all: 12,000,000" in lines[-1]
    row = lines[3].split()
    assert row[:5] == ["2", "8x16x16", "space", "128", "885,379"] and row[6:] == ["16", "0.001", "600,000", "600,000", "1,800,000"]


@pytest.mark.parametrize("time_padding", ["zeros", "replicate"])
@pytest.mark.parametrize("resampling", ["box", "smooth"])
@pytest.mark.parametrize("scale", [Size(2, 2, 2), Size(1, 2, 2), Size(2, 1, 1), Size(1, 1, 2)])
def test_fused_resampling_equals_the_pair_it_stands_for(scale: Size, resampling: Resampling, time_padding: TimePadding) -> None:
    """Values, first and second derivatives of one fused convolution against filter and convolution in float64."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 6, 4).double().requires_grad_()
    for up, down in ((scale, None), (None, scale)):
        layer = EqualizedConv3d(3, 4, up=up, down=down, resampling=resampling, time_padding=time_padding).double()
        torch.nn.init.normal_(layer.bias)
        weight, bias = layer.weight, layer.bias
        results = []
        slow = held if time_padding == "replicate" else filtered
        for y in (layer(x), slow(x, weight * layer.weight_scale, bias, scale, resampling, transposed=up is not None)):
            first = torch.autograd.grad(y.sin().sum(), (x, weight, bias), create_graph=True)
            second = torch.autograd.grad(torch.stack([g.square().sum() for g in first]).sum(), (x, weight, bias))
            results.append([y, *first, *second])
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def filtered(x: Tensor, weight: Tensor, bias: Tensor, scale: Size, resampling: Resampling, transposed: bool) -> Tensor:
    """The slow way, one step after the other: scale up, then convolve; or convolve, then scale down."""
    if resampling == "box":
        plain = torch.conv3d(upsample(x, scale) if transposed else x, weight, bias, padding=1)
        return plain if transposed else downsample(plain, scale)
    taps = torch.ones(1, 1, 1, 1, 1).double()
    for axis, factor in enumerate(scale):
        if factor == 2:  # 1, 3, 3, 1 is what remains of 1, 1 with itself three times
            taps = (taps.repeat_interleave(4, 2 + axis).movedim(2 + axis, -1) * torch.tensor([1.0, 3.0, 3.0, 1.0]).double() / 8).movedim(
                -1, 2 + axis
            )
    beyond = [int(factor == 2) for factor in scale]  # voxels outside the clip that the filter reaches, on either side
    if transposed:
        wide = torch.conv_transpose3d(x.flatten(0, 1)[:, None], taps * math.prod(scale), stride=scale).unflatten(0, x.shape[:2])[:, :, 0]
        return torch.conv3d(wide, weight, bias, padding=[1 - each for each in beyond])
    wide = torch.conv3d(x, weight, padding=[1 + each for each in beyond])
    small = torch.conv3d(wide.flatten(0, 1)[:, None], taps, stride=scale).unflatten(0, wide.shape[:2])[:, :, 0]
    result: Tensor = small + bias.view(-1, 1, 1, 1)
    return result


def held(x: Tensor, weight: Tensor, bias: Tensor, scale: Size, resampling: Resampling, transposed: bool) -> Tensor:
    """`filtered`, of a clip that stands still for long before and after: its frames between."""
    still, frames = 4, x.shape[2]
    longer = torch.cat([x[:, :, :1].expand(-1, -1, still, -1, -1), x, x[:, :, -1:].expand(-1, -1, still, -1, -1)], dim=2)
    ratio = scale.t if transposed else 1 / scale.t
    y = filtered(longer, weight, bias, scale, resampling, transposed)
    return y[:, :, int(still * ratio) : int((still + frames) * ratio)]


def test_smooth_up_scaling_leaves_no_steps() -> None:
    """A ramp stays a ramp; repeated voxels make stairs of it."""
    ramp = torch.arange(4.0).view(1, 1, 1, 1, 4)
    smooth, box = (upsample(ramp, Size(1, 1, 2), resampling).flatten() for resampling in ("smooth", "box"))
    torch.testing.assert_close(smooth, torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]))
    assert box.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    "filters", [((1.0, 1.0),) * 3, ((1.0,), (0.5, 0.5), (1.0,)), ((1.0,), (0.125, 0.375, 0.375, 0.125), (1.0, 2.0, 4.0))]
)
def test_a_kernel_filter_is_a_full_convolution(filters: tuple[Taps, Taps, Taps], transposed: bool) -> None:
    """Against NumPy's along each axis, in float32 to a few roundings of the largest value; the matrix is no part of a model file."""
    layer = KernelFilter(filters, transposed)
    weight = torch.randn(4, 3, 3, 3, 3)
    expected = weight.double().numpy()
    if transposed:
        expected = expected.swapaxes(0, 1)[:, :, ::-1, ::-1, ::-1]
    for axis, taps in enumerate(filters, start=2):
        expected = np.apply_along_axis(np.convolve, axis, expected, taps)
    np.testing.assert_allclose(layer(weight).numpy(), expected, rtol=0, atol=4 * np.finfo(np.float32).eps * np.abs(expected).max())
    assert not layer.state_dict()


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("clips", "group"), [(1, 1), (2, 2), (3, 3), (4, 4), (6, 3), (8, 4)])
def test_minibatch_stddev_groups(clips: int, group: int, per_channel: bool) -> None:
    x = torch.randn(clips, 3, 2, 2, 2).double()
    expected = reference.minibatch_stddev(x.numpy(), group=group, per_channel=per_channel)
    np.testing.assert_allclose(minibatch_stddev(x, per_channel=per_channel).numpy(), expected, rtol=1e-12)
    twice = minibatch_stddev(torch.cat([x, 2 * x]), parts=2, per_channel=per_channel)
    np.testing.assert_allclose(twice[:clips].numpy(), expected, rtol=1e-12)


def test_state_dict_keys_are_named_by_stage() -> None:
    generator, discriminator = networks()
    assert {key.split(".")[1] for key in generator.state_dict() if key.startswith("blocks")} == set(LADDER[1:])
    assert {key.split(".")[1] for key in discriminator.state_dict() if key.startswith("from_rgb")} == set(LADDER)


@pytest.mark.parametrize("kind", ["paper", "other"])
def test_truncation_0_gives_one_clip_for_all_latents(kind: str) -> None:
    generator, _ = networks(kind=kind)
    clips = generator(torch.randn(3, 5).double(), 2, truncation=0.0)
    torch.testing.assert_close(
        clips, clips[:1].expand_as(clips), rtol=0, atol=1e-12
    )  # products may sum the rows of a batch in different orders
    wide = generator(torch.randn(64, 5).double(), 2).std(dim=0).mean()
    narrow = generator(torch.randn(64, 5).double(), 2, truncation=0.3).std(dim=0).mean()
    assert narrow < wide


def test_instance_norm_wants_more_than_one_voxel() -> None:
    config = from_dict(
        {"growth": {"stages": ["1x1x1", "1x2x2"]}, "network": {"discriminator_norm": "instance", "image_channels": 3}}, "test"
    )
    with pytest.raises(GrowreelError, match=r"--network.discriminator_norm instance: .* begins at 1x1x1; begin with more"):
        build_discriminator(config)
