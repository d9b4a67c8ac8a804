"""Trees of plain values against types: the one check that settings, headers and indices go through.

A schema is a frozen dataclass, or any annotation of: int, float, str, bool, None, Literal, X | None, tuple[X, ...], tuple[X, Y],
dict[str, X], Any, `Annotated[X, Within(...)]`, and dataclasses of these.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from growreel.errors import GrowreelError
from growreel.reading.words import shown

LARGEST = 2**63


class StructureError(GrowreelError):
    """A value is not what it should be; the message names its place and what it is."""


@dataclass(frozen=True)
class Within:
    """The range of a number, or of the length of a text or list; both ends belong to it."""

    least: float = -math.inf
    most: float = math.inf


@functools.cache
def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    return typing.get_origin(kind), typing.get_args(kind)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def convert(value: Any, kind: Any, where: str) -> Any:
    """`value` as the annotation `kind` wants it: lists become tuples, mappings dataclasses, whole numbers floats.

    `where` is the path of keys for the error; `file.yaml:` becomes `file.yaml: growth.target`. Raises StructureError.
    """
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(value, kind, where)
    origin, arguments = _parts(kind)
    if origin is Annotated:
        return _within(convert(value, arguments[0], where), arguments[1], where)
    if origin is Literal:
        if isinstance(value, bool) and "on" in arguments:
            value = "on" if value else "off"  # YAML reads these words as truth values
        if any(type(value) is type(each) and value == each for each in arguments):
            return value
        raise StructureError(f"{where}: {shown(value)} is not one of {', '.join(map(str, arguments))}")
    if origin is types.UnionType:
        if value is None:
            return None
        return convert(value, next(a for a in arguments if a is not types.NoneType), where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise StructureError(f"{where}: {shown(value)} is not a list")
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(value):
            raise StructureError(f"{where}: {shown(value)} has {len(value)} entries instead of {len(kinds)}")
        return tuple(convert(entry, of, f"{where}[{i}]") for i, (entry, of) in enumerate(zip(value, kinds, strict=True)))
    if origin is dict:
        if not isinstance(value, dict):
            raise StructureError(f"{where.removesuffix(':')}: {shown(value)} is not a mapping of names to values")
        return {convert(key, arguments[0], where): convert(entry, arguments[1], _below(where, key)) for key, entry in value.items()}
    return value if kind is Any else _plain_value(value, kind, where)


def _plain_value(value: Any, kind: type, where: str) -> Any:
    if type(value) is int and not -LARGEST <= value < LARGEST:
        raise StructureError(f"{where}: {shown(value)} is too large")
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-8 as text
        except ValueError:
            pass
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise StructureError(f"{where}: {shown(value)} is not of type {kind.__name__}")
    return value


def _within(value: Any, limits: Within, where: str) -> Any:
    size, what = (value, "") if isinstance(value, int | float) else (len(value), "length ")
    if not limits.least <= size <= limits.most:
        raise StructureError(f"{where}: {what}{shown(size)} is not from {limits.least:g} to {limits.most:g}")
    return value


def _convert_dataclass(value: Any, kind: Any, where: str) -> Any:
    if isinstance(value, kind):
        return value
    short = getattr(kind, "from_text", None)
    if short is not None and isinstance(value, str):
        return short(value)
    here = where.removesuffix(":")
    if not isinstance(value, dict):
        raise StructureError(f"{here}: {shown(value)} is not a mapping of names to values")
    hints = _hints(kind)
    unknown = [key for key in value if key not in hints]
    if unknown:
        raise StructureError(f"{here}: unknown key {shown(min(unknown, key=str))}; known are {', '.join(hints)}")
    required = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}
    if missing := sorted(required - value.keys()):
        raise StructureError(f"{here}: {missing[0]} is missing")
    return kind(**{key: convert(entry, hints[key], _below(where, key)) for key, entry in value.items()})


def _below(where: str, key: object) -> str:
    name = key if isinstance(key, str) and key.isidentifier() else shown(key)
    return f"{where} {name}" if where.endswith(":") else f"{where}.{name}"
