"""A run that begins with the weights of another: to learn new clips from a model of similar ones, or to grow a finished run further.

A model file has the generator alone. Its discriminator is in the run's checkpoint of the same number, or lies beside the file as
NAME.discriminator.safetensors (`save_discriminator`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from growreel.config import Config, NetworkConfig
from growreel.data.record import DataRecord
from growreel.data.store import ClipStore, file_checksum
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Position, Size
from growreel.models.files import LoadedGenerator, load_generator, write_model
from growreel.models.generator import stage_channels
from growreel.models.header import DISCRIMINATOR_FORMAT, discriminator_file, read_header
from growreel.models.hub import download_discriminator, is_hub_address
from growreel.reading.folders import last_part
from growreel.reading.words import plain
from growreel.training.checkpoint import DamagedCheckpoint, load_checkpoint
from growreel.training.compatibility import empty_modules
from growreel.training.saved_state import check_weights
from growreel.training.state import TrainingState

OF_MODEL = "model_sha256"
"""Entry in the header of a discriminator's file: checksum of the model file that it belongs to."""
Weights = dict[str, Mapping[str, Tensor]]
"""State dicts by module: `generator`, `discriminator`, `loss`."""


@dataclass(frozen=True)
class InitialWeights:
    """What a run can begin with.

    Attributes:
        source: the file, run folder or name that it was asked for by.
        model: the generator, with its configuration and its file.
        weights: of the averaged generator, and of discriminator and loss where they are known.
    """

    source: str | Path
    model: LoadedGenerator
    weights: Weights

    @classmethod
    def read(cls, source: str | Path) -> InitialWeights:
        """Read what `load_generator` takes, and the discriminator that belongs to it if there is one.

        Raises GrowreelError if there is no such model, or a file of it is damaged or does not belong to the others.
        """
        model = load_generator(source)
        assert model.path is not None
        if is_hub_address(source):
            download_discriminator(source, model.path)
        weights: Weights = {"generator": model.generator.state_dict()}
        return cls(source, model, {**weights, **(_beside(model.path, model.config) or _in_checkpoint(model.path, model))})

    @property
    def position(self) -> Position:
        """Where in its plan the model stands. Where a fade is about to begin, nothing of that stage has been trained."""
        place = self.model.position
        return Position(place.stage - 1, "stable", 1.0) if place.phase == "fade" and place.alpha == 0 else place

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Those that the model has grown through."""
        return self.model.generator.plan.sizes[: self.position.stage + 1]

    def facts(self) -> dict[str, Any]:
        """Return which model it is, as plain values without folders."""
        assert self.model.path is not None
        return {"model": last_part(str(self.source)), "sha256": file_checksum(self.model.path), "clips": self.model.clips_shown}

    def records(self) -> list[DataRecord]:
        """Records of the clips that the model was trained on, oldest first; for another run all of that was before its beginning."""
        return [dataclasses.replace(DataRecord.read(record, str(self.model.path)), since=0) for record in self.model.data]

    def check_store(self, store: ClipStore) -> None:
        """Raise GrowreelError unless the clips of a store have the colours, and for a model with classes the labels, of the model."""
        network, labels = self.model.config.network, sorted({store.labels[clip.label] for clip in store.clips if clip.label is not None})
        if network.image_channels != store.channels:
            colors = {1: "grey", 3: "coloured"}
            raise GrowreelError(
                f"--init-from {self.source}: makes {colors[network.image_channels or 3]} clips, and those of {store.path} are "
                f"{colors[store.channels]}; prepare them anew, or take another model"
            )
        if network.classes and tuple(labels) != network.classes:
            theirs, ours = (plain(", ".join(names) or "(none)", 1000) for names in (network.classes, labels))
            raise GrowreelError(
                f"--init-from {self.source}: has learnt the classes {theirs}, and the clips of {store.path} have the labels {ours}; "
                "give a store with those, or take another model"
            )

    def start(self, plan: GrowthPlan) -> int:
        """Return at how many clips of a plan a run with these weights begins.

        A model in the middle of a fade goes on there. One that is beyond it begins with the next size of the plan, or, if it has the last
        one, with that one's stable phase.

        Raises GrowreelError if the plan grows otherwise up to the model's size, or nothing would be left to do.
        """
        stage = self.position.stage
        if plan.sizes[: stage + 1] != self.sizes:
            raise GrowreelError(
                f"--init-from {self.source}: has grown through {' '.join(map(str, self.sizes))}, and the plan is "
                f"{' '.join(map(str, plan.sizes))}; its first stages must be those: leave --preset and --config out, or give --stages"
            )
        fade_clips = plan.stages[stage].fade_clips
        if self.position.phase == "fade":
            return plan.start(stage) + round(self.position.alpha * fade_clips)
        start = plan.start(stage) + fade_clips if stage == len(plan.stages) - 1 else plan.start(stage + 1)
        if start == plan.total_clips:
            raise GrowreelError(
                f"--init-from {self.source}: nothing is left to train, as the plan ends with {self.sizes[-1]} and has no stable_clips "
                "there; give some, or a larger --target"
            )
        return start

    def load_into(self, state: TrainingState, config: Config) -> str:
        """Copy the weights into the fresh state of a run with `config` and set its place in the plan; return in words what was done.

        Stages that the model has not reached keep the weights that they were drawn with.

        Raises GrowreelError if the networks are others or the run is to end before its beginning, and as `start`.
        """
        start = self.start(state.plan)
        self._check_networks(config.network)
        if config.training.clips is not None and config.training.clips <= start:
            raise GrowreelError(
                f"--clips {config.training.clips}: with --init-from {self.source} the run begins at {start} clips of its plan and would "
                "end before; give more, or leave it out"
            )
        later = {str(size) for size in state.plan.sizes[self.position.stage + 1 :]}
        known = {**self.weights, "ema": self.weights["generator"]}
        if self.model.config.loss.name != config.loss.name or _shapes(known.get("loss", {})) != _shapes(state.loss.state_dict()):
            known.pop("loss", None)  # another head, or none
        with torch.no_grad():
            for name, module in state.modules().items():
                for key, tensor in module.state_dict().items():
                    if name in known and later.isdisjoint(key.split(".")):
                        tensor.copy_(known[name][key])
        state.clips_shown = start
        anew = [name for name in ("discriminator", "loss") if name not in known]
        said = f"begins with the weights of {self.source}, at {start:,} clips of the plan"
        said += f"; what is not in it begins anew: {' and '.join(anew)}" if anew else ""
        terms = self.model.license
        return said + ("" if terms == "unstated" else f"; its licence, {terms}, holds for what comes of it, too")

    def _check_networks(self, network: NetworkConfig) -> None:
        """Widths need be the same at the sizes that the model has reached; those that follow may be wider or narrower than it planned."""
        old = self.model.config.network
        alike = {"base_channels", "max_channels"} if self._widths(old) == self._widths(network) else set()
        for name in (field.name for field in dataclasses.fields(NetworkConfig) if field.name not in alike):
            their, our = getattr(old, name), getattr(network, name)
            if their != our:
                raise GrowreelError(
                    f"--init-from {self.source}: its --network.{name} is {plain(str(their))}, the run's {plain(str(our))}; networks "
                    "must be the same: leave --preset, --config and that flag out, and give a store with the same colours and labels"
                )

    def _widths(self, network: NetworkConfig) -> list[int]:
        reached = self.model.generator.plan.sizes[: self.position.stage + 1]
        return [stage_channels(size, network.base_channels, network.max_channels) for size in reached]


def save_discriminator(source: str | Path, copy: Path) -> Path | None:
    """Write the discriminator and the loss's head of a model beside a copy of its file, so that others can train on from that.

    Args:
        source: a run folder or a model, as of `InitialWeights.read`.
        copy: a model file with the same weights.

    Returns the file, COPY with the ending `.discriminator.safetensors`; None if there is none, as of most model files. Raises GrowreelError
    as `InitialWeights.read`, and if the disk does not take it.
    """
    initial, header = InitialWeights.read(source), read_header(copy).metadata
    if "discriminator" not in initial.weights:
        return None
    parts = ((part, initial.weights[part]) for part in ("discriminator", "loss"))
    weights = {f"{part}.{key}": tensor for part, tensors in parts for key, tensor in tensors.items()}
    file = discriminator_file(copy)
    write_model(file, weights, {"format": DISCRIMINATOR_FORMAT, "license": header["license"], OF_MODEL: file_checksum(copy)})
    return file


def _beside(model: Path, config: Config) -> Weights | None:
    """Discriminator and loss in the file beside a model file; None if there is no such file."""
    path = discriminator_file(model)
    if not path.exists():
        return None
    header, advice = read_header(path, (DISCRIMINATOR_FORMAT,)), "move it away, or restore both from a copy"
    if header.metadata.get(OF_MODEL) != file_checksum(model):
        raise GrowreelError(f"{path}: belongs to another model than {model.name}; {advice}")
    expected = _expected(config)
    shapes = {f"{part}.{key}": tuple(tensor.shape) for part, tensors in expected.items() for key, tensor in tensors.items()}
    if {name: entry.shape for name, entry in header.tensors.items()} != shapes:  # before either takes memory
        raise GrowreelError(f"{path}: its weights are not those of a discriminator of {model.name}; {advice}")
    tensors = load(path.read_bytes())
    weights: Weights = {part: {key: tensors[f"{part}.{key}"] for key in modules} for part, modules in expected.items()}
    try:
        for part, modules in expected.items():
            check_weights(part, weights[part], modules)
    except DamagedCheckpoint as error:
        raise GrowreelError(f"{path}: does not fit {model.name} ({error}); {advice}") from error
    return weights


def _in_checkpoint(path: Path, model: LoadedGenerator) -> Weights:
    """The weights of the checkpoint from which a file RUN/models/CLIPS.safetensors was written; none for other files, or if it is gone."""
    folder = path.parent.parent / "checkpoints" / path.stem
    if path.parent.name != "models" or not path.stem.isdecimal() or not folder.is_dir():
        return {}
    averaged = {key: tensor.to(_dtype(model.config)) for key, tensor in model.generator.state_dict().items()}
    expected = {**_expected(model.config), "ema": averaged}
    try:
        checkpoint = load_checkpoint(folder)
        made = checkpoint.made.get(f"models/{path.name}")
        if made is not None and made != file_checksum(path):
            return {}
        for name, modules in expected.items():
            check_weights(name, checkpoint.state.get(name), modules)
    except DamagedCheckpoint as error:
        raise GrowreelError(
            f"{folder}: is damaged ({error}); restore it from a copy, or move it away: {path.name} is then taken without its discriminator"
        ) from error
    return {"generator" if name == "ema" else name: checkpoint.state[name] for name in expected}


def _expected(config: Config) -> Weights:
    """State dicts as a discriminator and a loss's head of this configuration have them, without values."""
    try:
        modules = empty_modules(config)
    except (RuntimeError, OverflowError, TypeError, MemoryError) as error:
        raise GrowreelError(f"--init-from: the model's configuration describes no discriminator ({plain(error)})") from error
    return {name: modules[name].to(_dtype(config)).state_dict() for name in ("discriminator", "loss")}


def _dtype(config: Config) -> torch.dtype:
    return torch.float64 if config.training.precision == "float64" else torch.float32


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in weights.items()}
