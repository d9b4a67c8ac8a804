"""A generator by the name of its repository."""

from __future__ import annotations

from pathlib import Path

import torch

from growreel.models.files import LoadedGenerator, load_generator
from growreel.models.hub import MODEL_FILE


def from_pretrained(name: str | Path, *, revision: str | None = None, device: str | torch.device = "cpu") -> LoadedGenerator:
    """Load a generator from the hub, or from a folder like a repository of the hub.

    Args:
        name: `owner/name` on the hub; or a folder that `growreel push --folder` wrote, a run folder, a model file, or the name of a model
            that comes with growreel. What is on this machine comes first.
        revision: branch, tag or commit on the hub; None is the newest. Give a commit to get the same model for ever.
        device: as of `growreel.load_generator`.

    Raises GrowreelError as `load_generator` does, and where the hub or the network refuses.
    """
    path = Path(name)
    if (path / MODEL_FILE).is_file():
        return load_generator(path / MODEL_FILE, device)
    if path.exists() or "/" not in str(name) or str(name).startswith("hf:"):
        return load_generator(path, device)
    return load_generator(f"hf://{name}" + (f"@{revision}" if revision else ""), device)
