"""The command line: one file per group of commands; `main` parses and dispatches."""

from growreel.cli.main import main as main

__all__ = ["main"]
