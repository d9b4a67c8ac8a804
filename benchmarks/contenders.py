"""What `compare.py` lets compete with growreel. Apart from it, since the processes that are measured cannot import a main program."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import plain
import torch

from growreel.bench.machine import seconds_each
from growreel.config import from_dict
from growreel.growth import Size
from growreel.runtime.memory import peak_memory, resident_memory
from growreel.training.state import TrainingState

CPU = torch.device("cpu")


class Timed:
    """What `Remote` calls, for anything with a step and a sample."""

    def __init__(self, size: Size) -> None:
        self.at_start, self.clips = resident_memory(CPU), 4 if size.voxels <= 16 * 64 * 64 else 1  # small ones do not fill a CPU alone

    def step(self) -> None:
        raise NotImplementedError

    def make(self) -> None:
        raise NotImplementedError

    def train(self, fading: bool, steps: int) -> float:
        return seconds_each(self.step, steps, CPU)

    def sample(self, batches: int) -> float:
        return seconds_each(self.make, batches, CPU)

    def batch(self) -> int:
        return self.clips

    def memory(self) -> dict[str, int]:
        return {"peak": peak_memory(CPU), "at_start": self.at_start}


class PlainWorkload(Timed):
    """plain.py with the weights that growreel starts from."""

    def __init__(self, tree: dict[str, Any], stage: int) -> None:
        config = from_dict(tree, "compare")
        sizes = config.growth.plan().sizes
        super().__init__(sizes[stage])
        state = TrainingState(config, CPU)
        self.trainer = plain.PlainTrainer(state.generator.state_dict(), state.discriminator.state_dict(), state.loss.state_dict(), sizes)
        self.stage, self.real = stage, torch.rand(state.plan.stages[stage].minibatch, 3, *sizes[stage]) * 2 - 1

    def step(self) -> None:
        self.trainer.step(self.stage, 1.0, self.real)

    def make(self) -> None:
        latents = torch.randn(self.clips, self.trainer.g["dense.weight"].shape[1])
        with torch.no_grad():
            made = plain.generator(self.trainer.average, self.trainer.sizes, self.stage, 1.0, latents)
            ((made.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(1, -1).contiguous()


class PeerWorkload(Timed):
    """Another project, through the file that wraps it."""

    def __init__(self, path: str, size: Size, minibatch: int) -> None:
        super().__init__(size)
        spec = importlib.util.spec_from_file_location("peer", path)
        assert spec is not None and spec.loader is not None
        sys.path.insert(0, str(Path(path).parent))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.peer, self.real = module.Peer(0), torch.rand(minibatch, 3, *size) * 2 - 1

    def step(self) -> None:
        self.peer.step(self.real)

    def make(self) -> None:
        self.peer.sample(self.clips, 0)
