"""Videos and animations as strangers have them: odd clocks, damage, late streams, transparency."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from growreel.video import DamagedError, probe, read_frames
from growreel.video.archives import as_file
from growreel.video.media import Findings, Shown
from growreel.video.reading import read_pictures
from media import block_frames, corner_frames, cut_off, encode

LOSSLESS: dict[str, Any] = {"codec": "ffv1", "pix_fmt": "bgr0"}


def read(path: Path, fps: float | None = None, threads: int = 1) -> tuple[list[Shown], Findings]:
    findings = Findings()
    return list(read_pictures(as_file(path), colors=3, findings=findings, fps=fps, threads=threads)), findings


def frames_of(shown: list[Shown]) -> NDArray[np.uint8]:
    return np.stack([each.picture.pixels() for each in shown])


def begins(shown: list[Shown]) -> list[int]:
    return [place for place, each in enumerate(shown) if each.begins]


def far_apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def overwrite_packet(path: Path, number: int) -> None:
    """Damage one packet of a video so that it cannot be decoded."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    place = packets[number].pos
    assert place is not None
    data[place : place + packets[number].size] = b"\xff" * packets[number].size
    path.write_bytes(data)


def test_a_stream_that_appears_late_is_passed_over(tmp_path: Path) -> None:
    """An FLV whose head promises pictures only, and that has sound after twelve seconds."""
    frames = block_frames(350, 16, 16)
    path = encode(tmp_path / "a.flv", frames, fps=25, codec="flv1", options={"qmin": "1", "qmax": "2"})
    data = path.read_bytes()
    place = at = 13
    while at < len(data):  # tags: type, size, time in ms, ...; then the length of the tag
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        if int.from_bytes(data[at + 4 : at + 7], "big") <= 12_000:
            place = at + 11 + size + 4
        at += 11 + size + 4
    sound = b"\x3a" + bytes(64)  # 16-bit samples as they are
    tag = b"\x08" + len(sound).to_bytes(3, "big") + (12_000).to_bytes(3, "big") + bytes(4) + sound
    path.write_bytes(data[:place] + tag + struct.pack(">I", len(tag)) + data[place:])
    with av.open(str(path)) as container, pytest.raises(IndexError):
        list(container.demux(container.streams.video[0]))  # what PyAV makes of it
    shown, findings = read(path)
    assert far_apart(frames_of(shown), frames) < 8
    assert (begins(shown), findings.damaged) == ([0], False)


def test_one_bad_packet_costs_its_frame_only(tmp_path: Path) -> None:
    frames = block_frames(60)
    path = encode(tmp_path / "a.mp4", frames, fps=25, codec="mpeg4", options={"g": "1", "qmin": "1", "qmax": "2"})
    overwrite_packet(path, 7)
    for threads in (1, 3):
        shown, findings = read(path, threads=threads)
        assert far_apart(frames_of(shown), np.delete(frames, 7, axis=0)) < 8
        assert begins(shown) == [0, 7]  # no clip holds both sides of the hole
        assert findings.damaged
        assert findings.notes == ["damaged after frame 7"]
    with pytest.raises(DamagedError, match="damaged after frame 7"):
        list(read_frames(path))


def test_damage_is_the_same_for_any_number_of_threads(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 48, 64, 3), dtype=np.uint8)
    path = encode(tmp_path / "a.mp4", noise, fps=25, options={"g": "20", "bf": "2"})
    for number in (11, 12, 40):
        overwrite_packet(path, number)
    one, findings = read(path)
    several, again = read(path, threads=4)
    assert np.array_equal(frames_of(one), frames_of(several))
    assert (begins(one), findings.notes) == (begins(several), again.notes)
    assert findings.damaged
    assert len(one) > 60


