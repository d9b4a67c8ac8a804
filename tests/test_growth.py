"""The growth plan: legal steps, the four orders, and the pure function from clips shown to a position."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import make_plan
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Order, Size, Stage, growing_axes, ladder

CUBE = Size(4, 4, 4)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("paper", "4x4x4 8x8x8 8x16x16 16x32x32 16x64x64 32x128x128 32x256x256"),
        ("joint", "4x4x4 8x8x8 16x16x16 32x32x32 32x64x64 32x128x128 32x256x256"),
        ("space", "4x4x4 4x8x8 4x16x16 4x32x32 4x64x64 4x128x128 4x256x256 8x256x256 16x256x256 32x256x256"),
        ("time", "4x4x4 8x4x4 16x4x4 32x4x4 32x8x8 32x16x16 32x32x32 32x64x64 32x128x128 32x256x256"),
    ],
)
def test_orders(order: Order, expected: str) -> None:
    assert " ".join(map(str, ladder(Size(32, 256, 256), order, CUBE))) == expected


def test_paper_order_goes_on_with_what_is_left() -> None:
    assert " ".join(map(str, ladder(Size(64, 16, 16), "paper", CUBE))) == "4x4x4 8x8x8 8x16x16 16x16x16 32x16x16 64x16x16"


def test_bases_need_not_be_cubes() -> None:
    assert " ".join(map(str, ladder(Size(8, 12, 16), "joint", Size(4, 3, 4)))) == "4x3x4 8x6x8 8x12x16"
    assert " ".join(map(str, ladder(Size(16, 16, 16), "space", Size(16, 4, 4)))) == "16x4x4 16x8x8 16x16x16"
    assert ladder(CUBE, "paper", CUBE) == (CUBE,)


@pytest.mark.parametrize(
    ("target", "hint"),
    [("16x48x64", "--growth.base 4x3x4"), ("16x64x100", "small number times a power of two"), ("2x64x64", "--growth.base 2x4x4")],
)
def test_unreachable_target_names_a_base(target: str, hint: str) -> None:
    with pytest.raises(GrowreelError, match=hint):
        ladder(Size.parse(target), "paper", CUBE)


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        (("4x4x4", "12x4x4"), "time goes from 4 to 12"),
        (("4x4x4", "4x16x8"), "height goes from 4 to 16"),
        (("4x8x8", "4x8x4"), "width goes from 8 to 4"),
        (("4x4x4", "4x4x4"), "nothing grows"),
    ],
)
def test_uneven_steps_are_refused_with_the_reason(sizes: tuple[str, ...], reason: str) -> None:
    with pytest.raises(GrowreelError, match=reason):
        make_plan(*sizes)


@pytest.mark.parametrize("text", ["16x64", "16x64x0", "00x4x4", "²x4x4", "100000x100000x100000", "ax4x4", "", "16x64x64x3", "-4x4x4"])
def test_size_names_flag_and_value(text: str) -> None:
    with pytest.raises(GrowreelError, match="--size"):
        Size.parse(text, "--size")


def test_stage_refuses_nonsense() -> None:
    for kwargs in (
        {"fade_clips": -1},
        {"fade_clips": 0, "stable_clips": 0},
        {"minibatch": 0},
        {"learning_rate": 0.0},
        {"final_learning_rate": -1.0},
        {"decay_clips": 0},
        {"decay_clips": 2},
    ):
        values = {"fade_clips": 1, "stable_clips": 1, "minibatch": 1, "learning_rate": 0.1, "final_learning_rate": 0.1} | kwargs
        with pytest.raises(GrowreelError, match="stage 4x4x4"):
            Stage(CUBE, **values)
    with pytest.raises(GrowreelError, match="nothing to fade from"):
        GrowthPlan((Stage(CUBE, 5, 5, 1, 0.1, 0.1),))
    with pytest.raises(GrowreelError, match="no stages"):
        GrowthPlan(())


def test_growing_axes_in_words() -> None:
    assert growing_axes(CUBE, Size(8, 8, 8)) == "time + space"
    assert growing_axes(CUBE, Size(4, 8, 8)) == "space"
    assert growing_axes(CUBE, Size(8, 4, 4)) == "time"
    assert growing_axes(CUBE, Size(4, 8, 4)) == "height"


def test_positions_at_every_boundary() -> None:
    plan = make_plan("4x4x4", "8x8x8")  # 20 | 10 fade 20 stable
    expected = {0: (0, "stable", 1.0), 19: (0, "stable", 1.0), 20: (1, "fade", 0.0), 25: (1, "fade", 0.5), 30: (1, "stable", 1.0)}
    for clips, (stage, phase, alpha) in (expected | {50: (1, "stable", 1.0), 10**9: (1, "stable", 1.0)}).items():
        position = plan.position(clips)
        assert (position.stage, position.phase, position.alpha) == (stage, phase, alpha)
    assert plan.total_clips == 50
    with pytest.raises(ValueError, match="-1"):
        plan.position(-1)


def test_the_learning_rate_falls_through_the_stable_phase() -> None:
    plan = GrowthPlan((Stage(CUBE, 0, 20, 4, 0.4, 0.4), Stage(Size(8, 4, 4), 10, 20, 4, 0.4, 0.2)))
    expected = {0: 0.4, 19: 0.4, 20: 0.4, 29: 0.4, 30: 0.4, 40: 0.3, 45: 0.25, 50: 0.2, 1000: 0.2}
    assert {clips: plan.learning_rate(clips) for clips in expected} == pytest.approx(expected)


def test_the_learning_rate_falls_through_the_end_of_the_stable_phase() -> None:
    decays = Stage(CUBE, 0, 20, 4, 0.4, 0.2, decay_clips=4)
    plan = GrowthPlan((decays, Stage(Size(8, 4, 4), 10, 20, 4, 0.4, 0.2, decay_clips=8)))
    expected = {0: 0.4, 16: 0.4, 17: 0.35, 19: 0.25, 20: 0.4, 42: 0.4, 46: 0.3, 49: 0.225, 50: 0.2, 1000: 0.2}
    assert {clips: plan.learning_rate(clips) for clips in expected} == pytest.approx(expected)


lengths = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=1, max_size=6)


@given(lengths, st.integers(0, 400))
def test_position_moves_forward_and_alpha_is_linear(lengths: list[tuple[int, int]], clips: int) -> None:
    sizes = [Size(4 * 2**i, 4, 4) for i in range(len(lengths))]
    plan = GrowthPlan(
        tuple(Stage(s, fade if i else 0, stable, 1, 0.1, 0.1) for i, (s, (fade, stable)) in enumerate(zip(sizes, lengths, strict=True)))
    )
    now, later = plan.position(clips), plan.position(clips + 1)
    assert (now.stage, now.phase == "stable", now.alpha) <= (later.stage, later.phase == "stable", later.alpha)
    stage = plan.stages[now.stage]
    if now.phase == "fade":
        assert now.alpha == (clips - plan.start(now.stage)) / stage.fade_clips < 1
    else:
        assert now.alpha == 1 and clips >= plan.start(now.stage) + stage.fade_clips


powers = st.integers(0, 4)


@given(powers, powers, powers, st.sampled_from(["space", "time", "joint", "paper"]))
def test_every_ladder_is_a_legal_plan_from_base_to_target(t: int, h: int, w: int, order: Order) -> None:
    target = Size(3 * 2**t, 2 * 2**h, 5 * 2**w)
    sizes = ladder(target, order, Size(3, 2, 5))
    assert (sizes[0], sizes[-1]) == (Size(3, 2, 5), target)
    make_plan(*map(str, sizes))
