"""What a model file is, without a look at what it makes."""

from __future__ import annotations

from typing import Any

from growreel.models.files import LoadedGenerator
from growreel.models.header import discriminator_file, read_header
from growreel.reading.json_tree import parse_json

SHOWN = {"format", "config", "plan", "position", "fps", "license"}
"""Entries of the header that have names of their own among the facts."""


def model_facts(model: LoadedGenerator) -> dict[str, Any]:
    """Return the facts of a model that was loaded from a file, as plain values; `header` has what else was written into that."""
    path = model.path
    assert path is not None
    header = read_header(path).metadata
    generator, config = model.generator, model.config
    return {
        "kind": "model",
        "path": str(path),
        "size": str(model.size),
        "channels": config.network.image_channels,
        "fps": model.fps,
        "clips_shown": model.clips_shown,
        "stage": model.position.stage,
        "phase": model.position.phase,
        "alpha": model.position.alpha,
        "plan": list(map(str, generator.plan.sizes)),
        "loss": config.loss.name,
        "latent_dim": config.network.latent_dim,
        "classes": list(model.classes),
        "parameters": sum(parameter.numel() for parameter in generator.parameters()),
        "license": model.license,
        "bytes": path.stat().st_size,
        "discriminator": beside.name if (beside := discriminator_file(path)).exists() else None,
        "header": {name: _value(text) for name, text in header.items() if name not in SHOWN},
    }


def _value(text: str) -> Any:
    """An entry of a header, which is JSON or plain text."""
    try:
        return parse_json(text)
    except ValueError:
        return text
