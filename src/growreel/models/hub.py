"""Models of the Hugging Face hub: named as `hf://owner/name`, downloaded once, read like any other model file."""

from __future__ import annotations

import re
from pathlib import Path

from growreel.errors import GrowreelError
from growreel.models.header import discriminator_file
from growreel.reading.words import plain
from growreel.runtime.version import installed_version

MODEL_FILE = "model.safetensors"
"""Where a repository has its model."""
ADDRESS = re.compile(r"hf:/{1,2}(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>.+))?")
"""With one slash, too: that is what is left of two in a path."""
CLIENTS = ("huggingface_hub", "httpx", "httpx2", "requests", "hf_xet")
"""Packages whose errors are the hub's or the network's."""


def is_hub_address(path: str | Path) -> bool:
    """Whether it is `hf://owner/name` or `hf://owner/name@revision`."""
    return ADDRESS.fullmatch(str(path)) is not None


def download_model(address: str | Path) -> Path:
    """Return the model file of `hf://owner/name[@revision]`, from the hub's cache on this machine or downloaded into it.

    Raises GrowreelError if it is no such address, huggingface_hub is not installed, or the hub does not give the file.
    """
    path = _download(address, MODEL_FILE, commit=None)
    assert path is not None
    return path


def download_discriminator(address: str | Path, model: Path) -> Path | None:
    """Return the discriminator that was pushed with a model, so that it lies beside the file that `download_model` gave; None if none was.

    Raises as `download_model`, also where the hub cannot be asked whether there is one.
    """
    return _download(address, discriminator_file(model).name, commit=model.parent.name)  # the cache has a folder for every commit


def _download(address: str | Path, name: str, *, commit: str | None) -> Path | None:
    """A file of a model, at `commit` if one is given; None if the hub says that this commit has no such file."""
    parts = ADDRESS.fullmatch(str(address))
    if parts is None:
        raise GrowreelError(f"{address}: is no address of a model on the hub; write hf://owner/name or hf://owner/name@revision")
    try:
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise hub_is_missing(str(address)) from error
    try:
        path = huggingface_hub.hf_hub_download(
            parts["repo"],
            name,
            revision=commit or parts["revision"],
            library_name="growreel",
            library_version=installed_version("growreel"),
        )
    except Exception as error:
        if commit:
            absent = isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)
            known = huggingface_hub.try_to_load_from_cache(parts["repo"], name, revision=commit)  # a path, nothing, or that it is absent
            if absent or not isinstance(known, str | None):
                return None
        raise hub_refused(f"hf://{parts['repo']}: its {name} cannot be had", error) from error
    return Path(path)


def hub_is_missing(what: str) -> GrowreelError:
    """What to say where huggingface_hub is not installed."""
    return GrowreelError(f"{what}: huggingface_hub is not installed; pip install 'growreel[hub]'")


def hub_refused(what: str, error: Exception) -> Exception:
    """A GrowreelError of what the hub, or the network on the way to it, has said. Errors of any other kind are returned as they are."""
    if not isinstance(error, OSError | ValueError) and type(error).__module__.split(".")[0] not in CLIENTS:
        return error
    return GrowreelError(f"{what} ({plain(error)}); look at the name, the network, and whether you are logged in (hf auth login)")
