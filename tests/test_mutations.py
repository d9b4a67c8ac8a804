"""Damaged and forged files of every format: the small mode of benchmarks/reliability/mutations.py, and what it must be able to see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "benchmarks/reliability/mutations.py"


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory by Linux's /proc")
def test_damaged_and_forged_files_are_refused_in_one_line() -> None:
    """In a process of its own, for it limits its address space and takes SIGALRM."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, SCRIPT, "--count", "40", "--seed", "1"], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("|\n") >= 9


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory by Linux's /proc")
def test_the_count_sees_what_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import mutations
    from formats import Format

    def fails() -> str:
        raise KeyError("key")

    def grows() -> str:
        return "whole" if len(b"x" * (80 * 2**20)) else ""

    wrong = {"exceptions": fails, "unnoticed": lambda: "other contents", "memory": grows}
    for kind, read in wrong.items():
        counts = mutations.Counts()
        mutations._look(counts, Format((), read, lambda _, data, __: data, sealed=True), "case", 100, "whole")
        assert {each: getattr(counts, each) for each in wrong} == {each: int(each == kind) for each in wrong}
