from __future__ import annotations

import errno
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from growreel.data.contact import contact_sheet, describe
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.converting import convert
from growreel.preparation.cutting import fit_picture
from growreel.preparation.folders import natural_key
from growreel.preparation.prepare import prepare
from growreel.preparation.report import PrepareReport
from growreel.preparation.sources import find_sources
from growreel.reading.faults import why
from growreel.reading.files import open_file
from growreel.video import archives
from growreel.video.media import StillPicture
from media import block_frames, cut_off, encode, save_frames, save_image, save_strip

SIZE = Size(4, 16, 16)
LOSSLESS: dict[str, Any] = {"codec": "ffv1", "pix_fmt": "bgr0"}


def run(source: Path, store: Path, size: Size = SIZE, **options: Any) -> tuple[PrepareReport, ClipStore]:
    report = prepare(source, store, size, progress=False, **{"workers": 0, **options})
    assert report.store == store
    opened = ClipStore.open(store)
    opened.verify()
    assert len(opened) == report.clips
    return report, opened


def read_all(store: ClipStore) -> NDArray[np.uint8]:
    return store.read(range(len(store)), store.size)


def notes(report: PrepareReport) -> dict[str, str]:
    return {row.name: row.note for row in report.skipped}


def test_video_frames_reach_the_store_bit_for_bit(tmp_path: Path) -> None:
    frames = block_frames(13, 16, 16)
    (tmp_path / "in").mkdir()
    encode(tmp_path / "in/a.mkv", frames, fps=12, **LOSSLESS)
    report, store = run(tmp_path / "in", tmp_path / "s")
    assert np.array_equal(read_all(store), frames[:12].reshape(3, 4, 16, 16, 3))
    assert [(clip.source, clip.frame) for clip in store.clips] == [("a.mkv", 0), ("a.mkv", 4), ("a.mkv", 8)]
    assert (store.fps, report.exit_code, report.rows[0].frames) == (12, 0, 13)


@pytest.fixture
def film(tmp_path: Path) -> tuple[Path, NDArray[np.uint8]]:
    """A folder with one lossless video of 20 frames, and the frames."""
    frames = block_frames(20, 16, 16)
    (tmp_path / "film").mkdir()
    encode(tmp_path / "film/a.mkv", frames, fps=20, **LOSSLESS)
    return tmp_path / "film", frames


def test_strides_and_limits(tmp_path: Path, film: tuple[Path, NDArray[np.uint8]]) -> None:
    source, frames = film
    _, store = run(source, tmp_path / "every_third", frame_stride=3)
    assert np.array_equal(read_all(store), [frames[0:12:3]])
    assert store.fps == pytest.approx(20 / 3)
    _, store = run(source, tmp_path / "overlapping", frame_stride=2, clip_stride=5)
    assert np.array_equal(read_all(store), [frames[start : start + 8 : 2] for start in (0, 5, 10)])
    report, store = run(source, tmp_path / "apart", clip_stride=7, max_clips_per_video=2)
    assert np.array_equal(read_all(store), [frames[0:4], frames[7:11]])
    assert report.rows[0].frames == 11  # what comes after the last clip is not decoded
    _, store = run(source, tmp_path / "slower", fps=10)
    assert np.array_equal(read_all(store), frames[::2][:8].reshape(2, 4, 16, 16, 3))
    assert store.fps == 10


def test_grey(tmp_path: Path, film: tuple[Path, NDArray[np.uint8]]) -> None:
    source, frames = film
    _, store = run(source, tmp_path / "s", colors=1)
    luma = np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in frames])[..., None]
    assert store.channels == 1
    assert np.abs(read_all(store).reshape(luma.shape).astype(int) - luma).max() <= 2


