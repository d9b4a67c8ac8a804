"""Variants of media files that no honest program writes: damaged, misnamed, with huge declared sizes, and archives that mean harm."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import av
import numpy as np
from damage import damaged_bytes
from PIL import Image

ENDINGS = (".mp4", ".mkv", ".avi", ".mpg", ".gif", ".png", ".tif", ".npy", ".npz", ".zip", ".tar", ".tgz", ".webm", ".flv", ".exr", ".tga")
HUGE = 2**31 - 1
BOMB = 2**29  # bytes of zeros


@dataclass(frozen=True)
class Variant:
    """A file, and the kind of harm that was done to it."""

    path: Path
    kind: str
    made_of: str

    def __str__(self) -> str:
        return f"{self.path.name} ({self.kind}, of {self.made_of})"


def make_seeds(folder: Path) -> list[Path]:
    """A whole file of each kind that `prepare` reads, of some kilobytes."""
    frames = np.random.default_rng(0).integers(0, 256, (12, 6, 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    for name, codec, layout in (
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "ffv1", "bgr0"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.mpg", "mpeg1video", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.flv", "flv1", "yuv420p"),
    ):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], layout
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
    first, *rest = [Image.fromarray(frame) for frame in frames]
    for suffix in (".gif", ".webp", ".png"):
        first.save(folder / f"animation{suffix}", save_all=True, append_images=rest, duration=40)
    first.save(folder / "stack.tif", save_all=True, append_images=rest)
    Image.fromarray(np.concatenate(list(frames[:, :, :48]), axis=1)).save(folder / "strip.jpg")
    np.save(folder / "a.npy", frames)
    np.savez_compressed(folder / "a.npz", one=frames, two=frames)
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "a.mp4", "inside/a.mp4")
        archive.write(folder / "animation.gif", "inside/b.gif")
    with tarfile.open(folder / "a.tar", "w") as tar:
        tar.add(folder / "a.mp4", "a.mp4")
    with tarfile.open(folder / "a.tgz", "w:gz") as tar:
        tar.add(folder / "a.mkv", "a.mkv")
    return sorted(folder.iterdir())


def make_variant(folder: Path, number: int, kind: str, seeds: Sequence[Path], random: Random, escaped: Path) -> Variant:
    """Write the variant of this number into a folder of its own, so that nothing beside it says what it is."""
    seed = random.choice(seeds)
    place = folder / f"{number:03d}"
    place.mkdir()
    path = MAKERS[kind](place, seed, random, escaped)
    return Variant(path, kind, seed.name)


def _flips(place: Path, seed: Path, random: Random, _: Path) -> Path:
    data = bytearray(seed.read_bytes())
    for _flip in range(random.choice((1, 8, 100, max(1, len(data) // 100)))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return _written(place / f"flips{seed.suffix}", bytes(data))


def _flips_in_head(place: Path, seed: Path, random: Random, _: Path) -> Path:
    data = bytearray(seed.read_bytes())
    for _flip in range(random.choice((1, 3, 10))):
        data[random.randrange(min(len(data), 512))] ^= 1 << random.randrange(8)
    return _written(place / f"head{seed.suffix}", bytes(data))


def _cut(place: Path, seed: Path, random: Random, _: Path) -> Path:
    data = seed.read_bytes()
    return _written(place / f"cut{seed.suffix}", data[: random.randrange(len(data))])


def _damaged(place: Path, seed: Path, random: Random, _: Path) -> Path:
    data = seed.read_bytes()
    for _time in range(random.choice((1, 3, 10))):
        data = damaged_bytes(data, random) or b"\0"
    return _written(place / f"damaged{seed.suffix}", data)


def _wrong_ending(place: Path, seed: Path, random: Random, _: Path) -> Path:
    return _written(place / f"wrong{random.choice([each for each in ENDINGS if each != seed.suffix])}", seed.read_bytes())


def _noise(place: Path, seed: Path, random: Random, _: Path) -> Path:
    """The head of a file, and then anything; or nothing at all."""
    kept = random.choice((0, 4, 16, 64, 1024))
    return _written(place / f"noise{random.choice(ENDINGS)}", seed.read_bytes()[:kept] + random.randbytes(random.choice((0, 100, 50_000))))


def _two_joined(place: Path, seed: Path, random: Random, _: Path) -> Path:
    data = seed.read_bytes()
    return _written(place / f"joined{seed.suffix}", data[: random.randrange(1, len(data))] + data)


def _huge_numbers(place: Path, seed: Path, random: Random, _: Path) -> Path:
    """Numbers of 32 bits in the head become as large as they can be."""
    data = bytearray(seed.read_bytes())
    for _time in range(random.choice((1, 2, 8))):
        at = random.randrange(min(len(data) - 4, 1024)) if len(data) > 8 else 0
        data[at : at + 4] = random.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x01\x00\x00"))
    return _written(place / f"numbers{seed.suffix}", bytes(data))


def _huge_picture(place: Path, seed: Path, random: Random, _: Path) -> Path:
    """Files of some bytes that claim to be gigapixels, or arrays of terabytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    side = random.choice((30_000, 200_000, HUGE))
    match random.randrange(6):
        case 0:
            head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
            return _written(
                place / "huge.png", b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
            )
        case 1:
            return _written(
                place / "huge.gif", b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b"\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x44\x01\0;"
            )
        case 2:
            return _written(place / "huge.ppm", f"P6 {side} {side} 255\n".encode() + bytes(1000))
        case 3:
            shape = random.choice((f"({side}, {side}, {side}, 3)", f"(4, {side}, {side})", f"({2**62}, 8, 8, 3)"))
            head_text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
            return _written(place / "huge.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(head_text)) + head_text + bytes(1000))
        case 4:
            return _written(place / "huge.tga", b"\0\0\x02\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\x18\0" + bytes(1000))
        case _:
            entries = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 4, side)]
            body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
            return _written(place / "huge.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4))


def _leading_out(place: Path, seed: Path, random: Random, escaped: Path) -> Path:
    """An archive whose names lead out of it."""
    names = ("../../../work/out.mp4", "/" + str(escaped).lstrip("/"), "a/../../out.mp4", "..\\..\\out.mp4", "C:\\out.mp4", "a\0../x.mp4")
    data = seed.read_bytes()
    if random.random() < 0.5:
        with zipfile.ZipFile(place / "leading.zip", "w") as archive:
            for name in names:
                info = zipfile.ZipInfo("x")
                info.filename = name
                archive.writestr(info, data)
            archive.writestr("good.mp4", data)
        return place / "leading.zip"
    with tarfile.open(place / "leading.tar", "w") as tar:
        for name in (*names[:-1], "good.mp4"):
            tar.addfile(_member(name, len(data)), io.BytesIO(data))
    return place / "leading.tar"


def _links(place: Path, seed: Path, random: Random, escaped: Path) -> Path:
    """An archive, or a folder, with links and devices that lead anywhere."""
    target = place.parent.parent / "secret.mp4"
    if random.random() < 0.3:
        with zipfile.ZipFile(place / "links.zip", "w") as archive:
            link = zipfile.ZipInfo("secret.mp4")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, str(target))
        return place / "links.zip"
    with tarfile.open(place / "links.tar", "w") as tar:
        for kind, name in (
            (tarfile.SYMTYPE, "secret.mp4"),
            (tarfile.LNKTYPE, "secret2.mp4"),
            (tarfile.SYMTYPE, "folder"),
            (tarfile.FIFOTYPE, "fifo.mp4"),
            (tarfile.CHRTYPE, "zero.mp4"),
        ):
            info = _member(name, 0)
            info.type, info.linkname, info.devmajor, info.devminor = kind, str(target if name != "folder" else escaped.parent), 1, 5
            tar.addfile(info)
        data = seed.read_bytes()
        tar.addfile(_member("folder/out.mp4", len(data)), io.BytesIO(data))
    return place / "links.tar"


