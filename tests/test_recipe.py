"""Every output says how it was made, and is made again from what it says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from conftest import colored, tiny_config
from growreel.cli import main
from growreel.errors import GrowreelError
from growreel.models import build_generator
from growreel.models.files import load_generator, save_model
from growreel.recipe import Recipe, Walk, find_model, read_recipe, recipe_of
from growreel.sampling import generate
from growreel.training.loop import train
from growreel.video import read_comment, read_frames, write_clip

FORMATS = ("mp4", "webp", "gif", "png", "npy")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "models" / "000000120.safetensors"
    save_model(path, build_generator(colored(tiny_config())), colored(tiny_config()), 120, 8.0)
    return path


def near(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """But for rounding: some frames of a clip are computed in other portions than the whole."""
    return bool(np.abs(ours.astype(int) - theirs).max() <= 1)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_is_made_again_from_itself_alone(kind: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from another folder, and without naming the model; byte for byte, on one machine. (Of mp4 the pictures, nearly: in 1 to 5 of
    1,000 writes of the same small frames libx264 made other bytes, and once a few pixels differed by up to 19 levels.)"""
    first = tmp_path / "run" / f"first.{kind}"
    assert run("sample", model, "--count", 3, "--seed", 5, "--truncation", 0.7, "--fps", 5, "--scale", 2, "--out", first) == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = tmp_path / f"again.{kind}"
    assert run("sample", "--like", first, "--out", again) == 0
    if kind == "mp4":
        ours, theirs = (np.stack(list(read_frames(path))).astype(int) for path in (again, first))
        assert ours.shape == theirs.shape and np.abs(ours - theirs).mean() < 1
    else:
        assert again.read_bytes() == first.read_bytes()
    recipe = read_recipe(again)
    assert recipe == read_recipe(first)
    assert (recipe.seeds, recipe.truncation, recipe.fps, recipe.scale, recipe.stage) == ((5, 6, 7), 0.7, 5, 2, "4x8x8")
    assert run("sample", model, "--like", first, "--seed", 9, "--out", again) == 0, "flags beside it change the recipe"
    assert (read_recipe(again).seeds, read_recipe(again).truncation) == ((9, 10, 11), 0.7) and again.read_bytes() != first.read_bytes()


def test_comments_are_where_other_programs_look(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 3), dtype=np.uint8)
    for kind in FORMATS:
        write_clip(tmp_path / f"x.{kind}", frames, 8, "seed 7")
        assert read_comment(tmp_path / f"x.{kind}") == "seed 7"
        write_clip(tmp_path / f"x.{kind}", frames, 8)
        assert read_comment(tmp_path / f"x.{kind}") is None
        write_clip(tmp_path / f"x.{kind}", frames, 8, "seed 7")
    with Image.open(tmp_path / "x.webp") as image:
        assert image.getexif()[0x010E] == "seed 7" and image.n_frames == 3  # type: ignore[attr-defined]
    with Image.open(tmp_path / "x.png") as image:
        assert image.text == {"Comment": "seed 7"}  # type: ignore[attr-defined]
    with Image.open(tmp_path / "x.gif") as image:
        assert image.info["comment"] == b"seed 7"
    with av.open(tmp_path / "x.mp4") as container:
        assert container.metadata["comment"] == "seed 7"
    assert json.loads((tmp_path / "x.npy.json").read_text())["comment"] == "seed 7"


