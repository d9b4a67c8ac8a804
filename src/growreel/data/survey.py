"""What a practitioner would look for in a clip store before training: brightness, motion, cuts, bars, balance, copies; and warnings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from growreel.data.duplicates import find_duplicates, small_level, sources_together
from growreel.data.store import ClipStore
from growreel.runtime.terminal import printable

STILL = 0.5  # mean change from frame to frame, of 255, below which a clip hardly moves
DARK, BRIGHT = 25.0, 230.0
CUT, CUT_RATIO = 20.0, 6.0  # a change of so much, and so many times the clip's usual one, is taken for a cut
REPEATED, REPEATED_SHARE = 0.1, 1 / 3  # a change of less than a tenth of the clip's mean is none; a third of them is too many
BLACK, EVEN = 24, 6  # the brightest value of a bar, and by how much its values differ
GREY = 1.0  # mean difference between the colours of a pixel
BARS = 10
READ_TOGETHER = 64
FEW_CLIPS = 200
TWINS_SHOWN = 8


class Twins(NamedTuple):
    """Sources that show the same somewhere, by name; whether some of them are mirrored."""

    sources: tuple[str, ...]
    mirrored: bool


@dataclass(frozen=True)
class Survey:
    """What a look at every clip at a small size has shown.

    Attributes:
        brightness: of each clip, float64 [n]: mean, 0 to 255.
        motion: of each clip, float64 [n]: mean absolute change from frame to frame, in the same unit.
        cuts, repeats, bars, grey: of each clip, bool [n]: seems to hold a cut; repeats frames though it moves; has black bars on two
            sides; is grey though the store has colours.
        twins: groups of sources.
        warnings: sentences.
    """

    brightness: NDArray[np.float64]
    motion: NDArray[np.float64]
    cuts: NDArray[np.bool_]
    repeats: NDArray[np.bool_]
    bars: NDArray[np.bool_]
    grey: NDArray[np.bool_]
    twins: tuple[Twins, ...]
    warnings: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """Plain values for JSON; histograms have their lower edges, the others are numbers of clips."""
        return {
            "brightness": _histogram(self.brightness, 255.0),
            "motion": _histogram(self.motion, max(1.0, float(self.motion.max()))),
            "with_cuts": int(self.cuts.sum()),
            "with_repeated_frames": int(self.repeats.sum()),
            "with_black_bars": int(self.bars.sum()),
            "without_colour": int(self.grey.sum()),
            "duplicates": [list(group.sources) for group in self.twins],
            "warnings": list(self.warnings),
        }

    def table(self) -> str:
        """For people: two histograms as rows of bars, then groups of duplicates and warnings."""
        facts = self.facts()
        named = (("brightness", self.brightness, "mean of a clip, of 255"), ("motion", self.motion, "mean change a frame, of 255"))
        lines = [f"{name:<12}{_bars(facts[name])}, half below {np.median(values):.3g} ({unit})" for name, values, unit in named]
        for group in self.twins[:TWINS_SHOWN]:
            lines.append(f"duplicates: {', '.join(map(printable, group.sources))}{' (mirrored)' if group.mirrored else ''}")
        if len(self.twins) > TWINS_SHOWN:
            lines.append(f"duplicates: {len(self.twins) - TWINS_SHOWN:,} groups more")
        return "\n".join(lines + [f"warning: {printable(text)}" for text in self.warnings])


def survey(store: ClipStore) -> Survey:
    """Look at every clip of a store, at a small level that has all frames."""
    level, count = small_level(store), len(store)
    brightness, motion = np.empty(count), np.zeros(count)
    cuts, repeats, bars, grey = (np.zeros(count, bool) for _ in range(4))
    for first in range(0, count, READ_TOGETHER):
        some = slice(first, min(first + READ_TOGETHER, count))
        clips = store.read(range(some.start, some.stop), level).astype(np.int16)
        brightness[some] = clips.mean(axis=(1, 2, 3, 4))
        bars[some] = _have_bars(clips)
        if store.channels == 3:
            grey[some] = (clips.max(axis=4) - clips.min(axis=4)).mean(axis=(1, 2, 3)) < GREY
        if level.t > 1:
            changes = np.abs(np.diff(clips, axis=1)).mean(axis=(2, 3, 4))
            motion[some] = changes.mean(axis=1)
            cuts[some] = (changes.max(axis=1) > CUT) & (changes.max(axis=1) > CUT_RATIO * np.median(changes, axis=1))
            none = (changes < REPEATED * changes.mean(axis=1, keepdims=True)).mean(axis=1)
            repeats[some] = (none >= REPEATED_SHARE) & (motion[some] >= STILL) & ~cuts[some]
    found = Survey(brightness, motion, cuts, repeats, bars, grey, _twins(store), ())
    return replace(found, warnings=tuple(_warnings(store, found)))


def _have_bars(clips: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Whether the outermost lines of clips [n, t, h, w, c], above and below or left and right, are evenly black, and the rest is not."""
    found = np.zeros(len(clips), bool)
    for axis in (2, 3):
        edges = np.take(clips, [0, -1], axis=axis)
        most, least = edges.max(axis=(1, 2, 3, 4)), edges.min(axis=(1, 2, 3, 4))
        found |= (most < BLACK) & (most - least <= EVEN)
    dark: NDArray[np.bool_] = clips.mean(axis=(1, 2, 3, 4)) <= DARK
    return found & ~dark


