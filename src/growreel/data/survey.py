"""What a practitioner would look for in a clip store before training on it: brightness, motion, balance, copies; and warnings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.data.duplicates import find_duplicates, small_level, sources_together
from growreel.data.store import ClipStore
from growreel.runtime.terminal import printable

STILL = 0.5  # mean change from frame to frame, of 255, below which a clip hardly moves
DARK, BRIGHT = 25.0, 230.0
BARS = 10
READ_TOGETHER = 64
FEW_CLIPS = 200


@dataclass(frozen=True)
class Survey:
    """Of each clip, float64 [n]: `brightness` (mean, 0 to 255) and `motion` (mean absolute change from frame to frame, same unit).

    `twins`: groups of sources that show the same somewhere.
    """

    brightness: NDArray[np.float64]
    motion: NDArray[np.float64]
    twins: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """Plain values for JSON; histograms have their lower edges."""
        return {
            "brightness": _histogram(self.brightness, 255.0),
            "motion": _histogram(self.motion, max(1.0, float(self.motion.max()))),
            "duplicates": [list(group) for group in self.twins],
            "warnings": list(self.warnings),
        }

    def table(self) -> str:
        """For people: two histograms as rows of bars, then groups of duplicates and warnings."""
        facts = self.facts()
        lines = [f"{name:<12}{_bars(facts[name])}" for name in ("brightness", "motion")]
        lines += [f"duplicates: {', '.join(map(printable, group))}" for group in self.twins[:8]]
        if len(self.twins) > 8:
            lines.append(f"duplicates: {len(self.twins) - 8:,} groups more")
        return "\n".join(lines + [f"warning: {printable(text)}" for text in self.warnings])


def survey(store: ClipStore) -> Survey:
    """Look at every clip of a store, at a small level that has all frames."""
    level = small_level(store)
    brightness, motion = np.empty(len(store)), np.zeros(len(store))
    for first in range(0, len(store), READ_TOGETHER):
        some = range(first, min(first + READ_TOGETHER, len(store)))
        clips = store.read(some, level).astype(np.int16)
        brightness[some.start : some.stop] = clips.mean(axis=(1, 2, 3, 4))
        if level.t > 1:
            motion[some.start : some.stop] = np.abs(np.diff(clips, axis=1)).mean(axis=(1, 2, 3, 4))
    groups: dict[str, list[str]] = {}
    for source, group in sources_together(store, find_duplicates(store)).items():
        groups.setdefault(group, []).append(source)
    twins = tuple(tuple(sorted(group)) for _, group in sorted(groups.items()) if len(group) > 1)
    return Survey(brightness, motion, twins, tuple(_warnings(store, brightness, motion, twins)))


def _warnings(
    store: ClipStore, brightness: NDArray[np.float64], motion: NDArray[np.float64], twins: tuple[tuple[str, ...], ...]
) -> list[str]:
    said, count = list[str](), len(store)
    if count < FEW_CLIPS:
        said.append(f"only {count:,} clips: a model will learn them by heart; cut more of them (--clip-stride) or add videos")
    if store.size.t > 1 and (share := float((motion < STILL).mean())) >= 0.3:
        said.append(f"{share:.0%} of the clips hardly move; leave such videos out, or take every n-th frame (--frame-stride)")
    for share, word in ((float((brightness < DARK).mean()), "dark"), (float((brightness > BRIGHT).mean()), "white")):
        if share >= 0.1:
            said.append(f"{share:.0%} of the clips are nearly {word}")
    sources = Counter(clip.source for clip in store.clips)
    name, most = sources.most_common(1)[0]
    if len(sources) > 1 and most > max(0.25, 2 / len(sources)) * count:
        said.append(f"one video gives {most / count:.0%} of the clips ({name}); --max-clips-per-video would balance them")
    if store.labels:
        labels = Counter(clip.label for clip in store.clips if clip.label is not None)
        rare, least = min(labels.items(), key=lambda item: item[1])
        if least * 10 < max(labels.values()):
            said.append(f"labels are uneven: {store.labels[rare]} has {least:,} clips, another {max(labels.values()):,}")
        if unlabelled := count - sum(labels.values()):
            said.append(f"{unlabelled:,} clips have no label")
    if twins:
        said.append(f"{sum(map(len, twins)):,} videos show what others show (copies, or mirrored): a split may part them")
    if store.skipped:
        said.append(f"{len(store.skipped):,} sources were skipped")
    return said


def _histogram(values: NDArray[np.float64], most: float) -> dict[str, list[float]]:
    counts, edges = np.histogram(values, bins=BARS, range=(0.0, most))
    return {"from": [round(float(edge), 3) for edge in edges[:-1]], "clips": counts.tolist()}


def _bars(histogram: dict[str, list[float]]) -> str:
    """Ten bars with the ends of their range."""
    most = max(histogram["clips"])
    bars = "".join(" ▁▂▃▄▅▆▇█"[int(np.ceil(8 * clips / most))] for clips in histogram["clips"])
    return f"0 [{bars}] {histogram['from'][1] * BARS:.3g}"
