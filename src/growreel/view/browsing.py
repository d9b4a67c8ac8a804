"""The page *Data*: the clips of a store with what can be said of each, copies beside each other, and which are to be dropped."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.evaluation.copies import PLAIN, ClipHashes
from growreel.growth import Size
from growreel.preparation.drops import Drop, drops_beside, read_drops, write_drops
from growreel.video import resize, webp_bytes
from growreel.view.server import Asked, Refused, Reply
from growreel.view.studio import last_in_line
from growreel.view.subject import Subject

MOST_LOOKED_AT = 200_000
AT_ONCE = 64
MOST_ROWS = 96
MOST_HEIGHT, LOSSLESS_HEIGHT = 128, 64
SORTS = ("number", "brightness", "motion", "source")
MOST_SKIPPED = 1000


@dataclass
class Shelf:
    """An open store and what is known of its clips so far.

    Attributes:
        brightness, motion: [n], mean level of 255, and mean change of a pixel from frame to frame.
        copy: [n], the number of the first clip that looks the same at the level looked at, or is its mirror image.
        looked: clips from the first on for which these are known.
    """

    store: ClipStore
    level: Size
    brightness: NDArray[np.float32]
    motion: NDArray[np.float32]
    copy: NDArray[np.int64]
    looked: int = 0
    error: str = ""
    closing: threading.Event = field(default_factory=threading.Event)


class Browsing:
    """Answers for the page of clips. Looking at all of them is done by a thread, once for each store."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._shelf: tuple[str, Shelf] | None = None
        self._lock = threading.Lock()
        self._dropping = threading.Lock()

    def page(self, asked: Asked) -> dict[str, Any]:
        """Some clips in some order, what was skipped, and how many are dropped."""
        values, shelf = asked.values, self._open(asked.values.get("run", ""))
        store, drops = shelf.store, self._drops(shelf.store.path)
        dropped = self._dropped(store, drops)
        chosen = self._chosen(shelf, values.get("show", "all"), values.get("label", ""), values.get("text", "")[:200], dropped)
        order = values.get("sort", "number")
        if order not in SORTS:
            raise Refused(HTTPStatus.BAD_REQUEST, f"sort {order[:20]!r}: must be {', '.join(SORTS)}")
        chosen = self._sorted(shelf, chosen, order, values.get("down") == "1", values.get("show") == "copies")
        first = min(_whole(values, "first"), max(0, len(chosen) - 1))
        rows = chosen[first : first + MOST_ROWS]
        return {
            "store": store.path.resolve().name,
            "size": str(store.size),
            "fps": store.fps,
            "clips": len(store),
            "labels": list(store.labels),
            "looked": shelf.looked,
            "to_look": len(shelf.copy),
            "error": shelf.error,
            "found": len(chosen),
            "first": first,
            "rows": [self._row(shelf, int(k), dropped) for k in rows],
            "dropped": len(dropped),
            "list": str(drops_beside(store.path)),
            "skipped": [{"name": name, "reason": reason} for name, reason in store.skipped[:MOST_SKIPPED]],
            "skipped_count": len(store.skipped),
        }

    def picture(self, asked: Asked) -> Reply:
        """A clip as a WebP, from the largest stored level that is not too large for a page."""
        store, number = self._open(asked.values.get("run", "")).store, _whole(asked.values, "clip")
        if number >= len(store):
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such clip")
        levels = [level for level in store.levels() if level.h <= MOST_HEIGHT] or [store.levels()[-1]]
        level = max(levels, key=lambda each: each.voxels)
        clip = store.read([number], level)[0]
        if clip.shape[1] > MOST_HEIGHT:
            width = max(1, round(clip.shape[2] * MOST_HEIGHT / clip.shape[1]))
            clip = np.stack([resize(frame, MOST_HEIGHT, width) for frame in clip])
        fps = max(0.5, store.fps * level.t / store.size.t)
        body = webp_bytes(clip, fps, None, None if clip.shape[1] <= LOSSLESS_HEIGHT else 80)
        return Reply(body, "image/webp", headers={"Cache-Control": "private, max-age=600"})

    def drop(self, asked: Asked) -> dict[str, Any]:
        """Put a clip on the list, or take it off."""
        body = asked.body or {}
        store, number, wanted = self._open(str(body.get("run", ""))).store, body.get("clip"), body.get("keep")
        if type(number) is not int or not 0 <= number < len(store) or not isinstance(wanted, bool):
            raise Refused(HTTPStatus.BAD_REQUEST, "clip must be a number of the store and keep true or false")
        record = store.clips[number]
        with self._dropping:
            drops = set(self._drops(store.path))
            drops ^= drops & {(record.source, record.frame)} if wanted else {(record.source, record.frame)} - drops
            write_drops(drops_beside(store.path), drops)
        return {"dropped": len(self._dropped(store, frozenset(drops))), "list": str(drops_beside(store.path))}

    def _drops(self, store: Path) -> frozenset[Drop]:
        path = drops_beside(store)
        return read_drops(path) if path.exists() else frozenset()

    def _dropped(self, store: ClipStore, drops: frozenset[Drop]) -> set[int]:
        return {k for k, clip in enumerate(store.clips) if (clip.source, clip.frame) in drops} if drops else set()

    def _chosen(self, shelf: Shelf, show: str, label: str, text: str, dropped: set[int]) -> NDArray[np.int64]:
        store = shelf.store
        chosen = np.arange(len(store))
        match show:
            case "all":
                pass
            case "dropped" | "kept":
                chosen = chosen[np.isin(chosen, list(dropped), invert=show == "kept")]
            case "copies":
                known = shelf.copy[: shelf.looked]
                _, inverse, counts = np.unique(known, return_inverse=True, return_counts=True)
                chosen = np.flatnonzero(counts[inverse] > 1)
            case _:
                raise Refused(HTTPStatus.BAD_REQUEST, f"show {show[:20]!r}: must be all, kept, dropped or copies")
        if label in store.labels:
            index = store.labels.index(label)
            chosen = np.array([k for k in chosen if store.clips[k].label == index], np.int64)
        if text:
            chosen = np.array([k for k in chosen if text.lower() in store.clips[k].source.lower()], np.int64)
        return chosen.astype(np.int64)

    def _sorted(self, shelf: Shelf, chosen: NDArray[np.int64], order: str, down: bool, copies: bool) -> NDArray[np.int64]:
        if copies:  # those that look the same beside each other
            return chosen[np.lexsort((chosen, shelf.copy[chosen]))]
        if order == "source":
            keys = np.array([shelf.store.clips[k].source for k in chosen], dtype=object)
            places = np.argsort(keys, kind="stable")
        elif order == "number":
            places = np.arange(len(chosen))
        else:
            values = (shelf.brightness if order == "brightness" else shelf.motion)[np.minimum(chosen, len(shelf.copy) - 1)]
            return chosen[np.argsort(np.where(np.isnan(values), np.inf, -values if down else values), kind="stable")]
        return chosen[places[::-1] if down else places]

    def _row(self, shelf: Shelf, number: int, dropped: set[int]) -> dict[str, Any]:
        record, known = shelf.store.clips[number], number < shelf.looked
        return {
            "clip": number,
            "source": record.source,
            "frame": record.frame,
            "label": None if record.label is None else shelf.store.labels[record.label],
            "brightness": round(float(shelf.brightness[number]), 1) if known else None,
            "motion": round(float(shelf.motion[number]), 2) if known else None,
            "copy_of": int(shelf.copy[number]) if known and shelf.copy[number] != number else None,
            "dropped": number in dropped,
        }

    def _open(self, run: str) -> Shelf:
        with self._lock:
            if self._shelf is not None and self._shelf[0] == run:
                return self._shelf[1]
            store = self._subject.store(run)
            if self._shelf is not None:
                self._shelf[1].closing.set()
            count = min(len(store), MOST_LOOKED_AT)
            unknown = np.full(count, np.nan, np.float32)
            shelf = Shelf(store, _level(store.levels()), unknown, unknown.copy(), np.arange(count))
            self._shelf = (run, shelf)
        threading.Thread(target=_look, args=(shelf,), daemon=True).start()
        return shelf


