"""HEIC pictures made by hand (ISO/IEC 23008-12): no library that tests may count on writes them."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_heic(path: Path, tiles: list[NDArray[np.uint8]], *, quarter_turns: int = 0) -> list[NDArray[np.uint8]]:
    """A picture of uint8 [h, w, 3], or of several of one size side by side, turned counter-clockwise; the tiles as FFmpeg decodes them."""
    coded = [_hevc(tile) for tile in tiles]
    height, width = tiles[0].shape[:2]
    count, whole = len(tiles), len(tiles) + 1  # items 1 to count are tiles; if there are several, the next one is the picture
    kinds = [(number, b"hvc1") for number in range(1, count + 1)] + ([(whole, b"grid")] if count > 1 else [])
    first = whole if count > 1 else 1
    properties = [_box(b"hvcC", coded[0][0]), _full(b"ispe", 0, struct.pack(">II", width, height))]
    properties += [_full(b"ispe", 0, struct.pack(">II", width * count, height)), _box(b"irot", bytes([quarter_turns]))]
    uses = [(number, [0x81, 2]) for number in range(1, count + 1)] + ([(whole, [3])] if count > 1 else [])
    uses = [(number, [*which, 0x84] if number == first else which) for number, which in uses]
    parts = [
        _full(b"hdlr", 0, bytes(4) + b"pict" + bytes(13)),
        _full(b"pitm", 0, struct.pack(">H", first)),
        _full(b"iinf", 0, struct.pack(">H", len(kinds)), *(_full(b"infe", 2, struct.pack(">HH", n, 0), kind, b"\0") for n, kind in kinds)),
        _box(
            b"iprp",
            _box(b"ipco", *properties),
            _full(b"ipma", 0, struct.pack(">I", len(uses)), *(struct.pack(">HB", n, len(which)) + bytes(which) for n, which in uses)),
        ),
    ]
    if count > 1:
        parts.append(_full(b"iref", 0, _box(b"dimg", struct.pack(f">HH{count}H", whole, count, *range(1, whole)))))
        parts.append(_box(b"idat", struct.pack(">BBBBHH", 0, 0, 0, count - 1, width * count, height)))
    head = _box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")

    def meta(start: int) -> bytes:
        offsets = np.cumsum([start] + [len(data) for _, data in coded]).tolist()
        places = [struct.pack(">HHHHII", n, 0, 0, 1, offsets[n - 1], len(coded[n - 1][1])) for n in range(1, count + 1)]
        places += [struct.pack(">HHHHII", whole, 1, 0, 1, 0, 8)] if count > 1 else []
        return _full(b"meta", 0, *parts, _full(b"iloc", 1, b"\x44\0", struct.pack(">H", len(places)), *places))

    data = b"".join(data for _, data in coded)
    path.write_bytes(head + meta(len(head) + len(meta(0)) + 8) + _box(b"mdat", data))
    return [_decoded(tile) for tile in tiles]


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def _full(kind: bytes, version: int, *parts: bytes) -> bytes:
    return _box(kind, bytes([version, 0, 0, 0]), *parts)


def _film(picture: NDArray[np.uint8]) -> io.BytesIO:
    """An MP4 of one frame."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        video = container.add_stream("libx265", rate=1, options={"crf": "5", "tune": "zerolatency", "x265-params": "log-level=none"})
        video.height, video.width, video.pix_fmt = picture.shape[0], picture.shape[1], "yuv444p"
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        container.mux(video.encode(frame))
        container.mux(video.encode())
    stream.seek(0)
    return stream


def _hevc(picture: NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """The decoder's configuration and the coded picture."""
    with av.open(_film(picture), "r") as container:
        configuration = container.streams.video[0].codec_context.extradata
        assert configuration is not None
        return bytes(configuration), b"".join(bytes(packet) for packet in container.demux(video=0))


def _decoded(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    with av.open(_film(picture), "r") as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24").astype(np.uint8)
