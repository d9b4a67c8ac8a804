"""`--preset paper` is the released code's, number by number (docs/paper.md has what differs)."""

from __future__ import annotations

import pytest
import torch

from conftest import colored
from growreel.config import load_preset
from growreel.growth import Size
from growreel.losses import SlicedWassersteinLoss, build_loss
from growreel.losses.wasserstein_gp import WassersteinGPLoss
from growreel.models.generator import stage_channels
from growreel.models.layers import EqualizedConv3d
from growreel.training.adam import ReleasedAdam
from growreel.training.state import TrainingState

PAPER = load_preset("paper")
TABLE = """
4x4x4       128  32  .001   32768
8x8x8       128  32  .001    4096
8x16x16     128  16  .001    1024
16x32x32     64  16  .001     128
16x64x64     32   8  .001      32
32x128x128   16   8  .0015      4
32x256x256    8   4  .001       1
"""


def test_stages_channels_minibatches_rates_and_penalty_ratios() -> None:
    plan, network = PAPER.growth.plan(), PAPER.network
    rows = [line.split() for line in TABLE.split("\n") if line]
    assert [str(size) for size in plan.sizes] == [row[0] for row in rows]
    for k, (stage, (size, channels, minibatch, rate, ratio)) in enumerate(zip(plan.stages, rows, strict=True)):
        assert stage_channels(Size.parse(size), network.base_channels, network.max_channels) == int(channels)
        assert (stage.minibatch, stage.learning_rate, stage.final_learning_rate) == (int(minibatch), float(rate), float(rate))
        assert PAPER.loss.penalty_ratio(plan, k) == int(ratio)


def test_schedule() -> None:
    first, *between, last = PAPER.growth.plan().stages
    assert (first.fade_clips, first.stable_clips) == (0, 600_000)
    assert {(stage.fade_clips, stage.stable_clips) for stage in between} == {(600_000, 600_000)}
    assert last.fade_clips == 600_000 and PAPER.growth.plan().total_clips == 12_000_000


@pytest.mark.parametrize("name", ["trailerfaces-256", "ucf101-128", "golf-128"])
def test_its_other_sizes_show_as_many_clips(name: str) -> None:
    preset = load_preset(name)
    assert preset.growth.plan().total_clips == 12_000_000
    assert (preset.training.ema_decay, preset.loss) == (0.999, PAPER.loss)


def test_loss() -> None:
    loss = build_loss(PAPER.loss, PAPER.network.feature_dim)
    assert isinstance(loss, SlicedWassersteinLoss) and PAPER.loss.penalty_interval == 1
    assert (loss.gradient_weight, loss.feature_weight, loss.feature_target, loss.feature_penalty_form) == (50, 10, 0.01, "released")
    assert loss.swd.matrices.shape == (1, 128, 128), "128 slices"
    assert loss.swd.scale.unique().tolist() == [1] and loss.swd.bias.unique().tolist() == [0]
    torch.testing.assert_close(loss.swd.matrices[0].mT @ loss.swd.matrices[0], torch.eye(128), atol=1e-5, rtol=0)


def test_the_baseline() -> None:
    loss = WassersteinGPLoss(128)
    assert (loss.gradient_weight, loss.gradient_target, loss.drift_weight) == (10, 1, 0.001)


def test_training() -> None:
    training, optimizer = PAPER.training, PAPER.optimizer
    assert (optimizer.beta1, optimizer.beta2, optimizer.eps, optimizer.reset) == (0.0, 0.99, 1e-8, "phase")
    assert (training.critic_steps, training.ema_decay, training.mirror, training.precision) == (1, 0.999, True, "float32")
    assert training.augment_probability == 0 and PAPER.growth.time_reduction == "average"


def test_networks_and_optimisers() -> None:
    state = TrainingState(colored(PAPER), torch.device("cpu"))
    assert sum(p.numel() for p in state.generator.parameters()) == 3_703_597
    assert sum(p.numel() for p in state.discriminator.parameters()) == 3_707_656
    assert sum(p.numel() for p in state.loss.parameters()) == 16_640
    assert (state.generator.latent_dim, state.discriminator.feature_dim) == (128, 128)
    assert isinstance(state.generator_optimizer, ReleasedAdam)
    first = state.generator.first
    assert isinstance(first, EqualizedConv3d)
    weights = first.weight  # equalised: drawn from N(0, 1), scaled when they are used
    assert weights.std().item() == pytest.approx(1, abs=0.01)
    assert first.weight_scale == pytest.approx((2 / (128 * 27)) ** 0.5)
