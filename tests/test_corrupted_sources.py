"""Broken and hostile files through `prepare`: the small mode of benchmarks/reliability/corrupted_sources.py, and what it can see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks" / "reliability"))
import corrupted_sources
from hostile import KINDS, Variant

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="waits with wait4")


@pytest.mark.parametrize("seed", [0, 1])
def test_hostile_files_cost_themselves_alone(seed: int) -> None:
    """Two of each kind, in one folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, corrupted_sources.__file__, "--seed", str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"| {kind} | 2 |" in done.stdout for kind in KINDS)


def test_the_survey_sees_what_it_counts(tmp_path: Path) -> None:
    variant = Variant(tmp_path / "000/a.mp4", "cut end", "b.mp4")
    row = {"name": "000/a.mp4", "status": "skipped", "note": "no frames", "damaged": True}
    good: dict[str, Any] = {"code": 1, "seconds": 1.0, "rows": [row], "said": "", "outside": []}
    assert corrupted_sources._faults(good, [variant], 30) == []
    wrong: dict[str, list[dict[str, Any]]] = {
        "crash": [
            {"code": -11},
            {"said": "Traceback (most recent call last)"},
            {"rows": [{**row, "note": "its decoder crashed (SIGSEGV)"}]},
        ],
        "hang": [{"seconds": 31.0}],
        "outside": [{"outside": ["work/out.mp4"]}, {"rows": [row, {**row, "name": "000/x.tar/secret.mp4", "status": "used"}]}],
        "unlisted": [{"rows": [{**row, "name": "001/a.mp4"}]}, {"rows": [], "said": "growreel: nothing"}],
    }
    for kind, changes in wrong.items():
        for change in changes:
            faults = corrupted_sources._faults({**good, **change}, [variant], 30)
            assert faults and all(fault.startswith(kind) for fault in faults), (kind, change)


def test_files_made_elsewhere_are_seen(tmp_path: Path) -> None:
    place = corrupted_sources.Place(tmp_path)
    before = place._files()
    (tmp_path / "work/out.mp4").touch()
    (tmp_path / "store").mkdir()
    (tmp_path / "store/index.json").touch()
    assert set(place._files()) - set(before) == {"work/out.mp4"}
