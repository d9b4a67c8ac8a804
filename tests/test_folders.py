"""What single pictures, archives, arrays and stacks are taken for."""

from __future__ import annotations

import datetime
import errno
import io
import json
import os
import struct
import subprocess
import tarfile
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from growreel.cli import main
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.folders import arrange, natural_key
from growreel.preparation.looking import Look, reason_of
from growreel.preparation.prepare import prepare
from growreel.preparation.report import PrepareReport
from growreel.preparation.sources import find_sources
from growreel.video import images
from growreel.video.archives import BOMB_BYTES, MediaFile, list_archive
from heic import write_heic
from media import block_frames, encode, save_image

SIZE = Size(4, 16, 16)


def films_of(*names: str, films: tuple[str, ...] = ()) -> tuple[dict[str, list[str]], list[str], dict[str, set[int]]]:
    """Films by pattern, names left out, and where films have gaps."""
    looks = [Look(MediaFile(Path(name)), "image", 16, 16) for name in sorted(names, key=natural_key)]
    found, left_out = arrange(looks, films)
    return (
        {film.pattern: [each.file.name for each in film.looks] for film in found},
        [each.file.name for each, _ in left_out],
        {film.pattern: set(film.begins) for film in found},
    )


def numbered(pattern: str, count: int, start: int = 0) -> list[str]:
    return [pattern.format(number) for number in range(start, start + count)]


def test_two_films_in_one_folder() -> None:
    cat, dog = numbered("cat_{:03}.png", 6), numbered("dog_{:03}.png", 6)
    assert films_of(*cat, *dog)[0] == {"cat_*.png": cat, "dog_*.png": dog}
    first, second = numbered("take1_{:02}.png", 5), numbered("take2_{:02}.png", 5)
    assert films_of(*first, *second)[0] == {"take1_*.png": first, "take2_*.png": second}
    on = numbered("shot2_{:03}.png", 5, 5)  # the count goes on, the shot is another one
    assert films_of(*numbered("shot1_{:03}.png", 5), *on)[0]["shot2_*.png"] == on


def test_a_time_beside_the_number_is_no_other_film() -> None:
    names = [f"frame_{k:03}_{33 * k}ms.png" for k in range(8)]
    assert list(films_of(*names)[0].values()) == [names]


def test_gaps() -> None:
    names = numbered("{:04}.png", 4) + numbered("{:04}.png", 4, 50)
    found, _, begins = films_of(*names)
    assert (found, begins) == ({"*.png": names}, {"*.png": {4}})
    assert films_of(*[f"{k}.png" for k in range(0, 100, 5)])[2] == {"*.png": set()}
    assert films_of("0.png", "1.png", "2.png", "4.png", "5.png")[2] == {"*.png": {3}}
    times = np.cumsum(np.random.default_rng(0).integers(30_000_000, 50_000_000, 20)) + 1_403_636_579_763_555_584
    assert films_of(*[f"{time}.png" for time in times])[2] == {"*.png": set()}


def test_decimals_and_what_only_looks_like_them() -> None:
    times = ["t0.25.png", "t0.5.png", "t0.75.png", "t1.0.png", "t1.25.png"]
    found, _, begins = films_of(*times)
    assert list(found.values()) == [times]
    assert list(begins.values()) == [set()]
    even = [f"t{k / 10:.2f}.png" for k in range(15)]
    assert list(films_of(*even)[0].values()) == [even]
    shots = numbered("shot1.{:04}.png", 5) + numbered("shot2.{:04}.png", 5)
    assert list(films_of(*shots)[0].values()) == [shots[:5], shots[5:]]
    counted = numbered("a1.{}.png", 13)
    assert list(films_of(*counted)[0].values()) == [counted]