def _look(shelf: Shelf) -> None:
    """Fill a shelf, some clips at a time."""
    last_in_line()
    digest, first = ClipHashes(), dict[bytes, int]()
    try:
        for start in range(0, len(shelf.copy), AT_ONCE):
            if shelf.closing.is_set():
                return
            numbers = range(start, min(start + AT_ONCE, len(shelf.copy)))
            clips = shelf.store.read(numbers, shelf.level)
            shelf.brightness[start : numbers.stop] = clips.mean(axis=(1, 2, 3, 4))
            changes = np.abs(np.diff(clips.astype(np.int16), axis=1))
            shelf.motion[start : numbers.stop] = changes.mean(axis=(1, 2, 3, 4)) if clips.shape[1] > 1 else 0
            for number, (own, mirrored) in zip(numbers, digest(clips, numbers), strict=True):
                if own[0] != PLAIN:  # clips of one colour are no copies of each other
                    shelf.copy[number] = first.get(mirrored.tobytes(), first.setdefault(own.tobytes(), number))
            shelf.looked = numbers.stop
    except GrowreelError as error:
        shelf.error = str(error)


def _level(levels: Sequence[Size]) -> Size:
    """The smallest level in which clips that differ look different."""
    enough = [level for level in levels if level.t >= 2 and level.h >= 8 and level.w >= 8]
    return min(enough, key=lambda level: level.voxels) if enough else levels[0]


def _whole(values: Any, name: str) -> int:
    text = values.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Refused(HTTPStatus.BAD_REQUEST, f"{name} {text[:20]!r}: must be a whole number")
    return int(text)
