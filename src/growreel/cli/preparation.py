"""The commands `growreel prepare` and `growreel merge`."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.console import add_json, print_json
from growreel.cli.parser import CommandParser
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.faces.settings import FaceSettings
from growreel.preparation.recipes import load_recipe, recipe_names

if TYPE_CHECKING:
    from growreel.preparation.report import PrepareReport


def number(text: str) -> float:
    """Any number: what is out of range is told by `prepare`, in one line."""
    return float(text)


def prepare_parser(arguments: Sequence[str] = ()) -> ArgumentParser:
    """Build the parser; a recipe that `arguments` name gives other flags their defaults."""
    recipe = _recipe_named(arguments)
    parser = CommandParser(
        usage="growreel prepare SOURCE STORE --size TxHxW|--recipe NAME [options]",
        description="Read every video, folder of frames and strip image under SOURCE and write clips of one size to STORE. "
        "Zip and tar archives, .npy and .npz arrays and TIFF stacks are read too. Exit code 0: everything was read; 1: something was "
        "skipped or damaged (listed); 2: nothing written. The same command goes on after an interruption.",
    )
    parser.add_argument("source", type=Path, help="a file or a folder")
    parser.add_argument("store", type=Path, help="folder to write")
    parser.add_argument("--size", required=recipe is None, help="frames, rows and columns of a clip, TxHxW")
    parser.add_argument("--recipe", default=None, help=f"settings of a published data set: {', '.join(recipe_names())}; other flags win")
    parser.add_argument("--frame-stride", type=int, default=1, help="take every N-th frame of a video")
    parser.add_argument("--clip-stride", type=int | None, default=None, help="frames between starts of clips; default: no overlap")
    parser.add_argument("--fit", choices=["crop", "pad"], default="crop", help="cut the longer side, or add borders")
    parser.add_argument("--crop", default="center", help="center, grid (several windows of wide frames), faces, or a .csv file of boxes")
    parser.add_argument("--list", type=Path | None, default=None, help=".csv or text file of the videos to take, with or without labels")
    parser.add_argument("--fps", type=number, default=None, help="resample to so many frames a second first")
    parser.add_argument("--max-clips-per-video", type=int | None, default=None, help="take at most so many clips of a video")
    parser.add_argument("--colors", type=int, choices=[1, 3], default=3, help="colour channels to keep")
    parser.add_argument("--tiles", default=None, help="ROWSxCOLUMNS: every frame is a grid of so many separate videos")
    parser.add_argument("--labels", action="store_true", help="use the names of first-level sub-folders as labels")
    parser.add_argument("--channel", type=int | None, default=None, help="which channel, from 0, of TIFF stacks that have several")
    parser.add_argument("--holdout", default=None, help="keep so much, e.g. 10%%, of the clips from training, whole sources only")
    parser.add_argument("--anonymous", action="store_true", help="keep no name of a file or folder in the store, but the labels")
    parser.add_argument("--shard", default=None, help="I/N: take every N-th source from the I-th on; growreel merge joins the parts")
    parser.add_argument("--workers", type=int | None, default=None, help="processes that decode; default: one on every core")
    parser.add_argument("--engine", choices=["local", "ray"], default="local", help="decode on this machine, or on those of a Ray cluster")
    parser.add_argument(
        "--ray-address", default=None, help="HOST:PORT of the cluster; default: RAY_ADDRESS, else a Ray on this machine alone"
    )
    parser.add_argument("--time-limit", type=number, default=30.0, help="seconds without a new frame until a source is given up")
    parser.add_argument("--drop", type=Path | None, default=None, help="list of clips to leave out, as growreel view writes it")
    parser.add_argument("--overwrite", action="store_true", help="replace a store that is already there")
    parser.add_argument("--verbose", action="store_true", help="list every source, not only those with something to tell")
    parser.add_class_arguments(FaceSettings, "faces")
    add_json(parser)
    if recipe is not None:
        parser.set_defaults(asdict(load_recipe(recipe)))
    return parser


def _recipe_named(arguments: Sequence[str]) -> str | None:
    """What --recipe names, if anything."""
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scan.add_argument("--recipe")
    try:
        named: str | None = scan.parse_known_args(arguments)[0].recipe
    except argparse.ArgumentError:  # a flag without its value: the real parser says so
        return None
    return named


def merge_parser() -> ArgumentParser:
    parser = CommandParser(
        usage="growreel merge PART... STORE [--overwrite]",
        description="Write the clip store that the parts of growreel prepare --shard are together, to the byte as one prepare would have. "
        "The order of the parts does not matter; they stay. The same command goes on after an interruption.",
    )
    parser.add_argument("paths", nargs="+", type=Path, help="all parts, and last the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a store that is already there")
    parser.add_argument("--verbose", action="store_true", help="list every source, not only those with something to tell")
    add_json(parser)
    return parser


def run_merge(options: Namespace) -> int:
    """Join the parts and print what became of all sources. Returns the exit code."""
    from growreel.preparation.merging import merge

    if len(options.paths) < 2:
        raise GrowreelError(f"merge {options.paths[0]}: needs two paths or more; name all parts, then the folder to write")
    report = merge(options.paths[:-1], options.paths[-1], overwrite=options.overwrite)
    return _tell(report, options)


def _tell(report: PrepareReport, options: Namespace) -> int:
    if options.json:
        print_json(report.as_dict())
    else:
        print(report.table(options.verbose))
    return report.exit_code


class _Stopped(BaseException):
    """SIGTERM has come: leave as orderly as at Ctrl-C."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped


def run_prepare(options: Namespace) -> int:
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with redirect_stdout(sys.stderr):  # where Ray's client would tell of processes that died, among our results
            report = _prepare(options)
        return _tell(report, options)
    except _Stopped:
        print("growreel: stopped by SIGTERM; the same command goes on where it was", file=sys.stderr)
        return 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


def _prepare(options: Namespace) -> PrepareReport:
    from growreel.preparation.merging import Shard
    from growreel.preparation.prepare import prepare

    return prepare(
        options.source,
        options.store,
        Size.parse(options.size, "--size"),
        frame_stride=options.frame_stride,
        clip_stride=options.clip_stride,
        fit=options.fit,
        crop=options.crop,
        only=options.list,
        fps=options.fps,
        max_clips_per_video=options.max_clips_per_video,
        colors=options.colors,
        tiles=_parse_tiles(options.tiles),
        labels=options.labels,
        channel=options.channel,
        holdout=_parse_share(options.holdout),
        anonymous=options.anonymous,
        shard=Shard.parse(options.shard) if options.shard is not None else None,
        workers=options.workers,
        engine=options.engine,
        ray_address=options.ray_address,
        time_limit=options.time_limit,
        overwrite=options.overwrite,
        drop=options.drop,
        faces=FaceSettings(**vars(options.faces)),
    )


def _parse_tiles(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text, flags=re.ASCII)
    if match is None:
        raise GrowreelError(f"--tiles: {text!r} is not ROWSxCOLUMNS, e.g. 7x4")
    return int(match[1]), int(match[2])


def _parse_share(text: str | None) -> float | None:
    """Between 0 and 1, from `10%` or `0.1`."""
    if text is None:
        return None
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise GrowreelError(f"--holdout {text}: is no share; give one such as 10%") from error
