"""Configurations to and from YAML and nested dicts, and the presets."""

from __future__ import annotations

import dataclasses
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from growreel.config.schema import Config
from growreel.errors import GrowreelError
from growreel.reading.files import read_file
from growreel.reading.structure import convert
from growreel.reading.yaml_tree import MOST_BYTES, parse_yaml


def preset_names() -> list[str]:
    """Names of the presets that come with growreel."""
    folder = resources.files("growreel") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_preset(name: str) -> Config:
    """The shipped preset `name`. Raises GrowreelError listing the names there are."""
    if name not in preset_names():
        raise GrowreelError(f"--preset {name}: there is no such preset; choose one of {', '.join(preset_names())}")
    text = (resources.files("growreel") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return from_dict(parse_yaml(text) or {}, f"preset {name}")


def load_config(path: Path) -> Config:
    """Read a YAML file. Raises GrowreelError naming the file and the key or value that is wrong."""
    text = read_file(path, MOST_BYTES, "give a YAML file")
    try:
        tree = parse_yaml(text)
    except ValueError as error:
        raise GrowreelError(f"{path}: is not YAML as growreel reads it ({error}); mend that line, or give another file") from error
    return from_dict({} if tree is None else tree, str(path))


def to_dict(config: Config) -> dict[str, Any]:
    """Nested plain dicts and lists, as stored in YAML, checkpoints and model files."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(config))
    return plain


def to_yaml(config: Config) -> str:
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def from_dict(tree: Any, where: str) -> Config:
    """Build a Config from nested dicts; missing keys keep their defaults. Raises GrowreelError naming `where` and the bad key."""
    config = convert(tree, Config, f"{where}:")
    assert isinstance(config, Config)
    return config


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
