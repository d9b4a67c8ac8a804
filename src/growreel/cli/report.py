"""The commands `growreel report` and `growreel tensorboard`."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.parser import CommandParser


def report_parser() -> ArgumentParser:
    """Build the parser of `growreel report`."""
    parser = CommandParser(
        usage="growreel report RUN [RUN_B ...] [--out FILE.html]",
        description="Write one page that shows a run, or several beside each other. It needs no network and no other file.",
    )
    parser.add_argument("runs", type=Path, nargs="+", help="run folders that train wrote")
    parser.add_argument("--out", type=Path | None, default=None, help=".html; default: RUN/report.html, for several runs comparison.html")
    return parser


def run_report(options: Namespace) -> int:
    """Write the page and print where it is. Returns the exit code."""
    from growreel.report import write_report

    print(write_report(options.runs, options.out))
    return 0


def tensorboard_parser() -> ArgumentParser:
    """Build the parser of `growreel tensorboard`."""
    parser = CommandParser(
        usage="growreel tensorboard RUN [RUN_B ...] [--out FOLDER] [--follow]",
        description="Write event files of run folders, for TensorBoard. Needs pip install 'growreel[tensorboard]'.",
    )
    parser.add_argument("runs", type=Path, nargs="+", help="run folders that train wrote")
    parser.add_argument("--out", type=Path | None, default=None, help="folder for event files; default: RUN/tensorboard")
    parser.add_argument("--follow", action="store_true", help="go on as the runs grow, until Ctrl-C")
    return parser


def run_tensorboard(options: Namespace) -> int:
    """Write the event files and print how to look at them. Returns the exit code."""
    from growreel.report.tensorboard import EVENTS, copy_to_tensorboard

    shown = f"--logdir {options.out or options.runs[0] / EVENTS}"
    if options.out is None and len(options.runs) > 1:
        shown = "--logdir_spec " + ",".join(f"{path.resolve().name}:{path / EVENTS}" for path in options.runs)
    print(f"look at it with: tensorboard {shown}", flush=True)
    copy_to_tensorboard(options.runs, options.out, follow=options.follow)
    return 0
