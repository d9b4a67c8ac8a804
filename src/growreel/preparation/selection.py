"""What of the sources that were found becomes clips: those of a list, the windows of a file of boxes, and no clip that is dropped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from growreel.preparation.boxes import Boxes, read_boxes
from growreel.preparation.drops import Drop, digest_of_drops, read_drops
from growreel.preparation.faces.settings import FaceSettings, checked, stored
from growreel.preparation.listed import Listed, read_list
from growreel.preparation.privacy import anonymous_name
from growreel.preparation.sources import Skip, Source

RULES = ("center", "grid", "faces")
"""Values of `crop` that are no file of boxes."""


@dataclass(frozen=True)
class Selection:
    """The arguments of `prepare` that say which sources, windows and clips are taken, with their files read.

    Attributes:
        crop: as of `prepare`.
        listed: names the videos to take; None takes all.
        boxes: windows of videos; None takes whole frames or what a rule finds.
        faces: settings of `crop="faces"`, else None.
        drops: clips to leave out.
    """

    crop: str | os.PathLike[str]
    listed: Listed | None
    boxes: Boxes | None
    faces: FaceSettings | None
    drops: frozenset[Drop]

    @classmethod
    def read(
        cls,
        crop: str | os.PathLike[str],
        only: str | os.PathLike[str] | None,
        drop: str | os.PathLike[str] | None,
        faces: FaceSettings | None,
    ) -> Self:
        """Read the files that the arguments name. Raises GrowreelError if one is missing or wrong, or faces cannot be looked for."""
        return cls(
            crop,
            listed=None if only is None else read_list(Path(only)),
            boxes=None if crop in RULES else read_boxes(Path(crop)),
            faces=checked(faces or FaceSettings()) if crop == "faces" else None,
            drops=frozenset() if drop is None else read_drops(Path(drop)),
        )

    def select(self, sources: Sequence[Source]) -> tuple[list[Source], list[Skip]]:
        """The sources that are taken, with their labels and windows, and what is left out or asked for in vain."""
        selected, skips = list(sources), list[Skip]()
        for each in (self.listed, self.boxes):
            if each is not None:
                selected, without = each.select(selected)
                skips.extend(without)
        return selected, skips

    def options(self, sources: Sequence[Source], anonymous: bool) -> dict[str, Any]:
        """What the index of the store says of the selection, so that an unfinished store is not continued with another one."""
        kept = dict[str, Any]()
        if self.listed is not None:
            kept["list"] = _stored_digest(self.listed.sha256, sources, anonymous)
        if self.crop != "center":
            kept["crop"] = f"boxes {_stored_digest(self.boxes.sha256, sources, anonymous)}" if self.boxes else str(self.crop)
        if self.faces is not None:
            kept["faces"] = stored(self.faces)
        if self.drops:
            kept["drop"] = digest_of_drops(self.drops)
        return kept


def _stored_digest(digest: str, sources: Sequence[Source], anonymous: bool) -> str:
    """The digest of a list that names sources, as the index may hold it. An anonymous one cannot be confirmed by a guess at the names: it
    needs the films."""
    if not anonymous:
        return digest
    return hashlib.sha256("|".join([digest, *map(anonymous_name, sources)]).encode()).hexdigest()