def _twins(store: ClipStore) -> tuple[Twins, ...]:
    pairs = find_duplicates(store)
    together = sources_together(store, pairs)
    mirrored = {together[store.clips[pair.first].source] for pair in pairs if pair.mirrored}
    groups: dict[str, list[str]] = {}
    for source, group in together.items():
        groups.setdefault(group, []).append(source)
    return tuple(Twins(tuple(sorted(each)), group in mirrored) for group, each in sorted(groups.items()) if len(each) > 1)


def _warnings(store: ClipStore, found: Survey) -> list[str]:
    said, count = list[str](), len(store)
    if count < FEW_CLIPS:
        said.append(f"only {count:,} clips: a model will learn them by heart; cut more of them (--clip-stride) or add videos")
    if store.size.t > 1 and (share := float((found.motion < STILL).mean())) >= 0.3:
        said.append(f"{share:.0%} of the clips hardly move; leave such videos out, or take every n-th frame (--frame-stride)")
    for share, word in ((float((found.brightness < DARK).mean()), "dark"), (float((found.brightness > BRIGHT).mean()), "white")):
        if share >= 0.1:
            said.append(f"{share:.0%} of the clips are nearly {word}")
    for clips, least, text in (
        (found.cuts, 0.02, "seem to hold a cut; cut the films at their scenes first, or drop those clips (growreel view STORE, --drop)"),
        (found.repeats, 0.1, "repeat frames: their videos were made of slower ones; --frame-stride or --fps would leave those out"),
        (found.bars, 0.05, "have black bars; cut those off (--crop boxes.csv)"),
        (found.grey, 0.95, "have no colours; --colors 1 would do"),
    ):
        if (share := float(clips.mean())) >= least:
            said.append(f"{share:.0%} of the clips {text}")
    if len(store.rates) > 1:
        rates = ", ".join(f"{rate:.4g}" for rate, _ in store.rates[:5])
        said.append(f"rates differ ({rates} frames per second): motion will be mixed; prepare with --fps makes them equal")
    sources = Counter(clip.source for clip in store.clips)
    name, most = sources.most_common(1)[0]
    if len(sources) > 1 and most > max(0.25, 2 / len(sources)) * count:
        said.append(f"one video gives {most / count:.0%} of the clips ({name}); --max-clips-per-video would balance them")
    if store.labels:
        labels = Counter(clip.label for clip in store.clips if clip.label is not None)
        rare, least_clips = min(labels.items(), key=lambda item: item[1])
        if least_clips * 10 < max(labels.values()):
            said.append(f"labels are uneven: {store.labels[rare]} has {least_clips:,} clips, another {max(labels.values()):,}")
        if unlabelled := count - sum(labels.values()):
            said.append(f"{unlabelled:,} clips have no label")
    if found.twins and not store.held_out:
        alike = sum(len(group.sources) for group in found.twins)
        said.append(f"{alike:,} videos show nearly what others show (copies, mirrored, or one scene): only --holdout keeps such together")
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
