"""What a device is asked for: which arithmetic, and whether steps are compiled."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from typing import Literal

import torch

from growreel.config import Precision, TrainingConfig


def resolve_precision(precision: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """`auto` is bfloat16 where the device computes in it; emulated, it is slower than float32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "float32"


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
    return torch.bfloat16 if resolve_precision(precision, device) == "bfloat16" else torch.float32
