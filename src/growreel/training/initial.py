"""A run that begins with the weights of another: to learn new clips from a model of similar ones, or to grow a finished run further.

A run folder has all that takes part in training. A model file has the generator alone; the discriminator that belongs to it may lie beside
it, as NAME.discriminator.safetensors (`save_discriminator`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from growreel.config import Config, NetworkConfig, load_config
from growreel.data.record import DataRecord
from growreel.data.store import file_checksum
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Position
from growreel.models.files import load_generator, write_model
from growreel.models.header import DISCRIMINATOR_FORMAT, discriminator_file, read_header
from growreel.models.hub import download_discriminator, is_hub_address
from growreel.reading.words import plain
from growreel.training.checkpoint import Checkpoint, DamagedCheckpoint, list_checkpoints, load_checkpoint
from growreel.training.saved_state import check_saved, check_weights
from growreel.training.state import TrainingState

OF_MODEL = "model_sha256"
"""Entry in the header of a discriminator's file: checksum of the model file that it belongs to."""


@dataclass(frozen=True)
class InitialWeights:
    """What a run can begin with.

    Attributes:
        source: the file, run folder or name that it was read from.
        config: the configuration that the weights were trained with.
        position: where in its growth plan they stand.
        weights: state dicts by module: `generator`, and `discriminator` and `loss` where they are known.
        data: records of the clips that they were trained on, oldest first.
        license: terms of the weights; `unstated` for those of a run.
    """

    source: str | Path
    config: Config
    position: Position
    weights: Mapping[str, Mapping[str, Tensor]]
    data: tuple[DataRecord, ...]
    license: str

    @classmethod
    def read(cls, source: str | Path) -> InitialWeights:
        """Read what `load_generator` takes; of a run folder, the newest checkpoint, of which the averaged generator.

        Raises GrowreelError if there is no such model, or a file of it is damaged or does not belong to the others.
        """
        folder = Path(source)
        if folder.is_dir() and (checkpoints := list_checkpoints(folder)):
            return cls._of_run(folder, checkpoints[-1])
        model = load_generator(source)
        assert model.path is not None
        if is_hub_address(source):
            download_discriminator(source)
        weights = {"generator": model.generator.state_dict(), **_read_discriminator(model.path, model.config)}
        return cls(source, model.config, model.position, weights, _records(model.data, model.path), model.license)

    @classmethod
    def _of_run(cls, run: Path, newest: Path) -> InitialWeights:
        config, checkpoint = load_config(run / "config.yaml"), _load(newest)
        try:
            check_saved(checkpoint.state, TrainingState(config, torch.device("cpu")))
        except DamagedCheckpoint as error:
            raise _damaged(newest, error) from error
        weights = {"generator": checkpoint.state["ema"], **{name: checkpoint.state[name] for name in ("discriminator", "loss")}}
        records = json.loads(checkpoint.model["data"]) if checkpoint.model else []
        position = config.growth.plan().position(checkpoint.state["clips_shown"])
        return cls(run, config, position, weights, _records(records, newest), "unstated")

    def start(self, plan: GrowthPlan) -> int:
        """Return at how many clips of a plan a run with these weights begins.

        A model in the middle of a fade goes on there. One that is beyond it begins with the next size of the plan, or, if it has the last
        one, with that one's stable phase.

        Raises GrowreelError if the plan grows otherwise up to the model's size, or nothing would be left to do.
        """
        sizes, stage = self.config.growth.plan().sizes, self.position.stage
        if plan.sizes[: stage + 1] != sizes[: stage + 1]:
            raise GrowreelError(
                f"--init-from {self.source}: has grown through {' '.join(map(str, sizes[: stage + 1]))}, and the plan is "
                f"{' '.join(map(str, plan.sizes))}; its first stages must be those: leave --preset and --config out, or give --stages"
            )
        fade_clips = plan.stages[stage].fade_clips
        if self.position.phase == "fade":
            return plan.start(stage) + int(self.position.alpha * fade_clips)
        start = plan.start(stage) + fade_clips if stage == len(plan.stages) - 1 else plan.start(stage + 1)
        if start == plan.total_clips:
            raise GrowreelError(
                f"--init-from {self.source}: nothing is left to train, as the plan ends with {sizes[stage]} and has no stable_clips there; "
                "give some, or a larger --target"
            )
        return start

    def load_into(self, state: TrainingState, config: Config) -> str:
        """Copy the weights into the fresh state of a run with `config` and set its place in the plan; return in words what was done.

        Stages that the model has not reached keep the weights that they were drawn with.

        Raises GrowreelError if the networks are others, and as `start`.
        """
        start = self.start(state.plan)
        self._check_networks(config.network)
        later = {str(size) for size in state.plan.sizes[self.position.stage + 1 :]}
        known = {**self.weights, "ema": self.weights["generator"]}
        if self.config.loss.name != config.loss.name or _shapes(known.get("loss", {})) != _shapes(state.loss.state_dict()):
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
        return said + ("" if self.license == "unstated" else f"; its licence, {self.license}, holds for what comes of it, too")

    def _check_networks(self, network: NetworkConfig) -> None:
        theirs = self.config.network
        fields = [field.name for field in dataclasses.fields(NetworkConfig)]
        for name in fields:
            if (their := getattr(theirs, name)) != (ours := getattr(network, name)):
                raise GrowreelError(
                    f"--init-from {self.source}: its --network.{name} is {plain(str(their))}, the run's {plain(str(ours))}; networks must "
                    "be the same: leave --preset, --config and that flag out, and give a store with the same colours and labels"
                )


