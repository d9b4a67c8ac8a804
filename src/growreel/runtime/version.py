"""Versions, for everything that says how it was made."""

from __future__ import annotations

from importlib import metadata


def installed_version(package: str) -> str:
    """Return the version of an installed package; a source tree on the path has none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
