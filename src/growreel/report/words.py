"""Numbers, times and sizes as people read them."""

from __future__ import annotations

import math

from growreel.growth import Size


def times(size: Size | str) -> str:
    """`16x32x32` with multiplication signs."""
    return str(size).replace("x", "\N{MULTIPLICATION SIGN}")


def count(number: float) -> str:
    """`26,000`."""
    return f"{number:,.0f}"


def short_count(number: float) -> str:
    """`950`, `26k`, `1.2M`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.3g}{unit}"
    return f"{number:.3g}"


def figure(number: float) -> str:
    """Four digits that matter: `0.004132`, `12.35`, `1,204`."""
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    if abs(number) < 1e-3:
        return f"{number:.2e}"
    return f"{number:.{max(0, 3 - math.floor(math.log10(abs(number))))}f}"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min" + (f" {seconds % 60} s" if seconds < 600 and seconds % 60 else "")
    if seconds < 86_400:
        return f"{seconds // 3600} h" + (f" {seconds % 3600 // 60} min" if seconds % 3600 >= 60 else "")
    return f"{seconds // 86_400} d" + (f" {seconds % 86_400 // 3600} h" if seconds % 86_400 >= 3600 else "")


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 clip`, `2 clips`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def gigabytes(number: float) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e8 else f"{number / 1e6:.0f} MB"
