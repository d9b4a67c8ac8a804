from __future__ import annotations

import io
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from growreel.errors import GrowreelError
from growreel.video import DamagedError, NotMediaError, probe, read_frames, resize, tile_grid, write_clip
from media import block_frames, corner_frames, cut_off, encode, mux_jpegs, save_image


def read_all(path: Path, **options: Any) -> NDArray[np.uint8]:
    return np.stack(list(read_frames(path, **options)))


def read_until_damage(path: Path, fps: float | None = None) -> tuple[list[NDArray[np.uint8]], str]:
    frames = []
    with pytest.raises(DamagedError) as caught:
        for frame in read_frames(path, fps=fps):
            frames.append(frame)
    return frames, str(caught.value)


def far_apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean absolute difference; lossy codecs stay below 6 here, two different frames are above 40."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


FORMATS = {
    ".mp4": ("libx264", "yuv420p", {"crf": "4"}),
    ".mov": ("libx264", "yuv444p", {"crf": "4"}),
    ".mkv": ("ffv1", "yuv444p10le", {}),
    ".webm": ("libvpx-vp9", "yuv420p", {"crf": "4", "b": "0", "cpu-used": "8", "deadline": "realtime"}),
    ".avi": ("mpeg4", "yuv420p", {"qmin": "1", "qmax": "2"}),
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_video_formats_give_the_frames_that_went_in(tmp_path: Path, suffix: str) -> None:
    codec, pix_fmt, options = FORMATS[suffix]
    frames = block_frames(12)
    path = encode(tmp_path / f"a{suffix}", frames, codec=codec, pix_fmt=pix_fmt, options=options)
    path = path.rename(tmp_path / "the_name_says_nothing.bin")
    info = probe(path)
    assert (info.kind, info.height, info.width, info.fps, info.pixel_aspect) == ("video", 48, 64, 10.0, 1.0)
    decoded = read_all(path)
    assert len(decoded) == 12
    assert max(far_apart(got, want) for got, want in zip(decoded, frames, strict=True)) < 6
    luma = np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in frames])[..., None]
    assert far_apart(read_all(path, colors=1), luma) < 4


def test_mpeg_program_stream_by_name_and_odd_size(tmp_path: Path) -> None:
    frames = block_frames(10, 48, 64)
    path = encode(tmp_path / "a.mpg", frames, fps=25, codec="mpeg2video", options={"qmin": "1", "qmax": "2"})
    assert probe(path).fps == 25
    assert far_apart(read_all(path), frames) < 6
    odd = block_frames(3, 45, 61)
    assert np.array_equal(read_all(encode(tmp_path / "odd.mkv", odd, codec="ffv1", pix_fmt="bgr0")), odd)


