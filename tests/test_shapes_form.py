"""Form and variety of the procedural clips: real ones are told right, made-up ones between and beside the two forms are unclear."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from math import gamma
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from conftest import tiny_config
from growreel import demo
from growreel.data.shapes import BACKGROUND, RADIUS, ShapeTrack, random_track, render, shape_clips
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.evaluation.shapes_form import FORMS, Variety, forms, outlines, variety, variety_floor
from growreel.evaluation.shapes_judge import judge
from growreel.growth import Size
from growreel.models.files import load_generator

SMALL = Size(8, 16, 16)
LARGE = Size(4, 64, 64)
Region = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]]
"""Which points (x, y) are inside, as multiples of the radius, from the shape's centre."""


def draw(region: Region, size: Size) -> NDArray[np.uint8]:
    """White shapes on real paths, drawn in so that there is room for corners: uint8 [12 or 48, t, h, w, 3]."""
    fine = 8 if size.h == 16 else 4
    count = 768 // size.h
    y, x = ((np.arange(side * fine) + 0.5) / fine for side in (size.h, size.w))
    tracks = [random_track(np.random.default_rng([3, k]), size) for k in range(count)]
    centers = 0.5 * size.h + 0.6 * (np.stack([track.centers for track in tracks]).reshape(-1, 2, 1, 1) - 0.5 * size.h)
    radius = RADIUS * size.h
    frames = [region((x - center[1]) / radius, (y[:, None] - center[0]) / radius) for center in centers]
    coverage = np.array(frames).reshape(-1, size.h, fine, size.w, fine).mean(axis=(2, 4))
    brightness: NDArray[np.uint8] = np.rint(BACKGROUND + coverage * (255 - BACKGROUND)).astype(np.uint8)
    return brightness.reshape(count, size.t, size.h, size.w, 1).repeat(3, axis=-1)


def superellipse(power: float, stretch: float = 1, angle: float = 0) -> Region:
    """|x / a|^p + |y / b|^p <= 1 of the true area: a disc for p = 2, nearly a square for large p; a / b is the stretch."""
    radius = np.sqrt(np.pi / 4 * gamma(1 + 2 / power)) / gamma(1 + 1 / power)
    a, b = radius * np.sqrt(stretch), radius / np.sqrt(stretch)
    c, s = np.cos(angle), np.sin(angle)
    return lambda x, y: np.abs((c * x + s * y) / a) ** power + np.abs((c * y - s * x) / b) ** power <= 1


def shares(clips: NDArray[np.uint8]) -> dict[str, float]:
    return variety(clips, np.zeros(len(clips), np.intp)).forms


def real_clips(size: Size, count: int, seed: int = 7) -> tuple[list[ShapeTrack], NDArray[np.uint8]]:
    tracks = [random_track(np.random.default_rng([seed, k]), size) for k in range(count)]
    return tracks, np.stack([render(track, size) for track in tracks])


@pytest.mark.parametrize(
    ("size", "count"), [(SMALL, 500), (Size(16, 32, 32), 100), (Size(16, 64, 64), 40), (Size(4, 24, 16), 100)], ids=str
)
def test_real_clips_are_told_right(size: Size, count: int) -> None:
    tracks, clips = real_clips(size, count)
    measured = outlines(clips)
    truth = np.array([FORMS.index(track.shape) for track in tracks])
    assert (forms(measured) == truth).mean() >= 0.99
    assert np.abs(measured.centers - np.stack([track.centers for track in tracks])).max() < 1 / 8  # half a point of 4 x 4


@pytest.mark.parametrize("power", [1.8, 2, 3, 5, 8, 40])
def test_measures_are_those_of_the_drawn_shape(power: float) -> None:
    measured = outlines(draw(superellipse(power), LARGE))
    assert measured.area.mean() == pytest.approx(1, abs=0.003)
    assert measured.filled.mean() == pytest.approx(gamma(1 + 1 / power) ** 2 / gamma(1 + 2 / power), abs=0.01)
    x = (np.arange(2000) + 0.5) / 2000
    top = (1 - x**power) ** (1 / power)
    straight, mixed = 2 * (x**4 * top).mean(), (x**2 * top**3 / 3).mean()  # integrals over a quadrant
    assert measured.corners.mean() == pytest.approx((straight - 6 * mixed) / (straight + 2 * mixed) * -7 / 3, abs=0.01)
    assert measured.stretch.max() < 0.01 and measured.steepness.min() > 0.49


