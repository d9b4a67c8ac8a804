"""The command `growreel completion`: scripts that let a shell complete commands, flags and choices."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.parser import CommandParser, commands_of
from growreel.errors import GrowreelError

SHELLS = ("bash", "zsh", "fish")


def completion_parser() -> ArgumentParser:
    """Build the parser of `growreel completion`."""
    parser = CommandParser(
        usage="growreel completion bash|zsh|fish",
        description="Print a completion script. To have it in every new shell: bash: growreel completion bash > "
        "~/.local/share/bash-completion/completions/growreel; zsh: growreel completion zsh > a folder of $fpath, as _growreel; "
        "fish: growreel completion fish > ~/.config/fish/completions/growreel.fish",
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that it is for")
    return parser


def run_completion(options: Namespace) -> int:
    """Print the script. Returns the exit code."""
    from growreel.cli.main import build_parser

    if find_spec("shtab") is None:
        raise GrowreelError("completion: the package shtab is not installed; pip install -c constraints.txt shtab")
    import shtab

    if options.shell not in shtab.SUPPORTED_SHELLS:
        raise GrowreelError(f"completion {options.shell}: the installed shtab knows {', '.join(shtab.SUPPORTED_SHELLS)}; update it")
    parser = build_parser([])
    for command in commands_of(parser).values():
        for action in command._actions:
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(parser.get_completion_script(f"shtab-{options.shell}"))
    return 0
