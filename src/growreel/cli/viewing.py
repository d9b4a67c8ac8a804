"""The command `growreel view`."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.parser import CommandParser


def view_parser() -> ArgumentParser:
    """Build the parser of `growreel view`."""
    parser = CommandParser(
        usage="growreel view RUN|FOLDER|MODEL|STORE [--host ADDRESS] [--port N] [--allow-host NAME ...]",
        description="Serve a page to this machine's browser: a run while it trains, clips of its models, the clips of its store, and runs "
        "beside each other. Ctrl-C ends it. From afar: ssh -L 8377:127.0.0.1:8377 HOST.",
    )
    parser.add_argument("path", type=Path, help="run folder, folder of runs, model file or name, or clip store")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; any but this machine's own needs the token printed")
    parser.add_argument("--port", type=int, default=8377, help="port to listen at; 0 takes one that is free")
    parser.add_argument("--allow-host", nargs="+", default=[], help="names under which a proxy makes the page reachable")
    return parser


def run_view(options: Namespace) -> int:
    """Print the address and serve until Ctrl-C. Returns the exit code."""
    from growreel.view.serve import view

    try:
        view(options.path, options.host, options.port, options.allow_host, said=lambda address: print(f"open {address}", flush=True))
    except KeyboardInterrupt:
        return 0
    return 0
