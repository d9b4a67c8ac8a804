"""Does this device convolve right, and how fast? One 3-D convolution with its two gradients, in each precision, against float64."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from growreel.runtime.precision import Arithmetic, use_arithmetic

LIMITS: dict[Arithmetic, float] = {"float32": 5e-5, "tf32": 2e-3, "bfloat16": 2e-2}
"""Relative error, root of summed squares, beyond which a convolution is wrong and not merely rounded. On an H200 the errors were 9e-6, 9e-4
and 3e-3 (docs/benchmarks.md), float32's in the gradient by the kernel, a sum over all voxels."""
ROUNDS = 5
CALLS = 4
"""A round on a card: so many in a row, so that it is kept busy while the host prepares the next."""
HOPELESS_SECONDS = 1.0
"""On a CPU a precision whose first call takes longer, and five times as long as the fastest one's, is not timed again: where it is emulated
that would last for minutes."""

Version = tuple[int, int, int]


class CudnnFault(NamedTuple):
    """Versions of cuDNN, both ends included, that are known to convolve wrong in a precision."""

    first: Version
    last: Version
    precision: Arithmetic
    what: str


CUDNN_FAULTS = (
    CudnnFault((9, 8, 0), (9, 14, 99), "bfloat16", "bfloat16 3-D convolutions (pytorch#163539, #166122)"),
    CudnnFault((9, 10, 2), (9, 15, 0), "tf32", "a TF32 kernel (pytorch#167024)"),
)
"""They do not fail at every shape, so one convolution that is right does not acquit a version."""


class ConvolutionShape(NamedTuple):
    """What is convolved with a kernel of 3x3x3 to as many channels: clips, their channels, frames, rows and columns."""

    clips: int
    channels: int
    t: int
    h: int
    w: int

    @property
    def operations(self) -> int:
        """Floating-point operations of the convolution and its two gradients."""
        return 3 * 2 * 27 * self.channels**2 * math.prod((self.clips, self.t, self.h, self.w))


AGAINST_CPU = ConvolutionShape(4, 64, 8, 16, 16)
"""Small enough for a CPU in float64; there it is timed, too."""
ON_CARD = ConvolutionShape(16, 64, 16, 32, 32)
"""Of a card's usual size: timed there, and held against the card's own float64."""


