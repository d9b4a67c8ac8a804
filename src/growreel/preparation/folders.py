"""What the pictures of one folder are: films by the numbers in their names, and what beside them is none.

1. A picture with the name of a film beside it is that film's thumbnail: left out.
2. Names that differ only in their numbers are one sequence; the first number that is different in every name counts its frames, and
   numbers before it that repeat tell films apart (`cat_000`, `dog_000`, `take2_000` are three). `0.25, 0.5, 1.0` are decimals, and a date
   with a time of day (`2026-11-27_14-05-09`, `20261127_140509`) is one number, of seconds.
3. A sequence named like another one and `mask`, `depth`, `thumb` or the like (MASK_WORDS) is left out.
4. A step of twice the usual one or more is a gap, which no clip crosses.
5. Where names follow no such rule, all pictures are one film in natural order; single ones beside sequences are left out.
"""

from __future__ import annotations

import datetime
import itertools
import re
import statistics
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from growreel.preparation.looking import Look
from growreel.video.arrays import ArrayPart

MASK_WORDS = "mask|matte|alpha|depth|disp|disparity|seg|segmentation|label|labelid|gt|flow|normal|instance|thumb|thumbnail|preview"
MASK = re.compile(rf"[ _.\-]?(?:{MASK_WORDS})s?(?=[ _.\-]|$)", re.IGNORECASE)
IS_MASK = re.compile(rf"(?:^|[ _.\-])(?:{MASK_WORDS})s?(?:[ _.\-]|$)", re.IGNORECASE)
GAP = 2.0  # usual steps
CLOCK = re.compile(
    r"(?<![0-9])((?:19|20)[0-9]{2})([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12][0-9]|3[01])[-_ T.]{0,3}"
    r"([01][0-9]|2[0-3])([-_.:]?)([0-5][0-9])\6([0-5][0-9])(?:\.?([0-9]{3}|[0-9]{6}))?(?![0-9])",
    re.ASCII,
)  # a date, a time of day, and perhaps thousandths or millionths of a second

NameKey = list[tuple[bool, int, str]]


@dataclass(frozen=True)
class PictureFilm:
    """Pictures that follow one another: the pattern of their names, the pictures, and the places after a gap."""

    pattern: str
    looks: tuple[Look, ...]
    begins: frozenset[int] = frozenset()


@dataclass(frozen=True)
class _Named:
    """A picture and its name, taken apart: texts[0] written[0] texts[1] written[1] ... texts[-1]; and the values of what is written."""

    look: Look
    texts: tuple[str, ...]
    written: tuple[str, ...]
    numbers: tuple[float, ...]


def masks_among(parts: Sequence[ArrayPart]) -> set[str]:
    """Names of the arrays of one file that are named as masks and the like, if others are not."""
    masks = {part.key for part in parts if IS_MASK.search(PurePosixPath(part.key).name)}
    return masks if any(part.key not in masks for part in parts) else set()


def arrange(looks: Sequence[Look], films: Collection[str]) -> tuple[list[PictureFilm], list[tuple[Look, str]]]:
    """The films that the pictures of a folder make, and the pictures left out, each with the reason.

    Args:
        looks: at the pictures, none of them a strip.
        films: names of the videos in the same folder.
    """
    of_films = {name.lower() for film in films for name in (film, PurePosixPath(film).stem)}
    left_out = [(each, "a picture with the name of a film beside it") for each in looks if _stem(each).lower() in of_films]
    pictures = [each for each in looks if _stem(each).lower() not in of_films]
    groups: dict[tuple[str, ...], list[_Named]] = defaultdict(list)
    for each in pictures:
        named = _taken_apart(each)
        groups[named.texts].append(named)
    for texts in list(groups):
        if (bare := tuple(MASK.sub("", text) for text in texts)) != texts and bare in groups:
            masks = groups.pop(texts)
            beside = groups[bare][0].look.file.name
            left_out += [(each.look, f"named as masks, depth maps or thumbnails ({beside} is a frame)") for each in masks]
    rest = [each.look for group in groups.values() for each in group]
    sequences = [film for group in groups.values() for film in _sequences(group)]
    long = [film for film in sequences if len(film.looks) > 1]
    if sum(len(film.looks) for film in long) * 2 <= len(rest):
        whole = tuple(sorted(rest, key=lambda each: natural_key(each.file.name)))
        return ([PictureFilm("*", whole)] if whole else []), left_out
    left_out += [(film.looks[0], "a single picture beside frames of a film") for film in sequences if len(film.looks) == 1]
    return long, left_out


def natural_key(name: str) -> NameKey:
    """Sort key by which `frame10` comes after `frame9`. Only 0 to 9 are digits: what else Unicode calls one may have no value."""
    parts = [part for part in re.split(r"([0-9]+)", name) if part]
    return [(False, int(part), part) if part[0] in "0123456789" else (True, 0, part) for part in parts]


def _stem(each: Look) -> str:
    return PurePosixPath(each.file.name).stem