@pytest.mark.parametrize(
    "written",
    [
        "cam_%Y-%m-%d_%H-%M-%S",
        "%Y%m%d_%H%M%S",
        "IMG_%Y%m%d_%H%M%S%f",
        "%Y-%m-%d %H.%M.%S.%f",
        "lobby %Y%m%d%H%M%S front",
        "%Y-%m-%dT%H:%M:%S_2",
    ],
)
def test_pictures_named_by_the_clock(written: str) -> None:
    """A picture every 7 s over midnight of the last of a month; at noon the camera was off for an hour."""
    start = datetime.datetime(2026, 11, 30, 23, 58, 30, 500_000)
    steps = [datetime.timedelta(seconds=7 * k + (3600 if k >= 20 else 0)) for k in range(30)]
    names = [f"{(start + step).strftime(written)}.jpg" for step in steps]
    (found, _, begins) = films_of(*names)
    assert list(found.values()) == [names] and list(begins.values()) == [{20}]


def test_what_only_looks_like_a_clock() -> None:
    takes = numbered("20261127_140509_{:03}.png", 5) + numbered("20261127_150000_{:03}.png", 5)  # named after their first moment
    assert list(films_of(*takes)[0].values()) == [takes[:5], takes[5:]]
    whole = numbered("2026-13-45_99-99-99_{:02}.png", 5)
    assert films_of(*whole)[0] == {"2026-13-45_99-99-99_*.png": whole}
    counted = numbered("{:014}.png", 5, 20261127140557)  # beyond 59 seconds: a number like others
    assert films_of(*counted)[0] == {"*.png": counted}


def test_masks_and_thumbnails_are_left_out() -> None:
    frames, masks = numbered("f{}.png", 4), numbered("f{}_mask.png", 4)
    assert films_of(*frames, *masks)[:2] == ({"f*.png": frames}, masks)
    assert films_of(*masks)[:2] == ({"f*_mask.png": masks}, [])  # alone they are what there is
    depth = numbered("depth_{:02}.png", 4)
    assert films_of(*numbered("rgb_{:02}.png", 4), *depth)[0]["depth_*.png"] == depth  # not named after the others
    posters = numbered("film {}.jpg", 5)
    assert films_of(*posters, films=tuple(numbered("film {}.mp4", 5)))[:2] == ({}, posters)
    assert films_of("poster.png", *frames)[1] == ["poster.png"]


def test_names_without_a_rule_are_one_film_in_natural_order() -> None:
    names = ["a.png", "b.png", "zebra.png", "10.png", "9.png"]
    assert films_of(*names)[0] == {"*": ["9.png", "10.png", "a.png", "b.png", "zebra.png"]}


def test_digits_of_other_scripts_are_letters() -> None:
    assert sorted(["10²", "②", "9", "10"], key=natural_key) == ["9", "10", "10²", "②"]


def run(source: Path, store: Path, **options: Any) -> tuple[PrepareReport, dict[str, NDArray[np.uint8]]]:
    """The report, and the clips of each source."""
    report = prepare(source, store, SIZE, workers=0, progress=False, **options)
    clips: dict[str, list[NDArray[np.uint8]]] = {}
    if report.store is not None:
        opened = ClipStore.open(store)
        for number, clip in enumerate(opened.clips):
            clips.setdefault(clip.source, []).append(opened.read([number], opened.size)[0])
    return report, {name: np.stack(each) for name, each in clips.items()}