@dataclass(frozen=True)
class Finding:
    """What one precision is worth on a device.

    Attributes:
        precision: of the convolution.
        errors: relative ones of the output, of the gradient by the clips and of the gradient by the kernel; the largest of all shapes.
        seconds: that a convolution with both gradients takes, at its fastest.
        operations: of it.
        known_fault: why the device's cuDNN is not to be trusted, whatever the errors; None if nothing is known.
        failure: what the library said if it could not do it; None if it could.
    """

    precision: Arithmetic
    errors: tuple[float, ...] = ()
    seconds: float = math.inf
    operations: int = 0
    known_fault: str | None = None
    failure: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why the precision is not to be used, or None."""
        if self.failure is not None:
            return f"it fails ({self.failure})"
        if not all(error <= LIMITS[self.precision] for error in self.errors):  # NaN is no small error
            return f"its error is beyond {LIMITS[self.precision]:g}"
        return None if self.known_fault is None else f"this version of cuDNN is known for {self.known_fault}"

    def __str__(self) -> str:
        """A line for the log: time, errors, and why it is refused."""
        errors = f"{self.seconds * 1e3:.3g} ms, error {max(self.errors):.1e}" if self.errors else "no result"
        return f"{self.precision}: {errors}" + (f", refused: {self.refusal}" if self.refusal else "")


def cudnn_version() -> Version | None:
    """Return the version of cuDNN in this PyTorch, or None where there is none (on AMD's cards PyTorch has MIOpen in its place)."""
    number = torch.backends.cudnn.version() if torch.version.cuda is not None else None
    if number is None:
        return None
    major, rest = divmod(number, 10_000 if number >= 90_000 else 1_000)
    return major, rest // 100, rest % 100


def known_faults(version: Version | None) -> list[CudnnFault]:
    """Return the faults that a version of cuDNN is known for."""
    return [fault for fault in CUDNN_FAULTS if version is not None and fault.first <= version <= fault.last]


def check_convolution(
    device: torch.device, precisions: Sequence[Arithmetic], shapes: Sequence[ConvolutionShape] | None = None
) -> list[Finding]:
    """Convolve on a device in each precision, as training does, and hold all three results against float64.

    Args:
        device: a CPU or a CUDA card. On a CPU tf32 is float32.
        precisions: each is timed, in turns with the others.
        shapes: the first is held against the CPU's float64, others against the device's own; the last is timed. None takes
            `AGAINST_CPU` and, on a card, `ON_CARD`.

    Returns:
        A finding for each precision, in their order. A precision that the device cannot do is found to have failed.
    """
    on_card = device.type == "cuda"
    shapes = shapes or ((AGAINST_CPU, ON_CARD) if on_card else (AGAINST_CPU,))
    faults = {fault.precision: fault.what for fault in known_faults(cudnn_version())} if on_card else {}
    errors: dict[Arithmetic, tuple[float, ...]] = {}
    seconds = dict.fromkeys(precisions, math.inf)
    failures: dict[Arithmetic, str] = {}
    for shape in shapes:
        exact = _Convolution(shape, torch.device("cpu") if shape == shapes[0] else device, torch.float64)()
        runs = {}
        for precision in precisions:
            with _failing(precision, failures):
                runs[precision] = _Convolution(shape, device, torch.bfloat16 if precision == "bfloat16" else torch.float32)
                started = time.perf_counter()
                with use_arithmetic(precision, fastest=True):
                    found = tuple(_relative_error(*pair) for pair in zip(runs[precision](), exact, strict=True))
                if not on_card:  # where the first call also looks for the fastest kernels, which takes longer than convolving
                    seconds[precision] = time.perf_counter() - started
                errors[precision] = tuple(_worse(*pair) for pair in zip(errors.get(precision, found), found, strict=True))
    for _, precision in itertools.product(range(ROUNDS), precisions):
        hopeless = HOPELESS_SECONDS < seconds[precision] < math.inf and seconds[precision] > 5 * min(seconds.values())
        if precision not in failures and not hopeless:
            with _failing(precision, failures), use_arithmetic(precision, fastest=True):
                seconds[precision] = min(seconds[precision], _seconds(runs[precision], device, CALLS if on_card else 1))
    return [
        Finding(each, errors.get(each, ()), seconds[each], shapes[-1].operations, faults.get(each), failures.get(each))
        for each in precisions
    ]


class _Convolution:
    """A convolution of always the same numbers; called, it returns the output and the gradients by clips and kernel."""

    def __init__(self, shape: ConvolutionShape, device: torch.device, dtype: torch.dtype) -> None:
        rng, channels = torch.Generator().manual_seed(0), shape.channels
        sizes = (tuple(shape), (channels, channels, 3, 3, 3), tuple(shape))
        draws = [torch.randn(size, generator=rng) for size in sizes]
        self.clips, self.kernel, self.gradient = (draw.to(device, dtype).contiguous(memory_format=torch.channels_last_3d) for draw in draws)

    def __call__(self) -> tuple[Tensor, ...]:
        geometry = ([1] * 3, [1] * 3, [1] * 3, False, [0] * 3, 1)
        output = torch.convolution(self.clips, self.kernel, None, *geometry)
        wanted = [True, True, False]  # by clips, by kernel, by bias
        by_clips, by_kernel, _ = torch.ops.aten.convolution_backward(self.gradient, self.clips, self.kernel, None, *geometry, wanted)
        return output, by_clips, by_kernel


@contextmanager
def _failing(precision: Arithmetic, failures: dict[Arithmetic, str]) -> Iterator[None]:
    """Note what a library raises that cannot do this."""
    try:
        yield
    except RuntimeError as error:  # no kernel, no memory
        failures[precision] = (str(error).strip() or repr(error)).splitlines()[0]


def _relative_error(found: Tensor, exact: Tensor) -> float:
    exact = exact.to(found.device)
    return float((found.double() - exact).norm() / exact.norm())


def _worse(one: float, other: float) -> float:
    """The larger of two errors; NaN is larger than any."""
    return one if math.isnan(one) or one > other else other


def _seconds(work: Callable[[], object], device: torch.device, calls: int) -> float:
    """Seconds a call, of some in a row."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    for _ in range(calls):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / calls
