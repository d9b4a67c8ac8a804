"""Clips of parts of frames: boxes from a file, and windows side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.boxes import read_boxes
from growreel.preparation.prepare import prepare
from growreel.preparation.windows import Window
from media import block_frames, encode

SIZE = Size(4, 16, 16)


@pytest.fixture
def film(tmp_path: Path) -> NDArray[np.uint8]:
    frames = block_frames(20, 32, 64)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    encode(tmp_path / "in/deep/a.mkv", frames, codec="ffv1", pix_fmt="bgr0")
    return frames


def cut(tmp_path: Path, rows: str | None, **options: Any) -> ClipStore:
    crop: str | Path = "grid"
    if rows is not None:
        crop = tmp_path / "boxes.csv"
        Path(crop).write_text(rows, encoding="utf-8")
    prepare(tmp_path / "in", tmp_path / "s", SIZE, crop=crop, progress=False, overwrite=True, **{"workers": 0, **options})
    return ClipStore.open(tmp_path / "s")


def pixels(store: ClipStore) -> NDArray[np.uint8]:
    return store.read(range(len(store)), store.size)


@pytest.mark.parametrize("name", ["deep/a.mkv", "deep/a", "a.mkv", "a"])
@pytest.mark.parametrize("header", ["video,start,end,x,y,w,h", "video,start_frame,end_frame,x,y,w,h"])
def test_a_box_is_cut_out_bit_for_bit(film: NDArray[np.uint8], tmp_path: Path, name: str, header: str) -> None:
    span = "5,13" if "frame" in header else "0.5,1.3"
    with cut(tmp_path, f"{header}\n{name},{span},40,8,16,16\nmissing,0,1,0,0,9,9\n") as store:
        assert [(clip.source, clip.frame) for clip in store.clips] == [("deep/a.mkv", 5), ("deep/a.mkv", 9)]
        assert np.array_equal(pixels(store), film[5:13, 8:24, 40:56].reshape(2, 4, 16, 16, 3))


def test_workers_cut_the_same_boxes(film: NDArray[np.uint8], tmp_path: Path) -> None:
    rows = "video,start,end,x,y,w,h\na,0,2,0,0,16,16\na,0.3,1.5,30,8,20,20\n"
    with cut(tmp_path, rows) as store:
        here, clips = pixels(store), store.clips
    with cut(tmp_path, rows, workers=1) as store:
        assert np.array_equal(pixels(store), here) and store.clips == clips and len(clips) == 8


def test_youtube_bounding_boxes_as_they_come(film: NDArray[np.uint8], tmp_path: Path) -> None:
    row = "a,{},4,aeroplane,{},{},{},{},{},{}\n"
    sightings = [(0, 0, "present", 0.25, 0.45, 0.0, 0.5), (1000, 0, "present", 0.3, 0.5, 0.1, 0.5), (1000, 1, "absent", -1, -1, -1, -1)]
    with cut(tmp_path, "".join(row.format(*each) for each in sightings)) as store:
        assert [clip.frame for clip in store.clips] == [0, 4]  # the second at which it was last seen is not in it
        assert np.array_equal(pixels(store), film[:8, 0:16, 16:32].reshape(2, 4, 16, 16, 3))


def test_sightings_far_apart_are_two_windows(tmp_path: Path) -> None:
    file = tmp_path / "y.csv"
    file.write_text("".join(f"a,{time},4,cat,0,present,0,0.5,0,0.5\n" for time in (5000, 0, 1000, 4000)))
    assert read_boxes(file).windows == {
        "a": (Window(2, 0, 1, 0, 0, 0.5, 0.5, in_shares=True), Window(4, 4, 5, 0, 0, 0.5, 0.5, in_shares=True))
    }


def test_a_grid_shows_all_of_a_wide_frame(film: NDArray[np.uint8], tmp_path: Path) -> None:
    prepare(tmp_path / "in", tmp_path / "s", Size(4, 32, 32), crop="grid", workers=0, progress=False)
    with ClipStore.open(tmp_path / "s") as store:
        assert len(store) == 10 and {clip.source for clip in store.clips} == {"deep/a.mkv"}
        assert np.array_equal(np.concatenate(pixels(store)[:2], axis=2), film[:4])


def test_the_most_clips_are_of_a_video_not_of_a_window(film: NDArray[np.uint8], tmp_path: Path) -> None:
    with cut(tmp_path, None, max_clips_per_video=3) as store:
        assert len(store) == 3


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "has no rows"),
        ("a,b\n", "row 1: is neither a header"),
        ("video,start,end,x,y,w\n", "row 1: has no column h"),
        ("video,start,end,x,y,w,h\n", "has no boxes"),
        ("video,start,end,x,y,w,h\na,0,1,0,0,9\n", "row 2: has 6 columns, the header 7"),
        ("video,start,end,x,y,w,h\n\na,0,one,0,0,9,9\n", "row 3, column end: 'one' is no number"),
        ("video,start,end,x,y,w,h\na,0,nan,0,0,9,9\n", "row 2, column end: 'nan' is no number"),
        ("video,start,end,x,y,w,h\na,2,1,0,0,9,9\n", "row 2, column end: 1 must be above start"),
        ("video,start,end,x,y,w,h\na,0,1,0,0,0,9\n", "row 2, column w: 0 must be above 0"),
        ("video,start,end,x,y,w,h\nnone,0,1,0,0,9,9\n", "column video: no name, such as 'none'"),
        ("a,0,4,cat,0,present,0.5,0.2,0,1\n", "row 1, column xmax: 0.5 to 0.2"),
        ("a,0,4,cat,0,here,0,1,0,1\n", "row 1, column object_presence: 'here'"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(film: NDArray[np.uint8], tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(GrowreelError, match=r"boxes\.csv: ") as error:
        cut(tmp_path, rows)
    assert said in str(error.value)
    assert not (tmp_path / "s.partial").exists()
