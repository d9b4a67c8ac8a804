"""Clips longer than the model's: they begin as it makes them, go on without a jump, and are made again from their recipe."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import colored, tiny_config, with_other_networks
from growreel.cli import main
from growreel.errors import GrowreelError
from growreel.growth import Position
from growreel.models import build_generator
from growreel.models.files import LoadedGenerator, load_generator, save_model
from growreel.recipe import read_recipe
from growreel.runtime.latents import Mix
from growreel.sampling import continuation, generate
from growreel.sampling.continuation import lengthened, overlap_of


@pytest.fixture(params=["plain", "modulated"])
def model(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedGenerator:
    """Of clips 4x8x8, whose halves two neighbours share."""
    monkeypatch.setattr(continuation, "STEPS", 20)
    monkeypatch.setattr(continuation, "CANDIDATES", 8)
    config = colored(tiny_config())
    config = config if request.param == "plain" else with_other_networks(config)
    torch.manual_seed(0)
    save_model(tmp_path / "model.safetensors", build_generator(config), config, 120, 8.0)
    return load_generator(tmp_path / "model.safetensors")


def test_a_quarter_is_shared() -> None:
    assert [overlap_of(length) for length in (32, 16, 8, 4, 2)] == [8, 4, 2, 2, 1]


def test_it_begins_as_the_clip_and_a_longer_one_as_a_shorter_one(model: LoadedGenerator) -> None:
    long = lengthened(model, 7, 9)
    assert long.shape == (9, 8, 8, 3)
    (clip,) = generate(model, [7])
    np.testing.assert_array_equal(long[:2], clip[:2])
    np.testing.assert_array_equal(lengthened(model, 7, 5), long[:5])
    np.testing.assert_array_equal(lengthened(model, 7, 1), clip[:1])
    assert lengthened(model, Mix(7, 8, 0.5), 6).shape == (6, 8, 8, 3)


def test_what_follows_begins_as_the_clip_ends(model: LoadedGenerator) -> None:
    """Nearer than any of the candidates, and than the clip itself begins: it does not start over."""
    search = continuation._Search(model, 1.0, torch.float32)
    candidates = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    ending = search.clip(torch.randn(1, 8, generator=torch.Generator().manual_seed(2)))[:, :, -2:]
    with torch.no_grad():
        others = [float(search._distance(latent[None], ending)) for latent in candidates]
        found = float(search._distance(search.latent_that_begins_with(ending, candidates), ending))
    assert found < 0.9 * min(others)


def test_a_recipe_makes_it_again(model: LoadedGenerator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, again, shorter = (tmp_path / f"{name}.npy" for name in ("first", "again", "shorter"))
    assert main(["sample", str(model.path), "--count", "2", "--frames", "7", "--out", str(first)]) == 0
    assert read_recipe(first).frames == 7 and np.load(first).shape == (2, 7, 8, 8, 3)
    assert main(["sample", "--like", str(first), "--out", str(again)]) == 0
    assert again.read_bytes() == first.read_bytes()
    assert main(["sample", "--like", str(first), "--frames", "3", "--out", str(shorter)]) == 0
    np.testing.assert_array_equal(np.load(shorter), np.load(first)[:, :3])
    capsys.readouterr()
    assert main(["inspect", str(first)]) == 0
    assert "7 frames" in capsys.readouterr().out


def test_what_cannot_be_lengthened_is_said(model: LoadedGenerator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(model.path), "--frames", "0", "--out", str(tmp_path / "x.npy")]) == 2
    assert "--frames 0: " in capsys.readouterr().err
    assert main(["walk", str(model.path), "--frames", "4", "--out", str(tmp_path / "walk.npy")]) == 0
    assert main(["sample", "--like", str(tmp_path / "walk.npy"), "--frames", "9", "--out", str(tmp_path / "x.npy")]) == 2
    assert "is a walk" in capsys.readouterr().err
    config = dataclasses.replace(model.config, growth=dataclasses.replace(model.config.growth, stages=(), target="1x8x8", base="1x4x4"))
    pictures = dataclasses.replace(model, generator=build_generator(config), position=Position(1, "stable", 1.0))
    with pytest.raises(GrowreelError, match=r"--frames 2: this model makes pictures, 1x8x8"):
        lengthened(pictures, 0, 2)
