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


YOUTUBE_HEADER = "youtube_id,timestamp_ms,class_id,class_name,object_id,object_presence,xmin,xmax,ymin,ymax\n"


@pytest.mark.parametrize("header", ["", YOUTUBE_HEADER])
def test_youtube_bounding_boxes_as_they_come(film: NDArray[np.uint8], tmp_path: Path, header: str) -> None:
    row = "a,{},4,aeroplane,{},{},{},{},{},{}\n"
    sightings = [(0, 0, "present", 0.25, 0.45, 0.0, 0.5), (1000, 0, "present", 0.3, 0.5, 0.1, 0.5), (1000, 1, "absent", -1, -1, -1, -1)]
    with cut(tmp_path, header + "".join(row.format(*each) for each in sightings)) as store:
        assert [clip.frame for clip in store.clips] == [0, 4]  # the second at which it was last seen is not in it
        assert np.array_equal(pixels(store), film[:8, 0:16, 16:32].reshape(2, 4, 16, 16, 3))
        assert [store.labels[clip.label] for clip in store.clips if clip.label is not None] == ["aeroplane"] * 2


def youtube_row(time: int, presence: str = "present", kind: str = "cat", track: int = 0, video: str = "a") -> str:
    box = "0,0.5,0,0.5" if presence == "present" else "-1,-1,-1,-1"
    return f"{video},{time},4,{kind},{track},{presence},{box}\n"


def spans(tmp_path: Path, rows: list[str]) -> list[tuple[int, float, float, str | None]]:
    (tmp_path / "y.csv").write_text("".join(rows))
    return [(each.row, each.start, each.end, each.label) for each in read_boxes(tmp_path / "y.csv").windows["a"]]


def test_sightings_far_apart_are_two_windows(tmp_path: Path) -> None:
    assert spans(tmp_path, [youtube_row(time) for time in (5000, 0, 1000, 4000)]) == [(2, 0, 1, "cat"), (4, 4, 5, "cat")]
    (only, _) = read_boxes(tmp_path / "y.csv").windows["a"]
    assert only == Window(2, 0, 1, 0, 0, 0.5, 0.5, in_shares=True, label="cat")


@pytest.mark.parametrize("presence", ["absent", "uncertain"])
def test_an_object_that_is_gone_meanwhile_is_two_windows(tmp_path: Path, presence: str) -> None:
    times = [youtube_row(time) for time in (0, 500, 1000, 1500)]
    assert spans(tmp_path, times) == [(1, 0, 1.5, "cat")]
    assert spans(tmp_path, [*times, youtube_row(700, presence)]) == [(1, 0, 0.5, "cat"), (3, 1, 1.5, "cat")]
    assert spans(tmp_path, [*times, youtube_row(700, presence, track=1)]) == [(1, 0, 1.5, "cat")]


@pytest.mark.parametrize("name", ["dQw4w9WgXc_", "A title [dQw4w9WgXc_]", "A title-dQw4w9WgXc_", "[dQw4w9WgXc_] a title"])
def test_videos_are_found_by_their_id_and_labelled_by_class(film: NDArray[np.uint8], tmp_path: Path, name: str) -> None:
    (tmp_path / "in/deep/a.mkv").rename(tmp_path / f"in/deep/{name}.mkv")
    found = [
        youtube_row(time, kind=kind, video="dQw4w9WgXc_") for kind, times in (("cat", (0, 400)), ("dog", (800, 1200))) for time in times
    ]
    with cut(tmp_path, "".join(found)) as store:
        assert [(clip.source, clip.frame, store.labels[clip.label or 0]) for clip in store.clips] == [
            (f"deep/{name}.mkv", 0, "cat"),
            (f"deep/{name}.mkv", 8, "dog"),
        ]


def test_labels_of_ones_own_boxes(film: NDArray[np.uint8], tmp_path: Path) -> None:
    with cut(tmp_path, "video,start,end,x,y,w,h,label\na,0,0.4,0,0,16,16,left\na,0,0.4,40,8,16,16,\n", labels=True) as store:
        assert [store.labels[clip.label] for clip in store.clips if clip.label is not None] == ["left", "deep"]
        assert np.array_equal(pixels(store)[1], film[:4, 8:24, 40:56])


def test_seconds_count_from_the_first_frame_also_behind_a_gap(film: NDArray[np.uint8], tmp_path: Path) -> None:
    """A recording that begins at 7.3 s and has a gap of 10 s after its tenth frame, as it is and at a constant rate."""
    times = [7300 + 100 * k + (10_000 if k >= 10 else 0) for k in range(20)]
    encode(tmp_path / "in/deep/a.mkv", film, codec="ffv1", pix_fmt="bgr0", times_ms=times)
    for fps in (None, 10.0):
        with cut(tmp_path, "video,start,end,x,y,w,h\na,0.5,0.9,0,0,16,16\na,11.2,11.6,0,0,16,16\n", fps=fps) as store:
            assert np.array_equal(pixels(store), np.stack([film[5:9, :16, :16], film[12:16, :16, :16]]))


def test_pictures_have_no_seconds(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in/a.npy", block_frames(8, 16, 16))
    (tmp_path / "boxes.csv").write_text("video,start,end,x,y,w,h\na,0,1,0,0,16,16\n")
    report = prepare(tmp_path / "in", tmp_path / "s", SIZE, crop=tmp_path / "boxes.csv", workers=0, progress=False)
    assert ["no times: give their windows by start_frame and end_frame" in row.note for row in report.skipped] == [True]
    with cut(tmp_path, "video,start_frame,end_frame,x,y,w,h\na,2,6,0,0,16,16\n") as store:
        assert [clip.frame for clip in store.clips] == [2]


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
