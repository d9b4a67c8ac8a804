"""Model files and what is made with them."""

from __future__ import annotations

import copy
import dataclasses
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import growreel
from conftest import colored, tiny_config
from growreel.config import StageConfig, load_config
from growreel.errors import GrowreelError
from growreel.evaluation.shapes_judge import judge
from growreel.growth import Size
from growreel.models import build_generator
from growreel.models.files import PRETRAINED, LoadedGenerator, load_generator, pretrained_names, save_model
from growreel.sampling import clips_at_a_time, generate, stream, walk, write_samples


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = colored(tiny_config())
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "models" / "000000070.safetensors"
    save_model(path, build_generator(config), config, clips_shown=70, fps=12.5, license="CC0-1.0")
    return path


@pytest.fixture(scope="module")
def model(model_path: Path) -> LoadedGenerator:
    return load_generator(model_path)


def test_one_file_is_a_usable_model(model: LoadedGenerator, model_path: Path) -> None:
    assert str(model.size) == "4x8x8"
    assert model.position.phase == "fade" and model.position.alpha == pytest.approx(0.75)
    assert (model.fps, model.license, model.clips_shown) == (12.5, "CC0-1.0", 70)
    clips = growreel.generate(growreel.load_generator(model_path.parent.parent), seeds=[3])
    assert clips.shape == (1, 4, 8, 8, 3) and clips.dtype == np.uint8
    assert np.array_equal(clips, generate(model, [3]))


def test_a_clip_depends_on_its_seed_alone(model: LoadedGenerator) -> None:
    many = generate(model, range(9))
    assert np.array_equal(many[[7, 2, 2]], generate(model, [7, 2, 2]))
    assert len({clip.tobytes() for clip in many}) == 9
    with pytest.raises(GrowreelError, match="at least one non-negative integer"):
        generate(model, [])
    with pytest.raises(GrowreelError, match=r"\[-1\]"):
        generate(model, [-1])


def test_clips_are_written_as_they_are_made(model: LoadedGenerator, tmp_path: Path) -> None:
    """An array file or one file per clip holds no more than one clip in memory, and is complete or not there."""
    alive: list[weakref.ref[np.ndarray[Any, Any]]] = []

    def watched() -> Iterator[np.ndarray[Any, Any]]:
        for clip in stream(model, range(5)):
            assert sum(each() is not None for each in alive) <= 1
            alive.append(weakref.ref(clip))
            yield clip

    write_samples(tmp_path / "all.npy", watched(), range(5), fps=8)
    assert np.array_equal(np.load(tmp_path / "all.npy"), generate(model, range(5)))
    write_samples(tmp_path / "one.webp", watched(), range(5), fps=8, separate=True)

    def broken() -> Iterator[np.ndarray[Any, Any]]:
        yield generate(model, [0])[0]
        raise GrowreelError("no more")

    with pytest.raises(GrowreelError, match="no more"):
        write_samples(tmp_path / "half.npy", broken(), range(2), fps=8)
    assert not list(tmp_path.glob("half*"))


def test_bfloat16_is_near_float32(model: LoadedGenerator) -> None:
    """docs/log.md: a quarter of a level on average for trained models; this one is random and narrow, so the bound is wider."""
    exact, fast = (generate(model, range(16), precision=each).astype(int) for each in ("float32", "bfloat16"))
    assert 0 < np.abs(exact - fast).mean() < 1
    assert np.array_equal(generate(model, [7], precision="bfloat16")[0], fast[7])


def test_a_fixed_batch_serves_any_number_of_clips(model: LoadedGenerator) -> None:
    """Full batches, the last one filled up; whatever the number, a clip stays the same."""
    assert clips_at_a_time(torch.device("cpu"), model.size) == 4
    assert clips_at_a_time(torch.device("cpu"), Size(32, 256, 256)) == 1
    many = generate(model, range(9))
    assert many.shape[0] == 9
    assert np.array_equal(generate(model, range(6)), many[:6])


def test_truncation_narrows(model: LoadedGenerator) -> None:
    model = copy.deepcopy(model)
    torch.nn.init.normal_(model.generator.dense.bias)  # as after training; without biases a latent's length changes nothing
    spread = [generate(model, range(24), truncation=t).std(axis=0).mean() for t in (0.0, 0.3, 1.0)]
    assert spread[0] == 0 < spread[1] < spread[2]
    with pytest.raises(GrowreelError, match="--truncation -1"):
        generate(model, [0], truncation=-1)


