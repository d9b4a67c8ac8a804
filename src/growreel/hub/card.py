"""The model card: what the model is, what it has learnt, how good it is, what it is for, where it ends."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from growreel.models.files import LoadedGenerator
from growreel.reading.words import plain
from growreel.report.cards import card_rows

IDENTIFIERS = frozenset(
    [
        *("apache-2.0", "mit", "bsd-3-clause", "gpl-3.0", "openrail", "unknown"),
        *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
    ]
)
"""Licences that the hub knows by name; all others are `other` with a name."""


def model_card(
    model: LoadedGenerator, checksum: str, measured: dict[str, Any] | None, *, repo: str, about: str | None, data_license: str | None
) -> str:
    """Return the card as Markdown with the facts for the hub's search in front.

    Args:
        model: loaded from the file that lies beside the card.
        checksum: sha256 of that file.
        measured: its metric card (`measured.measured_card`), or None.
        repo: how the example calls the model.
        about, data_license: what only the author knows; None is said to be unknown.
    """
    license = model.license.strip()
    known = license.lower() in IDENTIFIERS
    names = Environment(
        loader=PackageLoader("growreel.hub", "templates"), autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    names.filters["text"] = _text
    names.filters["quoted"] = _quoted
    return names.get_template("model-card.md").render(
        repo=repo,
        title=repo.rsplit("/", 1)[-1],
        about=about,
        license=license.lower() if known else license,
        known=known,
        data_license=data_license,
        data=model.data,
        size=model.size,
        colours="colour" if model.config.network.image_channels == 3 else "grey",
        seconds=model.size.t / model.fps,
        fps=model.fps,
        clips_shown=model.clips_shown,
        alpha=model.position.alpha,
        plan=" → ".join(map(str, model.generator.plan.sizes)),
        loss=model.config.loss.name,
        network=model.config.network,
        parameters=sum(parameter.numel() for parameter in model.generator.parameters()),
        checksum=checksum,
        rows=card_rows([measured]),
        measured=measured,
        first=model.generator.plan.sizes[0],
    )


def _text(value: object) -> str:
    """Words of a person or a file in Markdown: on one line, and no links, pictures or HTML of theirs."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", plain(value, 1000))


def _quoted(value: object) -> str:
    """A YAML string in quotes."""
    return '"' + plain(value, 200).replace("\\", "\\\\").replace('"', '\\"') + '"'