def _taken_apart(each: Look, *, clock: bool = False) -> _Named:
    """With `clock`, a date and time of day is one number."""
    stem = _stem(each)
    found = CLOCK.search(stem) if clock else None
    seconds = _seconds(found) if found else None
    if found is None or seconds is None:
        pieces = re.split(r"([0-9]+)", stem)
        return _Named(each, (*pieces[0::2], each.file.suffix), tuple(pieces[1::2]), tuple(map(float, pieces[1::2])))
    before, after = (re.split(r"([0-9]+)", part) for part in (stem[: found.start()], stem[found.end() :]))
    texts, written = (*before[0::2], *after[0::2], each.file.suffix), (*before[1::2], found[0], *after[1::2])
    return _Named(each, texts, written, (*map(float, before[1::2]), seconds, *map(float, after[1::2])))


def _seconds(found: re.Match[str]) -> float | None:
    """Seconds since some moment; None for a day that is none."""
    year, month, day, hour, minute, second = (int(found[group]) for group in (1, 3, 4, 5, 7, 8))
    try:
        whole = datetime.datetime(year, month, day, hour, minute, second).toordinal() * 86400 + hour * 3600 + minute * 60 + second
    except ValueError:
        return None
    return whole + float(f"0.{found[9] or 0}")


def _sequences(group: list[_Named]) -> list[PictureFilm]:
    """The films among pictures whose names differ in numbers only."""
    group = _with_decimals(_with_clock(group))
    columns = [[each.numbers[column] for each in group] for column in range(len(group[0].numbers))]
    changing = [column for column, values in enumerate(columns) if len(set(values)) > 1]
    if not changing:
        return [PictureFilm(_pattern(group[0], ()), tuple(each.look for each in group))]
    counting = next((column for column in changing if len(set(columns[column])) == len(group)), changing[-1])
    telling = [column for column in changing if column < counting]
    films: dict[tuple[float, ...], list[_Named]] = defaultdict(list)
    for each in group:
        films[tuple(each.numbers[column] for column in telling)].append(each)
    return [_film(films[key], counting) for key in sorted(films)]


def _film(members: list[_Named], counting: int) -> PictureFilm:
    members = sorted(members, key=lambda each: (each.numbers[counting], natural_key(each.look.file.name)))
    steps = [after.numbers[counting] - before.numbers[counting] for before, after in itertools.pairwise(members)]
    usual = statistics.median(steps) if steps else 0.0
    begins = frozenset(place for place, step in enumerate(steps, 1) if usual > 0 and step >= GAP * usual * (1 - 1e-9))
    return PictureFilm(_pattern(members[0], (counting,)), tuple(each.look for each in members), begins)


def _pattern(named: _Named, open_columns: tuple[int, ...]) -> str:
    """The name with a star for the number that counts."""
    numbers = ["*" if column in open_columns else each for column, each in enumerate(named.written)]
    return "".join(itertools.chain.from_iterable(zip(named.texts, (*numbers, ""), strict=False))) + named.texts[-1]


def _with_clock(group: list[_Named]) -> list[_Named]:
    """Dates with times of day as one number each, if they alone tell the pictures apart: they may also be when a whole film began."""
    clocked = [_taken_apart(each.look, clock=True) for each in group]
    if len({each.texts for each in clocked}) > 1 or len({each.numbers for each in clocked}) < len(group):
        return group
    changing = [len(set(column)) for column in zip(*(each.numbers for each in clocked), strict=True)]
    return clocked if len(group) in changing else group


def _with_decimals(group: list[_Named]) -> list[_Named]:
    """Join two numbers with a point between them where they are one decimal: 0.25, 0.5, 1.0, but not shot1.0009, shot1.0010."""
    texts = group[0].texts
    points = [place for place in range(1, len(texts) - 2) if texts[place] == "."]
    if len(points) != 1 or len(group) < 3:
        return group
    at = points[0] - 1
    written = [each.written[at + 1] for each in group]
    values = sorted(float(f"{each.written[at]}.{fraction}") for each, fraction in zip(group, written, strict=True))
    steps = [after - before for before, after in itertools.pairwise(values)]
    if len({len(fraction) for fraction in written}) > 1:
        decimal = not any(len(fraction) > 1 and fraction.endswith("0") for fraction in written)
    else:
        # Of one length: a decimal if it goes on evenly where the whole number changes (0.9, 1.0), not if it begins again.
        whole_changes = [step for before, after, step in zip(values, values[1:], steps, strict=False) if int(before) != int(after)]
        decimal = bool(whole_changes) and max(whole_changes) < GAP * statistics.median(steps)
    if not decimal or min(steps) <= 0:
        return group
    return [
        _Named(
            each.look,
            (*texts[: at + 1], *texts[at + 2 :]),
            (*each.written[:at], f"{each.written[at]}.{fraction}", *each.written[at + 2 :]),
            (*each.numbers[:at], float(f"{each.written[at]}.{fraction}"), *each.numbers[at + 2 :]),
        )
        for each, fraction in zip(group, written, strict=True)
    ]
