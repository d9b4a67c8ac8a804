"""The command `growreel bench`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.config import add_config, resolve_config
from growreel.cli.console import add_json, print_json
from growreel.cli.parser import CommandParser
from growreel.growth import Size
from growreel.runtime.durable import markdown_beside

BENCH_PRESET = "trailerfaces-256"


def bench_parser(arguments: Sequence[str]) -> ArgumentParser:
    """Build the parser of `growreel bench`."""
    parser = CommandParser(
        usage="growreel bench [--out FILE.json] [--preset NAME | --config FILE] [--sizes TxHxW,...] [options]",
        description="Speed and memory of every stage of a plan: training, sampling, the loader, and how near they come to what this "
        f"machine can do. Without --preset or --config: {BENCH_PRESET}, the paper's networks.",
    )
    parser.add_argument("--out", type=Path | None, default=None, help=".json to write; a table .md is written beside it")
    parser.add_argument("--sizes", default=None, help="stages to measure, 8x16x16,16x64x64; default: all")
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--store", type=Path | None, default=None, help="clips for the loader; default: noise")
    add_json(parser)
    add_config(parser, _bench_arguments(arguments))
    return parser


def _bench_arguments(arguments: Sequence[str]) -> Sequence[str]:
    """Add the paper's preset to the arguments, unless they name a preset, a file or a model."""
    chosen = any(argument.split("=")[0] in ("--preset", "--config", "--init-from") for argument in arguments)
    return arguments if chosen else [*arguments, "--preset", BENCH_PRESET]


def run_bench(options: Namespace) -> int:
    """Measure, print the table or the JSON, write the files. Returns the exit code."""
    from growreel.bench.run import bench

    if options.out is not None:
        markdown_beside(options.out, "--out")  # a wrong name is found now, not after minutes
    sizes = None if options.sizes is None else [Size.parse(size, "--sizes") for size in options.sizes.replace(",", " ").split()]
    report = bench(resolve_config(options), sizes=sizes, repeats=options.repeats, store=options.store)
    written = [] if options.out is None else report.save(options.out)
    if options.json:
        print_json(report.as_dict())
    else:
        print(report.table())
        if written:
            print("written: " + " ".join(map(str, written)))
    return 0
