"""Numbers, times and sizes as people read them."""

from __future__ import annotations

import math

from growreel.growth import Size

RAISED = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def times(size: Size | str) -> str:
    """`16x32x32` with multiplication signs."""
    return str(size).replace("x", "\N{MULTIPLICATION SIGN}")


def count(number: float) -> str:
    """`26,000`."""
    return f"{number:,.0f}"


def short_count(number: float) -> str:
    """`950`, `26k`, `1.2M`; beyond a thousand G a power of ten."""
    number = float(f"{number:.3g}")
    if abs(number) >= 1e12:
        return power_of_ten(number, 2)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.3g}{unit}"
    return f"{number:.3g}"


def figure(number: float) -> str:
    """Four digits that matter: `0.004132`, `12.35`, `1,204`; what is very large or small as a power of ten."""
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    if not 1e-4 <= abs(number) < 1e7:
        return power_of_ten(number, 3)
    number = float(f"{number:.4g}") if abs(number) < 1000 else number  # 999.96 is 1,000
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.{max(0, 3 - math.floor(math.log10(abs(number))))}f}"


def power_of_ten(number: float, digits: int) -> str:
    """At most so many digits before a power: `1.23` times ten to the minus fifth, with signs as in print."""
    mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g}\N{MULTIPLICATION SIGN}10{str(int(exponent)).translate(RAISED)}"


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
