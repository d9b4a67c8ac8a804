"""Clips that are held out: whole sources, never learnt, known to evaluation, and a measure of what the critic knows by heart."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import tiny_config
from growreel.cli.main import main
from growreel.data.batches import ClipBatches
from growreel.data.record import DataRecord
from growreel.data.shapes import shape_clips
from growreel.data.split import PARTS, clips_of, held_out_sources
from growreel.data.store import ClipStore
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.evaluation.evaluate import evaluate
from growreel.evaluation.options import EvaluationOptions
from growreel.growth import Size
from growreel.preparation.prepare import prepare
from growreel.training.loop import train
from growreel.training.stats import read_lines
from media import block_frames, encode


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten videos of three clips each, a fifth held out."""
    folder = tmp_path_factory.mktemp("held")
    (folder / "videos").mkdir()
    for number in range(10):
        encode(folder / "videos" / f"{number}.mp4", block_frames(12, 32, 32, seed=number))
    assert main(["prepare", str(folder / "videos"), str(folder / "store"), "--size", "4x8x8", "--holdout", "20%", "--workers", "0"]) == 0
    return folder / "store"


@given(st.lists(st.integers(1, 9), min_size=2, max_size=30), st.floats(0.01, 0.9))
def test_whole_sources_are_held_out_and_some_are_learnt(counts: list[int], share: float) -> None:
    sources = [f"video {k}" for k, count in enumerate(counts) for _ in range(count)]
    held_out = held_out_sources(sources, share)
    clips = Counter(source in held_out for source in sources)
    assert clips[True] and clips[False]
    assert held_out == held_out_sources(sources[::-1], share), "the order of videos decides nothing"
    if clips[True] > share * len(sources) + max(counts):
        raise AssertionError("one source more than needed")


def test_training_sees_no_clip_that_is_held_out(store: Path) -> None:
    with ClipStore.open(store) as opened:
        training, held_out = (set(clips_of(opened, part).tolist()) for part in ("training", "held-out"))
        sources = [clip.source for clip in opened.clips]
        assert len(held_out) == 6 and training | held_out == set(range(30)) and not training & held_out
        assert not {sources[k] for k in training} & {sources[k] for k in held_out}
        batches = ClipBatches(opened, seed=0, mirror=False, device=torch.device("cpu"))
        seen = Counter(batches._index(place) for place in range(3 * len(training)))
        batches.close()
        assert seen == dict.fromkeys(training, 3)


def test_a_split_is_part_of_what_a_run_has_learnt(store: Path, tmp_path: Path) -> None:
    index = json.loads((store / "index.json").read_text())
    with ClipStore.open(store) as opened:
        record = DataRecord.of(opened)
        opened.held_out = frozenset()
        assert DataRecord.of(opened).differences(record) == [f"contents: {DataRecord.of(opened).sha256[:13]} -> {record.sha256[:13]}"]
    assert index["options"]["holdout"] == 0.2 and len(index["held_out"]) == 2


def test_evaluation_knows_the_parts(store: Path, tmp_path: Path) -> None:
    fakes = np.stack(list(shape_clips(6, Size(4, 8, 8), seed=9)))
    cards = {part: evaluate(fakes, store, EvaluationOptions(metrics=("swd", "memory"), split=part, resamples=0)) for part in PARTS}
    assert [cards[part].real["clips"] for part in ("training", "held-out", "all")] == [24, 6, 30]
    assert cards["held-out"].training is not None and cards["held-out"].training["clips"] == 24
    assert cards["training"].real["part"] == "training"


def test_mirrored_twins_stay_on_one_side(tmp_path: Path) -> None:
    """Weizmann is published with every video and its mirror image: with half of them learnt, nothing is held out."""
    (tmp_path / "v").mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        small = rng.integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
        frames = np.stack([np.asarray(Image.fromarray(frame).resize((64, 64), Image.Resampling.BICUBIC)) for frame in small])
        encode(tmp_path / "v" / f"{number}.mp4", frames)
        encode(tmp_path / "v" / f"{number}-mirrored.mp4", np.ascontiguousarray(frames[:, :, ::-1]))
    prepare(tmp_path / "v", tmp_path / "s", Size(4, 32, 32), holdout=0.3, workers=0)
    with ClipStore.open(tmp_path / "s") as store:
        assert len(store.held_out) == 4
        assert {name.replace("-mirrored", "") for name in store.held_out} == {name for name in store.held_out if "mirrored" not in name}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--holdout", "ten"], "--holdout ten: is no share; give one such as 10%"),
        (["--holdout", "95%"], "--holdout 0.95: must be above 0, at most 0.9"),
        (["--holdout", "0"], "--holdout 0.0: must be above 0"),
    ],
)
def test_shares_that_are_none(flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "v").mkdir()
    encode(tmp_path / "v" / "a.mp4", block_frames(12, 32, 32))
    assert main(["prepare", str(tmp_path / "v"), str(tmp_path / "s"), "--size", "4x8x8", *flags]) == 2
    assert message in capsys.readouterr().err


def test_one_video_cannot_be_learnt_and_held_out(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    encode(tmp_path / "v" / "a.mp4", block_frames(12, 32, 32))
    with pytest.raises(GrowreelError, match="--holdout: all clips come from one source"):
        prepare(tmp_path / "v", tmp_path / "s", Size(4, 8, 8), holdout=0.1, workers=0)
    write_store(tmp_path / "plain", shape_clips(4, Size(4, 8, 8)), fps=8)
    with ClipStore.open(tmp_path / "plain") as opened, pytest.raises(GrowreelError, match="holds no clips out; prepare it with --holdout"):
        clips_of(opened, "held-out")


def test_a_critic_that_knows_its_clips_is_measured(store: Path, tmp_path: Path) -> None:
    """Vital signs are in every line; the share known by heart only where clips are held out, and a resumed run writes the same."""
    train(store, tmp_path / "whole", tiny_config(), progress=False)
    train(store, tmp_path / "parts", tiny_config(clips=64), progress=False)
    train(store, tmp_path / "parts", tiny_config(), progress=False)
    whole, parts = (
        [
            {name: value for name, value in line.items() if name not in ("time", "clips_per_second", "peak_memory_bytes")}
            for line in read_lines(tmp_path / name / "stats.jsonl")
        ]
        for name in ("whole", "parts")
    )
    assert whole == parts and all({"variety", "brightness", "critic_slope", "by_heart"} <= line.keys() for line in whole)
