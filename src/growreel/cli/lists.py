"""Lists on the command line: names with commas between them, where jsonargparse alone would want JSON."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Sequence
from typing import Any

from jsonargparse import Namespace

from growreel.config import Config

STAGES = "--growth.stages"


def spell_lists(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with every list of a configuration field as JSON, so that `--training.eval_metrics kid,motion` can be written.

    A list of sizes for --growth.stages becomes --stages, which means the same. What begins with a bracket is JSON already and stays.
    """
    flags, spelled = set(_list_flags(Config)), list[str]()
    rest = iter(arguments)
    for argument in rest:
        flag, separator, value = argument.partition("=")
        if flag not in flags:
            spelled.append(argument)
            continue
        if not separator:
            following = next(rest, None)
            if following is None:  # a flag without its value: the parser says so
                spelled.append(flag)
                continue
            value = following
        if value.lstrip().startswith("["):
            spelled += [flag, value]
        elif flag == STAGES:
            spelled += ["--stages", value]
        else:
            spelled += [flag, json.dumps(value.replace(",", " ").split())]
    return spelled


def plain(value: Any) -> Any:
    """Return a parsed value with dicts in place of Namespaces, in lists as well."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _list_flags(kind: type, prefix: str = "--") -> list[str]:
    """Collect the flags of all fields below a configuration class that hold a tuple."""
    flags = []
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            flags += _list_flags(typing.cast(type, hint), f"{prefix}{name}.")
        elif typing.get_origin(hint) is tuple:
            flags.append(prefix + name)
    return flags
