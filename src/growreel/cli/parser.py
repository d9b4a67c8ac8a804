"""The parser of the whole command line: jsonargparse's, with words for people in its help and in its errors."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from growreel.cli.console import styled
from growreel.cli.lists import spell_lists


class HelpFormatter(DefaultHelpFormatter):
    """Shows types by their names: `path`, not `<class 'Path'>`; where there are choices, they say all there is to say."""

    def _expand_help(self, action: argparse.Action) -> str:
        """Leave out what says nothing: that a value may be none, and is none unless given."""
        text = super()._expand_help(action)
        return re.sub(r" \(\)$", "", re.sub(r"(, )?default: null", "", text)).replace("(, ", "(")

    def _get_type_str(self, action: argparse.Action) -> str | None:
        if action.choices is not None:
            return None
        kind = super()._get_type_str(action)
        return None if kind is None else _plain_types(kind.replace(" | null", ""))

    def _get_help_string(self, action: argparse.Action) -> str:
        text = super()._get_help_string(action)
        if action.choices is not None or self._get_type_str(action) is None:
            text = text.replace("type: %(type)s, ", "").replace(", type: %(type)s", "").replace(" (type: %(type)s)", "")
        return text


class CommandParser(ArgumentParser):
    """Parser of `growreel` and of each of its commands."""

    def __init__(self, *rest: Any, **named: Any) -> None:
        super().__init__(*rest, **{"formatter_class": HelpFormatter, **named})

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **named: Any) -> Namespace:  # type: ignore[override]
        """Parse, with lists spelled as in `growreel.cli.lists.spell_lists`."""
        return super().parse_args(spell_lists(sys.argv[1:] if args is None else args), *rest, **named)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong in the words of the command line, and leave with exit code 2."""
        parser: ArgumentParser = self
        missing = re.search(r"the following arguments are required: (.+)", message)
        if missing:
            keys = missing[1].split(", ")
            parser = _command_of(self, keys[0]) or parser
            message = "missing: " + ", ".join(_spelled(parser, key.split(".", 1)[1] if parser is not self else key) for key in keys)
        message = re.sub(r'Parser key "([^"]+)":\s*', lambda key: f"{_spelled(parser, key[1])}: ", message)
        message = re.sub(r"Expected an? (.+?)\. Got value: (.*)", r"\2 is not of type \1", message)
        message = re.sub(r'expected "command" to be one of .*', f"missing: a command, one of {', '.join(commands_of(self))}", message)
        print(f"usage: {parser.usage or f'{self.prog} COMMAND ...'}", file=sys.stderr)
        print(f"{styled('growreel:', 'red', sys.stderr)} {_plain_types(message)}; see {parser.prog} --help", file=sys.stderr)
        sys.exit(2)


def _plain_types(text: str) -> str:
    """Replace Python's names of types by words: `<class 'pathlib.Path'>` becomes `path`."""
    names = {Path.__name__: "path", "str": "text", "null": "none"}
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    text = re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", text)
    return re.sub(r"\b(Path|str|null)\b", lambda name: names[name[1]], text)


def commands_of(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    """Return the parsers of the commands, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _command_of(parser: ArgumentParser, key: str) -> ArgumentParser | None:
    """Return the parser of the command that a key such as `train.store` belongs to, or None."""
    return commands_of(parser).get(key.split(".")[0])


def _spelled(parser: ArgumentParser, key: str) -> str:
    """Spell a key as on the command line: `--out`, or `STORE` for an argument without a flag."""
    for action in parser._actions:
        if action.dest == key:
            return action.option_strings[0] if action.option_strings else key.upper()
    return f"--{key}"
