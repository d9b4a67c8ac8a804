"""What a device is asked for: which arithmetic, and whether steps are compiled."""

from __future__ import annotations

import dataclasses
import functools
import time
from importlib.util import find_spec
from typing import Literal

import torch

from growreel.config import Precision, TrainingConfig

LEAST_GAIN = 1.2
"""How many times as fast bfloat16 must be to be taken; with less, noise would decide, and one run might not be like the next."""


def resolve_precision(precision: Precision, device: torch.device) -> Literal["float64", "float32", "bfloat16"]:
    """`auto` is bfloat16 where it is faster.

    On a card that is where the hardware has it. On a CPU the instructions alone do not say it (of two CPUs with avx512_bf16 one
    convolved at twice the rate of float32, the other at half; docs/log.md), so a convolution is timed, once a process.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    pays = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() and bfloat16_gain() >= LEAST_GAIN
    return "bfloat16" if pays else "float32"


@functools.cache
def bfloat16_gain(rounds: int = 5) -> float:
    """How many times as fast as in float32 the CPU convolves in bfloat16: 64 channels, 4 clips of 8x16x16, best of rounds in turns.

    Takes a fraction of a second; later calls give the first one's answer.
    """
    best: dict[torch.dtype, float] = {}
    for turn in range(rounds + 1):
        for dtype in (torch.float32, torch.bfloat16):
            clips_NCTHW = torch.ones(4, 64, 8, 16, 16, dtype=dtype).to(memory_format=torch.channels_last_3d)
            weight = torch.ones(64, 64, 3, 3, 3, dtype=dtype).to(memory_format=torch.channels_last_3d)
            started = time.perf_counter()
            torch.nn.functional.conv3d(clips_NCTHW, weight, padding=1)
            seconds = time.perf_counter() - started
            if turn > 0:  # the first builds the kernels
                best[dtype] = min(best.get(dtype, seconds), seconds)
    return best[torch.float32] / best[torch.bfloat16]


def resolve_compile(training: TrainingConfig, device: torch.device) -> Literal["on", "off"]:
    """`auto` is on for a CUDA card where its compiler is installed. On a CPU graphs take long to compile for what they save."""
    if training.compile != "auto":
        return training.compile
    return "on" if device.type == "cuda" and find_spec("triton") is not None and training.recompute_voxels is None else "off"


def resolve_training(training: TrainingConfig, device: torch.device) -> TrainingConfig:
    """With both settled for the device."""
    precision, compiled = resolve_precision(training.precision, device), resolve_compile(training, device)
    return dataclasses.replace(training, precision=precision, compile=compiled)


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """Of the blocks' arithmetic."""
    return {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}[resolve_precision(precision, device)]