def test_an_avi_that_ends_too_early_says_so(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.avi", block_frames(60), fps=25, codec="rawvideo", pix_fmt="bgr24")
    assert not read(path)[1].damaged
    cut_off(path, 2 / 3)
    shown, findings = read(path)
    assert len(shown) in (39, 40)
    assert findings.notes == [f"truncated or damaged after frame {len(shown)}"]


def test_two_films_joined_are_whole_and_no_clip_holds_both(tmp_path: Path) -> None:
    films = [block_frames(100, 32, 32, seed) for seed in range(2)]
    joined = tmp_path / "joined.mpg"
    parts = [
        encode(tmp_path / f"{seed}.mpg", film, fps=25, codec="mpeg2video", options={"qmin": "1", "qmax": "2"})
        for seed, film in enumerate(films)
    ]
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    shown, findings = read(joined)
    assert len(shown) == 200
    assert far_apart(frames_of(shown), np.concatenate(films)) < 6
    assert not findings.damaged
    assert begins(shown) == [0, 100]


def jittery_times(count: int) -> list[int]:
    """Milliseconds, as a browser records them: 33 to 100 apart."""
    steps = np.random.default_rng(0).choice([33, 34, 50, 100], count - 1)
    return [0, *np.cumsum(steps).tolist()]


def test_rate_of_jittery_times_is_their_mean(tmp_path: Path) -> None:
    times = jittery_times(60)
    path = encode(tmp_path / "a.mkv", block_frames(60, 16, 16), times_ms=times, **LOSSLESS)
    shown, findings = read(path)
    assert findings.fps() == pytest.approx(59_000 / times[-1], rel=0.01)
    assert begins(shown) == [0]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_pause_ends_a_clip_and_is_no_frozen_film(tmp_path: Path, suffix: str) -> None:
    times = [*range(0, 1000, 40), *range(11_000, 12_000, 40)]
    frames = block_frames(50, 16, 16)
    codec: dict[str, Any] = LOSSLESS if suffix == ".mkv" else {"codec": "libx264", "pix_fmt": "yuv444p", "options": {"crf": "4", "bf": "0"}}
    path = encode(tmp_path / f"a{suffix}", frames, fps=25, times_ms=times, **codec)
    shown, findings = read(path)
    assert findings.fps() == pytest.approx(25)
    assert begins(shown) == [0, 25]
    assert findings.notes == ["a gap of 10 s after frame 25; no clip goes across"]
    assert not findings.damaged
    for fps, each in ((25, 25), (50, 50)):
        held, _ = read(path, fps=fps)
        assert len(held) == 2 * each
        assert begins(held) == [0, each]
        assert far_apart(frames_of(held), frames.repeat(fps // 25, axis=0)) < 6


def test_slow_films_have_no_gaps(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", block_frames(12, 16, 16), times_ms=[3000 * k for k in range(12)], **LOSSLESS)
    shown, findings = read(path)
    assert begins(shown) == [0]
    assert findings.fps() == pytest.approx(1 / 3, rel=0.01)


def test_bare_motion_jpeg_is_a_film(tmp_path: Path) -> None:
    frames = block_frames(20)
    jpegs = []
    for frame in frames:
        Image.fromarray(frame).save(tmp_path / "one.jpg", quality=95)
        jpegs.append((tmp_path / "one.jpg").read_bytes())
    path = tmp_path / "camera.mjpeg"
    path.write_bytes(b"".join(jpegs))
    assert probe(path).kind == "video"
    assert far_apart(frames_of(read(path)[0]), frames) < 6
    assert probe(tmp_path / "one.jpg").kind == "image"


def save_animation(path: Path, frames: NDArray[np.uint8], durations: list[int], **options: Any) -> Path:
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=durations, **options)
    return path


def test_motion_jpeg_in_parts_ends_with_its_boundary(tmp_path: Path) -> None:
    """What cameras send and FFmpeg writes; FFmpeg reads the end as damage, also of a whole file."""
    path, frames = tmp_path / "camera.mjpg", corner_frames(16, 32, 32)
    with av.open(str(path), "w", format="mpjpeg") as container:
        stream = container.add_stream("mjpeg", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    shown, findings = read(path)
    assert len(shown) == 16 and not findings.notes and not findings.damaged
    path.write_bytes(path.read_bytes().removesuffix(b"--ffmpeg\r\n") + b"--ffmpeg--\r\n")
    assert not read(path)[1].damaged
    path.write_bytes(path.read_bytes()[:-400])
    shown, findings = read(path)
    assert len(shown) in (15, 16) and any("truncated or damaged" in note for note in findings.notes)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_rate_of_an_animation_is_that_of_most_of_its_frames(tmp_path: Path, suffix: str) -> None:
    frames = block_frames(9, 16, 16)
    path = save_animation(tmp_path / f"a{suffix}", frames, [2000] + [40] * 8, **({"lossless": True} if suffix == ".webp" else {}))
    assert probe(path).fps == 25
    shown, findings = read(path)
    assert findings.fps() == 25
    assert begins(shown) == [0]  # the hold is meant
    assert np.array_equal(frames_of(shown), frames)
    at_25, findings = read(path, fps=25)
    assert len(at_25) < 25  # two seconds would be 50 frames of nothing
    assert findings.notes == ["frames held longer than 0.5 s; clips end there"]


def test_ten_milliseconds_are_a_tenth_of_a_second_as_in_browsers(tmp_path: Path) -> None:
    path = save_animation(tmp_path / "a.gif", block_frames(6, 16, 16), [10] * 6)
    assert probe(path).fps == 10
    assert probe(save_animation(tmp_path / "b.gif", block_frames(6, 16, 16), [20] * 6)).fps == 50


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_a_cut_gif_gives_its_whole_frames(tmp_path: Path, kept: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    path = save_animation(tmp_path / "a.gif", frames, [40] * 8)
    whole = frames_of(read(path)[0])
    data = path.read_bytes()
    starts = [place for place in range(len(data)) if data[place : place + 3] == b"\x21\xf9\x04"]
    assert len(starts) == 8
    path.write_bytes(data[: (starts[kept] + starts[kept + 1]) // 2])
    if kept == 0:
        with pytest.raises(DamagedError, match="cannot be decoded"):
            read(path)
        return
    shown, findings = read(path)
    assert np.array_equal(frames_of(shown), whole[:kept])
    assert findings.damaged


def test_the_default_image_of_an_apng_is_no_frame(tmp_path: Path) -> None:
    frames = block_frames(9, 16, 16)
    path = save_animation(tmp_path / "a.png", frames, [40] * 8, default_image=True)
    shown, findings = read(path)
    assert np.array_equal(frames_of(shown), frames[1:])
    assert findings.fps() == 25


@pytest.mark.parametrize("suffix", [".png", ".webp", ".avif", ".jpg", ".tif"])
def test_pictures_of_every_kind_are_turned_upright(tmp_path: Path, suffix: str) -> None:
    picture = Image.fromarray(corner_frames(1)[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    path = tmp_path / f"a{suffix}"
    picture.save(path, exif=exif.tobytes() if suffix != ".tif" else exif, quality=95)
    upright = np.rot90(corner_frames(1)[0], -1)
    assert far_apart(frames_of(read(path)[0])[0], upright) < 6
    assert (probe(path).height, probe(path).width) == upright.shape[:2]


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [(".mov", "qtrle", "argb"), (".mov", "png", "rgba"), (".mov", "prores_ks", "yuva444p10le"), (".webm", "libvpx-vp9", "yuva420p")],
)
def test_what_is_transparent_in_a_video_is_black(tmp_path: Path, suffix: str, codec: str, pix_fmt: str) -> None:
    """A white square on green that nobody is meant to see."""
    rgba = np.zeros((4, 48, 64, 4), np.uint8)
    rgba[..., 1] = 255
    rgba[:, 16:32, 16:48] = 255
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"lossless": "1"} if codec == "libvpx-vp9" else {})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 48, 64, pix_fmt
        for pixels in rgba:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        container.mux(stream.encode())
    seen = rgba[..., :3] * (rgba[..., 3:] // 255)
    shown, _ = read(path)
    assert far_apart(frames_of(shown), seen) < 4
    assert frames_of(shown)[:, :12, :, 1].max() < 16
    small = shown[0].picture.part((0, 0, 48, 64), 12, 16)
    assert far_apart(small, seen[0].reshape(12, 4, 16, 4, 3).mean(axis=(1, 3)).astype(np.uint8)) < 6


def test_interlaced_and_hdr_are_noted(tmp_path: Path) -> None:
    frames = block_frames(4)
    path = encode(tmp_path / "a.mpg", frames, fps=25, codec="mpeg2video", options={"flags": "+ildct+ilme", "top": "1"})
    with av.open(str(path)) as container:
        flagged = next(container.decode(video=0)).interlaced_frame
    assert any(note.startswith("interlaced") for note in read(path)[1].notes) == flagged
    path = encode(tmp_path / "hdr.mp4", frames, fps=25, options={"x264-params": "transfer=smpte2084"})
    assert any(note.startswith("HDR (PQ)") for note in read(path)[1].notes)


def test_the_stream_with_the_most_pixels_is_taken(tmp_path: Path) -> None:
    small, large = block_frames(5, 16, 16), block_frames(5, 48, 64, 1)
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for frames in (small, large):
            stream = container.add_stream("ffv1", rate=10)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "bgr0"
            streams.append(stream)
        for pair in zip(small, large, strict=True):
            for stream, pixels in zip(streams, pair, strict=True):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())
    assert np.array_equal(frames_of(read(path)[0]), large)


@pytest.mark.parametrize(("declared", "rate"), [([25.0], 25.0), ([], None)])
@pytest.mark.parametrize("holds", [False, True])
def test_frames_that_fall_together_have_no_rate_of_their_own(declared: list[float], rate: float | None, holds: bool) -> None:
    """Damage can make all times the same: then the rate is what the file claims, or unknown."""
    found = Findings(declared=declared, holds=holds)
    for _ in range(5):
        found.count_interval(0.0)
    assert found.fps() == rate
