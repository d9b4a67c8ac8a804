"""growreel: grow a video generator from your own clips (PG-SWGAN-3D, arXiv 1810.02419).

import growreel
model = growreel.load_generator("runs/mine")
clips = growreel.generate(model, seeds=range(16))     # uint8 [n, t, h, w, c]
card = growreel.evaluate(clips, "clips")              # against the clips of a store
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from growreel.config import Config as Config
    from growreel.config import load_config as load_config
    from growreel.config import load_preset as load_preset
    from growreel.data.store import ClipStore as ClipStore
    from growreel.errors import GrowreelError as GrowreelError
    from growreel.evaluation.evaluate import evaluate as evaluate
    from growreel.evaluation.options import EvaluationOptions as EvaluationOptions
    from growreel.growth import GrowthPlan as GrowthPlan
    from growreel.growth import Size as Size
    from growreel.hub.pretrained import from_pretrained as from_pretrained
    from growreel.models.files import load_generator as load_generator
    from growreel.preparation.prepare import prepare as prepare
    from growreel.sampling import generate as generate
    from growreel.sampling import walk as walk
    from growreel.training.loop import train as train

_HOMES = {
    "ClipStore": "data.store",
    "Config": "config",
    "EvaluationOptions": "evaluation.options",
    "GrowreelError": "errors",
    "GrowthPlan": "growth",
    "Size": "growth",
    "evaluate": "evaluation.evaluate",
    "from_pretrained": "hub.pretrained",
    "generate": "sampling",
    "load_config": "config",
    "load_generator": "models.files",
    "load_preset": "config",
    "prepare": "preparation.prepare",
    "train": "training.loop",
    "walk": "sampling",
}
__all__ = list(_HOMES)


if not TYPE_CHECKING:  # mypy knows the names from above; with this it would take any other for one of them

    def __getattr__(name: str) -> Any:
        """Import on first use, so that `import growreel` and `growreel --help` stay fast."""
        if name not in _HOMES:
            raise AttributeError(f"module 'growreel' has no attribute {name!r}")
        return getattr(import_module(f"growreel.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names, though they are imported on first use only."""
    return sorted({*globals(), *__all__})