def save_discriminator(source: str | Path, model: Path) -> Path | None:
    """Write the discriminator and the loss's head of a run, or of a model, beside a copy of its model file: others can train on from that.

    Returns the file, MODEL with the ending `.discriminator.safetensors`; None if there is none, as of most model files.

    Raises GrowreelError as `InitialWeights.read`, if the newest checkpoint of the run has not the weights of the copy, or if the disk does
    not take it.
    """
    initial, generator = InitialWeights.read(source), load_generator(model)
    if "discriminator" not in initial.weights:
        return None
    if not all(torch.equal(tensor, initial.weights["generator"][name]) for name, tensor in generator.generator.state_dict().items()):
        raise GrowreelError(f"{source}: its newest checkpoint is not that of {model}; give the run folder that the model comes from")
    parts = ((part, initial.weights[part]) for part in ("discriminator", "loss"))
    weights = {f"{part}.{key}": tensor for part, tensors in parts for key, tensor in tensors.items()}
    file = discriminator_file(model)
    write_model(file, weights, {"format": DISCRIMINATOR_FORMAT, "license": generator.license, OF_MODEL: file_checksum(model)})
    return file


def _read_discriminator(model: Path, config: Config) -> dict[str, dict[str, Tensor]]:
    """The state dicts of `discriminator` and `loss` beside a model file; none if there is no such file."""
    path = discriminator_file(model)
    if not path.exists():
        return {}
    header = read_header(path, (DISCRIMINATOR_FORMAT,))
    if header.metadata.get(OF_MODEL) != file_checksum(model):
        raise GrowreelError(f"{path}: belongs to another model than {model.name}; move it away, or restore both from a copy")
    tensors = load(path.read_bytes())
    state = TrainingState(config, torch.device("cpu"))
    modules = {name: state.modules()[name].state_dict() for name in ("discriminator", "loss")}
    parts = {
        part: {key.removeprefix(f"{part}."): tensor for key, tensor in tensors.items() if key.startswith(f"{part}.")} for part in modules
    }
    try:
        for part, expected in modules.items():
            check_weights(part, parts[part], expected)
    except DamagedCheckpoint as error:
        raise GrowreelError(f"{path}: does not fit {model.name} ({error}); move it away, or restore both from a copy") from error
    return parts


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in weights.items()}


def _load(checkpoint: Path) -> Checkpoint:
    try:
        return load_checkpoint(checkpoint)
    except DamagedCheckpoint as error:
        raise _damaged(checkpoint, error) from error


def _damaged(checkpoint: Path, error: DamagedCheckpoint) -> GrowreelError:
    return GrowreelError(f"--init-from: {checkpoint} is damaged ({error}); restore it from a copy, or give a file of the run's models")


def _records(records: Any, path: Path) -> tuple[DataRecord, ...]:
    """Records of a model's header, as those of another run: it had learnt all of them before this one began."""
    return tuple(dataclasses.replace(DataRecord.read(record, str(path)), since=0) for record in records)
