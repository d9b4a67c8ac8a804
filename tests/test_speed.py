"""Every fast path equals the slow one: the step against `benchmarks/plain.py`, the hand-written derivatives against PyTorch's."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from conftest import colored
from growreel.config import Config, from_dict
from growreel.growth import Position, Size
from growreel.losses import Batch, gradient_penalty
from growreel.models.functions import Geometry, convolution, input_gradients_only, leaky_pixel_norm_, leaky_relu_
from growreel.models.layers import EqualizedConv3d, pixel_norm
from growreel.training.execution import Execution
from growreel.training.state import TrainingState
from growreel.training.step import discriminator_step, generator_step

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import plain

CPU = torch.device("cpu")


def config(**training: object) -> Config:
    tree = {
        "growth": {"stages": ["2x4x4", "2x8x8", "4x16x16"], "minibatch": 8},
        "network": {"base_channels": 64, "max_channels": 8, "latent_dim": 8, "feature_dim": 8},
        "training": training,
    }
    return colored(from_dict(tree, "test"))


def batch_of(state: TrainingState, clips: int = 8) -> Batch:
    """Clips and noise for the last stage, in the state's dtype."""
    rng = torch.Generator().manual_seed(5)
    size = state.plan.sizes[2]
    real, latents = torch.rand(clips, 3, *size, generator=rng) * 2 - 1, torch.randn(clips, 8, generator=rng)
    mixes = torch.rand(2, clips, generator=rng).to(state.dtype)
    with torch.no_grad():
        fake = state.generator(latents.to(state.dtype), 2, 0.4, dtype=state.dtype)
    return Batch(real.to(state.dtype), fake, *mixes)


def penalty_gradients(state: TrainingState, batch: Batch, product_dtype: torch.dtype | None = None) -> list[Tensor]:
    def discriminate(clips: Tensor, *, parts: int = 1, penalty: bool = False) -> Tensor:
        features: Tensor = state.discriminator(clips, 2, 0.4, parts=parts, product_dtype=product_dtype)
        return features

    term = gradient_penalty(state.loss, discriminate, batch)
    assert term is not None
    found = torch.autograd.grad(term.value, list(state.discriminator.parameters()), allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def relative_error(ours: list[Tensor], exact: list[Tensor]) -> float:
    squares = [((a - b).double().square().sum(), b.double().square().sum()) for a, b in zip(ours, exact, strict=True)]
    return float((sum(s[0] for s in squares) / sum(s[1] for s in squares)) ** 0.5)


@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_the_step_equals_the_plain_one(alpha: float) -> None:
    """Losses and all gradients of both networks and the head, real and fake in one batch, penalty first, against three plain passes.

    In float64: in float32 a value near the kink of a leaky ReLU may fall to either side.
    """
    state = TrainingState(config(precision="float64"), CPU)
    sizes = state.plan.sizes
    modules = state.generator, state.discriminator, state.loss
    g, d, head = ({name: t.clone().requires_grad_() for name, t in module.state_dict().items()} for module in modules)
    batch = batch_of(state)

    def discriminate(clips: Tensor, *, parts: int = 1, penalty: bool = False) -> Tensor:
        features: Tensor = state.discriminator(clips, 2, alpha, parts=parts)
        return features

    penalty = gradient_penalty(state.loss, discriminate, batch)
    rest = state.loss.adversarial_term(discriminate(torch.cat([batch.real, batch.fake]), parts=2), batch)
    assert penalty is not None
    ours = penalty.value + rest.value
    theirs = plain.discriminator_loss(d, head, sizes, 2, alpha, batch.real, batch.fake, batch.mix, batch.feature_mix)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-8)
    ours.backward()
    theirs.backward()
    for module, weights in ((state.discriminator, d), (state.loss, head)):
        for name, parameter in module.named_parameters():
            assert (parameter.grad is None) == (weights[name].grad is None), name
            if parameter.grad is not None:
                torch.testing.assert_close(parameter.grad, weights[name].grad, rtol=1e-7, atol=1e-9)

    latents = torch.randn(8, 8, generator=torch.Generator().manual_seed(6)).double()
    ours_g = state.loss.generator_loss(state.discriminator(state.generator(latents, 2, alpha), 2, alpha))
    theirs_g = plain.generator_loss(d, head, sizes, 2, alpha, plain.generator(g, sizes, 2, alpha, latents))
    ours_g.backward()
    theirs_g.backward()
    for name, parameter in state.generator.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, g[name].grad, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("stride", "kernel"), [((1, 1, 1), (3, 3, 3)), ((1, 2, 2), (3, 4, 4)), ((2, 2, 2), (4, 4, 4))])