def test_no_clip_crosses_a_gap_or_a_broken_picture(tmp_path: Path) -> None:
    frames = block_frames(14, 16, 16)
    for folder in ("gap", "broken"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    for number, frame in enumerate(frames[:12]):
        save_image(tmp_path / f"in/gap/{number if number < 6 else number + 40:04}.png", frame)
    for number, frame in enumerate(frames):
        save_image(tmp_path / f"in/broken/{number:04}.png", frame)
    broken = tmp_path / "in/broken/0005.png"
    broken.write_bytes(broken.read_bytes()[:60])
    report, clips = run(tmp_path / "in", tmp_path / "s")
    assert np.array_equal(clips["gap"], [frames[0:4], frames[6:10]])
    assert np.array_equal(clips["broken"], [frames[0:4], frames[6:10], frames[10:14]])
    notes = {row.name: row.note for row in report.rows}
    assert notes["gap"] == "gaps in its numbers (1, the first after 0005.png); no clip goes across"
    assert notes["broken"].startswith("0005.png: cannot be decoded (")
    assert report.exit_code == 1


def test_pictures_of_another_size_end_a_clip(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    frames = block_frames(10, 32, 32)
    for number, frame in enumerate(frames):
        save_image(tmp_path / f"in/{number}.png", frame if number < 5 else frame[:16, :16])
    _, clips = run(tmp_path / "in", tmp_path / "s")
    assert len(clips["in"]) == 2
    assert np.array_equal(clips["in"][1], frames[5:9, :16, :16])


@pytest.mark.parametrize("suffix", [".tga", ".sgi", ".exr", ".dpx"])
def test_a_folder_of_pictures_that_ffmpeg_knows(tmp_path: Path, suffix: str) -> None:
    frames = block_frames(4, 16, 16)
    (tmp_path / "in").mkdir()
    for number, frame in enumerate(frames):
        if suffix in (".tga", ".sgi"):
            save_image(tmp_path / f"in/{number:03}{suffix}", frame)
        else:
            encode_still(tmp_path / f"in/{number:03}{suffix}", frame)
    report, clips = run(tmp_path / "in", tmp_path / "s")
    assert report.exit_code == 0
    assert np.abs(clips["in"].astype(int) - frames).max() <= 1


@pytest.mark.parametrize("turns", [0, 1])
def test_a_folder_of_heic(tmp_path: Path, turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By FFmpeg, without the extra `heic`."""
    monkeypatch.setattr(images, "_reads_heic", lambda: False)
    (tmp_path / "in").mkdir()
    shown = [
        np.rot90(write_heic(tmp_path / f"in/{number}.heic", [frame], quarter_turns=turns)[0], turns)
        for number, frame in enumerate(block_frames(4, 64, 64))
    ]
    report = prepare(tmp_path / "in", tmp_path / "s", Size(4, 64, 64), workers=0, progress=False)
    assert report.exit_code == 0
    with ClipStore.open(tmp_path / "s") as store:
        assert np.array_equal(store.read([0], store.size)[0], np.stack(shown))


def test_heic_of_tiles_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg would give the first tile for the picture."""
    (tmp_path / "in").mkdir()
    tiles = [np.concatenate(write_heic(tmp_path / f"in/{k}.heic", [*block_frames(2, 64, 64, seed=k)]), axis=1) for k in range(4)]
    with monkeypatch.context() as patch:
        patch.setattr(images, "_reads_heic", lambda: False)
        report, _ = run(tmp_path / "in", tmp_path / "s")
    assert report.store is None
    assert "a HEIC picture made of tiles, as phones write it: pip install 'growreel[heic]'" in report.rows[0].note
    pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    prepare(tmp_path / "in", tmp_path / "t", Size(4, 64, 128), workers=0, progress=False)
    with ClipStore.open(tmp_path / "t") as store:
        assert np.abs(store.read([0], store.size)[0].astype(int) - np.stack(tiles)).max() <= 3  # libheif rounds colours otherwise


def encode_still(path: Path, frame: NDArray[np.uint8]) -> None:
    codec = av.CodecContext.create(path.suffix[1:], "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.height, codec.width, codec.pix_fmt = frame.shape[0], frame.shape[1], "gbrpf32le" if path.suffix == ".exr" else "rgb24"
    codec.time_base = Fraction(1, 25)
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=codec.pix_fmt)
    path.write_bytes(b"".join(bytes(packet) for packet in [*codec.encode(picture), *codec.encode(None)]))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pictures_of_more_than_8_bits_use_the_range_they_have(tmp_path: Path, suffix: str, bits: int) -> None:
    """The mapping is one for all frames: a dark frame stays dark beside a bright one."""
    (tmp_path / "in").mkdir()
    top = 2**bits - 1
    ramp = np.linspace(0, top, 256).round().astype(np.uint16).reshape(16, 16)
    frames = [ramp // 2, ramp, ramp // 4, ramp // 8]
    for number, frame in enumerate(frames):
        save_image(tmp_path / f"in/{number}{suffix}", frame)
    report, clips = run(tmp_path / "in", tmp_path / "s", colors=1)
    wanted = np.stack([np.floor(frame.astype(float) * 255 / top + 0.5) for frame in frames])
    assert np.abs(clips["in"][0, ..., 0] - wanted).max() <= 1
    assert f"of which {bits} bits are used" in report.rows[0].note
    tifffile.imwrite(tmp_path / "stack.tif", np.stack(frames), photometric="minisblack")
    report, clips = run(tmp_path / "stack.tif", tmp_path / "t", colors=1)
    assert np.abs(clips["stack.tif"][0, ..., 0] - wanted).max() <= 1


def deep_picture(path: Path, samples: NDArray[np.uint16], orientation: int = 1) -> None:
    """A PNG or TIFF of 16-bit samples [h, w, 2 to 4]; Pillow writes none."""
    if path.suffix == ".tif":
        extra = [("ExtraSamples", "H", 1, 2, True)] if samples.shape[2] == 4 else []
        tags: Any = [("Orientation", "H", 1, orientation, True), *extra]
        tifffile.imwrite(path, samples, photometric="rgb", extratags=tags)
        return
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)
    kind = {2: 4, 3: 2, 4: 6}[samples.shape[2]]
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + bytes([0, orientation]) + bytes(6)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, kind, 0, 0, 0)), (b"eXIf", exif)]
    chunks += [(b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    written = [struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))


@pytest.mark.parametrize(("suffix", "samples"), [(".png", 2), (".png", 3), (".png", 4), (".tif", 3)])
def test_colours_of_16_bits_use_the_range_they_have(tmp_path: Path, suffix: str, samples: int) -> None:
    """Twelve bits of sixteen, of which Pillow would take the upper eight; transparency uses all bits; turned upright."""
    (tmp_path / "in").mkdir()
    colors = np.random.default_rng(0).integers(0, 4096, (4, 12, 16, 1 if samples == 2 else 3), dtype=np.uint16)
    opacity = np.full((4, 12, 16, 1), 65535, np.uint16)
    opacity[:, :, 8:] = 0
    frames = colors if samples == 3 else np.concatenate([colors, opacity], axis=-1)
    for number, frame in enumerate(frames):
        deep_picture(tmp_path / f"in/{number}{suffix}", frame, orientation=3)
    report = prepare(tmp_path / "in", tmp_path / "s", Size(4, 12, 16), workers=0, progress=False)
    wanted = colors[:, ::-1, ::-1] * (255 / 4095) * (1 if samples == 3 else (opacity > 0)[:, ::-1, ::-1])
    with ClipStore.open(tmp_path / "s") as store:
        assert np.abs(store.read([0], store.size)[0] - wanted).max() <= 1
    assert "of which 12 bits are used" in report.rows[0].note


def test_a_strip_of_12_bits_is_not_dark(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 4096, (4, 16, 16), dtype=np.uint16)
    save_image(tmp_path / "a.png", np.concatenate(list(frames), axis=1))
    report, clips = run(tmp_path / "a.png", tmp_path / "s", colors=1)
    assert np.abs(clips["a.png"][0, ..., 0] - frames * (255 / 4095)).max() <= 1
    assert "of which 12 bits are used" in report.rows[0].note


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_channels_of_a_stack_are_not_its_time(tmp_path: Path, kind: str) -> None:
    stack = np.random.default_rng(0).integers(0, 256, (8, 2, 16, 16), dtype=np.uint8)
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    tifffile.imwrite(path, stack, imagej=kind == "imagej", ome=kind == "ome", metadata={"axes": "TCYX"})
    report, _ = run(path, tmp_path / "s")
    assert report.exit_code == 2
    assert report.rows[0].note == "2 channels, and its axes are TCYX, 8x2x16x16; choose one: --channel 0 to 1"
    _, clips = run(path, tmp_path / "s", colors=1, channel=1)
    assert np.array_equal(clips[path.name][..., 0], stack[:, 1].reshape(2, 4, 16, 16))
    report, _ = run(path, tmp_path / "t", channel=2)
    assert "--channel 2" in report.rows[0].note


def test_time_and_depth_together_have_no_reading(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 3, 16, 16), np.uint8), imagej=True, metadata={"axes": "TZYX"})
    report, _ = run(tmp_path / "a.tif", tmp_path / "s")
    assert report.rows[0].note.startswith("its axes are TZYX, 4x3x16x16, so it is not one row of pictures in time")