@pytest.mark.parametrize("pix_fmt", ["gray", "gray16le"])
def test_grey_video(tmp_path: Path, pix_fmt: str) -> None:
    frames = np.repeat(block_frames(3)[..., :1], 3, axis=3)
    path = encode(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt=pix_fmt)
    assert np.abs(read_all(path).astype(int) - frames).max() <= 2
    assert np.abs(read_all(path, colors=1).astype(int) - frames[..., :1]).max() <= 2


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotated_and_mirrored_video_is_shown_upright(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    frames = corner_frames(3)
    path = encode(tmp_path / "a.mp4", frames, display=(degrees, mirrored, False), pixel_aspect=Fraction(2, 1), options={"crf": "4"})
    upright = np.rot90(frames, degrees // 90, axes=(1, 2))
    if mirrored:
        upright = upright[:, :, ::-1]
    decoded = read_all(path)
    assert far_apart(decoded, upright) < 6
    info = probe(path)
    assert (info.height, info.width) == upright.shape[1:3]
    assert info.pixel_aspect == (0.5 if degrees in (90, 270) else 2.0)


@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
def test_motion_jpeg_of_cameras_with_exif(tmp_path: Path, orientation: int | None) -> None:
    picture = Image.fromarray(corner_frames(1)[0])
    exif = picture.getexif()
    exif[0x010F] = "a camera"
    if orientation is not None:
        exif[0x0112] = orientation
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", exif=exif, quality=95)
    path = mux_jpegs(tmp_path / "a.avi", [jpeg.getvalue()] * 3, height=48, width=64)
    upright = np.rot90(corner_frames(3), {3: 2, 6: 3, 8: 1}.get(orientation or 1, 0), axes=(1, 2))
    assert far_apart(read_all(path), upright) < 6
    assert (probe(path).height, probe(path).width) == upright.shape[1:3]


def test_variable_rate_is_held_to_a_constant_one(tmp_path: Path) -> None:
    frames = block_frames(4)
    path = encode(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="bgr0", times_ms=[0, 100, 400, 500])
    assert np.array_equal(read_all(path), frames)
    assert np.array_equal(read_all(path, fps=10)[:6], frames[[0, 1, 1, 1, 2, 3]])
    assert np.array_equal(read_all(path, fps=5)[:3], frames[:3])


def test_rates_are_kept_halved_and_doubled_evenly(tmp_path: Path) -> None:
    # Matroska stores whole milliseconds: 30 frames per second come 33, 34, 33 ms apart.
    frames = block_frames(30, 16, 16)
    path = encode(tmp_path / "a.mkv", frames, fps=30, codec="ffv1", pix_fmt="bgr0")
    assert np.array_equal(read_all(path, fps=30), frames)
    assert np.array_equal(read_all(path, fps=15), frames[::2])
    assert np.array_equal(read_all(path, fps=10), frames[::3])
    assert np.array_equal(read_all(path, fps=60), frames.repeat(2, axis=0))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
def test_truncated_video_gives_the_frames_before_the_damage(tmp_path: Path, suffix: str) -> None:
    codec, pix_fmt, options = FORMATS[suffix]
    frames = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    path = encode(
        tmp_path / f"a{suffix}", frames, codec=codec, pix_fmt=pix_fmt, options=options | {"g": "10"}, index_first=suffix == ".mp4"
    )
    whole = read_all(path)
    decoded, message = read_until_damage(cut_off(path))
    assert 10 <= len(decoded) <= 30
    assert message == f"truncated or damaged after frame {len(decoded)}"
    assert np.array_equal(decoded[:-1], whole[: len(decoded) - 1])
    again, _ = read_until_damage(path, fps=10)
    assert np.array_equal(again, decoded)


def test_video_without_its_index_is_told_from_text(tmp_path: Path) -> None:
    path = cut_off(encode(tmp_path / "a.mp4", block_frames(30)))
    with pytest.raises(NotMediaError, match="incomplete video"):
        probe(path)
    text = tmp_path / "b.mp4"
    text.write_text("these are words, not pictures\n" * 50)
    with pytest.raises(NotMediaError, match=r"b\.mp4: not a video or image"):
        probe(text)
    with pytest.raises(NotMediaError, match="not a video or image"):
        probe(text.rename(tmp_path / "b.txt"))
    empty = tmp_path / "empty.mp4"
    empty.touch()
    with pytest.raises(NotMediaError):
        probe(empty)


def test_video_without_frames(tmp_path: Path) -> None:
    path = tmp_path / "none.avi"
    encode(path, block_frames(1), codec="rawvideo", pix_fmt="bgr24")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"movi") + 4])
    for read in (probe, read_all):
        with pytest.raises(DamagedError, match="no frames"):
            read(path)


def test_missing_file() -> None:
    with pytest.raises(GrowreelError, match=r"nowhere\.mp4: cannot be read"):
        probe("nowhere.mp4")


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animations(tmp_path: Path, suffix: str) -> None:
    frames = block_frames(5, 16, 16)
    path = tmp_path / f"a{suffix}"
    first, *rest = [Image.fromarray(frame) for frame in frames]
    lossless: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=rest, duration=[100, 200, 100, 100, 100], **lossless)
    assert probe(path).kind == "video"
    assert probe(path).fps == 10
    assert np.array_equal(read_all(path), frames)
    assert np.array_equal(read_all(path, fps=10), frames[[0, 1, 1, 2, 3, 4]])