@pytest.mark.parametrize("angle", [0, 0.1, np.pi / 8, np.pi / 4])
def test_corners_turn_with_the_square(angle: float) -> None:
    measured = outlines(draw(superellipse(200, angle=angle), LARGE))
    assert measured.corners.mean() == pytest.approx(np.exp(4j * angle), abs=0.01)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_between_disc_and_square_forms_are_unclear(size: Size) -> None:
    for power in (2, 2.1, 2.2):
        assert shares(draw(superellipse(power), size))["disc"] >= 0.95
    for power in (2.8, 3, 3.3, 3.6, 4, 4.5):
        assert shares(draw(superellipse(power), size))["unclear"] == 1
    for power in (10, 20, 100):
        assert shares(draw(superellipse(power), size))["square"] >= 0.95
    for power in (2.3, 2.4, 2.5, 2.6, 2.7):
        assert shares(draw(superellipse(power), size))["square"] == 0
    for power in (5, 6, 7, 8):
        assert shares(draw(superellipse(power), size))["disc"] == 0


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_turned_and_stretched_forms_are_unclear(size: Size) -> None:
    for degrees in (4, 6, 8, 10, 15, 22.5, 27.6, 35, 45):  # at 27.6 degrees the longest row and column leave the box as full as a disc's
        assert shares(draw(superellipse(200, angle=np.radians(degrees)), size))["unclear"] == 1
    for angle in (0, 0.4, np.pi / 4):
        assert shares(draw(superellipse(2, stretch=1.3, angle=angle), size))["unclear"] == 1
    assert shares(draw(superellipse(200, stretch=1.3), size))["unclear"] == 1


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_other_things_are_unclear(size: Size) -> None:
    _, clips = real_clips(size, 60)
    t, h, w = size
    rng = np.random.default_rng(0)
    bad = {
        "noise": rng.integers(0, 256, clips.shape, dtype=np.uint8),
        "dark": np.full_like(clips, BACKGROUND),
        "full": np.full_like(clips, 255),
        "one dark frame": np.concatenate([clips[:, :-1], np.full_like(clips[:, :1], BACKGROUND)], axis=1),
        "two side by side": np.maximum(clips, np.roll(clips, w // 2, axis=3)),
        "two one above the other": np.maximum(clips, np.roll(clips, h // 2, axis=2)),
        "two askew": np.maximum(clips, np.roll(clips, (h // 2, w // 2), axis=(2, 3))),
        "too small": draw(lambda x, y: x**2 + y**2 <= 0.4, size),
        "ring": draw(lambda x, y: np.abs(x**2 + y**2 - 0.75) <= 0.35, size),
        "triangle": draw(lambda x, y: (y >= -1.2) & (y <= 0.9) & (np.abs(x) <= (y + 1.2) / 1.6), size),
        "half": draw(lambda x, y: (x**2 + y**2 <= 1.6) & (x <= 0), size),
    }
    _, wide = real_clips(Size(t, h, 2 * h), 60)
    length = 3 * h // 8
    wide = wide[(wide[:, :, :, -length:] == BACKGROUND).all(axis=(1, 2, 3, 4))]  # those that can move on
    bad["smeared sideways"] = np.stack([np.roll(wide, k, axis=3) for k in range(length)]).mean(axis=0).astype(np.uint8)
    bad["smeared downwards"] = bad["smeared sideways"].swapaxes(2, 3)
    discs, squares = (draw(superellipse(power), size) for power in (2, 200))
    bad["first a disc, then a square"] = np.concatenate([discs[:, : t // 2], squares[:, t // 2 :]], axis=1)
    assert {name: shares(made)["unclear"] for name, made in bad.items()} == dict.fromkeys(bad, 1)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_noise_and_dimmer_colors_do_not_change_the_form(size: Size) -> None:
    tracks, clips = real_clips(size, 60)
    truth = np.array([FORMS.index(track.shape) for track in tracks])
    rng = np.random.default_rng(0)
    noisy = np.clip(np.rint(clips + rng.normal(0, 10, clips.shape)), 0, 255).astype(np.uint8)
    for changed in (noisy, (clips * 0.8).astype(np.uint8)):
        assert (forms(outlines(changed)) == truth).mean() >= 0.95


def test_variety_counts_what_was_drawn() -> None:
    tracks, clips = real_clips(SMALL, 200)
    found = variety(clips, judge(clips).color)
    assert found.colors == {name: sum(track.color == name for track in tracks) / 200 for name in found.colors}
    assert found.forms == {name: sum(track.shape == name for track in tracks) / 200 for name in FORMS}
    means = np.array([track.centers.mean(axis=0) for track in tracks])
    lower_right = ((means > 8).all(axis=1)).sum()
    assert abs(int(found.counts[:, :, 1, 1].sum()) - lower_right) <= 3  # clips in the middle may fall to either side
    assert found.counts.sum() == 200 and found.clear_form == 1


def test_real_kinds_are_equally_likely() -> None:
    """What `Variety.distance` takes for granted; 4 frames, since form and quarter do not ask for more."""
    _, clips = real_clips(Size(4, 16, 16), 3000)
    found = variety(clips, judge(clips).color)
    mean, bound = variety_floor(3000)
    assert found.distance < bound and mean < 0.05


def test_distance_is_what_is_missing() -> None:
    def distance(counts: NDArray[np.intp]) -> float:
        return Variety(counts).distance

    even = np.zeros((4, 3, 2, 2), np.intp)
    even[:, :2] = 10
    assert distance(even) == 0
    no_red, discs, corner, unclear = (even.copy() for _ in range(4))
    no_red[0] = 0
    discs[:, 1] = 0
    corner[..., 1, :] = corner[..., 0, 1] = 0
    unclear[:, 2] = 10  # a third of the clips
    found = [distance(counts) for counts in (no_red, discs, corner, unclear)]
    assert found == pytest.approx([1 / 4, 1 / 2, 3 / 4, 1 / 3])
    unclear[:, :2] = 0
    assert distance(unclear) == 1


@pytest.mark.parametrize("count", [16, 256])
def test_the_floor_is_that_of_chance(count: int) -> None:
    """Its mean is 32 times half the mean deviation of one binomial count."""
    k = np.arange(count + 1)
    expected = 16 * (binom.pmf(k, count, 1 / 32) * np.abs(k / count - 1 / 32)).sum()
    mean, bound = variety_floor(count)
    assert mean == pytest.approx(expected, abs=0.002)
    assert mean < bound < mean * 1.4


def test_the_demo_prints_and_keeps_form_and_variety(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "load_preset", lambda name: tiny_config())
    monkeypatch.setattr(demo, "REAL_CLIPS", 48)
    monkeypatch.setattr(demo, "JUDGED_CLIPS", 12)
    result = demo.run_demo(tmp_path / "run", clips=136)
    assert result.exit_code == 1
    assert load_generator(tmp_path / "run").clips_shown == 136
    kept = json.loads((tmp_path / "run" / "demo.json").read_text())
    assert {"accepted", "accepted_untrained", "accepted_real", "seconds"} < kept.keys()
    tracks = [random_track(np.random.default_rng([0, k]), Size(4, 8, 8)) for k in range(12)]
    assert kept["variety_real"]["colors"] == {
        name: sum(x.color == name for x in tracks) / 12 for name in ("red", "green", "blue", "yellow")
    }
    for shown in (kept["variety"], kept["variety_real"]):
        assert sum(shown["forms"].values()) == pytest.approx(1) and sum(shown["colors"].values()) == pytest.approx(1)
        assert shown["clear_form"] == pytest.approx(shown["forms"]["disc"] + shown["forms"]["square"])
        assert 1 - shown["clear_form"] <= shown["distance"] + 1e-9
    asked = kept["as_asked"]
    assert 0 <= asked["form"] <= kept["variety"]["clear_form"] and 0 <= asked["color"] <= 1
    said = (
        f"that colour in {asked['color']:.1%}, nearer to that form in {asked['nearer_form']:.1%}, clearly that form in {asked['form']:.1%}"
    )
    assert said in result.summary
    assert list(kept["variety_floor"].values()) == list(variety_floor(12))
    for figure in (kept["variety"]["distance"], kept["variety_floor"]["mean"]):
        assert f"{figure:.3f}" in result.summary


def test_more_clips_are_the_last_stages() -> None:
    short, long = (demo.demo_config(clips).growth.plan() for clips in (None, 130_000))
    assert (short.total_clips, long.total_clips) == (42_000, 130_000)
    assert long.stages[:-1] == short.stages[:-1]
    assert long.stages[-1] == dataclasses.replace(short.stages[-1], stable_clips=124_000)
    assert [round(long.learning_rate(clips), 6) for clips in (94_000, 112_000, 130_000)] == [0.01, 0.00525, 0.0005]
    assert demo.demo_config(6_008).growth.plan().total_clips == 6_008
    with pytest.raises(GrowreelError, match=r"demo --clips 6007: must be at least 6008"):
        demo.demo_config(6_007)


@pytest.mark.parametrize("labels", [None, ["walk", "wave"] * 2])
def test_the_demo_does_not_learn_from_clips_that_are_not_its_own(tmp_path: Path, labels: list[str] | None) -> None:
    write_store(tmp_path / "run-clips", shape_clips(4, SMALL), fps=8.0, labels=labels).close()
    with pytest.raises(GrowreelError, match=r"run-clips: these are not the demo's clips"):
        demo.run_demo(tmp_path / "run")


def test_the_share_of_clips_that_are_as_asked() -> None:
    """Of real ones that are right all; told the wrong way round none, or half; what shows nothing has no form."""
    tracks = [ShapeTrack(form, color, 0.29 * 16, np.full((8, 2), 8.0)) for color in ("blue", "red") for form in ("disc", "square")]
    clips = np.stack([render(track, SMALL) for track in tracks])
    share = partial(demo._as_asked, ["blue disc", "blue square", "red disc", "red square"])
    assert share(range(4), clips, judge(clips)) == {"color": 1, "nearer_form": 1, "form": 1}
    assert share(range(2, 6), clips, judge(clips)) == {"color": 0, "nearer_form": 1, "form": 1}
    assert share(range(1, 5), clips, judge(clips)) == {"color": 0.5, "nearer_form": 0, "form": 0}
    rounded = (clips + 2 * clips[[1, 0, 3, 2]].astype(int)) // 3  # mostly the other form
    assert share(range(4), rounded.astype(np.uint8), judge(clips)) == {"color": 1, "nearer_form": 0, "form": 0}
    assert share(range(4), np.full_like(clips, 12), judge(clips))["nearer_form"] == 0
