"""Both losses against the float64 reference, whose penalties are finite differences, and the manifold of the slices."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import reference
from conftest import make_plan
from growreel.config import LossConfig, load_preset
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.losses import (
    AdversarialLoss,
    Batch,
    RelativisticLoss,
    SlicedWassersteinLoss,
    SlicingAdversarialLoss,
    WassersteinGPLoss,
    build_loss,
    gradient_penalty,
)
from growreel.models import Discriminator
from growreel.models.layers import downsample, upsample

Array = NDArray[np.float64]
LossName = Literal["swgan", "wgan-gp", "relativistic", "san"]


@pytest.fixture
def discriminator() -> Discriminator:
    torch.manual_seed(1)
    plan = make_plan("2x2x2", "2x4x4")
    network = Discriminator(plan, base_channels=8, max_channels=3, feature_dim=5, image_channels=1)
    return network.double()


@pytest.fixture
def draws() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    shape = (4, 1, 2, 4, 4)
    return {
        "real": torch.randn(shape, generator=generator, dtype=torch.float64),
        "fake": torch.randn(shape, generator=generator, dtype=torch.float64),
        "mix": torch.rand(4, generator=generator, dtype=torch.float64),
        "feature_mix": torch.rand(4, generator=generator, dtype=torch.float64),
    }


def encoder(discriminator: Discriminator) -> reference.Critic:
    """The discriminator as the reference wants it; equality of the two is the business of test_networks."""
    state = {name: tensor.numpy() for name, tensor in discriminator.state_dict().items()}
    return lambda clips: reference.discriminator(state, discriminator.plan.sizes, 1, 1.0, clips)


def sliced(matrices: int, form: Literal["released", "slope", "none"]) -> SlicedWassersteinLoss:
    torch.manual_seed(3)
    loss = SlicedWassersteinLoss(5, matrices=matrices, feature_penalty=form).double()
    torch.nn.init.normal_(loss.swd.scale)
    torch.nn.init.normal_(loss.swd.bias)
    loss.retract()
    return loss


def total_loss(loss: AdversarialLoss, discriminator: Discriminator, draws: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The discriminator's whole loss at stage 1."""

    def discriminate(clips: Tensor, *, parts: int = 1, penalty: bool = False) -> Tensor:
        features: Tensor = discriminator(clips, 1, parts=parts)
        return features

    batch = Batch(**draws)
    adversarial = loss.adversarial_term(discriminate(torch.cat([batch.real, batch.fake]), parts=2), batch)
    penalty = gradient_penalty(loss, discriminate, batch)
    assert penalty is not None
    return adversarial.value + penalty.value, {**adversarial.stats, **penalty.stats}


@pytest.mark.parametrize("matrices", [1, 3])
@pytest.mark.parametrize(("form", "target"), [("released", 0.01), ("slope", 1.0)])
def test_swgan_equals_the_equations(
    discriminator: Discriminator, draws: dict[str, Tensor], matrices: int, form: Literal["released", "slope"], target: float
) -> None:
    loss = sliced(matrices, form)
    total, stats = total_loss(loss, discriminator, draws)
    w, s, b = (parameter.detach().numpy() for parameter in (loss.swd.matrices, loss.swd.scale, loss.swd.bias))
    arrays = {name: tensor.numpy() for name, tensor in draws.items()}
    expected = reference.swgan_discriminator_loss(
        encoder(discriminator), w, s, b, arrays["real"], arrays["fake"], arrays["mix"], arrays["feature_mix"], form, target
    )
    assert total.item() == pytest.approx(expected.total, rel=1e-6)
    assert stats["gradient_penalty"].item() == pytest.approx(expected.gradient_penalty, rel=1e-6)
    assert stats["feature_penalty"].item() == pytest.approx(expected.extra, rel=1e-10)
    assert (stats["critic_real"] - stats["critic_fake"]).item() == pytest.approx(expected.adversarial, rel=1e-9)
    features = discriminator(draws["fake"], 1)
    scores, _ = reference.sliced_critic(features.detach().numpy(), w, s, b)
    assert loss.generator_loss(features).item() == pytest.approx(reference.swgan_generator_loss(scores), rel=1e-12)


