"""The command `growreel demo`."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.console import messages_on_console
from growreel.cli.parser import CommandParser


def demo_parser() -> ArgumentParser:
    """Build the parser of `growreel demo`."""
    parser = CommandParser(
        usage="growreel demo [--out RUN]", description="Make procedural clips, grow a model on them, sample it, judge the samples."
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="run folder")
    return parser


def run_demo_command(options: Namespace) -> int:
    """Run the demo. Returns the exit code."""
    from growreel.demo import run_demo

    with messages_on_console():
        return run_demo(options.out)
