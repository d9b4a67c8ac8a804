"""The UCF-101 recipe on a look-alike: its folders and names, small videos, weights of the right shapes that say nothing."""

from __future__ import annotations

import functools
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from growreel.cli import main
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.evaluation.extractors import c3d
from growreel.evaluation.protocols import PROTOCOLS
from growreel.growth import Size
from growreel.preparation.prepare import prepare
from growreel.preparation.recipes import load_recipe, recipe_names
from media import block_frames, encode

sys.path.append(str(Path(__file__).parents[1] / "studies"))
import ucf101

SMALL = """
growth: {stages: [4x4x4, 8x8x8, 16x16x16], fade_clips: 8, stable_clips: 8, minibatch: 4}
network: {max_channels: 4, latent_dim: 4, feature_dim: 4}
"""


def test_from_the_download_to_the_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROWREEL_WEIGHTS", str(tmp_path / "weights"))
    for number, name in enumerate(("ApplyEyeMakeup", "ApplyLipstick")):
        (tmp_path / "UCF-101" / name).mkdir(parents=True)
        for group in (1, 2):
            video = tmp_path / "UCF-101" / name / f"v_{name}_g{group:02d}_c01.avi"
            encode(video, block_frames(40, height=48, width=64, seed=number), codec="mpeg4")
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "lists").mkdir()
    for half, group in (("train", 2), ("test", 1)):
        names = [f"{name}/v_{name}_g{group:02d}_c01.avi" for name in ("ApplyEyeMakeup", "ApplyLipstick")]
        (tmp_path / "lists" / f"{half}list01.txt").write_text("".join(f"{name} {k}\n" for k, name in enumerate(names, start=1)))
    (tmp_path / "lists" / "classInd.txt").write_text("1 ApplyEyeMakeup\n2 ApplyLipstick\n")
    run = functools.partial(
        ucf101.study,
        tmp_path / "UCF-101",
        tmp_path / "out",
        recipe="ucf101-tgan",
        only=tmp_path / "lists" / "trainlist01.txt",
        config_file=tmp_path / "small.yaml",
        clips=3,
        repeats=2,
        conditional=True,
    )
    with pytest.raises(GrowreelError, match=r"weights for c3d-ucf101 are not in .*growreel weights add"):
        run()
    assert not (tmp_path / "out").exists(), "what is missing at the end must be found out at the start"

    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in c3d.C3D().state_dict().items()}
    blank = {name.replace(".weight", "/W").replace(".bias", "/b"): np.zeros(shape, np.float32) for name, shape in shapes.items()}
    (tmp_path / "weights").mkdir()
    np.savez_compressed(tmp_path / "weights" / "c3d-ucf101.npz", **blank)  # type: ignore[arg-type]
    np.savez(tmp_path / "weights" / "c3d-ucf101-mean.npz", mean=np.zeros((3, 16, 128, 171), np.float32))
    card = run()
    with ClipStore.open(tmp_path / "out" / "clips") as store:
        assert {clip.source.split("_")[2] for clip in store.clips} == {"g02"} and {clip.label for clip in store.clips} == {0, 1}
        assert [clip.frame for clip in store.clips if clip.label == 0] == [0, 8, 16, 24]  # TGAN's windows overlap
    made = dict(each.rsplit(" ", 1) for each in card.fake["classes"].split(", "))
    assert made.keys() <= {"ApplyEyeMakeup", "ApplyLipstick"} and sum(map(int, made.values())) == 3, "the classes are learnt apart"
    assert card.value("is") == pytest.approx(1.0), "equal probabilities for all classes score 1"
    assert card.settings["protocol"].startswith("tgan") and card.settings["repeats"] == 2
    again = run()
    assert again.value("is") == card.value("is")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_fits_prepare_and_has_a_plan_and_a_protocol(name: str) -> None:
    arguments = load_recipe(name).arguments()
    assert arguments.keys() <= inspect.signature(prepare).parameters.keys()
    assert ucf101.config_for(name).growth.plan().sizes[-1] == arguments["size"]
    assert ucf101.PROTOCOL[name] in PROTOCOLS


def test_a_recipe_gives_flags_their_defaults_and_flags_win(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in" / "Walk").mkdir(parents=True)
    np.save(tmp_path / "in/Walk/a.npy", np.random.default_rng(0).integers(0, 256, (32, 64, 85), dtype=np.uint8))
    for flags, starts, size in (
        ([], [0, 8, 16], Size(16, 64, 64)),
        (["--size", "8x16x16", "--clip-stride", "20"], [0, 20], Size(8, 16, 16)),
    ):
        arguments = ["prepare", tmp_path / "in", tmp_path / "s", "--recipe", "ucf101-tgan", "--workers", "0", "--overwrite", *flags]
        assert main(list(map(str, arguments))) == 0
        with ClipStore.open(tmp_path / "s") as store:
            assert [clip.frame for clip in store.clips] == starts and store.size == size and store.labels == ("Walk",)
    assert main(["prepare", str(tmp_path / "in"), str(tmp_path / "t"), "--recipe", "ucf101"]) == 2
    assert "--recipe ucf101: there is no such recipe; choose one of ucf101-paper, ucf101-tgan, ucf101-tganv2" in capsys.readouterr().err
