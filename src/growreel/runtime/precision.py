"""The only file that sets arithmetic: float32, TF32 or bfloat16, cuDNN's choice of kernels, and whether steps are compiled.

PyTorch's own default lets a CUDA card's convolutions round their operands to TF32 (10 bits instead of 23) while matrix products do not,
and every library may change either. So whatever computes something that is kept does it inside `use_arithmetic`, and says which it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal, cast, get_args

import torch

from growreel.config import Precision, TrainingConfig
from growreel.errors import GrowreelError

Arithmetic = Literal["float32", "tf32", "bfloat16"]
"""`float32`: every product in full. `tf32`: products of float32 numbers on a CUDA card rounded to TF32. `bfloat16`: the networks' blocks in
bfloat16, everything else as in `float32`."""


@contextmanager
def use_arithmetic(name: Arithmetic, *, repeatable: bool = False, fastest: bool = False) -> Iterator[Arithmetic]:
    """Compute float32 products as `name` says inside, on cards and CPUs, and leave all settings as they were found.

    The settings are the process's, so other threads see them, too. bfloat16 is not a setting but a dtype, see `dtype_of`; asked for here,
    it keeps what stays float32 from becoming less.

    Args:
        name: the arithmetic; the same is yielded, to be written down.
        repeatable: on a card take convolutions by rule and only those that give the same bits every time, not the fastest by stopwatch.
        fastest: on a card time the ways of convolving at the first clip of every shape and keep the fastest.
    """
    found, cudnn = _settings(), torch.backends.cudnn
    kernels = cudnn.benchmark, cudnn.deterministic
    try:
        set_arithmetic(name)
        if repeatable or fastest:
            cudnn.benchmark, cudnn.deterministic = fastest, repeatable
        yield name
    finally:
        _restore(found)
        cudnn.benchmark, cudnn.deterministic = kernels


def set_arithmetic(name: Arithmetic, *, fastest: bool = False) -> None:
    """Compute float32 products as `name` says from now on: for a process that does nothing else. `fastest` as in `use_arithmetic`."""
    if fastest:
        torch.backends.cudnn.benchmark = True
    less = name == "tf32"
    torch.backends.cudnn.allow_tf32 = less
    torch.set_float32_matmul_precision("high" if less else "highest")
    for place in _card_places():  # by the newer names too, and after the older: a place that is not set takes what its parent says
        place.fp32_precision = "tf32" if less else "ieee"
    for place in _cpu_places():
        place.fp32_precision = "ieee"


def _card_places() -> list[Any]:
    """Where PyTorch (2.9 and later) keeps the arithmetic of float32 products on cards."""
    backends: Any = torch.backends  # PyTorch's types lack some of these
    return [backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul]


def _cpu_places() -> list[Any]:
    """The same on CPUs: oneDNN's, which could be bfloat16."""
    backends: Any = torch.backends
    return [backends.mkldnn.conv, backends.mkldnn.matmul]


def _settings() -> tuple[bool | None, str | None, list[str]]:
    """By the older names, None where PyTorch refuses to tell because the newer ones disagree; and by the newer ones."""
    try:
        convolutions: bool | None = torch.backends.cudnn.allow_tf32
    except RuntimeError:
        convolutions = None
    try:
        products: str | None = torch.get_float32_matmul_precision()
    except RuntimeError:
        products = None
    return convolutions, products, [place.fp32_precision for place in (*_card_places(), *_cpu_places())]


def _restore(found: tuple[bool | None, str | None, list[str]]) -> None:
    convolutions, products, values = found
    if convolutions is not None:
        torch.backends.cudnn.allow_tf32 = convolutions
    if products is not None:
        torch.set_float32_matmul_precision(products)
    for place, value in zip((*_card_places(), *_cpu_places()), values, strict=True):
        place.fp32_precision = value


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make floating-point tensors for which no dtype is named ones of `dtype` inside, in all threads, and as before after it."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def named_arithmetic(name: str, flag: str, device: torch.device) -> Arithmetic:
    """Return `name` as an arithmetic for what is kept: samples and figures.

    Raises GrowreelError, naming `flag`, for `auto` (a stopwatch would decide about pixels), for tf32 without a CUDA card, and for a name
    that is none.
    """
    if name not in get_args(Arithmetic):
        raise GrowreelError(f"{flag} {name}: must be {', '.join(get_args(Arithmetic))}; it is not chosen by speed, so that results repeat")
    if name == "tf32" and device.type != "cuda":
        raise GrowreelError(f"{flag} tf32: is arithmetic of CUDA cards, and this is {device.type}; use float32")
    return cast(Arithmetic, name)


def training_arithmetic(training: TrainingConfig) -> Arithmetic:
    """Return what training asks of float32 products, for settings whose precision is resolved."""
    tf32 = training.precision == "tf32" or (training.precision == "bfloat16" and training.penalty_precision == "tf32")
    return "tf32" if tf32 else "float32"


def resolve_compile(training: TrainingConfig, device: torch.device) -> Literal["on", "off"]:
    """Say whether steps are compiled: `auto` is on for a CUDA card where its compiler is installed.

    On a CPU graphs take long to compile for what they save.
    """
    if training.compile != "auto":
        return training.compile
    return "on" if device.type == "cuda" and find_spec("triton") is not None and training.recompute_voxels is None else "off"


def dtype_of(precision: Precision) -> torch.dtype:
    """Return the dtype in which blocks compute when training with a precision, which must be resolved. Raises KeyError for `auto`."""
    return {"float64": torch.float64, "float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}[precision]
