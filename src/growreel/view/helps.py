"""Help texts of the pages: the docstrings of configuration fields, and of the functions that a control calls."""

from __future__ import annotations

import dataclasses
import functools
import re
import typing

from docstring_parser import parse, parse_from_object

from growreel.config import Config
from growreel.sampling import generate


@functools.cache
def config_helps() -> dict[str, str]:
    """Docstring of every field of the configuration by its dotted name."""
    return _fields(Config, "")


def control_helps() -> dict[str, str]:
    """What the controls of *Play* mean."""
    arguments = {each.arg_name: _flat(each.description or "") for each in parse(generate.__doc__ or "").params}
    return {"seed": arguments["seeds"], "truncation": arguments["truncation"], **{f"config.{k}": v for k, v in config_helps().items()}}


def _fields(kind: type, prefix: str) -> dict[str, str]:
    found = {each.arg_name: _flat(each.description or "") for each in parse_from_object(kind).params}
    helps = dict[str, str]()
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            helps |= _fields(typing.cast(type, hint), f"{prefix}{name}.")
        helps[f"{prefix}{name}"] = found.get(name, "")
    return helps


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
