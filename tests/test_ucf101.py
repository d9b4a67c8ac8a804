"""The UCF-101 recipe on a look-alike: its folders and names, small videos, weights of the right shapes that say nothing."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.evaluation.extractors import c3d
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
    settings: dict[str, Any] = {"config_file": tmp_path / "small.yaml", "clips": 3, "repeats": 2, "conditional": True}
    run = functools.partial(ucf101.recipe, tmp_path / "UCF-101", tmp_path / "out", **settings)
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
        assert len(store) == 8 and {clip.label for clip in store.clips} == {0, 1}
    made = dict(each.rsplit(" ", 1) for each in card.fake["classes"].split(", "))
    assert made.keys() <= {"ApplyEyeMakeup", "ApplyLipstick"} and sum(map(int, made.values())) == 3, "the classes are learnt apart"
    assert card.value("is") == pytest.approx(1.0), "equal probabilities for all classes score 1"
    assert card.settings["protocol"].startswith("tgan") and card.settings["repeats"] == 2
    again = run()
    assert again.value("is") == card.value("is")
