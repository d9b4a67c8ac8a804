"""Model files: one `.safetensors` with the averaged generator and, in its header, all that is needed to use it.

The same generator and header give the same bytes, and the header holds a checksum of everything else in the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from growreel.config import Config, from_dict, to_yaml
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Position, Size
from growreel.models import Generator, build_generator
from growreel.models.header import CHECKSUM, DISCRIMINATOR, FORMAT, METADATA, ModelHeader, packed_header, read_header
from growreel.models.hub import download_model, is_hub_address
from growreel.reading.json_tree import parse_json
from growreel.reading.structure import Within, convert
from growreel.reading.words import plain
from growreel.reading.yaml_tree import parse_yaml
from growreel.runtime.distributed import pick_device
from growreel.runtime.durable import replacing

MOST_STAGES = 100
MOST_FPS = 1e6
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
        data: which clips it was trained on, one record per store (see `growreel.data.record`); empty for older files.
        path: the file that it was loaded from; None where the weights come from elsewhere.
    """

    generator: Generator
    config: Config
    position: Position
    clips_shown: int
    fps: float
    license: str
    data: tuple[dict[str, Any], ...] = ()
    path: Path | None = None

    @property
    def size(self) -> Size:
        return self.generator.plan.sizes[self.position.stage]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what it makes, if it was trained with --conditional, in the order of their numbers."""
        return self.config.network.classes

    def chosen_classes(self, wanted: str | Sequence[str] | None) -> tuple[str, ...] | None:
        """Return the names of the classes that are asked for, in that order; None of a model without classes.

        Args:
            wanted: names, or one text of names with commas between; `all` or None for all of the model's.

        Raises:
            GrowreelError: the model has no classes, or not these.
        """
        if not self.classes:
            if wanted is None:
                return None
            raise GrowreelError(
                f"--classes {_listed(wanted)}: this model has no classes (train --conditional learns them); leave the flag out"
            )
        if wanted is None or wanted == "all":
            return self.classes
        names = (wanted,) if wanted in self.classes else wanted.split(",") if isinstance(wanted, str) else wanted
        names = tuple(name if name in self.classes else name.strip() for name in names)
        if not names or (unknown := [name for name in names if name not in self.classes]):
            raise GrowreelError(
                f"--classes {_listed(wanted)}: {plain(unknown[0]) if names else 'names'} is no class of this model; it has "
                f"{plain(', '.join(self.classes), 1000)}"
            )
        return names


def save_model(
    path: Path,
    generator: Generator,
    config: Config,
    clips_shown: int,
    fps: float,
    license: str = "unstated",
    data: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write a model file, whole or not at all.

    Args:
        fps: frames a second of clips at the generator's stage.
        license: terms of the weights; they depend on the clips that were learnt, so growreel cannot know them.
        data: records of the stores that were learnt, plain values.

    Raises GrowreelError if the disk does not take it.
    """
    write_model(path, generator.state_dict(), model_header(config, generator.plan, clips_shown, fps, license, data))


def model_header(
    config: Config, plan: GrowthPlan, clips_shown: int, fps: float, license: str = "unstated", data: Sequence[Mapping[str, Any]] = ()
) -> dict[str, str]:
    """Return what `save_model` puts into the header of a file, but for the checksum."""
    return {
        "format": FORMAT,
        "config": to_yaml(config),
        "plan": " ".join(map(str, plan.sizes)),
        "position": json.dumps({"clips_shown": clips_shown, **vars(plan.position(clips_shown))}),
        "fps": repr(fps),
        "license": license,
        "data": json.dumps([dict(record) for record in data]),
    }


