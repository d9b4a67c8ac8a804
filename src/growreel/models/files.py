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
from typing import Any, BinaryIO

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from growreel.config import Config, from_dict, to_yaml
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Position, Size
from growreel.models import Generator, build_generator
from growreel.runtime.distributed import pick_device
from growreel.runtime.durable import replacing

FORMAT = "growreel-generator-2"
FORMAT_WITHOUT_CHECKSUM = "growreel-generator-1"
CHECKSUM = "sha256"
MOST_HEADER_BYTES = 2**24
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
    tree["__metadata__"] = dict(header)
    digest = hashlib.sha256(_packed_header(tree))
    digest.update(values)
    tree["__metadata__"][CHECKSUM] = digest.hexdigest()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(_packed_header(tree))
            file.write(values)
    except OSError as error:
        raise GrowreelError(f"{path}: the model file could not be written ({error}); make room and run the same command") from error


def load_generator(path: str | Path, device: str | torch.device = "cpu") -> LoadedGenerator:
    """Load a model file, the newest one of a run folder, or a model that comes with growreel by its name.

    Args:
        path: the file, the folder, or the name.
        device: where its clips are to be made, as PyTorch names it; `auto` takes a CUDA card where there is one.

    Raises:
        GrowreelError: there is no such file, it is not a growreel model file, its checksum is not that of its contents, a weight is not
            finite, or the device is not usable here.
    """
    device = pick_device(str(device), "device")
    path = Path(path)
    if not path.exists() and str(path) in pretrained_names():
        path = PRETRAINED / f"{path}.safetensors"
    if path.is_dir():
        path = newest_model(path)
    if not path.is_file():
        raise GrowreelError(
            f"{path}: there is no such model file; give a .safetensors file, a run folder, or {' or '.join(pretrained_names())}"
        )
    header = read_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no dict
    except (SafetensorError, OSError) as error:
        raise GrowreelError(f"{path}: is not a growreel model file ({error}); give a .safetensors file from RUN/models") from error
    missing = {"config", "position", "fps", "license"} - header.keys()
    if missing:
        raise GrowreelError(f"{path}: its header lacks {', '.join(sorted(missing))}; give a .safetensors file from RUN/models")
    spoilt = sorted(name for name, tensor in tensors.items() if not bool(tensor.isfinite().all()))
    if spoilt:
        raise GrowreelError(f"{path}: {spoilt[0]} has weights that are not finite; give an earlier model file")
    try:
        config = from_dict(yaml.safe_load(header["config"]), f"{path}: config")
        position = json.loads(header["position"])
        place = Position(int(position["stage"]), position["phase"], float(position["alpha"]))
        clips_shown, fps, data = int(position["clips_shown"]), float(header["fps"]), tuple(json.loads(header.get("data", "[]")))
    except (yaml.YAMLError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise GrowreelError(f"{path}: its header is damaged ({type(error).__name__}: {error}); give another model file") from error
    generator = build_generator(config)
    try:
        generator.load_state_dict(tensors)
    except RuntimeError as error:
        raise GrowreelError(f"{path}: its weights do not fit its own configuration ({error})") from error
    if not 0 <= place.stage < len(generator.plan.sizes):
        raise GrowreelError(f"{path}: its header names stage {place.stage} of {len(generator.plan.sizes)}; give another model file")
    return LoadedGenerator(
        generator=generator.to(device).eval().requires_grad_(False),
        config=config,
        position=place,
        clips_shown=clips_shown,
        fps=fps,
        license=header["license"],
        data=data,
        path=path,
    )


def read_header(path: Path) -> dict[str, str]:
    """The header of a model file, once the checksum in it has been compared with the contents of the whole file.

    Raises GrowreelError if the file cannot be read, is no model file of growreel, or its contents have another checksum. Files that
    growreel 0.1 wrote have none.
    """
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MOST_HEADER_BYTES:
                raise ValueError(f"a header of {length:,} bytes")
            packed = file.read(length)
            tree = json.loads(packed)
            header = tree.get("__metadata__", {})
            name = header.get("format")
            if name not in (FORMAT, FORMAT_WITHOUT_CHECKSUM):
                raise GrowreelError(f"{path}: is a safetensors file of format {name!r}, not {FORMAT!r}; give one from RUN/models")
            if name == FORMAT or CHECKSUM in header:
                _check(path, tree, length.to_bytes(8, "little") + packed, file)
    except OSError as error:
        raise GrowreelError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise GrowreelError(f"{path}: is not a growreel model file ({error}); give a .safetensors file from RUN/models") from error
    return {str(key): str(value) for key, value in header.items()}


def _check(path: Path, tree: dict[str, Any], packed: bytes, rest: BinaryIO) -> None:
    """Compare a file with the checksum in its header, which is of all but itself."""
    header = dict(tree["__metadata__"])
    expected = header.pop(CHECKSUM, None)
    digest = hashlib.sha256(_packed_header({**tree, "__metadata__": header}))
    while block := rest.read(2**20):
        digest.update(block)
    if digest.hexdigest() != expected or packed != _packed_header(tree):
        raise GrowreelError(f"{path}: is damaged: its checksum is not that of its contents; restore it from a copy or give another file")


def _packed_header(tree: Mapping[str, Any]) -> bytes:
    """The beginning of a safetensors file: length and JSON, in one order, padded so that the weights begin at a multiple of 8."""
    ordered = {
        "__metadata__": dict(sorted(tree["__metadata__"].items())),
        **{name: tree[name] for name in sorted(tree) if name != "__metadata__"},
    }
    text = json.dumps(ordered, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def pretrained_names() -> list[str]:
    """Names of the models that come with growreel."""
    return sorted(entry.name.removesuffix(".safetensors") for entry in PRETRAINED.iterdir() if entry.name.endswith(".safetensors"))


def newest_model(run: Path) -> Path:
    """The model file of a run folder that was trained on most clips, which its name says. Raises GrowreelError if there is none.

    Files with other names, such as copies that somebody has put there, are never taken.
    """
    models = [path for path in run.glob("models/*.safetensors") if path.stem.isdecimal()]
    if not models:
        raise GrowreelError(f"{run}: has no models/<clips>.safetensors; train first, or give a model file")
    return max(models, key=lambda path: int(path.stem))
