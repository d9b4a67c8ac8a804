"""Recipes: settings of `prepare` by name, as published work cut its clips. Each is a YAML file among the presets that says whose it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.cutting import Fit
from growreel.reading.structure import convert
from growreel.reading.yaml_tree import parse_yaml


@dataclass(frozen=True)
class PrepareRecipe:
    """What a recipe settles; each means what the argument of `prepare` of that name does."""

    size: str
    frame_stride: int = 1
    clip_stride: int | None = None
    fit: Fit = "crop"
    fps: float | None = None
    labels: bool = False

    def arguments(self) -> dict[str, Any]:
        """For `prepare(videos, store, **arguments)`."""
        return {**asdict(self), "size": Size.parse(self.size, "size")}


def recipe_names() -> list[str]:
    """Names of the recipes that come with growreel."""
    folder = resources.files("growreel") / "presets" / "prepare"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name: str) -> PrepareRecipe:
    """The recipe of a name. Raises GrowreelError listing the names there are."""
    if name not in recipe_names():
        raise GrowreelError(f"--recipe {name}: there is no such recipe; choose one of {', '.join(recipe_names())}")
    text = (resources.files("growreel") / "presets" / "prepare" / f"{name}.yaml").read_text(encoding="utf-8")
    recipe = convert(parse_yaml(text), PrepareRecipe, f"recipe {name}:")
    assert isinstance(recipe, PrepareRecipe)
    return recipe
