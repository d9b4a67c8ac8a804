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
from growreel.models.window import frames_of_clips
from growreel.recipe import read_recipe, recipe_of
from growreel.runtime import precision_choice
from growreel.runtime.convolution_check import Finding
from growreel.runtime.precision_choice import resolve_precision
from growreel.sampling import generate, stream, walk, write_samples


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


def test_no_clip_is_made_that_is_not_used(model: LoadedGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass of one clip for each that is asked for; so its numbers, before they are rounded to pixels, are the same bit for bit."""
    made: list[torch.Tensor] = []
    forward = type(model.generator).forward

    def watched(*arguments: Any) -> torch.Tensor:
        made.append(forward(*arguments))
        return made[-1]

    monkeypatch.setattr(type(model.generator), "forward", watched)
    generate(model, range(9))
    many = made.copy()
    for count in (1, 2, 5, 8):
        made.clear()
        assert len(generate(model, range(count))) == count == sum(map(len, made))
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(made, many, strict=False))
    frames = list[int]()

    def counted(*arguments: Any) -> torch.Tensor:
        frames.append(len(arguments[-2]))
        return frames_of_clips(*arguments)

    monkeypatch.setattr("growreel.sampling.clips.frames_of_clips", counted)
    assert len(list(walk(model, 24, count=2))) == 24 and frames == [1] * 48, "one frame of each clip"


def test_no_stopwatch_decides_about_pixels(model: LoadedGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine where bfloat16 is twice as fast samples are float32 all the same, until bfloat16 is asked for."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(precision_choice, "_measured", lambda *_: [Finding("float32", (), 2.0), Finding("bfloat16", (), 1.0)])
    assert resolve_precision("auto", torch.device("cpu")) == "bfloat16"
    assert np.array_equal(generate(model, range(4)), generate(model, range(4), precision="float32"))
    frames = np.stack(list(walk(model, 6)))
    assert np.array_equal(frames, np.stack(list(walk(model, 6, precision="float32"))))
    with pytest.raises(GrowreelError, match="--precision auto: must be float32, tf32, bfloat16"):
        generate(model, [0], precision="auto")  # type: ignore[arg-type]
    with pytest.raises(GrowreelError, match="--precision tf32: is arithmetic of CUDA cards"):
        generate(model, [0], precision="tf32")


def test_a_recipe_belongs_to_its_array(model: LoadedGenerator, tmp_path: Path) -> None:
    clips = generate(model, [4, 2], precision="bfloat16")
    write_samples(tmp_path / "x.npy", clips, [4, 2], fps=8, recipe=recipe_of(model, [4, 2], fps=8, precision="bfloat16"))
    found = read_recipe(tmp_path / "x.npy")
    assert (found.precision, found.seeds) == ("bfloat16", (4, 2))
    np.save(tmp_path / "x.npy", clips[:1])
    with pytest.raises(GrowreelError, match="has no recipe"):
        read_recipe(tmp_path / "x.npy")


def test_the_folder_is_made_before_the_first_clip(model: LoadedGenerator, tmp_path: Path) -> None:
    def clips() -> Iterator[np.ndarray[Any, Any]]:
        assert (tmp_path / "new" / "folder").is_dir()
        yield from stream(model, range(2))

    assert write_samples(tmp_path / "new" / "folder" / "x.webp", clips(), range(2), fps=8)[0].exists()
    (tmp_path / "file").write_text("")
    taken: list[int] = []
    with pytest.raises(GrowreelError, match=r"x\.gif: cannot be written"):
        write_samples(tmp_path / "file" / "x.gif", (taken.append(1) or clip for clip in stream(model, [0])), [0], fps=8)  # type: ignore[func-returns-value]
    assert not taken


def test_a_model_is_loaded_onto_a_device(model_path: Path) -> None:
    for device in ("auto", "cpu", torch.device("cpu")):
        assert growreel.load_generator(model_path, device=device).size == Size(4, 8, 8)
    with pytest.raises(GrowreelError, match="device cuda:7: is not usable here"):
        growreel.load_generator(model_path, device="cuda:7")


def test_public_names_are_listed() -> None:
    assert set(growreel.__all__) <= set(dir(growreel)) and "generate" in dir(growreel)


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
    with pytest.raises(GrowreelError, match=r"cut.safetensors: is damaged"):
        load_generator(cut)


@pytest.mark.parametrize("name", pretrained_names())
def test_models_that_come_with_growreel(name: str) -> None:
    """They load by name, fit in ten megabytes, lie beside their configuration and card, say their terms, and make what they were shown."""
    model = growreel.load_generator(name)
    kind, _, size = name.partition("-")
    assert (str(model.size), model.license) == (size, {"shapes": "Apache-2.0", "asl": "CC-BY-4.0"}[kind])
    assert f"`{name}`" in (PRETRAINED / "README.md").read_text()
    assert (PRETRAINED / f"{name}.safetensors").stat().st_size < 10e6
    assert load_config(PRETRAINED / f"{name}.yaml") == model.config
    assert (PRETRAINED / f"{name}.card.json").exists() and (PRETRAINED / f"{name}.stats.jsonl").exists()
    clips = growreel.generate(model, range(48))
    if kind == "shapes":
        assert judge(clips).accepted.mean() > 0.5
    else:  # figures on pale walls: neither one colour nor noise, and they move
        assert 40 < clips.mean() < 215 and clips.std(axis=(1, 2, 3, 4)).min() > 20
        assert np.abs(np.diff(clips.astype(np.int16), axis=1)).mean(axis=(1, 2, 3, 4)).min() > 0.5
    with pytest.raises(GrowreelError, match=f"nothing: there is no such model file.*{name}"):
        load_generator("nothing")
