"""Model files: one `.safetensors` with the averaged generator and, in its header, all that is needed to use it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from growreel.config import Config, from_dict, to_yaml
from growreel.errors import GrowreelError
from growreel.growth import Position, Size
from growreel.models import Generator, build_generator

FORMAT = "growreel-generator-1"
PRETRAINED = Path(str(resources.files("growreel"))) / "pretrained"


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator with its place in the growth plan.

    Attributes:
        generator: in evaluation mode, without gradients.
        config: the configuration that it was trained with.
        position: stage, phase and alpha at which it was saved.
        clips_shown: real clips that it was trained on.
        fps: frames a second at which its clips are to be played.
        license: what the header says about use of the weights.
        path: the file that it was loaded from; None where the weights come from elsewhere.
    """

    generator: Generator
    config: Config
    position: Position
    clips_shown: int
    fps: float
    license: str
    path: Path | None = None

    @property
    def size(self) -> Size:
        return self.generator.plan.sizes[self.position.stage]


def save_model(path: Path, generator: Generator, config: Config, clips_shown: int, fps: float, license: str = "unstated") -> None:
    """Write a model file, whole or not at all.

    Args:
        fps: frames a second of clips at the generator's stage.
        license: terms of the weights; they depend on the clips that were learnt, so growreel cannot know them.
    """
    header = {
        "format": FORMAT,
        "config": to_yaml(config),
        "plan": " ".join(map(str, generator.plan.sizes)),
        "position": json.dumps({"clips_shown": clips_shown, **vars(generator.plan.position(clips_shown))}),
        "fps": repr(fps),
        "license": license,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.partial")
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}, temporary, header)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise GrowreelError(f"{path}: the model file could not be written ({error}); make room and run the same command") from error


def load_generator(path: str | Path) -> LoadedGenerator:
    """Load a model file, the newest one of a run folder, or a model that comes with growreel by its name, on the CPU.

    Raises GrowreelError if there is no such file or it is not a growreel model file.
    """
    path = Path(path)
    if not path.exists() and str(path) in pretrained_names():
        path = PRETRAINED / f"{path}.safetensors"
    if path.is_dir():
        path = newest_model(path)
    if not path.is_file():
        raise GrowreelError(
            f"{path}: there is no such model file; give a .safetensors file, a run folder, or {' or '.join(pretrained_names())}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise GrowreelError(
                    f"{path}: is a safetensors file of format {header.get('format')!r}, not {FORMAT!r}; give one from RUN/models"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no dict
    except (SafetensorError, OSError) as error:
        raise GrowreelError(f"{path}: is not a growreel model file ({error}); give a .safetensors file from RUN/models") from error
    missing = {"config", "position", "fps", "license"} - header.keys()
    if missing:
        raise GrowreelError(f"{path}: its header lacks {', '.join(sorted(missing))}; give a .safetensors file from RUN/models")
    config = from_dict(yaml.safe_load(header["config"]), f"{path}: config")
    generator = build_generator(config)
    try:
        generator.load_state_dict(tensors)
    except RuntimeError as error:
        raise GrowreelError(f"{path}: its weights do not fit its own configuration ({error})") from error
    position = json.loads(header["position"])
    return LoadedGenerator(
        generator=generator.eval().requires_grad_(False),
        config=config,
        position=Position(position["stage"], position["phase"], position["alpha"]),
        clips_shown=position["clips_shown"],
        fps=float(header["fps"]),
        license=header["license"],
        path=path,
    )


def pretrained_names() -> list[str]:
    """Names of the models that come with growreel."""
    return sorted(entry.name.removesuffix(".safetensors") for entry in PRETRAINED.iterdir() if entry.name.endswith(".safetensors"))


def newest_model(run: Path) -> Path:
    """The model file of a run folder that was trained on most clips. Raises GrowreelError if there is none."""
    models = sorted(run.glob("models/*.safetensors"))
    if not models:
        raise GrowreelError(f"{run}: has no models/*.safetensors; train first, or give a model file")
    return models[-1]