def test_a_walk_is_smooth_and_loops() -> None:
    """With one frame per clip all movement comes from the latents: small steps, also from the last frame to the first."""
    config = colored(tiny_config())
    config = dataclasses.replace(
        config,
        growth=dataclasses.replace(config.growth, stages=(StageConfig("1x4x4"), StageConfig("1x8x8"))),
    )
    generator = build_generator(config).requires_grad_(False)
    model = LoadedGenerator(generator, config, generator.plan.position(200), 200, 8.0, "unstated")
    frames = np.stack(list(walk(model, 960, count=2))).astype(float)
    assert frames.shape == (960, 2, 8, 8, 3)
    steps = np.abs(np.diff(np.concatenate([frames, frames[:1]]), axis=0)).mean(axis=(2, 3, 4))
    strangers = np.abs(frames - frames[np.random.default_rng(0).permutation(960)]).mean()
    assert steps[-1].max() <= steps[:-1].max() * 1.2
    assert steps.max() < 0.2 * strangers
    assert np.array_equal(frames[:, :1], np.stack(list(walk(model, 960))))


def test_a_walk_plays_its_clips_forwards_and_backwards(model: LoadedGenerator) -> None:
    """With truncation 0 all latents give one clip, so only the playing is left: 0 1 2 3 2 1 0 1 ... for 4 frames."""
    clip = generate(model, [0], truncation=0.0)[0]
    frames = np.stack(list(walk(model, 12, truncation=0.0)))[:, 0]
    assert np.array_equal(frames, clip[[0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1]])
    with pytest.raises(GrowreelError, match="--frames 1"):
        next(walk(model, 1))


def test_every_format_is_written(model: LoadedGenerator, tmp_path: Path) -> None:
    clips = generate(model, range(4))
    for suffix in (".mp4", ".gif", ".webp", ".png", ".npy"):
        (path,) = write_samples(tmp_path / f"x{suffix}", clips, range(4), fps=8, scale=1)
        assert path.stat().st_size > 0
    assert np.array_equal(np.load(tmp_path / "x.npy"), clips)
    with Image.open(tmp_path / "x.webp") as picture:
        assert picture.size == (16, 16) and getattr(picture, "n_frames") == 4  # noqa: B009 - PIL's stubs lack it
        assert np.array_equal(np.asarray(picture.convert("RGB"))[:8, 8:], clips[1, 0])
    write_samples(tmp_path / "large.webp", clips, range(4), fps=8)
    with Image.open(tmp_path / "large.webp") as picture:
        assert picture.size == (128, 128)
        assert np.array_equal(np.asarray(picture.convert("RGB"))[:64:8, 71::8], clips[1, 0])
    with pytest.raises(GrowreelError, match="--scale 0"):
        write_samples(tmp_path / "x.gif", clips, range(4), fps=8, scale=0)
    paths = write_samples(tmp_path / "one.npy", clips, range(4), fps=8, separate=True)
    assert [path.name for path in paths] == [f"one-{k}.npy" for k in range(4)]
    assert np.array_equal(np.load(paths[2]), clips[2])
    with pytest.raises(GrowreelError, match=r"x\.docx"):
        write_samples(tmp_path / "x.docx", clips, range(4), fps=8)


def test_files_that_are_no_models(model_path: Path, tmp_path: Path) -> None:
    with pytest.raises(GrowreelError, match="no such model file"):
        load_generator(tmp_path / "missing.safetensors")
    with pytest.raises(GrowreelError, match=r"has no models/<clips>.safetensors"):
        load_generator(tmp_path)
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(GrowreelError, match=r"text.safetensors: is not a growreel model file"):
        load_generator(tmp_path / "text.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(GrowreelError, match="format None"):
        load_generator(tmp_path / "other.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(model_path.read_bytes()[:-100])
    with pytest.raises(GrowreelError, match=r"cut.safetensors: is not a growreel model file"):
        load_generator(cut)


@pytest.mark.parametrize("name", pretrained_names())
def test_models_that_come_with_growreel(name: str) -> None:
    """They load by name, fit in ten megabytes, lie beside their configuration and card, and make what they were shown."""
    model = growreel.load_generator(name)
    assert f"shapes-{model.size}" == name and model.license == "Apache-2.0"
    assert (PRETRAINED / f"{name}.safetensors").stat().st_size < 10e6
    assert load_config(PRETRAINED / f"{name}.yaml") == model.config
    assert (PRETRAINED / f"{name}.card.json").exists() and (PRETRAINED / f"{name}.stats.jsonl").exists()
    assert judge(growreel.generate(model, range(48))).accepted.mean() > 0.5
    with pytest.raises(GrowreelError, match=f"nothing: there is no such model file.*{name}"):
        load_generator("nothing")