def test_an_imagej_stack_in_one_directory(tmp_path: Path) -> None:
    """The form for more than 4 GB: only the first picture has a directory."""
    stack = np.random.default_rng(0).integers(0, 256, (8, 16, 16), dtype=np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack[:1], description="ImageJ=1.53\nimages=8\nslices=8\n", metadata=None)
    with tifffile.TiffFile(path) as opened:
        offset = opened.pages[0].dataoffsets[0]
    path.write_bytes(path.read_bytes()[:offset] + stack.tobytes())
    _, clips = run(path, tmp_path / "s", colors=1)
    assert np.array_equal(clips["a.tif"][..., 0], stack.reshape(2, 4, 16, 16))
    path.write_bytes(path.read_bytes()[: offset + 5 * 256 + 9])
    report, clips = run(path, tmp_path / "t", colors=1)
    assert np.array_equal(clips["a.tif"][..., 0], stack[:4][None])
    assert (report.rows[0].note, report.exit_code) == ("truncated or damaged after frame 5", 1)


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((8, 16, 16, 3), None),
        ((8, 3, 16, 16), (0, 2, 3, 1)),
        ((2, 4, 16, 16, 3), None),
        ((2, 4, 3, 16, 16), (0, 1, 3, 4, 2)),
        ((2, 3, 4, 16, 16), (0, 2, 3, 4, 1)),
        ((8, 16, 16), None),
    ],
)
@pytest.mark.parametrize("fortran", [False, True])
def test_arrays_of_every_order(tmp_path: Path, shape: tuple[int, ...], order: tuple[int, ...] | None, fortran: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    wanted = array.transpose(order) if order else array
    colors = 1 if len(shape) == 3 else 3
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in/a.npy", np.asfortranarray(array) if fortran else array)
    np.savez_compressed(tmp_path / "in/b.npz", first=array, second=array[::-1])
    report, clips = run(tmp_path / "in", tmp_path / "s", colors=colors)
    assert report.exit_code == 0
    several = len(shape) == 5
    names = ["a.npy#0", "a.npy#1"] if several else ["a.npy"]
    assert np.array_equal(np.concatenate([clips[name] for name in names]).reshape(wanted.shape), wanted)
    reverse = ["b.npz#second#0", "b.npz#second#1"] if several else ["b.npz#second"]
    assert np.array_equal(np.concatenate([clips[name] for name in reverse]).reshape(wanted.shape), wanted[::-1])


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((8, 16, 16, 3), np.float32), "the array holds float32 values, which have no known range"),
        (np.zeros((16, 16), np.uint8), "the array has the shape [16, 16]; a film is"),
        (np.zeros((16, 16, 3), np.uint8), "the array has the shape [16, 16, 3]; a film is"),
        (np.zeros((0, 16, 16, 3), np.uint8), "the array is empty"),
        (np.array([{"code": 1}]), "not plain numbers"),
    ],
)
def test_arrays_that_could_be_anything_are_refused(tmp_path: Path, array: NDArray[Any], reason: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    report, _ = run(tmp_path / "a.npy", tmp_path / "s")
    assert (report.exit_code, reason in report.rows[0].note) == (2, True)


def test_what_else_is_in_an_npz_stops_nothing(tmp_path: Path) -> None:
    film = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    others: dict[str, Any] = {"labels": np.arange(4), "names": np.array(["a", "b"]), "mask": film[..., 0], "facts": np.array([{}])}
    np.savez(tmp_path / "a.npz", film=film, **others)
    report, clips = run(tmp_path / "a.npz", tmp_path / "s")
    assert report.exit_code == 0 and list(clips) == ["a.npz#film"] and np.array_equal(clips["a.npz#film"][0], film)
    assert {row.name for row in report.rows if row.status == "ignored"} == {f"a.npz#{name}" for name in others}
    np.savez(tmp_path / "b.npz", labels=np.arange(4))
    report, _ = run(tmp_path / "b.npz", tmp_path / "t")
    assert report.rows[0].note.startswith("no array of it is a film: labels holds int64 values")


def test_a_truncated_array_says_so(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((8, 16, 16, 3), np.uint8))
    os.truncate(tmp_path / "a.npy", 1000)
    report, _ = run(tmp_path / "a.npy", tmp_path / "s")
    assert "truncated: 1,000 bytes, should have 6,272" in report.rows[0].note


def pack(path: Path, files: dict[str, bytes], *, stored: bool = False) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        mode: Any = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz"}[path.suffix]
        with tarfile.open(path, mode) as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["a.zip", "stored.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.xz"])
