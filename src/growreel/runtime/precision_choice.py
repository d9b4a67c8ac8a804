"""What `precision: auto` becomes: the fastest precision that a convolution on the device shows to be right."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Sequence
from typing import Literal

import torch

from growreel.config import Precision, TrainingConfig
from growreel.errors import GrowreelError
from growreel.runtime import distributed
from growreel.runtime.convolution_check import Finding, check_convolution, cudnn_version, known_faults
from growreel.runtime.precision import Arithmetic

log = logging.getLogger(__name__)
LEAST_GAIN = 1.2
"""How many times as fast as float32 one that rounds more must be; with less, noise would decide, and one run might not be like the next."""


def resolve_precision(precision: Precision, device: torch.device) -> Literal["float64", "float32", "tf32", "bfloat16"]:
    """Return the precision of training on a device: what was asked for, and for `auto` what a measurement says, made once a process.

    The instructions alone do not say it: of two CPUs with avx512_bf16 one convolved at twice the rate of float32, the other at half
    (docs/log.md), and some versions of cuDNN convolve wrong. Where there is nothing to choose, `auto` is float32 and nothing is measured.
    Raises GrowreelError if `auto` finds no precision that is right.
    """
    if precision != "auto":
        return precision
    candidates = _candidates(device)
    if len(candidates) == 1:
        return candidates[0]
    return choose_precision(_measured(device, candidates), device)


def resolve_training(training: TrainingConfig, device: torch.device) -> TrainingConfig:
    """Return the settings of training with an `auto` precision replaced by what suits the device.

    A precision that was asked for by name is used, with a warning where this cuDNN is known to convolve wrong in it.
    """
    if device.type == "cuda" and training.precision != "auto" and distributed.rank() == 0:
        asked = {training.precision, training.penalty_precision}
        for fault in known_faults(cudnn_version()):
            if fault.precision in asked:
                log.warning("cuDNN %s is known for %s; --training.precision auto leaves it out", _dotted(), fault.what)
    return dataclasses.replace(training, precision=resolve_precision(training.precision, device))


def choose_precision(findings: Sequence[Finding], device: torch.device) -> Arithmetic:
    """Return the fastest precision that is not refused, float32 unless another is `LEAST_GAIN` times as fast.

    Raises GrowreelError, with all findings, if all are refused.
    """
    right = [finding for finding in findings if finding.refusal is None]
    if not right:
        raise GrowreelError(
            f"--training.precision auto: no precision convolves right on {device} ({'; '.join(map(str, findings))}); "
            "name one to use it all the same, or use another device"
        )
    full = next((finding.seconds for finding in right if finding.precision == "float32"), None)
    worth = [each for each in right if each.precision == "float32" or full is None or full >= LEAST_GAIN * each.seconds]
    return min(worth, key=lambda finding: finding.seconds).precision


def _candidates(device: torch.device) -> tuple[Arithmetic, ...]:
    """Those that the hardware has instructions for; others would be computed in float32 and rounded."""
    if device.type == "cuda":
        tf32 = torch.version.cuda is not None and torch.cuda.get_device_capability(device) >= (8, 0)
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("float32", *(("tf32",) if tf32 else ()), *(("bfloat16",) if bfloat16 else ()))
    return ("float32", "bfloat16") if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else ("float32",)


@functools.cache
def _measured(device: torch.device, candidates: tuple[Arithmetic, ...]) -> list[Finding]:
    """Measure once a process, and write the findings to the log: a second measurement might choose otherwise."""
    findings = check_convolution(device, candidates)
    for finding in findings:
        if distributed.rank() == 0:
            log.info("a convolution on %s, %s", device, finding)
    return findings


def _dotted() -> str:
    return ".".join(map(str, cudnn_version() or ()))
