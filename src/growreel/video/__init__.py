"""Moving pictures in and out: the only part of growreel that knows codecs."""

from growreel.video.comments import read_comment
from growreel.video.media import Colors, DamagedError, MediaInfo, NotMediaError
from growreel.video.pixels import captioned, enlarge, resize, tile_frames, tile_grid
from growreel.video.reading import probe, read_frames
from growreel.video.writing import CLIP_SUFFIXES, check_suffix, webp_bytes, write_clip

__all__ = [
    "CLIP_SUFFIXES",
    "Colors",
    "DamagedError",
    "MediaInfo",
    "NotMediaError",
    "captioned",
    "check_suffix",
    "enlarge",
    "probe",
    "read_comment",
    "read_frames",
    "resize",
    "tile_frames",
    "tile_grid",
    "webp_bytes",
    "write_clip",
]
