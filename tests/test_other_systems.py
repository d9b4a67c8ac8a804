"""Windows, macOS and Apple's graphics, simulated: everything can be imported; what cannot work is refused with a reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from conftest import tiny_config
from growreel.bench.run import bench
from growreel.cli import main
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.runtime import distributed, memory
from growreel.training.loop import train

WITHOUT_UNIX = """
import os, pkgutil, sys
import torch                                                   # which has ways of its own on each system
import ctypes, multiprocessing.connection, tempfile, subprocess, shutil
for name in ("fcntl", "resource"):                             # as on Windows: importing them raises ImportError
    sys.modules[name] = None
del os.preadv
def no_library(name, *rest, **named):
    raise TypeError("expected a name")                         # what CDLL(None) does there
ctypes.CDLL = no_library
import growreel
for module in pkgutil.walk_packages(growreel.__path__, "growreel."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
from growreel.runtime import memory
memory._status = lambda name: 0
memory.keep_freed_memory()
memory.forget_peak(torch.device("cpu"))
assert memory.peak_memory(torch.device("cpu")) == 0
"""
FORGETTING = """
import torch
from growreel.runtime.memory import forget_peak, keep_freed_memory, peak_memory
cpu = torch.device("cpu")
keep_freed_memory()
before = peak_memory(cpu)
block = torch.ones(100_000_000)
assert peak_memory(cpu) - before > 350e6
del block
forget_peak(cpu)
assert peak_memory(cpu) - before < 100e6
"""


def test_windows_imports_everything() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_UNIX], check=True)


def test_windows_is_told_why_stores_do_not_work(
    shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.preadv")
    assert main(["inspect", str(shapes_store), "--sheet", str(tmp_path / "x.png")]) == 2
    assert "use WSL" in capsys.readouterr().err
    with pytest.raises(GrowreelError, match="use WSL"):
        write_store(tmp_path / "store", shape_clips(2, Size(4, 4, 4)), fps=8.0)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("system", "unit"), [("darwin", 1), ("linux", 1024), ("freebsd14", 1024)])
def test_the_units_of_getrusage(system: str, unit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_status", lambda name: 0)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(memory, "resource", SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=5_000_000)))
    assert memory.peak_memory(torch.device("cpu")) == 5_000_000 * unit


def test_a_peak_can_be_forgotten() -> None:
    """In a process of its own: 400 MB come and go, and the peak goes with them (where Linux lets a process reset it)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system does not let a process reset its peak")
    subprocess.run([sys.executable, "-c", FORGETTING], check=True)


def test_training_on_mps_is_refused_with_a_reason(shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "pick_device", lambda name, flag: torch.device("mps"))
    with pytest.raises(GrowreelError, match=r"--training.device mps: training needs float64"):
        train(shapes_store, tmp_path / "run", tiny_config())
    with pytest.raises(GrowreelError, match="use cpu"):
        bench(tiny_config())
    assert not (tmp_path / "run").exists()
