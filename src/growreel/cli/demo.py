"""The command `growreel demo`."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.parser import CommandParser


def demo_parser() -> ArgumentParser:
    """Build the parser of `growreel demo`."""
    parser = CommandParser(
        usage="growreel demo [--out RUN] [--clips N]",
        description="Make procedural clips, grow a model on them, sample it, judge the samples.",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="run folder")
    parser.add_argument("--clips", type=int | None, default=None, help="how many to show in all; default: those of the preset")
    return parser


def run_demo_command(options: Namespace) -> int:
    """Run the demo. Returns the exit code."""
    from growreel.demo import run_demo

    result = run_demo(options.out, options.clips)
    print(result.summary)
    return result.exit_code