@pytest.mark.parametrize(("stage", "alpha"), [(0, 1.0), (1, 0.3), (1, 1.0)])
@pytest.mark.parametrize("name", ["swgan", "wgan-gp", "relativistic", "san"])
def test_the_penalty_is_that_of_clips_repeated_up_to_full_size(name: LossName, stage: int, alpha: float) -> None:
    """The released code keeps the clips of all stages at full size and takes gradients there; dividing by the ratio of voxels is that.

    Full size is here the last stage, which the plan of the networks ends at, repeated 1 x 2 x 2 times. Autograd in float64, through clips
    that really are repeated; the released code's critic averages them down again. At a whole fade as well.
    """
    plan, reference_size = make_plan("2x2x2", "2x4x4"), Size(2, 8, 8)
    torch.manual_seed(1)
    network = Discriminator(plan, base_channels=8, max_channels=3, feature_dim=5, image_channels=1).double()
    loss = build_loss(LossConfig(name=name, penalty_reference=str(reference_size)), 5).double()
    size = plan.sizes[stage]
    factors = Size(*(large // small for large, small in zip(reference_size, size, strict=True)))
    rng = torch.Generator().manual_seed(2)
    real, fake = torch.randn((2, 4, 1, *size), generator=rng, dtype=torch.float64)
    mix = torch.rand(4, generator=rng, dtype=torch.float64)

    def discriminate(clips: Tensor, *, parts: int = 1, penalty: bool = False) -> Tensor:
        features: Tensor = network(clips, stage, alpha, parts=parts)
        return features

    def discriminate_full(clips: Tensor, *, parts: int = 1, penalty: bool = False) -> Tensor:
        return discriminate(downsample(clips, factors), parts=parts)

    ratio = LossConfig(penalty_reference=str(reference_size)).penalty_ratio(plan, stage)
    assert ratio == factors.voxels
    ours = gradient_penalty(loss, discriminate, Batch(real, fake, mix, mix), voxel_ratio=ratio)
    large = Batch(upsample(real, factors), upsample(fake, factors), mix, mix)
    theirs = gradient_penalty(loss, discriminate_full, large)
    assert ours is not None and theirs is not None
    assert ours.value.item() == pytest.approx(theirs.value.item(), rel=1e-10)
    parameters = [p for p in (*network.parameters(), *loss.parameters()) if p.requires_grad]
    found = [torch.autograd.grad(term.value, parameters, allow_unused=True) for term in (ours, theirs)]
    for a, b in zip(*found, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


def test_the_up_scaled_reference_in_numpy(discriminator: Discriminator, draws: dict[str, Tensor]) -> None:
    """The same without PyTorch's autograd: finite differences at full size, for the sliced loss and for WGAN-GP's norm."""
    encode, factors = encoder(discriminator), (1, 2, 2)
    full = {name: reference.repeated(draws[name].numpy(), factors) for name in ("real", "fake")}

    def discriminate(clips: Tensor, *, parts: int = 1, penalty: bool = False) -> Tensor:
        features: Tensor = discriminator(clips, 1, parts=parts)
        return features

    swgan = sliced(1, "released")
    w, s, b = (parameter.detach().numpy() for parameter in (swgan.swd.matrices, swgan.swd.scale, swgan.swd.bias))
    critic = reference.at_full_size(lambda clips: reference.sliced_critic(encode(clips), w, s, b)[0], factors)
    expected = reference.swgan_gradient_penalty(critic, full["real"], full["fake"], draws["mix"].numpy())
    found = gradient_penalty(swgan, discriminate, Batch(**draws), voxel_ratio=4.0)
    assert found is not None and found.stats["gradient_penalty"].item() == pytest.approx(expected, rel=1e-5)

    wgan = WassersteinGPLoss(5).double()
    weight = wgan.head.weight.detach().numpy()
    scalar = reference.at_full_size(lambda clips: (encode(clips) @ weight.T / np.sqrt(5))[:, 0], factors)
    expected = reference.wgan_gp_penalty(scalar, full["real"], full["fake"], draws["mix"].numpy())
    found = gradient_penalty(wgan, discriminate, Batch(**draws), voxel_ratio=4.0)
    assert found is not None and found.stats["gradient_penalty"].item() == pytest.approx(expected, rel=1e-5)


def test_the_papers_ratios() -> None:
    """PAPER's table: 32,768 at 4x4x4 down to 1 at 32x256x256; a shorter plan with the full size as reference is the beginning of it."""
    plan = load_preset("paper").growth.plan()
    assert [LossConfig().penalty_ratio(plan, k) for k in range(7)] == [32768, 4096, 1024, 128, 32, 4, 1]
    short = make_plan("4x4x4", "8x8x8", "8x16x16", "16x32x32")
    assert [LossConfig(penalty_reference="32x256x256").penalty_ratio(short, k) for k in range(4)] == [32768, 4096, 1024, 128]
    assert [LossConfig().penalty_ratio(short, k) for k in range(4)] == [256, 32, 8, 1]
    assert [LossConfig(penalty_reference="stage").penalty_ratio(short, k) for k in range(4)] == [1, 1, 1, 1]
    with pytest.raises(GrowreelError, match=r"--loss.penalty_reference 16x48x32: its height of 48 is no whole multiple .* 16x32x32"):
        LossConfig(penalty_reference="16x48x32").penalty_ratio(short, 0)
    with pytest.raises(GrowreelError, match=r"--loss.penalty_reference: 'full' is not a size"):
        LossConfig(penalty_reference="full")


def test_swgan_without_second_penalty_is_the_rest(discriminator: Discriminator, draws: dict[str, Tensor]) -> None:
    with_penalty, stats = total_loss(sliced(1, "slope"), discriminator, draws)
    without, less = total_loss(sliced(1, "none"), discriminator, draws)
    assert (with_penalty - 10 * stats["feature_penalty"]).item() == pytest.approx(without.item(), rel=1e-12)
    assert "feature_penalty" not in less


def test_wgan_gp_equals_the_equations(discriminator: Discriminator, draws: dict[str, Tensor]) -> None:
    loss = WassersteinGPLoss(5).double()
    weight, bias = loss.head.weight.detach().numpy(), loss.head.bias.detach().numpy()
    encode = encoder(discriminator)

    def critic(clips: Array) -> Array:
        scores: Array = (encode(clips) @ weight.T / np.sqrt(5) + bias)[:, 0]
        return scores

    total, stats = total_loss(loss, discriminator, draws)
    expected = reference.wgan_gp_discriminator_loss(critic, draws["real"].numpy(), draws["fake"].numpy(), draws["mix"].numpy())
    assert total.item() == pytest.approx(expected.total, rel=1e-6)
    assert stats["gradient_penalty"].item() == pytest.approx(expected.gradient_penalty, rel=1e-6)
    assert stats["drift"].item() == pytest.approx(expected.extra, rel=1e-10)
    fake = critic(draws["fake"].numpy())
    assert loss.generator_loss(discriminator(draws["fake"], 1)).item() == pytest.approx(reference.wgan_gp_generator_loss(fake), rel=1e-10)


def test_relativistic_equals_the_equations(discriminator: Discriminator, draws: dict[str, Tensor]) -> None:
    loss = RelativisticLoss(5, gradient_weight=3.0).double()
    weight, bias = loss.head.weight.detach().numpy(), loss.head.bias.detach().numpy()
    encode = encoder(discriminator)

    def critic(clips: Array) -> Array:
        scores: Array = (encode(clips) @ weight.T / np.sqrt(5) + bias)[:, 0]
        return scores

    real, fake = draws["real"].numpy(), draws["fake"].numpy()
    total, stats = total_loss(loss, discriminator, draws)
    assert total.item() == pytest.approx(reference.relativistic_discriminator_loss(critic, real, fake, gamma=3.0), rel=1e-6)
    both = reference.half_squared_gradient(critic, real) + reference.half_squared_gradient(critic, fake)
    assert stats["gradient_penalty"].item() == pytest.approx(both, rel=1e-6)
    features = [discriminator(draws[name], 1) for name in ("fake", "real")]
    expected = np.mean(np.log1p(np.exp(critic(real) - critic(fake))))
    assert loss.generator_loss(*features).item() == pytest.approx(expected, rel=1e-10)


def test_san_trains_features_for_the_hinge_and_the_direction_for_the_distance(
    discriminator: Discriminator, draws: dict[str, Tensor]
) -> None:
    loss = SlicingAdversarialLoss(5, gradient_weight=3.0).double()
    loss.retract()  # to unit length in float64
    unit, encode = loss.direction.detach().numpy().copy(), encoder(discriminator)
    assert np.linalg.norm(unit) == pytest.approx(1)
    real, fake = encode(draws["real"].numpy()), encode(draws["fake"].numpy())
    total, _ = total_loss(loss, discriminator, draws)
    distance = np.mean(real @ unit) - np.mean(fake @ unit)
    penalty = reference.half_squared_gradient(lambda clips: encode(clips) @ unit, draws["real"].numpy())
    assert total.item() == pytest.approx(reference.hinge_loss(real @ unit, fake @ unit) - distance + 3 * penalty, rel=1e-6)
    total.backward()
    assert loss.direction.grad is not None and discriminator.dense.weight.grad is not None
    gap = fake.mean(0) - real.mean(0)  # of the distance alone, along the sphere: neither hinge nor penalty reaches the direction
    np.testing.assert_allclose(loss.direction.grad.numpy(), gap - (gap @ unit) * unit, atol=1e-9)

    def features_objective() -> float:
        batch = Batch(**draws)
        scores = [loss.critic(discriminator(clips, 1)).detach().numpy() for clips in (batch.real, batch.fake)]
        slopes = gradient_penalty(loss, lambda clips, parts=1, penalty=False: discriminator(clips, 1, parts=parts), batch)
        assert slopes is not None
        return reference.hinge_loss(*scores) + slopes.value.item()

    gradient, values = discriminator.dense.weight.grad, []
    torch.manual_seed(4)
    direction, h = torch.randn_like(gradient), 1e-6
    for sign in (1, -2):  # to +h, then from there to -h
        with torch.no_grad():
            discriminator.dense.weight.add_(direction, alpha=sign * h)
        values.append(features_objective())
    assert float((gradient * direction).sum()) == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5)
    with torch.no_grad():
        loss.direction.mul_(3)
    assert loss.generator_loss(torch.from_numpy(fake)).item() == pytest.approx(-np.mean(fake @ unit), rel=1e-10), (
        "its length does not count"
    )
    loss.retract()
    np.testing.assert_allclose(loss.direction.detach().numpy(), unit)


@pytest.mark.parametrize(
    "loss",
    [sliced(2, "released"), sliced(1, "slope"), WassersteinGPLoss(5).double(), RelativisticLoss(5).double()],
    ids=["released", "slope", "wgan-gp", "relativistic"],
)
def test_gradients_by_finite_differences(discriminator: Discriminator, draws: dict[str, Tensor], loss: AdversarialLoss) -> None:
    """The whole loss, double backward included: its slope along a random direction in all parameters."""
    parameters = [*discriminator.parameters(), *loss.parameters()]

    def value() -> Tensor:
        return total_loss(loss, discriminator, draws)[0]

    active = {id(p): g for p, g in zip(parameters, torch.autograd.grad(value(), parameters, allow_unused=True), strict=True)}
    torch.manual_seed(4)
    direction = [torch.randn_like(p) for p in parameters]
    slope = sum(float((active[id(p)] * d).sum()) for p, d in zip(parameters, direction, strict=True) if active[id(p)] is not None)
    h, values = 1e-6, []
    for sign in (1, -2):  # to +h, then from there to -h
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(d, alpha=sign * h)
        values.append(value().item())
    assert slope == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5)


def test_slices_stay_orthogonal_through_many_steps() -> None:
    torch.manual_seed(0)
    loss = SlicedWassersteinLoss(16, matrices=3)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05, betas=(0.0, 0.99))
    for _ in range(300):
        optimizer.zero_grad()
        loss.generator_loss(torch.randn(8, 16)).backward()
        loss.project_gradients()
        optimizer.step()
        loss.retract()
    w = loss.swd.matrices.detach()
    assert (w.mT @ w - torch.eye(16)).abs().max() < 1e-5
    assert (w - SlicedWassersteinLoss(16, matrices=3).swd.matrices).abs().max() > 0.1


def test_stiefel_step_equals_the_reference() -> None:
    loss = sliced(2, "none")
    w, optimizer = loss.swd.matrices, torch.optim.Adam([loss.swd.matrices], lr=0.01, betas=(0.0, 0.99))
    ours, m, v = w.detach().numpy().copy(), np.zeros(w.shape), np.zeros(w.shape)
    for step in range(1, 6):
        gradient = torch.randn_like(w)
        w.grad = gradient.clone()
        loss.project_gradients()
        np.testing.assert_allclose(w.grad.numpy(), reference.riemannian_gradient(ours, gradient.numpy()), rtol=1e-9, atol=1e-12)
        optimizer.step()
        loss.retract()
        ours, m, v = reference.stiefel_adam_step(ours, gradient.numpy(), m, v, step, 0.01, (0.0, 0.99), 1e-8)
        np.testing.assert_allclose(w.detach().numpy(), ours, rtol=1e-8, atol=1e-10)