def test_convolution_has_all_derivatives(transposed: bool, stride: tuple[int, int, int], kernel: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 2, 2, 4, 4).double().requires_grad_()
    w = torch.randn(2, 2, *kernel).double().requires_grad_()
    b = torch.randn(2).double().requires_grad_()
    geometry = Geometry(stride, (1, 1, 1), transposed)

    def function(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return leaky_relu_(convolution(x, w, b, geometry))

    native = (F.conv_transpose3d if transposed else F.conv3d)(x, w, b, stride=stride, padding=1)
    torch.testing.assert_close(function(x, w, b), F.leaky_relu(native, 0.2))
    assert torch.autograd.gradcheck(function, (x, w, b), fast_mode=True)
    assert torch.autograd.gradgradcheck(function, (x, w, b), fast_mode=True)


@pytest.mark.parametrize("bias", [None, torch.ones(16)])
@pytest.mark.parametrize(("stride", "kernel"), [((1, 1, 1), (3, 3, 3)), ((1, 2, 2), (3, 4, 4)), ((2, 2, 2), (4, 4, 4))])
def test_a_small_clip_alone_is_convolved_as_in_a_batch(
    stride: tuple[int, int, int], kernel: tuple[int, int, int], bias: Tensor | None
) -> None:
    """Where PyTorch would take other kernels: the same to rounding, laid out the same."""
    rng = torch.Generator().manual_seed(0)
    x, w = torch.randn(3, 16, 4, 8, 8, generator=rng), torch.randn(16, 16, *kernel, generator=rng)
    exact = F.conv3d(x.double(), w.double(), None if bias is None else bias.double(), stride=stride, padding=1)
    for k in range(3):
        alone = convolution(x[k : k + 1], w, bias, Geometry(stride))
        assert alone.is_contiguous(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(alone.double(), exact[k : k + 1], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("size", "geometry", "kernel"), [((2, 8, 8), (1, 1, 1), (3, 3, 3)), ((4, 2, 2), (2, 2, 2), (4, 4, 4))])
def test_bfloat16_weight_gradients_of_few_frames(
    size: tuple[int, int, int], geometry: tuple[int, int, int], kernel: tuple[int, int, int], transposed: bool
) -> None:
    """Where oneDNN's are wrong: 16 channels, at which either layout of memory showed it."""
    rng = torch.Generator().manual_seed(0)
    small = tuple(length // stride for length, stride in zip(size, geometry, strict=True))
    x = torch.randn(4, 16, *(small if transposed else size), generator=rng)
    w = torch.randn(16, 16, *kernel, generator=rng)
    for x_like in (x, x.contiguous(memory_format=torch.channels_last_3d)):
        found = {}
        for dtype in (torch.float64, torch.bfloat16):
            weight = w.to(dtype).requires_grad_()
            y = convolution(x_like.to(dtype), weight, None, Geometry(geometry, (1, 1, 1), transposed))
            y.backward(torch.ones_like(y))
            assert weight.grad is not None
            found[dtype] = weight.grad
        assert relative_error([found[torch.bfloat16]], [found[torch.float64]]) < 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [Size(2, 2, 2), Size(2, 1, 1)])
@pytest.mark.parametrize("frames", [1, 2])
def test_weight_gradients_of_few_frames_whose_ends_are_repeated(frames: int, scale: Size, dtype: torch.dtype) -> None:
    """Where oneDNN's destroy memory with AVX-512: a padding of 3 for a kernel of 4, of which 2 or 4 frames are left."""
    x = torch.randn(4, 16, frames, 4, 4)
    layer = EqualizedConv3d(16, 16, up=scale, time_padding="replicate")
    found = {}
    for each in (torch.float64, dtype):
        layer = layer.to(torch.promote_types(each, torch.float32))
        y = layer(x.to(each))
        (found[each],) = torch.autograd.grad(y, layer.weight, torch.ones_like(y))
    assert relative_error([found[dtype]], [found[torch.float64]]) < (1e-5 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("n", [1, 4])
def test_networks_keep_channels_last_in_memory(n: int) -> None:
    """oneDNN reorders any other layout at every convolution, which costs time and, with few channels, several times the memory.

    Small clips that come alone are convolved without oneDNN, in the other layout; pixel norm then took most of a sample's time.
    """
    state = TrainingState(config(), CPU)
    seen = []

    def look(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last_3d))

    for network in (state.generator, state.discriminator):
        for module in network.modules():
            if isinstance(module, EqualizedConv3d) and module.kernel_size == 3:
                module.register_forward_pre_hook(look)
    with torch.no_grad():
        clips = state.generator(torch.randn(n, 8), 2, 1.0)
        state.discriminator(clips, 2, 1.0)
    assert len(seen) == 10 and all(seen)


def test_leaky_pixel_norm_equals_the_pair() -> None:
    x = torch.randn(2, 5, 2, 3, 3).double().requires_grad_()
    torch.testing.assert_close(leaky_pixel_norm_(x.clone()), pixel_norm(F.leaky_relu(x, 0.2)))
    assert torch.autograd.gradcheck(lambda x: leaky_pixel_norm_(x.clone()), (x,))


def test_weight_gradients_come_back_after_a_penalty() -> None:
    w = torch.randn(1, 1, 3, 3, 3, requires_grad=True)
    with pytest.raises(ValueError), input_gradients_only():
        raise ValueError
    convolution(torch.ones(1, 1, 3, 3, 3), w, None, Geometry()).sum().backward()
    assert w.grad is not None


def test_bfloat16_products_cost_the_penalty_half_a_percent() -> None:
    """Against float64, over all weights of the discriminator; in bfloat16 throughout (as autocast would) it is some percent."""
    state = TrainingState(config(), CPU)
    batch = batch_of(state)
    ours, in_float32 = penalty_gradients(state, batch, torch.bfloat16), penalty_gradients(state, batch)
    state.discriminator.double(), state.loss.double()
    wide = Batch(*(value.double() for value in (batch.real, batch.fake, batch.mix, batch.feature_mix)))
    exact = penalty_gradients(state, wide)
    assert relative_error(in_float32, exact) < 1e-4
    assert 1e-5 < relative_error(ours, exact) < 1e-2


def after_a_step(changed: Config) -> list[Tensor]:
    """Gradients of one step of both networks at the last stage."""
    state, position = TrainingState(changed, CPU), Position(2, "fade", 0.4)
    real = batch_of(state).real
    execution = Execution(changed.training, CPU)
    discriminator_step(state, real, position, 8, changed, execution)
    generator_step(state, real, position, 8, changed, execution)
    parameters = [*state.discriminator.parameters(), *state.loss.parameters(), *state.generator.parameters()]
    return [p.grad for p in parameters if p.grad is not None]


def test_microbatches_and_recomputation_change_nothing() -> None:
    """In float64: in float32 a value near the kink of a leaky ReLU may fall to either side."""
    exact = config(precision="float64")
    usual = after_a_step(exact)
    small = dataclasses.replace(exact, growth=dataclasses.replace(exact.growth, microbatch=4))
    assert relative_error(after_a_step(small), usual) < 1e-10
    assert relative_error(after_a_step(config(precision="float64", recompute_voxels=1)), usual) < 1e-10


def test_the_penalty_is_taken_every_k_th_step_with_k_times_the_weight() -> None:
    changed = dataclasses.replace(config(), loss=dataclasses.replace(config().loss, penalty_interval=2))
    state, position = TrainingState(changed, CPU), Position(2, "stable", 1.0)
    real = batch_of(state).real
    execution = Execution(changed.training, CPU)
    with_penalty = discriminator_step(state, real, position, 8, changed, execution)
    state.clips_shown += 8
    without = discriminator_step(state, real, position, 8, changed, execution)
    assert "gradient_penalty" in with_penalty and "gradient_penalty" not in without
    alone = discriminator_step(TrainingState(config(), CPU), real, position, 8, config(), execution)
    doubled = alone["loss_discriminator"] + 50 * alone["gradient_penalty"]
    assert with_penalty["loss_discriminator"].item() == pytest.approx(doubled.item(), rel=1e-5)
