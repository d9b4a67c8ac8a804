"""What `growreel evaluate` can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from growreel.data.split import PARTS, Part
from growreel.errors import GrowreelError
from growreel.evaluation.protocols import PROTOCOLS, Protocol, protocol_named
from growreel.evaluation.suite import FEATURES, METRICS
from growreel.ranges import check_range
from growreel.runtime.precision import Arithmetic

MEMORY = "memory"
"""The metric that looks at training clips, too; the others compare fake with real ones alone."""


@dataclass(frozen=True)
class EvaluationOptions:
    """Settings of an evaluation.

    Attributes:
        metrics: names from `evaluation.suite.METRICS`, or `memory`; None takes the protocol's.
        protocol: a name from `evaluation.protocols.PROTOCOLS`.
        clips: generated clips per repeat, and at most as many real ones; None leaves it to the protocol.
        clip_frames: the first so many frames of every clip; None leaves it to the protocol.
        repeats: independent sets of generated clips; None leaves it to the protocol.
        features: feature space of kid, prdc and memory; None takes the best one whose weights are here.
        torchscript: an I3D as TorchScript. It is code: name only a file that you trust.
        resamples: of the bootstrap; below 2 there are no intervals.
        seed: of everything drawn.
        device: `auto`, or as PyTorch names it.
        split: which clips of the store of real ones, if it holds some out: `training` (what was to be learnt), `held-out` or `all`.
        precision: arithmetic of clips that a model makes and of the metrics' networks: `float32`, `tf32` (on a CUDA card), or `bfloat16`
            for the clips alone, the networks staying in float32.
        classes: of a conditional model, names with commas: clips of these are made, and compared with real clips of these labels.

    Raises GrowreelError for a value out of range or a name that is none.
    """

    metrics: Sequence[str] | None = None
    protocol: str = "growreel"
    clips: int | None = None
    clip_frames: int | None = None
    repeats: int | None = None
    features: str | None = None
    torchscript: str | None = None
    resamples: int = 25
    seed: int = 0
    split: Part = "training"
    device: str = "auto"
    precision: Arithmetic = "float32"
    classes: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("clips", 2), ("clip_frames", 1), ("repeats", 1), ("resamples", 0), ("seed", 0)):
            check_range(f"--{name.replace('_', '-')}", getattr(self, name), least=least)
        for name in self.metrics or ():
            if name not in METRICS and name != MEMORY:
                raise GrowreelError(f"--metrics {name}: there is no such metric; choose from {', '.join((*METRICS, MEMORY))}")
        if self.features is not None and self.features not in FEATURES:
            raise GrowreelError(f"--features {self.features}: there is no such feature space; choose from {', '.join(FEATURES)}")
        if self.split not in PARTS:
            raise GrowreelError(f"--split {self.split}: there is no such part of a store; choose from {', '.join(PARTS)}")
        protocol_named(self.protocol)

    def published(self) -> Protocol:
        """Return the protocol that was named."""
        return protocol_named(self.protocol)

    def deviations(self) -> list[str]:
        """Return in words how these options differ from the published protocol that they name; our own is none."""
        protocol = self.published()
        if protocol == PROTOCOLS["growreel"]:
            return []
        changes = []
        for name, ours, theirs in (
            ("clips", self.clips, protocol.clips),
            ("clip_frames", self.clip_frames, protocol.frames),
            ("repeats", self.repeats, protocol.repeats),
        ):
            if ours is not None and ours != theirs and theirs is not None:
                changes.append(f"{name.replace('_', ' ')} {ours} instead of {theirs}")
        return changes
