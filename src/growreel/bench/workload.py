"""What is measured at one stage of a plan: steps of training, and sampling, exactly as `train` and `sample` do them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from growreel.bench.counting import count
from growreel.bench.machine import seconds_each
from growreel.config import from_dict
from growreel.growth import Position, Size
from growreel.runtime import distributed
from growreel.runtime.memory import keep_freed_memory, peak_memory, resident_memory
from growreel.runtime.precision import set_arithmetic, training_arithmetic
from growreel.runtime.randomness import latents_of_seeds
from growreel.sampling import CARD_QUEUE, clips_of_latents
from growreel.training.execution import Execution
from growreel.training.state import TrainingState
from growreel.training.step import train_step

FADE_ALPHA = 0.5


class StageWorkload:
    """Networks, optimisers and one minibatch of noise in place of real clips, ready to be trained and sampled at one stage.

    Args:
        tree: of the configuration; precision and channels are settled.
        stage: index into the plan.
        device: as PyTorch names it.
    """

    def __init__(self, tree: dict[str, Any], stage: int, device: str) -> None:
        self.device = torch.device(device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.memory_at_start = resident_memory(self.device)
        self.config = from_dict(tree, "bench")
        set_arithmetic(training_arithmetic(self.config.training), fastest=True)  # as `train`
        self.state = TrainingState(self.config, self.device)
        self.stage, self.minibatch = stage, self.state.plan.stages[stage].minibatch
        share = self.minibatch // distributed.world_size()
        size, channels = self.state.plan.sizes[stage], self.config.network.image_channels or 3
        rng = torch.Generator().manual_seed(0)
        self.real = (torch.rand(share, *size, channels, generator=rng) * 2 - 1).to(self.device).movedim(-1, 1)
        self.execution = Execution(self.config.training, self.device)
        together = CARD_QUEUE if self.device.type == "cuda" else 1
        self.latents = torch.from_numpy(latents_of_seeds(range(together), self.config.network.latent_dim))

    def at(self, clips_shown: int, size: Size, minibatch: int) -> Tensor:
        """The minibatch, whatever is asked for."""
        return self.real

    def classes_at(self, clips_shown: int, minibatch: int) -> Tensor | None:
        """All classes in turn, if the model has any, whatever is asked for."""
        classes = self.state.generator.classes
        return torch.arange(len(self.real), device=self.device) % classes if classes else None

    def train(self, fading: bool, steps: int) -> float:
        """Return the seconds that a step takes, on average over `steps`: `critic_steps` of the discriminator and one of the generator."""
        fading = fading and self.stage > 0
        position = Position(self.stage, "fade" if fading else "stable", FADE_ALPHA if fading else 1.0)
        return seconds_each(lambda: self._step(position), steps, self.device)

    def sample(self, batches: int) -> float:
        """Return the seconds that it takes to sample as many clips as `batch` says, from latents to bytes, on average over `batches`."""
        return seconds_each(self._sample, batches, self.device)

    def batch(self) -> int:
        """Return how many clips are sampled together at this stage."""
        return len(self.latents)

    def counted(self) -> dict[str, dict[str, int]]:
        """Return operations and bytes of a training step (`train`), and of sampling a batch (`sample`)."""
        return {"train": count(lambda: self._step(Position(self.stage, "stable", 1.0))), "sample": count(self._sample)}

    def memory(self) -> dict[str, int]:
        """Return the bytes that the process held: the most so far (`peak`), and before it had networks (`at_start`); and whether steps
        `had_to_shrink` because memory ran out."""
        shrunk = int(self.execution.had_to_shrink)
        return {"peak": peak_memory(self.device), "at_start": self.memory_at_start, "had_to_shrink": shrunk}

    def _step(self, position: Position) -> None:
        train_step(self.state, self, position, self.config, self.execution)

    def _sample(self) -> None:
        for _ in clips_of_latents(self.state.ema, Position(self.stage, "stable", 1.0), self.latents, 1.0, self.config.training.precision):
            pass