def write_model(path: Path, weights: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write a model file from a generator's state dict and the header that `model_header` made. Raises GrowreelError as `save_model`."""
    packed = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    length = int.from_bytes(packed[:8], "little")
    tree, values = json.loads(packed[8 : 8 + length]), memoryview(packed)[8 + length :]
    tree[METADATA] = dict(header)
    digest = hashlib.sha256(packed_header(tree))
    digest.update(values)
    tree[METADATA][CHECKSUM] = digest.hexdigest()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(packed_header(tree))
            file.write(values)
    except OSError as error:
        raise GrowreelError(f"{path}: the model file could not be written ({error}); make room and run the same command") from error


def load_generator(path: str | Path, device: str | torch.device = "cpu") -> LoadedGenerator:
    """Load a model file, the newest one of a run folder, a model that comes with growreel by its name, or one of the hub.

    Args:
        path: the file, the folder, the name, or `hf://owner/name` (extra `hub`; with `@revision` an earlier state).
        device: where its clips are to be made, as PyTorch names it; `auto` takes a CUDA card where there is one.

    Raises:
        GrowreelError: there is no such file, it is not a growreel model file, its checksum is not that of its contents, a weight is not
            finite, or the device is not usable here.
    """
    device = pick_device(str(device), "device")
    path = _find(path)
    header = read_header(path)
    config, place, fps, data = _read_facts(path, header)
    _check_network(path, config, header)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no dict
    except (SafetensorError, OSError) as error:
        raise GrowreelError(f"{path}: is not a growreel model file ({plain(error)}); give a .safetensors file from RUN/models") from error
    spoilt = sorted(name for name, tensor in tensors.items() if not bool(tensor.isfinite().all()))
    if spoilt:
        raise GrowreelError(f"{path}: {spoilt[0]} has weights that are not finite; give an earlier model file")
    generator = build_generator(config)
    generator.load_state_dict(tensors)
    return LoadedGenerator(
        generator=generator.to(device).eval().requires_grad_(False),
        config=config,
        position=Position(place.stage, place.phase, place.alpha),
        clips_shown=place.clips_shown,
        fps=fps,
        license=header.metadata["license"],
        data=data,
        path=path,
    )


def model_config(path: str | Path) -> Config:
    """The configuration that a model was trained with, by its header alone. Takes and raises what `load_generator` does."""
    path = _find(path)
    return _read_facts(path, read_header(path))[0]


def _find(path: str | Path) -> Path:
    """The file that `load_generator` is asked for. Raises GrowreelError if there is none."""
    path = download_model(path) if is_hub_address(path) else Path(path)
    if not path.exists() and str(path) in pretrained_names():
        path = PRETRAINED / f"{path}.safetensors"
    if path.is_dir():
        path = newest_model(path)
    if not path.is_file():
        raise GrowreelError(
            f"{path}: there is no such model file; give a .safetensors file, a run folder, or {' or '.join(pretrained_names())}"
        )
    return path


@dataclass(frozen=True)
class _Place:
    """The entry `position`."""

    clips_shown: Annotated[int, Within(0)]
    stage: Annotated[int, Within(0, MOST_STAGES)]
    phase: Literal["fade", "stable"]
    alpha: Annotated[float, Within(0, 1)]


def _read_facts(path: Path, header: ModelHeader) -> tuple[Config, _Place, float, tuple[dict[str, Any], ...]]:
    """Configuration, place in the plan, frame rate and records of data in a header.

    Raises GrowreelError naming the file and the entry that is wrong.
    """
    texts = header.metadata
    missing = {"config", "position", "fps", "license"} - texts.keys()
    if missing:
        raise GrowreelError(f"{path}: its header lacks {', '.join(sorted(missing))}; give a .safetensors file from RUN/models")
    try:
        config = from_dict(parse_yaml(texts["config"]), "config")
        if config.network.image_channels is None:
            raise ValueError("config: network.image_channels is not said")
        place: _Place = convert(parse_json(texts["position"]), _Place, "position")
        if place.stage >= len(config.growth.plan().sizes):
            raise ValueError(f"position: it names stage {place.stage} of {len(config.growth.plan().sizes)}")
        data = parse_json(texts.get("data", "[]"))
        if not isinstance(data, list) or not all(isinstance(record, dict) for record in data):
            raise ValueError("data: is no list of records")
        fps = convert(texts["fps"], Annotated[float, Within(1 / MOST_FPS, MOST_FPS)], "fps")
    except (ValueError, RecursionError) as error:
        raise GrowreelError(f"{path}: its header is damaged ({plain(error, 400)}); give another model file") from error
    return config, place, fps, tuple(data)


def _check_network(path: Path, config: Config, header: ModelHeader) -> None:
    """Compare the tensors of a file with those of the network that it describes, before either takes memory. Raises GrowreelError."""
    try:
        with torch.device("meta"):
            expected = {name: tuple(tensor.shape) for name, tensor in build_generator(config).state_dict().items()}
    except (RuntimeError, OverflowError, TypeError, MemoryError) as error:
        raise GrowreelError(f"{path}: its configuration describes no network ({plain(error)}); give another model file") from error
    shapes = {name: entry.shape for name, entry in header.tensors.items()}
    if differing := sorted(name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name)):
        name = differing[0]
        raise GrowreelError(
            f"{path}: its weights do not fit its own configuration ({plain(name)}: {_axes(shapes.get(name))} in the file, "
            f"{_axes(expected.get(name))} as configured); give another model file"
        )


def _listed(names: str | Sequence[str]) -> str:
    return plain(names if isinstance(names, str) else ",".join(names))


def _axes(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else "x".join(map(str, shape)) or "a number"


def pretrained_names() -> list[str]:
    """Names of the models that come with growreel."""
    models = (
        entry.name for entry in PRETRAINED.iterdir() if entry.name.endswith(".safetensors") and not entry.name.endswith(DISCRIMINATOR)
    )
    return sorted(name.removesuffix(".safetensors") for name in models)


def newest_model(run: Path) -> Path:
    """The model file of a run folder that was trained on most clips, which its name says. Raises GrowreelError if there is none.

    Files with other names, such as copies that somebody has put there, are never taken.
    """
    models = [path for path in run.glob("models/*.safetensors") if path.stem.isdecimal()]
    if not models:
        raise GrowreelError(f"{run}: has no models/<clips>.safetensors; train first, or give a model file")
    return max(models, key=lambda path: int(path.stem))