def test_images_of_every_depth(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    grey16 = save_image(tmp_path / "16.png", ramp * 257)
    assert np.array_equal(read_all(grey16, colors=1)[0, ..., 0], ramp)
    assert np.array_equal(read_all(grey16)[0], np.repeat(ramp[..., None], 3, axis=2))
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[..., :3], rgba[:4, :, 3] = (200, 100, 50), 255
    seen = read_all(save_image(tmp_path / "really_png.jpg", rgba, "PNG"))[0]
    assert (seen[:4] == (200, 100, 50)).all()
    assert (seen[4:] == 0).all()
    with pytest.raises(GrowreelError, match="no known range"):
        read_all(save_image(tmp_path / "float.tif", np.zeros((4, 4), np.float32)))


def test_photo_held_sideways_is_turned(tmp_path: Path) -> None:
    picture = Image.fromarray(corner_frames(1)[0])
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert (probe(tmp_path / "a.jpg").height, probe(tmp_path / "a.jpg").width) == (64, 48)
    assert far_apart(read_all(tmp_path / "a.jpg")[0], np.rot90(corner_frames(1)[0], -1)) < 6


def test_truncated_image(tmp_path: Path) -> None:
    path = cut_off(save_image(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    with pytest.raises(DamagedError, match="cannot be decoded"):
        read_all(path)


def test_resize_averages_areas_and_copies_what_fits() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    means = frame.reshape(8, 3, 12, 3, 3).mean(axis=(1, 3))
    assert np.abs(resize(frame, 8, 12) - means).max() <= 1
    assert np.array_equal(resize(frame, 20, 30, (2, 3, 22, 33)), frame[2:22, 3:33])
    assert resize(frame[..., :1], 48, 72).shape == (48, 72, 1)


def test_tile_grid() -> None:
    clips = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1, 1) + np.zeros((3, 2, 4, 5, 1), np.uint8) + 1
    grid = tile_grid(clips, columns=2)
    assert grid.shape == (2, 8, 10, 1)
    assert (grid[:, :4, :5] == 1).all()
    assert (grid[:, :4, 5:] == 2).all()
    assert (grid[:, 4:, :5] == 3).all()
    assert (grid[:, 4:, 5:] == 0).all()
    assert tile_grid(np.zeros((9, 1, 4, 4, 3), np.uint8)).shape == (1, 12, 12, 3)


@pytest.mark.parametrize("colors", [1, 3])
@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".png", ".npy"])
def test_written_clips_read_back(tmp_path: Path, suffix: str, colors: int) -> None:
    frames = block_frames(6, 21, 33)[..., :colors]
    path = tmp_path / f"clip{suffix}"
    write_clip(path, frames, fps=30)
    if suffix == ".npy":
        assert np.array_equal(np.load(path), frames)
        return
    decoded = read_all(path, colors=colors)
    if suffix == ".png":
        assert np.array_equal(decoded[0], np.concatenate(list(frames), axis=1))
    elif suffix == ".mp4":
        assert decoded.shape == (6, 22, 34, colors)
        assert far_apart(decoded[:, :21, :33], frames) < 8
        assert probe(path).fps == 30
    else:
        assert np.array_equal(decoded, frames)
        with Image.open(path) as image:
            assert image.info["loop"] == 0
            durations = []
            for number in range(6):
                image.seek(number)
                image.load()
                durations.append(image.info["duration"])
        assert sum(durations) == 200
        assert max(durations) - min(durations) <= 10


def test_the_bytes_of_an_mp4_do_not_depend_on_threads(tmp_path: Path) -> None:
    """x264 writes its settings into the file; by itself it would take more threads for so many rows, if there are cores."""
    write_clip(tmp_path / "a.mp4", block_frames(3, 256, 64), 10)
    content = (tmp_path / "a.mp4").read_bytes()
    assert b" threads=1 " in content and b" sliced_threads=0 " in content


def test_gif_palette_of_many_colors_stays_close(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    frames = np.stack([np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(40 * k)), axis=2) for k in range(4)])
    write_clip(tmp_path / "a.gif", frames, fps=10)
    assert far_apart(read_all(tmp_path / "a.gif"), frames) < 12


def test_write_clip_refuses(tmp_path: Path) -> None:
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(GrowreelError, match=r"\.xyz; use \.mp4, \.gif, \.webp, \.png, \.npy"):
        write_clip(tmp_path / "a.xyz", frames, 10)
    with pytest.raises(GrowreelError, match="float64"):
        write_clip(tmp_path / "a.gif", frames.astype(float), 10)
    with pytest.raises(GrowreelError, match=r"frames per second 0: must be from 0\.05 to 1000"):
        write_clip(tmp_path / "a.gif", frames, 0)


def test_sound_is_no_video(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    with pytest.raises(NotMediaError, match="has no pictures, only audio"):
        probe(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".gif", ".webp", ".tif", ".jpg"])
def test_damage_of_any_kind_raises_nothing_but_growreel_errors(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    path, damaged = tmp_path / f"a{suffix}", tmp_path / "damaged"
    frames = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    if suffix in (".mp4", ".mkv"):
        encode(path, frames)
    else:
        first, *rest = [Image.fromarray(frame) for frame in frames]
        if suffix == ".jpg":
            first.save(path)
        else:
            first.save(path, save_all=True, append_images=rest)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    failures = 0
    for number in range(20):
        data = whole.copy()[: rng.integers(1, len(whole)) if number % 2 else None]
        data[rng.integers(0, len(data), 10)] = rng.integers(0, 256, 10)
        damaged.write_bytes(data.tobytes())
        try:
            probe(damaged)
            read_all(damaged)
        except GrowreelError:
            failures += 1
    assert failures >= 10
