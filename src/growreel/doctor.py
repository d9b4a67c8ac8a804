"""What this machine is and can do, with advice: what a bug report asks for, and what to look at before a long run."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch

from growreel.bench.machine import describe_machine
from growreel.evaluation.extractors import weights
from growreel.evaluation.suite import METRICS
from growreel.runtime import distributed
from growreel.runtime.convolution_check import check_convolution, cudnn_version, known_faults
from growreel.runtime.devices import check_trainable
from growreel.runtime.memory import available_memory, total_memory
from growreel.runtime.precision import Arithmetic

PACKAGES = ("growreel", "torch", "numpy", "safetensors", "pillow", "av", "jsonargparse", "tifffile")
EXTRAS = {
    "tensorboard": ("tensorboard", "growreel tensorboard"),
    "onnx": ("onnxruntime", "growreel export --format onnx"),
    "hub": ("huggingface_hub", "growreel push, models as hf://owner/name"),
    "browser": ("playwright", "tests of the report's pages"),
}
"""Optional parts: the package that shows that one is there, and what it is for."""
NEEDS = {"fvd": "i3d-kinetics400", "is": "c3d-ucf101", "fid": "inception-2048", "fid768": "inception-768"}
"""Metrics that are nothing without a network, and the role of its weights; the others can be measured in pixels."""
DISK_BYTES = 64 * 2**20
SLOW_DISK = 100e6
"""Bytes a second below which writing a checkpoint of the paper's networks (100 MB) holds training up for more than a second."""
LITTLE_SPACE = 5e9
"""Bytes: a run of the paper's networks keeps two checkpoints and a model of 15 MB for each."""
LITTLE_MEMORY = 4e9

Level = Literal["fine", "look", "bad"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: of it.
        level: `bad` for what will not work, `look` for what could be better.
        found: what was seen.
        advice: what to do about it; empty where nothing needs doing.
    """

    name: str
    level: Level
    found: str
    advice: str = ""


def examine(folder: Path, device_name: str = "auto") -> list[Check]:
    """Look at versions, device, arithmetic, memory, disk and what is installed. Takes some seconds.

    Args:
        folder: where runs are to be written; its disk is measured with a file that is deleted again.
        device_name: `auto`, or as PyTorch names it.

    Raises GrowreelError if the device is not usable.
    """
    device = distributed.pick_device(device_name, "--device")
    return [*_versions(), *_device(device), *_arithmetic(device), *_memory(device), *_disk(folder), *_metrics(), *_extras()]


def table(checks: Sequence[Check]) -> str:
    """A line for each check, with its advice on the next."""
    width = max(len(check.name) for check in checks)
    marks = {"fine": "   ", "look": "(!)", "bad": "!!!"}
    lines = list[str]()
    for check in checks:
        lines.append(f"{marks[check.level]} {check.name:<{width}}  {check.found}")
        if check.advice:
            lines.append(f"    {'':<{width}}  -> {check.advice}")
    return "\n".join(lines)


def as_dicts(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Plain values for JSON."""
    return [asdict(check) for check in checks]


def _versions() -> Iterator[Check]:
    for name in PACKAGES:
        version = _version(name)
        if version is not None:
            yield Check(name, "fine", version)
        elif name in ("av", "jsonargparse", "tifffile"):
            what = {"av": "prepare and mp4", "jsonargparse": "the command line", "tifffile": "TIFF stacks"}[name]
            yield Check(name, "look", "not installed", f"without it there is no {what}; pip install {name}. Training from Python works")
        else:
            yield Check(name, "bad", "not installed", f"pip install {name}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device(device: torch.device) -> Iterator[Check]:
    machine = describe_machine(device)
    yield Check("python", "fine", str(machine["python"]))
    yield Check("device", "fine", f"{device}: {machine['device']}")
    if device.type == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = torch.get_num_threads()
        advice = f"OMP_NUM_THREADS={cores} would use all {cores} cores" if threads < cores else ""
        yield Check("threads", "look" if advice else "fine", f"{threads} of {cores} cores", advice)
        if torch.version.cuda is None and shutil.which("nvidia-smi"):
            yield Check("card", "look", "there is one, but this PyTorch is for the CPU", "install a CUDA build of torch to train on it")
        return
    check_trainable(device, "--device")
    version = cudnn_version()
    faults = known_faults(version)
    dotted = "none" if version is None else ".".join(map(str, version))
    advice = (
        f"known for {' and '.join(fault.what for fault in faults)}; use another version, or --training.precision auto" if faults else ""
    )
    yield Check("cuDNN", "look" if faults else "fine", dotted, advice)


def _arithmetic(device: torch.device) -> Iterator[Check]:
    """One convolution in each precision, as `--training.precision auto` looks at it."""
    precisions: tuple[Arithmetic, ...] = ("float32", "tf32", "bfloat16") if device.type == "cuda" else ("float32", "bfloat16")
    findings = check_convolution(device, precisions)
    full = findings[0].seconds
    for finding in findings:
        if finding.refusal is not None:
            yield Check(finding.precision, "bad" if finding.precision == "float32" else "look", str(finding), "do not train in it here")
        else:
            times = full / finding.seconds if finding.precision != "float32" else 1.0
            faster = f"{times:.1f} times as fast as float32" if times > 1.2 else ""
            advice = f"{faster}: --training.precision {finding.precision}" if faster else ""
            yield Check(finding.precision, "fine", str(finding).partition(": ")[2], advice)


def _memory(device: torch.device) -> Iterator[Check]:
    free, total = available_memory(device), total_memory(device)
    if total:
        advice = "growreel plan --fit chooses settings that need less" if free < LITTLE_MEMORY else ""
        yield Check("memory", "look" if advice else "fine", f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free", advice)


def _disk(folder: Path) -> Iterator[Check]:
    place = next((each for each in (folder, *folder.resolve().parents) if each.is_dir()), Path.cwd())
    free = shutil.disk_usage(place).free
    advice = "make room, or give --out on another disk" if free < LITTLE_SPACE else ""
    yield Check("disk space", "look" if advice else "fine", f"{free / 1e9:.1f} GB free in {place}", advice)
    try:
        speed = _write_speed(place)
    except OSError as error:
        yield Check("disk speed", "bad", f"{place} cannot be written ({error.strerror})", "give runs another folder")
        return
    slow = speed < SLOW_DISK
    advice = "checkpoints will hold training up: --training.checkpoint_interval larger, or another disk" if slow else ""
    yield Check("disk speed", "look" if slow else "fine", f"{speed / 1e6:.0f} MB/s written and brought to the disk", advice)


def _write_speed(folder: Path) -> float:
    block = os.urandom(2**20)
    with tempfile.TemporaryFile(dir=folder) as file:
        started = time.perf_counter()
        for _ in range(DISK_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return DISK_BYTES / (time.perf_counter() - started)


def _metrics() -> Iterator[Check]:
    """Which metrics lack their network's weights."""
    lacking = {name: role for name, role in NEEDS.items() if weights.find(role) is None}
    yield Check("metrics", "fine", f"ready: {', '.join(name for name in METRICS if name not in lacking)}")
    for name, role in lacking.items():
        yield Check(f"metric {name}", "look", f"no weights for {role}", "growreel weights list says where they come from")


def _extras() -> Iterator[Check]:
    for extra, (package, what) in EXTRAS.items():
        version = _version(package)
        found = f"not installed ({what})" if version is None else f"{package} {version}"
        yield Check(f"extra {extra}", "fine", found, f"pip install 'growreel[{extra}]' if you want it" if version is None else "")
