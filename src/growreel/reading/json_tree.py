"""JSON from files: no key twice, no numbers that are none, no integers beyond 64 bits."""

from __future__ import annotations

import json
from typing import Any

from growreel.reading.words import plain, shown

LARGEST = 2**63


def parse_json(text: str | bytes) -> Any:
    """The tree that a JSON text says. Its memory is bounded by the length of the text, its depth by Python's recursion limit.

    Raises ValueError, with a message fit for a user, if it is not JSON, says a key twice (readers differ in which they take), or has
    NaN, Infinity or an integer that needs more than 64 bits.
    """
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(plain(error)) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {shown(next(name for name in names if names.count(name) > 1))} is there twice")
    return tree


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _whole(digits: str) -> int:
    if len(digits) > 20 or not -LARGEST <= int(digits) < LARGEST:
        raise ValueError(f"the number {digits[:20]}... has too many digits")
    return int(digits)