def test_strips_and_frame_folders_and_labels(tmp_path: Path) -> None:
    clips = {name: block_frames(12, 16, 16, seed) for seed, name in enumerate(["across", "down", "folder", "deep"])}
    (tmp_path / "in/walk").mkdir(parents=True)
    save_strip(tmp_path / "in/walk/a.jpg", clips["across"], format="PNG")
    save_strip(tmp_path / "in/walk/b.png", clips["down"], vertical=True)
    save_frames(tmp_path / "in/run", clips["folder"])
    save_frames(tmp_path / "in/run/more/deep", clips["deep"])
    report, store = run(tmp_path / "in", tmp_path / "s", Size(12, 16, 16), labels=True)
    found = {clip.source: (store.labels[clip.label or 0], pixels) for clip, pixels in zip(store.clips, read_all(store), strict=True)}
    assert {name: label for name, (label, _) in found.items()} == {
        "walk/a.jpg": "walk",
        "walk/b.png": "walk",
        "run": "run",
        "run/more/deep": "run",
    }
    for name, clip in zip(("walk/a.jpg", "walk/b.png", "run", "run/more/deep"), clips.values(), strict=True):
        assert np.array_equal(found[name][1], clip)
    assert report.exit_code == 0
    assert store.fps == 25


def test_wide_frames_are_not_taken_for_strips(tmp_path: Path) -> None:
    frames = block_frames(5, 16, 32)
    save_frames(tmp_path / "in", frames)
    _, store = run(tmp_path / "in", tmp_path / "s")
    assert np.array_equal(read_all(store), frames[None, :4, :, 8:24])


def test_tiles_are_sources_of_their_own(tmp_path: Path) -> None:
    tiles = np.stack([block_frames(9, 16, 16, seed) for seed in range(6)])
    grid = np.concatenate([np.concatenate(list(tiles[row : row + 2]), axis=2) for row in (0, 2, 4)], axis=1)
    (tmp_path / "in").mkdir()
    path = encode(tmp_path / "in/a.mkv", grid, **LOSSLESS)
    report, store = run(path, tmp_path / "s", tiles=(3, 2))
    assert [row.name for row in report.rows] == [f"a.mkv#r{row}c{column}" for row in (1, 2, 3) for column in (1, 2)]
    for clip, pixels in zip(store.clips, read_all(store), strict=True):
        tile = [row.name for row in report.rows].index(clip.source)
        assert np.array_equal(pixels, tiles[tile, clip.frame : clip.frame + 4])
    assert len(store) == 12
    wrong = prepare(path, tmp_path / "t", SIZE, tiles=(5, 2), workers=0, progress=False)
    assert wrong.exit_code == 2
    assert "frames of 48x32 (height x width) do not divide into 5x2 tiles" in wrong.rows[0].note


