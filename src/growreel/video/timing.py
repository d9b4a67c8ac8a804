"""When frames are shown: gaps and restarts of a film's clock, and frames at a constant rate."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from collections.abc import Iterator

from growreel.video.media import LONGEST_HOLD, SHORTEST_GAP, Findings, Picture, Shown

LATE = 0.15  # containers store times in whole milliseconds (Matroska) or hundredths (GIF): frames seem to come late by so much
REMEMBERED = 64  # intervals that say what is usual
ENOUGH = 8  # of them that are known; before that
LOOKAHEAD = 9  # pictures are looked at first
RESTART = 1.0  # seconds backwards; less is a muxer's untidiness
MAX_RESIZE, MAX_RESHAPE = 1.5, 1.1  # by which size and shape may change within a clip


def with_breaks(shown: Iterator[Shown], findings: Findings) -> Iterator[Shown]:
    """Mark the pictures that do not follow on the one before: after a gap or a restart of the times, or where the size changes.

    Times never go back within a run. Intervals are counted in `findings`, breaks noted there.
    """
    first, trouble = _first_of(shown)
    intervals = [after.time - before.time for before, after in itertools.pairwise(first) if after.time > before.time]
    recent: deque[float] = deque(maxlen=REMEMBERED)
    if intervals:
        usual = statistics.median(intervals)
    else:
        usual = 1 / findings.declared[0] if findings.declared else 0.0
    before: Shown | None = None
    for number, each in enumerate(itertools.chain(first, shown)):
        if before is None:
            before = each._replace(begins=True)
            yield before
            continue
        begins, interval = each.begins, each.time - before.time
        if not begins and interval < -RESTART:
            findings.note("its times begin again; clips end there")
            begins = True
        elif not begins and (interval > SHORTEST_GAP or findings.damaged):
            usual = statistics.median(recent) if len(recent) >= ENOUGH else usual
            if interval > _longest(usual, findings):
                if not findings.damaged:
                    findings.note(f"a gap of {interval:.3g} s after frame {number}; no clip goes across")
                begins = True
        if _other_shape(before.picture, each.picture):
            findings.note("pictures of several sizes; clips end where the size changes")
            begins = True
        if not begins:
            interval = max(interval, 0.0)
            recent.append(interval)
            findings.count_interval(interval)
        if begins != each.begins or (each.time < before.time and not begins):
            each = Shown(each.time if begins else before.time, each.duration, each.picture, begins)
        before = each
        yield each
    if trouble is not None:
        raise trouble


def _first_of(shown: Iterator[Shown]) -> tuple[list[Shown], Exception | None]:
    """A few pictures, whose intervals say what is usual (the rate that a file claims may be anything), and what went wrong meanwhile."""
    first = list[Shown]()
    try:
        first.extend(itertools.islice(shown, LOOKAHEAD))
    except Exception as error:
        return first, error
    return first, None


def _longest(usual: float, findings: Findings) -> float:
    """The longest interval, in seconds, that is no gap."""
    if findings.holds or findings.timeless:
        return math.inf
    if findings.damaged:  # frames are missing: any interval that has room for one more is where
        return 1.5 * usual
    return max(SHORTEST_GAP, LONGEST_HOLD * usual)


def _other_shape(one: Picture, other: Picture) -> bool:
    """Whether two pictures are too unlike in size or in shape to be of one shot."""
    if (one.height, one.width) == (other.height, other.width):
        return False
    shape = one.width * other.height / (one.height * other.width)
    size = one.height / other.height
    return not (1 / MAX_RESHAPE <= shape <= MAX_RESHAPE and 1 / MAX_RESIZE <= size <= MAX_RESIZE)


def at_constant_rate(shown: Iterator[Shown], fps: float, findings: Findings) -> Iterator[Shown]:
    """Sample and hold: output frame k of a run is the last one to appear by k / fps, give or take `LATE` of a frame.

    No frame is held longer than a gap is allowed to be; where one asks for more, the run ends there, with a note.
    """
    held: Shown | None = None
    slot, begin, fresh, spacing = 0, 0.0, True, SHORTEST_GAP
    for each in shown:
        cut = False
        if held is not None and not each.begins and each.time - held.time > SHORTEST_GAP and findings.holds:
            findings.note(f"frames held longer than {SHORTEST_GAP:g} s; clips end there")
            cut = True
        if held is None or each.begins or cut:
            if held is not None:
                stays = SHORTEST_GAP if cut else spacing  # a container may count the gap as the last frame's duration
                yield from _until(held, slot, _end(held, begin, fps, stays), begin, fps, fresh)
            slot, begin, fresh, spacing = 0, each.time, True, SHORTEST_GAP
        else:
            spacing = each.time - held.time
        here = math.ceil((each.time - begin) * fps - LATE)
        if held is not None and here > slot:
            yield from _until(held, slot, here, begin, fps, fresh)
            slot, fresh = here, False
        held = each
    if held is not None:
        last = _end(held, begin, fps, SHORTEST_GAP if findings.holds else held.duration)
        yield from _until(held, slot, last, begin, fps, fresh)


def _end(held: Shown, begin: float, fps: float, longest: float) -> int:
    """The first output frame after a run's last picture, which is held for its own duration, at most `longest` seconds."""
    return max(math.floor((held.time + min(held.duration, longest) - begin) * fps + 0.5), 1)


def _until(held: Shown, first: int, last: int, begin: float, fps: float, begins: bool) -> Iterator[Shown]:
    """Output frames `first` to before `last` of the run that begins at `begin` seconds, all of them the held picture."""
    for slot in range(first, last):
        yield Shown(begin + slot / fps, 1 / fps, held.picture, begins and slot == first)
