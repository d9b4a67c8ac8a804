"""The time left of a run: with speeds that follow the arithmetic exactly, the forecast is exact at every point."""

from __future__ import annotations

import pytest

from conftest import make_plan
from growreel.models import Discriminator, Generator
from growreel.training.forecast import Forecast


def test_forecast_adds_up_the_stages() -> None:
    plan = make_plan("2x4x4", "4x8x8", "4x16x16")  # 20, 30 and 30 clips
    generator = Generator(plan, base_channels=16, max_channels=4, latent_dim=4, image_channels=1)
    discriminator = Discriminator(plan, base_channels=16, max_channels=4, feature_dim=4, image_channels=1)
    forecast = Forecast(generator, discriminator)
    assert forecast.seconds_left(0, 80) is None
    seconds = [cost * 1e-6 for cost in forecast.costs]
    assert seconds[0] < seconds[1] < seconds[2]
    forecast.measured(0, 4, 4 * seconds[0])
    assert forecast.seconds_left(10, 80) == pytest.approx(10 * seconds[0] + 30 * seconds[1] + 30 * seconds[2])
    assert forecast.seconds_left(60, 100) == pytest.approx(40 * seconds[2])
    assert forecast.seconds_left(5, 40) == pytest.approx(15 * seconds[0] + 20 * seconds[1])
    assert forecast.seconds_left(100, 100) == 0
    forecast.entered()
    assert forecast.seconds_left(0, 80) is None
