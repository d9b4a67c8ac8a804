"""Everything of a run that changes while it trains: networks, moving average, loss head, optimisers, clips shown."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from growreel.config import Config, OptimizerConfig
from growreel.growth import GrowthPlan, Position
from growreel.losses import AdversarialLoss, build_loss
from growreel.models import Discriminator, Generator, build_discriminator, build_generator
from growreel.runtime.precision import default_dtype
from growreel.training.adam import ReleasedAdam


class TrainingState:
    """Fresh at construction, with weights that `training.seed` decides; `load_state_dict` brings back a checkpoint's.

    PyTorch's float32 normal numbers differ in their last bit between CPUs with and without AVX2, its float64 ones do not. So weights are
    drawn in the dtype that they are kept in: a float64 run begins with the same ones everywhere.

    Attributes:
        clips_shown: real clips that the discriminator has seen, over all processes.
        rollbacks: times the run went back to a checkpoint; part of the noise's key, so that a repeated stretch differs.
        dtype: of parameters and of everything that is not a block's arithmetic: float32, or float64 where that is asked for.
        optimizers_for: (stage, phase) that the optimisers' moments belong to.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        self.dtype = torch.float64 if config.training.precision == "float64" else torch.float32
        with torch.random.fork_rng(devices=[]), default_dtype(self.dtype):
            torch.manual_seed(config.training.seed)
            self.generator: Generator = build_generator(config).to(device, self.dtype)
            self.discriminator: Discriminator = build_discriminator(config).to(device, self.dtype)
            self.loss: AdversarialLoss = build_loss(config.loss, config.network.feature_dim, len(config.network.classes)).to(
                device, self.dtype
            )
        self.generator.recompute_voxels = self.discriminator.recompute_voxels = config.training.recompute_voxels
        self.ema: Generator = copy.deepcopy(self.generator).requires_grad_(False)
        self.plan: GrowthPlan = self.generator.plan
        self.device = device
        self.clips_shown = 0
        self.rollbacks = 0
        self.optimizers_for: tuple[int, str] = (0, "stable")
        self._optimizer = config.optimizer
        self._reset_optimizers()

    @property
    def position(self) -> Position:
        return self.plan.position(self.clips_shown)

    def prepare_optimizers(self, position: Position) -> bool:
        """Start the moments anew where the plan says so, and set the learning rate; say whether they are new."""
        due = (position.stage, position.phase)
        changed = due != self.optimizers_for if self._optimizer.reset == "phase" else due[0] != self.optimizers_for[0]
        self.optimizers_for = due
        if changed:
            self._reset_optimizers()
        learning_rate = self.plan.learning_rate(self.clips_shown)
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
        return changed

    def modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator, "loss": self.loss, "ema": self.ema}

    def weights(self) -> dict[str, Tensor]:
        """All weights by name, those of the moving average among them."""
        return {f"{part}.{key}": tensor for part, module in self.modules().items() for key, tensor in module.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only, loadable with `weights_only=True`."""
        return {
            **{name: module.state_dict() for name, module in self.modules().items()},
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "clips_shown": self.clips_shown,
            "rollbacks": self.rollbacks,
            "optimizers_for": list(self.optimizers_for),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, module in self.modules().items():
            module.load_state_dict(state[name])
        self._reset_optimizers()
        for name in ("generator_optimizer", "discriminator_optimizer"):
            optimizer: torch.optim.Adam = getattr(self, name)
            # Moments are the checkpoint's; betas, eps and the like are the configuration's, which may have been changed.
            optimizer.load_state_dict({"state": state[name]["state"], "param_groups": optimizer.state_dict()["param_groups"]})
        self.clips_shown, self.rollbacks = state["clips_shown"], state["rollbacks"]
        stage, phase = state["optimizers_for"]
        self.optimizers_for = (stage, phase)

    def _reset_optimizers(self) -> None:
        self.generator_optimizer = _adam(self.generator, config=self._optimizer)
        self.discriminator_optimizer = _adam(self.discriminator, self.loss, config=self._optimizer)


def _adam(*modules: nn.Module, config: OptimizerConfig) -> ReleasedAdam:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return ReleasedAdam(parameters, betas=(config.beta1, config.beta2), eps=config.eps)