def test_bad_input_is_listed_and_the_rest_is_used(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    good = block_frames(8, 16, 16)
    encode(source / "good.mkv", good, **LOSSLESS)
    (source / "text.mp4").write_text("no pictures here\n" * 20)
    (source / "LICENSE").write_text("You may.\n")
    (source / ".hidden.mp4").write_text("x")
    (source / "Thumbs.db").write_text("x")
    encode(source / "short.mkv", block_frames(3, 16, 16), **LOSSLESS)
    encode(source / "single.mkv", block_frames(1, 16, 16), **LOSSLESS)
    cut_off(encode(source / "no_index.mp4", block_frames(20)))
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    cut_off(encode(source / "truncated.mkv", noise, **LOSSLESS))
    cut_off(save_image(source / "broken.png", noise[0]))
    (source / "nothing.gif").touch()
    (source / "dangling.mp4").symlink_to(source / "gone.mp4")
    (source / "loop").symlink_to(source)
    os.mkfifo(source / "pipe")
    report, store = run(source, tmp_path / "s")
    rows = {row.name: row for row in report.rows}
    assert rows["good.mkv"].status == "used"
    truncated = rows["truncated.mkv"]
    assert (truncated.status, truncated.note) == ("used", f"truncated or damaged after frame {truncated.frames}")
    assert 10 <= truncated.frames < 30
    assert truncated.clips == truncated.frames // 4
    reasons = notes(report)
    assert reasons.pop("broken.png").startswith("cannot be decoded (")
    assert reasons == {
        "text.mp4": "not a video or image",
        "short.mkv": "3 frames, needs 4",
        "single.mkv": "1 frame, needs 4",
        "no_index.mp4": "an incomplete video: its index or head is missing, so no frame can be decoded; copy it again",
        "nothing.gif": "not a video or image",
        "dangling.mp4": "link to nothing",
        "loop": "link that leads back to a folder it is in",
    }
    assert {name for name, row in rows.items() if row.status == "ignored"} == {"LICENSE", "pipe"}
    assert report.exit_code == 1
    assert np.array_equal(read_all(store)[:2], good.reshape(2, 4, 16, 16, 3))
    assert dict(store.skipped) == notes(report)
    table = report.table()
    assert "3 frames, needs 4" in table
    assert table.splitlines()[-1].startswith(f"{len(store)} clips in {tmp_path / 's'}; sources: 2 used, 8 skipped, 2 ignored")


def test_nothing_usable_makes_no_store(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.mp4").write_text("text")
    report = prepare(tmp_path / "in", tmp_path / "s", SIZE, workers=0, progress=False)
    assert (report.exit_code, report.store, report.clips) == (2, None, 0)
    assert "no clips: no store was made" in report.table()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_clear_errors_before_any_work(tmp_path: Path) -> None:
    source, store = tmp_path / "in", tmp_path / "s"
    with pytest.raises(GrowreelError, match="in: no such file or folder"):
        prepare(source, store, SIZE, workers=0)
    source.mkdir()
    with pytest.raises(GrowreelError, match="no videos, frames or strips found; SOURCE"):
        prepare(source, store, SIZE, workers=0)
    (source / "README").write_text("words")
    with pytest.raises(GrowreelError, match=r"no videos, frames or strips found \(only README\)"):
        prepare(source, store, SIZE, workers=0)
    encode(source / "a.mkv", block_frames(8, 16, 16), **LOSSLESS)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"frame_stride": 0}, "--frame-stride 0: must be at least 1"),
        ({"clip_stride": 0}, "--clip-stride 0: must be at least 1"),
        ({"max_clips_per_video": 0}, "--max-clips-per-video 0: must be at least 1"),
        ({"fps": -1.0}, "--fps -1.0: must be from 0.01"),
        ({"tiles": (0, 3)}, "--tiles: rows and columns 0: must be at least 1"),
        ({"fit": "stretch"}, "--fit stretch: is unknown; use crop or pad"),
        ({"colors": 4}, "--colors 4: must be 3"),
        ({"labels": True}, "--labels: .*has no sub-folders"),
    ]
    for options, message in wrong:
        with pytest.raises(GrowreelError, match=message):
            prepare(source, store, SIZE, **{"workers": 0, **options})
    for place in (source, tmp_path):
        with pytest.raises(GrowreelError, match="cannot be SOURCE"):
            prepare(source, place, SIZE, workers=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_store_inside_its_source_is_left_out_of_it(film: tuple[Path, NDArray[np.uint8]]) -> None:
    source, _ = film
    run(source, source / "store")
    report, _ = run(source, source / "store", overwrite=True, frame_stride=2)
    assert [row.name for row in report.rows] == ["a.mkv"]


def test_unreadable_folder_and_file_are_listed(
    tmp_path: Path, film: tuple[Path, NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = film
    (source / "locked").mkdir()
    (source / "secret.mkv").write_bytes((source / "a.mkv").read_bytes())
    scandir = os.scandir

    def deny(path: str | os.PathLike[str]) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    def deny_file(path: Path) -> Any:
        if path.name == "secret.mkv":
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_file(path)

    monkeypatch.setattr(os, "scandir", deny)
    monkeypatch.setattr(archives, "open_file", deny_file)
    report, _ = run(source, tmp_path / "s")
    refused = PermissionError(errno.EACCES, "Permission denied")
    assert notes(report) == {"locked": "folder cannot be read (Permission denied)", "secret.mkv": f"cannot be read ({why(refused)})"}
    assert report.exit_code == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_that_may_not_be_read_is_named(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()

    def denying(look: Any) -> Any:
        def deny(path: Any = ".") -> Any:
            if Path(path).name == "in":
                raise PermissionError(errno.EACCES, "Permission denied")
            return look(path)

        return deny

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, denying(getattr(os, name)))
    with pytest.raises(GrowreelError, match=r"in: SOURCE cannot be read \(Permission denied\)"):
        run(tmp_path / "in", tmp_path / "s", workers=workers)


def test_interrupted_prepare_continues_without_decoding_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in"
    source.mkdir()
    frames = [block_frames(8, 16, 16, seed) for seed in range(4)]
    for number, each in enumerate(frames):
        encode(source / f"{number}.mkv", each, **LOSSLESS)
    (source / "bad.mkv").write_text("text")
    encode(source / "1b.mkv", frames[0][:2], **LOSSLESS)
    converted = list[str]()

    def counting(each: Any, *rest: Any) -> Any:
        converted.append(each.name)
        return convert(each, *rest)

    monkeypatch.setattr("growreel.preparation.prepare.convert", counting)
    real, left = os.pwrite, [45]

    def pwrite(*args: Any) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    with monkeypatch.context() as patch, pytest.raises(GrowreelError) as caught:
        patch.setattr(os, "pwrite", pwrite)
        prepare(source, tmp_path / "s", SIZE, workers=0, progress=False)
    assert "disk is full. 2 clips of 1 sources are safe" in str(caught.value)
    assert "run the same command again" in str(caught.value)
    assert not (tmp_path / "s").exists()
    with pytest.raises(GrowreelError, match=r"other options \(frame_stride 1, now 2\)"):
        prepare(source, tmp_path / "s", SIZE, frame_stride=2, clip_stride=4, progress=False)
    report, store = run(source, tmp_path / "s")
    assert np.array_equal(read_all(store), np.concatenate(frames).reshape(8, 4, 16, 16, 3))
    assert converted.count("0.mkv") == 1
    whole, again = run(source, tmp_path / "t")
    assert whole.rows == report.rows
    assert again.clips == store.clips
    assert notes(report)["1b.mkv"] == "2 frames, needs 4"


def test_old_store_needs_overwrite(tmp_path: Path, film: tuple[Path, NDArray[np.uint8]]) -> None:
    run(film[0], tmp_path / "s")
    with pytest.raises(GrowreelError, match="--overwrite"):
        prepare(film[0], tmp_path / "s", SIZE, workers=0, max_clips_per_video=1)
    _, store = run(film[0], tmp_path / "s", max_clips_per_video=1, overwrite=True)
    assert len(store) == 1


def test_rates_that_differ_are_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, fps, count in (("a", 10, 4), ("b", 20, 8)):
        encode(tmp_path / f"in/{name}.mkv", block_frames(count, 16, 16), fps=fps, **LOSSLESS)
    report, store = run(tmp_path / "in", tmp_path / "s")
    assert store.fps == 20
    assert "different rates (10, 20 frames per second); --fps" in report.table()


def test_fit_picture() -> None:
    frame = np.random.default_rng(0).integers(1, 256, (40, 60, 3), dtype=np.uint8)
    assert np.array_equal(fit_picture(StillPicture(frame), 40, 60, "crop"), frame)
    assert np.array_equal(fit_picture(StillPicture(frame), 40, 40, "crop"), frame[:, 10:50])
    halved = frame[:, 10:50].reshape(20, 2, 20, 2, 3).mean(axis=(1, 3))
    assert np.abs(fit_picture(StillPicture(frame), 20, 20, "crop") - halved).max() <= 1
    padded = fit_picture(StillPicture(frame), 30, 30, "pad")
    assert (padded[:5] == 0).all()
    assert (padded[25:] == 0).all()
    assert np.abs(padded[5:25] - frame.reshape(20, 2, 30, 2, 3).mean(axis=(1, 3))).max() <= 1
    assert np.array_equal(fit_picture(StillPicture(frame), 50, 60, "pad")[5:45], frame)
    # Pixels twice as wide as high: 40 x 30 of them are 40 x 60 on screen.
    narrow = frame[:, ::2]
    assert fit_picture(StillPicture(narrow, 2.0), 20, 30, "pad").min() > 0
    assert np.abs(fit_picture(StillPicture(narrow, 2.0), 20, 20, "crop") - narrow[:, 5:25].reshape(20, 2, 20, 3).mean(axis=1)).max() <= 1
    assert fit_picture(StillPicture(frame[:1, :1]), 8, 8, "crop").shape == (8, 8, 3)
    assert fit_picture(StillPicture(np.zeros((3, 1000, 3), np.uint8)), 8, 8, "pad").shape == (8, 8, 3)


def test_pixels_that_are_not_square_become_so(tmp_path: Path) -> None:
    frames = np.zeros((4, 16, 16, 3), np.uint8)
    frames[:, :, 4:12] = 200  # 8 pixels, each twice as wide as high: as wide on screen as the frame is high
    path = encode(tmp_path / "a.mkv", frames, pixel_aspect=Fraction(2, 1), options={"crf": "1"})
    report, store = run(path, tmp_path / "s")
    assert report.exit_code == 0
    assert read_all(store)[:, :, :, 3:13].min() > 180


def test_natural_order() -> None:
    assert sorted(["f10.png", "f9.png", "F1", "f", "10", "9a", "9"], key=natural_key) == ["9", "9a", "10", "F1", "f", "f9.png", "f10.png"]


def test_find_sources_of_one_file(film: tuple[Path, NDArray[np.uint8]]) -> None:
    found = find_sources(film[0] / "a.mkv")
    assert [(each.name, each.kind, each.label) for each in found.sources] == [("a.mkv", "video", None)]
    assert found.skips == []


def test_describe_and_contact_sheet(tmp_path: Path) -> None:
    clips = block_frames(24, 16, 16).reshape(6, 4, 16, 16, 3)
    (tmp_path / "in/one").mkdir(parents=True)
    (tmp_path / "in/two").mkdir()
    for number, clip in enumerate(clips):
        save_strip(tmp_path / f"in/{'one' if number < 2 else 'two'}/{number}.png", clip)
    _, store = run(tmp_path / "in", tmp_path / "s", labels=True)
    text = describe(store)
    for fact in (
        "6 clips of 4x16x16, RGB, 25 frames per second",
        "sources   6, 1 clip each",
        "one 2, two 4",
        "1x2x2",
        "MiB",
        "fit=crop",
    ):
        assert fact in text
    contact_sheet(store, tmp_path / "sheet.png", count=3)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (48, 64, 3)
    rows = [sheet[16 * row : 16 * row + 16].reshape(16, 4, 16, 3).swapaxes(0, 1) for row in range(3)]
    order = [next(number for number, clip in enumerate(clips) if np.array_equal(clip, row)) for row in rows]
    assert order == sorted(set(order))
    contact_sheet(store, tmp_path / "all.png", count=99)
    assert np.asarray(Image.open(tmp_path / "all.png")).shape == (96, 64, 3)
    with pytest.raises(GrowreelError, match=r"is a \.png file"):
        contact_sheet(store, tmp_path / "sheet.txt")
    with pytest.raises(GrowreelError, match="--count 0: must be at least 1"):
        contact_sheet(store, tmp_path / "sheet.png", count=0)
