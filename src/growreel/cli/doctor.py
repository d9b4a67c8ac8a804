"""The command `growreel doctor`."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.console import add_json, print_json, print_table
from growreel.cli.parser import CommandParser


def doctor_parser() -> ArgumentParser:
    """Build the parser of `growreel doctor`."""
    parser = CommandParser(
        usage="growreel doctor [--device D] [--out FOLDER] [--json]",
        description="Look at versions, device, arithmetic, memory, disk and weights; a line of advice where something could be better. "
        "Add its output to a bug report. Exit code 0: training works here; 1: something named will not work.",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--out", type=Path, default=Path(), help="where runs are to be written; default: here")
    add_json(parser)
    return parser


def run_doctor(options: Namespace) -> int:
    """Examine and print. Returns the exit code."""
    from growreel.doctor import as_dicts, examine, table

    checks = examine(options.out, options.device)
    if options.json:
        print_json(as_dicts(checks))
    else:
        print_table(table(checks))
    return 1 if any(check.level == "bad" for check in checks) else 0