def test_inspect_says_how_clips_were_made(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sample", model, "--count", 2, "--seed", 8, "--out", tmp_path / "s.webp") == 0
    capsys.readouterr()
    assert run("inspect", tmp_path / "s.webp") == 0
    assert re.search(r"^seeds +8-9$", capsys.readouterr().out, flags=re.MULTILINE)
    assert run("inspect", tmp_path / "s.webp", "--json") == 0
    assert json.loads(capsys.readouterr().out)["seeds"] == "8-9"
    write_clip(tmp_path / "x.gif", np.zeros((2, 4, 4, 3), np.uint8), 8)
    assert run("inspect", tmp_path / "x.gif") == 2 and "has no recipe of growreel" in capsys.readouterr().err


def test_separate_files_have_their_own_seeds(model: Path, tmp_path: Path) -> None:
    assert run("sample", model, "--count", 2, "--seed", 8, "--separate", "--out", tmp_path / "s.gif") == 0
    assert [read_recipe(tmp_path / f"s-{seed}.gif").seeds for seed in (8, 9)] == [(8,), (9,)]


@pytest.mark.parametrize("kind", ["webp", "npy"])
def test_walks_are_made_again(kind: str, model: Path, tmp_path: Path) -> None:
    first, again = tmp_path / f"walk.{kind}", tmp_path / f"again.{kind}"
    assert run("walk", model, "--frames", 9, "--turns", 3, "--count", 2, "--seed", 4, "--out", first) == 0
    assert read_recipe(first).walk == Walk(9, 3) and read_recipe(first).seeds == (4, 5)
    if kind == "npy":
        assert np.load(first).shape == (2, 9, 8, 8, 3), "both walks, not only the first"
    assert run("sample", "--like", first, "--out", again) == 0
    assert again.read_bytes() == first.read_bytes()


def test_a_walk_between_two_seeds_is_made_again(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It loops, begins with the first seed's clip, passes the second's in the middle, and blends where clips are few."""
    first, again, few = (tmp_path / f"{name}.npy" for name in ("walk", "again", "few"))
    flags = ("--frames", 12, "--seed", 4, "--to", 9)
    assert run("walk", model, *flags, "--out", first) == 0 and run("walk", model, *flags, "--every", 3, "--out", few) == 0
    assert read_recipe(few).walk == Walk(12, 2, 9, 3)
    assert run("sample", "--like", few, "--out", again) == 0 and again.read_bytes() == few.read_bytes()
    ends = generate(load_generator(model), [4, 9])
    whole, blended = np.load(first)[0], np.load(few)[0]
    assert near(whole[0], ends[0][0]) and any(near(whole[6], frame) for frame in ends[1])
    assert near(blended[::3], whole[::3]) and not near(blended[1], whole[1])
    capsys.readouterr()
    assert run("inspect", few) == 0 and "12 frames, to seed 9 and back, a clip for every 3 frames" in capsys.readouterr().out


def test_samples_of_training_lead_to_the_model_saved_with_them(
    shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(shapes_store, tmp_path / "run", tiny_config(clips=60, sample_interval=12), progress=False)
    saved, unsaved = (tmp_path / "run" / "samples" / f"{clips:09d}.webp" for clips in (60, 48))
    recipe = read_recipe(saved)
    assert (recipe.seeds, recipe.model_sha256, recipe.alpha) == ((0, 1), None, 0.5)
    assert run("sample", "--like", saved, "--out", tmp_path / "again.webp") == 0
    with Image.open(saved) as first, Image.open(tmp_path / "again.webp") as second:
        assert np.array_equal(np.asarray(first), np.asarray(second))
    assert run("sample", "--like", unsaved, "--out", tmp_path / "x.webp") == 2
    assert "only where a model was saved with them" in capsys.readouterr().err
    assert run("sample", tmp_path / "run", "--like", unsaved, "--out", tmp_path / "x.webp") == 2
    assert "after 48 clips" in capsys.readouterr().err


def test_a_recipe_tells_no_whole_path(model: Path) -> None:
    recipe = recipe_of(load_generator(model), range(3), fps=8)
    assert recipe.model == "run/models/000000120.safetensors"
    assert str(model.parents[2]) not in recipe.to_json()


def test_what_is_wrong_is_said(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    clip = tmp_path / "run" / "c.webp"
    assert run("sample", model, "--count", 1, "--out", clip) == 0
    other = tmp_path / "other.safetensors"
    save_model(other, build_generator(colored(tiny_config())), colored(tiny_config()), 120, 8.0, license="another header")
    assert run("sample", other, "--like", clip, "--out", tmp_path / "x.webp") == 2
    assert "is not the model that made" in capsys.readouterr().err
    shutil.copy(other, model)
    with pytest.raises(GrowreelError, match="with another model than"):
        find_model(read_recipe(clip), clip)
    model.unlink()
    with pytest.raises(GrowreelError, match="its model is not here; give it as MODEL"):
        find_model(read_recipe(clip), clip)
    assert run("sample", "--out", tmp_path / "x.webp") == 2 and "give a MODEL" in capsys.readouterr().err
    foreign = {
        None: "has no recipe of growreel",
        "taken on a holiday": "no recipe that this growreel can read",
        json.dumps({"format": "growreel-recipe-1"}): "no recipe that this growreel can read",
        read_comment(clip).replace('"seeds": "0"', '"seeds": "0-99999999999"'): "more than 1,000,000 seeds",  # type: ignore[union-attr]
    }
    for comment, said in foreign.items():
        write_clip(tmp_path / "f.png", frames, 8, comment)
        with pytest.raises(GrowreelError, match=said):
            read_recipe(tmp_path / "f.png")
    (tmp_path / "broken.webp").write_bytes(b"RIFF0000WEBPxx")
    (tmp_path / "broken.mp4").write_bytes(b"no")
    for name, said in (("broken.webp", "cannot be read"), ("broken.mp4", "cannot be read"), ("x.txt", "no such file")):
        with pytest.raises(GrowreelError, match=said):
            read_recipe(tmp_path / name)


def test_seeds_survive_being_written_short(tmp_path: Path) -> None:
    recipe = Recipe("m", None, 0, "4x8x8", 1.0, (0, 1, 2, 9, 4, 5), 1.0, "float32", 8.0, None, "0", "0")
    assert '"seeds": "0-2,9,4-5"' in recipe.to_json()
    write_clip(tmp_path / "c.png", np.zeros((1, 8, 8, 3), np.uint8), 8, recipe.to_json())
    assert read_recipe(tmp_path / "c.png") == recipe
    assert "0-2,9,4-5" in recipe.table()
