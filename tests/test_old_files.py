"""What growreel has written in any format is still read: stores opened, models sampled, runs gone on with."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import growreel
from growreel.config import Config, load_config
from growreel.data.store import VERSION, ClipStore
from growreel.models.header import FORMAT as MODEL_FORMAT
from growreel.models.header import read_header
from growreel.training.checkpoint import FORMAT as CHECKPOINT_FORMAT
from growreel.training.checkpoint import list_checkpoints
from growreel.training.loop import train
from growreel.training.stats import read_lines

ARCHIVES = sorted((Path(__file__).parent / "data" / "formats").glob("*.zip"))
NEWEST = ARCHIVES[-1]


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with `store`, `run` and `clips.npy` as a version wrote them."""
    return unpack(request.param, tmp_path)


def unpack(archive: Path, to: Path) -> Path:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(to)
    return to


def to_the_end(run: Path) -> Config:
    """The configuration that a run was begun with, without the number of clips at which it was stopped."""
    config = load_config(run / "config.yaml")
    return dataclasses.replace(config, training=dataclasses.replace(config.training, clips=None, report=False))


def test_a_store_of_any_format_is_opened(old: Path) -> None:
    with ClipStore.open(old / "store") as store:
        store.verify()
        assert (len(store), str(store.size), store.fps) == (8, "4x8x8", 8.0)
        assert store.read([3], store.size).std() > 10


def test_a_model_of_any_format_gives_the_clips_that_it_gave(old: Path) -> None:
    """In whole levels of 256, of which rounding may move some by one."""
    model = growreel.load_generator(old / "run")
    assert (model.clips_shown, str(model.size), model.position.alpha) == (24, "4x8x8", 0.5)
    clips, expected = growreel.generate(model, seeds=[0, 1]), np.load(old / "clips.npy")
    assert np.abs(clips.astype(int) - expected.astype(int)).max() <= 1


def test_a_run_of_any_format_goes_on(old: Path) -> None:
    """From the middle of a fade to its end, in the new format from then on; what it had told stays."""
    before = read_lines(old / "run" / "stats.jsonl")
    assert train(old / "store", old / "run", to_the_end(old / "run"), progress=False).clips_shown == 48
    lines = read_lines(old / "run" / "stats.jsonl")
    assert lines[: len(before)] == before and [line["clips"] for line in lines] == [8, 16, 24, 32, 40, 48]
    assert growreel.load_generator(old / "run").clips_shown == 48
    assert read_header(old / "run" / "models" / "000000048.safetensors").metadata["format"] == MODEL_FORMAT


def test_the_newest_archive_is_of_today_s_formats(tmp_path: Path) -> None:
    """Whoever changes a format keeps files of the one before and adds some of the new one: tests/data/formats/README.md."""
    old = unpack(NEWEST, tmp_path)
    (checkpoint,) = list_checkpoints(old / "run")
    assert torch.load(checkpoint / "state.pt", weights_only=True)["format"] == CHECKPOINT_FORMAT
    assert read_header(old / "run" / "models" / "000000024.safetensors").metadata["format"] == MODEL_FORMAT
    assert f'"version": {VERSION}' in (old / "store" / "index.json").read_text()
