"""The metric card that belongs to a model file, fit to be given away."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from growreel.data.store import file_checksum
from growreel.evaluation.card import FORMAT
from growreel.reading.files import read_file
from growreel.reading.folders import without_folders
from growreel.reading.json_tree import parse_json

LOG = logging.getLogger(__name__)
MOST_BYTES = 2**24


def measured_card(model: Path) -> dict[str, Any] | None:
    """The metric card beside a model file or in its run folder, without the folders of whoever measured it.

    None, and a word in the log, if there is none that can be read, or it is of another model: figures of another model are none.
    """
    beside = [model.with_name(f"{model.stem}.card.json"), model.parent / "card.json", model.parent.parent / "card.json"]
    path = next((each for each in beside if each.is_file()), None)
    if path is None:
        LOG.warning("%s: has no metric card; the model card will say so (growreel evaluate RUN --real STORE --card RUN/card.json)", model)
        return None
    try:
        card = parse_json(read_file(path, MOST_BYTES))
    except ValueError as error:  # GrowreelError is one
        LOG.warning("%s: cannot be read (%s); left out", path, error)
        return None
    parts = ("fake", "real", "settings")
    if not isinstance(card, dict) or card.get("format") != FORMAT or not all(isinstance(card.get(part), dict) for part in parts):
        LOG.warning("%s: is no metric card; left out", path)
        return None
    if card["fake"].get("sha256") != file_checksum(model):
        LOG.warning("%s: is of another model than %s; left out", path, model)
        return None
    found: dict[str, Any] = without_folders(card)
    return found
