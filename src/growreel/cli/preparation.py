"""The command `growreel prepare`."""

from __future__ import annotations

import re
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.parser import CommandParser
from growreel.errors import GrowreelError
from growreel.growth import Size


def prepare_parser() -> ArgumentParser:
    parser = CommandParser(
        usage="growreel prepare SOURCE STORE --size TxHxW [options]",
        description="Read every video, folder of frames and strip image under SOURCE and write clips of one size to STORE. "
        "Exit code 0: all read; 1: some skipped (they are listed); 2: nothing written. The same command goes on after an interruption.",
    )
    parser.add_argument("source", type=Path, help="a file or a folder")
    parser.add_argument("store", type=Path, help="folder to write")
    parser.add_argument("--size", required=True, help="frames, rows and columns of a clip, TxHxW")
    parser.add_argument("--frame-stride", type=int, default=1, help="take every N-th frame of a video")
    parser.add_argument("--clip-stride", type=int | None, default=None, help="frames between starts of clips; default: no overlap")
    parser.add_argument("--fit", choices=["crop", "pad"], default="crop", help="cut the longer side, or add borders")
    parser.add_argument("--fps", type=float | None, default=None, help="resample to so many frames a second first")
    parser.add_argument("--max-clips-per-video", type=int | None, default=None, help="take at most so many clips of a video")
    parser.add_argument("--colors", type=int, choices=[1, 3], default=3, help="colour channels to keep")
    parser.add_argument("--tiles", default=None, help="ROWSxCOLUMNS: every frame is a grid of so many separate videos")
    parser.add_argument("--labels", action="store_true", help="use the names of first-level sub-folders as labels")
    parser.add_argument("--overwrite", action="store_true", help="replace a store that is already there")
    return parser


def run_prepare(options: Namespace) -> int:
    from growreel.preparation.prepare import prepare

    report = prepare(
        options.source,
        options.store,
        Size.parse(options.size, "--size"),
        frame_stride=options.frame_stride,
        clip_stride=options.clip_stride,
        fit=options.fit,
        fps=options.fps,
        max_clips_per_video=options.max_clips_per_video,
        colors=options.colors,
        tiles=_parse_tiles(options.tiles),
        labels=options.labels,
        overwrite=options.overwrite,
    )
    print(report.table())
    return report.exit_code


def _parse_tiles(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text, flags=re.ASCII)
    if match is None:
        raise GrowreelError(f"--tiles: {text!r} is not ROWSxCOLUMNS, e.g. 7x4")
    return int(match[1]), int(match[2])
