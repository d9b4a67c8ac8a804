"""The check of ranges that flags, fields of configurations and arguments of functions share, so that all of them say it alike."""

from __future__ import annotations

import math

from growreel.errors import GrowreelError


def check_range(name: str, value: float | None, *, least: float | None = None, above: float | None = None, most: float = math.inf) -> None:
    """Check a number and raise GrowreelError, with its name, value and limits, if it is out of range. NaN is never in range.

    Args:
        name: of the flag, field or argument, as the user knows it: `--training.seed`.
        value: None, where nothing was given, is always in range.
        least: the smallest that is allowed.
        above: allowed is what is larger than this, and finite; give this or `least`.
        most: the largest that is allowed.
    """
    if value is None:
        return
    if above is not None:
        inside, limits = above < value < math.inf and value <= most, f"above {above:g}"
        limits += " and finite" if most == math.inf else f", at most {most:g}"
    else:
        low = -math.inf if least is None else least
        inside = low <= value <= most
        limits = f"at least {low:g}" if most == math.inf else f"from {low:g} to {most:g}"
    if not inside:
        raise GrowreelError(f"{name} {value}: must be {limits}")