def test_archives_are_read_without_unpacking(tmp_path: Path, name: str) -> None:
    frames = block_frames(8, 16, 16)
    encode(tmp_path / "film.mkv", frames, codec="ffv1", pix_fmt="bgr0")
    files = {"wave/film.mkv": (tmp_path / "film.mkv").read_bytes(), "wave/notes.txt": b"words " * 20, "__MACOSX/._film.mkv": b"x"}
    for number, frame in enumerate(frames):
        for suffix in (".png", ".tga"):
            picture = io.BytesIO()
            Image.fromarray(frame).save(picture, {".png": "PNG", ".tga": "TGA"}[suffix])
            files[f"bend/{suffix[1:]}/{number}{suffix}"] = picture.getvalue()
    np.save(tmp_path / "array.npy", frames)
    files["array.npy"] = (tmp_path / "array.npy").read_bytes()
    tifffile.imwrite(tmp_path / "stack.tif", frames[..., 0], imagej=True, metadata={"axes": "TYX"})
    files["stack.tif"] = (tmp_path / "stack.tif").read_bytes()
    (tmp_path / "in").mkdir()
    archive = pack(tmp_path / "in" / name, files, stored=name.startswith("stored"))
    report, clips = run(tmp_path / "in", tmp_path / "s", labels=True)
    wanted = frames.reshape(2, 4, 16, 16, 3)
    for inside in ("wave/film.mkv", "bend/png", "bend/tga", "array.npy"):
        assert np.array_equal(clips[f"{name}/{inside}"], wanted), inside
    assert np.array_equal(clips[f"{name}/stack.tif"][..., 0], wanted[..., 0])
    assert report.exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["array.npy", "film.mkv", "in", "s", "stack.tif"]
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == [archive.name]
    with ClipStore.open(tmp_path / "s") as store:
        labels = {clip.source.split("/", 1)[1]: store.labels[clip.label] for clip in store.clips if clip.label is not None}
    assert labels["wave/film.mkv"] == "wave"
    assert labels["bend/png"] == "bend"


