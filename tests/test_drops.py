"""Clips that were thrown out stay out of the next store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from growreel.cli import main
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.drops import drops_beside, read_drops, write_drops
from growreel.preparation.prepare import prepare

SIZE = Size(4, 8, 8)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two films of three clips each, all different."""
    folder = tmp_path / "films"
    folder.mkdir()
    for k, name in enumerate(("a", "b")):
        np.save(folder / f"{name}.npy", np.random.default_rng(k).integers(0, 256, (12, 8, 8, 3), np.uint8))
    return folder


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_on_the_list_is_left_out(films: Path, tmp_path: Path, workers: int) -> None:
    prepare(films, tmp_path / "whole", SIZE, workers=workers, progress=False)
    whole = ClipStore.open(tmp_path / "whole")
    gone = {0: (whole.clips[0].source, whole.clips[0].frame), 4: (whole.clips[4].source, whole.clips[4].frame)}
    write_drops(drops_beside(whole.path), gone.values())
    report = prepare(films, tmp_path / "rest", SIZE, workers=workers, progress=False, drop=drops_beside(whole.path))
    rest = ClipStore.open(tmp_path / "rest")
    left = [k for k in range(6) if k not in gone]
    assert [rest.clips[k] for k in range(len(rest))] == [whole.clips[k] for k in left]
    assert np.array_equal(rest.read(range(4), SIZE), whole.read(left, SIZE))
    assert [row.clips for row in report.rows] == [2, 2] and report.clips == 4 and report.exit_code == 0
    assert all("1 of 3 clips dropped by --drop" in row.note for row in report.rows)
    assert rest.options["drop"] and "drop" not in whole.options


def test_a_source_that_loses_all_clips_is_no_fault(films: Path, tmp_path: Path) -> None:
    write_drops(tmp_path / "list", [("a.npy", 0), ("a.npy", 4), ("a.npy", 8), ("elsewhere.mp4", 3)])
    assert main(["prepare", str(films), str(tmp_path / "s"), "--size", "4x8x8", "--drop", str(tmp_path / "list"), "--workers", "0"]) == 0
    assert {clip.source for clip in ClipStore.open(tmp_path / "s").clips} == {"b.npy"}


def test_a_list_is_written_and_read_back_and_others_are_refused(tmp_path: Path) -> None:
    drops = {("line\nbreak.mp4", 3), ("\u00e9.mp4", 0), ('quote".mp4', 7)}
    write_drops(tmp_path / "list", drops)
    assert read_drops(tmp_path / "list") == drops
    for text in (
        "{",
        "[]",
        '{"source": "a"}',
        '{"source": 1, "frame": 1}',
        '{"source": "a", "frame": true}',
        '{"source": "a", "frame": 1.5}',
    ):
        (tmp_path / "bad").write_text('{"source": "a", "frame": 0}\n' + text)
        with pytest.raises(GrowreelError, match=r"--drop .*bad: line 2"):
            read_drops(tmp_path / "bad")
    with pytest.raises(GrowreelError, match="cannot be read"):
        read_drops(tmp_path / "missing")
