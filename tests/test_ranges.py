"""One check of ranges, one way to say it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

import growreel
from growreel.config import from_dict
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.prepare import prepare
from growreel.ranges import check_range


@pytest.mark.parametrize(
    ("value", "limits", "said"),
    [
        (0, {"least": 1}, "--x 0: must be at least 1"),
        (-1, {"least": 0, "most": 0.8}, "--x -1: must be from 0 to 0.8"),
        (0.9, {"least": 0, "most": 0.8}, "--x 0.9: must be from 0 to 0.8"),
        (0, {"above": 0}, "--x 0: must be above 0 and finite"),
        (math.inf, {"above": 0}, "--x inf: must be above 0 and finite"),
        (2, {"above": 0, "most": 1}, "--x 2: must be above 0, at most 1"),
        (math.nan, {"least": 0}, "--x nan: must be at least 0"),
        (math.nan, {"above": 0}, "--x nan: must be above 0 and finite"),
    ],
)
def test_what_is_out_of_range_is_said(value: float, limits: dict[str, Any], said: str) -> None:
    with pytest.raises(GrowreelError) as caught:
        check_range("--x", value, **limits)
    assert str(caught.value) == said


def test_what_is_in_range_passes() -> None:
    check_range("--x", 1, least=1)
    check_range("--x", 0.8, least=0, most=0.8)
    check_range("--x", 1e-9, above=0)
    check_range("--x", math.inf, least=0)
    check_range("--x", None, least=1)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"training": {"eval_interval": 0}}, "--training.eval_interval 0: must be at least 1"),
        ({"training": {"ema_rampup": -0.5}}, "--training.ema_rampup -0.5: must be at least 0"),
        ({"loss": {"wgan_gp": {"drift_weight": math.nan}}}, "--loss.wgan_gp.drift_weight nan: must be at least 0"),
        ({"growth": {"minibatch": 0}}, "stage 4x4x4: minibatch 0: must be at least 1"),
        ({"growth": {"learning_rate": 0.0}}, "stage 4x4x4: learning_rate 0.0: must be above 0 and finite"),
        ({"growth": {"stable_clips": -8}}, "stage 4x4x4: stable_clips -8: must be at least 0"),
    ],
)
def test_a_configuration_says_it_so(tree: dict[str, Any], said: str) -> None:
    with pytest.raises(GrowreelError) as caught:
        from_dict(tree, "test").growth.plan()
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frame_stride": 0}, "--frame-stride 0: must be at least 1"),
        ({"fps": math.inf}, "--fps inf: must be from 0.01 to 1000"),
        ({"tiles": (0, 2)}, "--tiles: rows and columns 0: must be at least 1"),
        ({"colors": 2}, "--colors 2: must be 3 (RGB) or 1 (grey)"),
    ],
)
def test_preparing_says_it_so(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(GrowreelError) as caught:
        prepare(tmp_path, tmp_path / "store", Size(4, 8, 8), progress=False, **options)
    assert str(caught.value) == said


def test_nobody_writes_a_check_of_ranges_by_hand() -> None:
    by_hand = re.compile(r"(must be|may be|is) (at least [\d{]|above [\d{]|positive|not negative|from \{)|must not be negative")
    for file in Path(growreel.__file__).parent.rglob("*.py"):
        if file.name == "ranges.py":
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            assert not ("GrowreelError(" in line and by_hand.search(line)), f"{file}:{number}"
