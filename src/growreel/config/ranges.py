"""The check that every numeric field of a configuration shares."""

from __future__ import annotations

import math

from growreel.errors import GrowreelError


def check_range(field: str, value: float, *, least: float, most: float = math.inf) -> None:
    """Raise GrowreelError naming the flag unless least <= value <= most; NaN is never in range."""
    if not least <= value <= most:
        limits = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise GrowreelError(f"--{field} {value}: must be {limits}")