def test_archives_that_mean_no_good(tmp_path: Path) -> None:
    good = tmp_path / "good.mkv"
    encode(good, block_frames(4, 16, 16), codec="ffv1", pix_fmt="bgr0")
    film = good.read_bytes()
    (tmp_path / "in").mkdir()
    names = ["../out.mkv", "/abs.mkv", "a/../../b.mkv", "C:\\x.mkv", "fine.mkv"]
    pack(tmp_path / "in/names.zip", dict.fromkeys(names, film))
    with tarfile.open(tmp_path / "in/links.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo(f"link{kind!r}.mkv")
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
        info = tarfile.TarInfo("../up.mkv")
        info.size = len(film)
        tar.addfile(info, io.BytesIO(film))
    pack(tmp_path / "in/bomb.zip", {"zeros.npy": bytes(BOMB_BYTES + 1)})
    pack(tmp_path / "in/nested.zip", {"inner.zip": (tmp_path / "in/names.zip").read_bytes()})
    (tmp_path / "in/damaged.zip").write_bytes((tmp_path / "in/names.zip").read_bytes()[:500])
    (tmp_path / "in/arrays.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    report, clips = run(tmp_path / "in", tmp_path / "s")
    assert list(clips) == ["names.zip/fine.mkv"]
    assert report.exit_code == 1
    notes = {row.name: row.note for row in report.skipped}
    assert [note for name, note in notes.items() if name.startswith("names.zip")] == ["a name that leads out of the archive"] * 4
    assert [note for name, note in notes.items() if name.startswith("links.tar/link")] == ["a link inside an archive"] * 2
    assert notes["links.tar/../up.mkv"] == "a name that leads out of the archive"
    assert notes["bomb.zip/zeros.npy"].startswith("unpacks to ")
    assert notes["nested.zip/inner.zip"] == "an archive inside an archive is not read"
    assert notes["damaged.zip"].startswith("no archive, or a damaged one (")
    assert "HDF5" in notes["arrays.h5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.mkv", "in", "s"]


def test_a_zip_that_lies_about_sizes_is_unpacked_no_further(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a.npy": bytes(100_000)})
    data = bytearray(path.read_bytes())
    real = (100_000).to_bytes(4, "little")
    while (place := data.find(real)) >= 0:
        data[place : place + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    (member,), _ = list_archive(path)
    assert member.size == 1000
    with pytest.raises(GrowreelError, match="cannot be unpacked"), MediaFile(path, member).opened():
        pass


def test_a_tree_of_any_depth(tmp_path: Path) -> None:
    """2,500 folders in one another are more than Python's recursion takes, and at the end more than a path may name."""
    deepest, depth = tmp_path / "in", 2500
    deepest.mkdir()
    here = Path.cwd()
    try:
        os.chdir(deepest)
        for _ in range(depth):
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir(here)
    encode(tmp_path / "in/a.mkv", block_frames(4, 16, 16), codec="ffv1", pix_fmt="bgr0")
    try:
        found = find_sources(tmp_path / "in")
        assert [source.name for source in found.sources] == ["a.mkv"]
        assert [skip.reason for skip in found.skips] == [f"cannot be read ({os.strerror(errno.ENAMETOOLONG)})"]
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "in/d"], check=True)  # pytest's own way of removing folders is recursive


def test_names_that_are_no_text_are_shown_with_escapes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    encode(tmp_path / "a.mkv", block_frames(4, 16, 16), codec="ffv1", pix_fmt="bgr0")
    film = (tmp_path / "a.mkv").read_bytes()
    for name in (b"\xe9.mkv", b"two\nlines.mkv", b"\x1b[31mred.mkv"):
        with open(os.path.join(os.fsencode(tmp_path / "in"), name), "wb") as file:  # noqa: PTH118 - bytes
            file.write(film)
    (tmp_path / "in/10²").mkdir()
    (tmp_path / "in/10²/b.mkv").write_bytes(film)
    report, _ = run(tmp_path / "in", tmp_path / "s")
    assert report.exit_code == 0
    table = report.table(verbose=True)
    table.encode("utf-8")
    assert r"\udce9.mkv" in table
    assert r"two\nlines.mkv" in table
    assert r"\x1b[31mred.mkv" in table
    assert len(ClipStore.open(tmp_path / "s")) == 4


def test_names_that_are_no_text_reach_no_terminal_and_stop_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    pixels = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)
    for name in (b"\xe9.npy", b"two\nlines.npy", b"\x1b[31mred.npy"):
        with open(os.path.join(os.fsencode(tmp_path / "in"), name), "wb") as file:  # noqa: PTH118 - bytes
            np.save(file, pixels)
    with open(os.path.join(os.fsencode(tmp_path / "in"), b"cut\x1b\xe9.npy"), "wb") as file:  # noqa: PTH118 - bytes
        file.write(b"\x93NUMPY")
    store = str(tmp_path / "s")
    assert main(["prepare", str(tmp_path / "in"), store, "--size", "4x8x8", "--workers", "0", "--json"]) == 1
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["sources"]}
    assert {name for name, row in rows.items() if row["status"] == "used"} == {"\udce9.npy", "two\nlines.npy", "\x1b[31mred.npy"}
    assert str(tmp_path) not in rows["cut\x1b\udce9.npy"]["note"]
    for flags in ([], ["--json"]):
        assert main(["inspect", store, *flags]) == 0
        said = capsys.readouterr().out
        assert "\x1b" not in said and "two\nlines" not in said and str(tmp_path / "in") not in said


def test_a_reason_names_no_folder(tmp_path: Path) -> None:
    file = MediaFile(tmp_path / "\udce9.h5")
    assert reason_of(GrowreelError(f"{file}: not media"), file) == "not media"
    assert reason_of(OSError(f"unable to open file (name = '{file}', flags = 0)"), file).endswith("(name = '\udce9.h5', flags = 0))")
    assert reason_of(OSError(f"{tmp_path}/beside.xml is missing"), file).endswith("OSError: beside.xml is missing)")