def _bomb(place: Path, seed: Path, random: Random, _: Path) -> Path:
    """Archives that unpack to a thousand times their size, and one that says it is small."""
    which = random.randrange(5)
    if which == 0:
        with zipfile.ZipFile(place / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("bomb.avi", "w") as member:
            _zeros(member.write)
        return place / "bomb.zip"
    if which == 1:
        with gzip.open(place / "bomb.tgz", "wb", 6) as stream:
            info = _member("bomb.avi", BOMB)
            stream.write(info.tobuf())
            _zeros(stream.write)
        return place / "bomb.tgz"
    if which == 2:
        with zipfile.ZipFile(place / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("film.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (BOMB // 4096, 64, 64)})
            _zeros(member.write)
        return place / "bomb.npz"
    if which == 3:  # the directory says a kilobyte, the stream has much more
        with zipfile.ZipFile(place / "liar.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("liar.avi", bytes(2**24))
        data = bytearray((place / "liar.zip").read_bytes())
        at = data.rfind(b"PK\x01\x02")
        data[at + 24 : at + 28] = struct.pack("<I", 1000)
        return _written(place / "liar.zip", bytes(data))
    inner = seed.read_bytes()
    for depth in range(30):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{depth}.zip", inner)
        inner = packed.getvalue()
    return _written(place / "nested.zip", inner)


def _many(place: Path, seed: Path, random: Random, _: Path) -> Path:
    """An archive with the same name again and again, in which all members share their bytes, or with thousands of empty files."""
    if random.random() < 0.5:
        with tarfile.open(place / "many.tar", "w") as tar:
            for number in range(3000):
                tar.addfile(_member(f"{number}.mp4", 0))
        return place / "many.tar"
    data = seed.read_bytes()
    with zipfile.ZipFile(place / "many.zip", "w") as archive:
        archive.writestr("same.mp4", data)
        first = archive.infolist()[0]
        archive.filelist.extend([first] * 200)
    return place / "many.zip"


def _folder_of_pieces(place: Path, seed: Path, random: Random, _: Path) -> Path:
    """A film as single pictures, of which one is something else."""
    frames = np.random.default_rng(1).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(place / f"frame{number}.png")
    spoilt = place / f"frame{random.randrange(9)}.png"
    spoilt.write_bytes(damaged_bytes(spoilt.read_bytes(), random) if random.random() < 0.5 else seed.read_bytes()[:100_000])
    return spoilt


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def _zeros(write: Callable[[bytes], object]) -> None:
    block = bytes(2**24)
    for _ in range(BOMB // len(block)):
        write(block)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _whole(place: Path, seed: Path, random: Random, _: Path) -> Path:
    """Nothing was done to it: that the others are refused says nothing if this is."""
    return Path(shutil.copyfile(seed, place / f"whole{seed.suffix}"))


MAKERS: dict[str, Callable[[Path, Path, Random, Path], Path]] = {
    "whole": _whole,
    "flipped bits": _flips,
    "flipped bits in the head": _flips_in_head,
    "cut end": _cut,
    "blocks lost, doubled, zeroed": _damaged,
    "another format's ending": _wrong_ending,
    "a head and then noise": _noise,
    "a half and then all": _two_joined,
    "huge numbers in the head": _huge_numbers,
    "huge declared picture or array": _huge_picture,
    "archive: names that lead out": _leading_out,
    "archive: links and devices": _links,
    "archive or array: bomb": _bomb,
    "archive: thousands of members": _many,
    "a picture of a film": _folder_of_pieces,
}
KINDS = tuple(MAKERS)
