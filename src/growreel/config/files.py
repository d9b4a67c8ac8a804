"""Configurations to and from YAML and nested dicts, and the presets."""

from __future__ import annotations

import dataclasses
import types
import typing
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from growreel.config.growth import StageConfig
from growreel.config.schema import Config
from growreel.errors import GrowreelError


def preset_names() -> list[str]:
    """Names of the presets that come with growreel."""
    folder = resources.files("growreel") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_preset(name: str) -> Config:
    """The shipped preset `name`. Raises GrowreelError listing the names there are."""
    if name not in preset_names():
        raise GrowreelError(f"--preset {name}: there is no such preset; choose one of {', '.join(preset_names())}")
    text = (resources.files("growreel") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return from_dict(yaml.safe_load(text) or {}, f"preset {name}")


def load_config(path: Path) -> Config:
    """Read a YAML file. Raises GrowreelError naming the file and the key or value that is wrong."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GrowreelError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GrowreelError(f"{path}: is not YAML ({error})") from error
    return from_dict({} if tree is None else tree, str(path))


def to_dict(config: Config) -> dict[str, Any]:
    """Nested plain dicts and lists, as stored in YAML, checkpoints and model files."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(config))
    return plain


def to_yaml(config: Config) -> str:
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def from_dict(tree: Any, where: str) -> Config:
    """Build a Config from nested dicts; missing keys keep their defaults. Raises GrowreelError naming `where` and the bad key."""
    config = _convert(tree, Config, f"{where}:")
    assert isinstance(config, Config)
    return config


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _convert(value: Any, kind: Any, where: str) -> Any:
    """Check `value` against the annotation `kind` and convert it; `where` is the path of keys for the error."""
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(value, kind, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if isinstance(value, bool) and "on" in arguments:
            value = "on" if value else "off"  # YAML reads these words as truth values
        if value in arguments:
            return value
        raise GrowreelError(f"{where}: {value!r} is not one of {', '.join(map(str, arguments))}")
    if origin is types.UnionType:
        if value is None:
            return None
        return _convert(value, next(a for a in arguments if a is not types.NoneType), where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise GrowreelError(f"{where}: {value!r} is not a list")
        return tuple(_convert(entry, arguments[0], f"{where}[{i}]") for i, entry in enumerate(value))
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-8 as text
        except ValueError:
            pass
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise GrowreelError(f"{where}: {value!r} is not of type {kind.__name__}")
    return value


def _convert_dataclass(value: Any, kind: Any, where: str) -> Any:
    if kind is StageConfig and isinstance(value, str):
        return StageConfig(value)
    if isinstance(value, kind):
        return value
    if not isinstance(value, dict):
        raise GrowreelError(f"{where.removesuffix(':')}: {value!r} is not a mapping of names to values")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(map(str, value)) - set(hints))
    if unknown:
        raise GrowreelError(f"{where.removesuffix(':')}: unknown key {unknown[0]!r}; known are {', '.join(hints)}")
    joint = " " if where.endswith(":") else "."  # `file: growth.stages`
    return kind(**{key: _convert(entry, hints[key], f"{where}{joint}{key}") for key, entry in value.items()})
