"""The small modes of benchmarks/reliability: what docs/reliability.md says of runs, with fewer kills, points and clips.

`kill_points.py` is in test_run_folder.py; deaths under torchrun are in test_watchdog.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.growth import Size

sys.path.append(str(Path(__file__).parents[1] / "benchmarks" / "reliability"))
import agreement
import clip_order
import continuation
import random_kills
import soak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the scripts fork and read /proc")


@pytest.mark.parametrize(("loss", "processes"), [("swgan", 4), ("san", 3)])
def test_processes_agree_with_passes_and_a_rarer_penalty(loss: str, processes: int, tmp_path: Path) -> None:
    """Through a growth and a fade. In float64, where only the order of sums differs."""
    (row,) = agreement.compare(tmp_path, [loss], [processes], "float64", [(4, 3)])
    assert row["most"] < agreement.AIM


def test_kills_at_random_times_leave_no_trace(tmp_path: Path) -> None:
    figures = random_kills.survey(tmp_path, kills=4, seed=1)
    assert figures["kills"] == 4 and not figures["wrong"]
    assert set(figures["inside"]) >= {"any", "saving", "fade"}


def test_a_restored_run_does_what_the_run_itself_did(tmp_path: Path) -> None:
    """Every later checkpoint is the same to the bit, of a point in each stage."""
    write_store(tmp_path / "store", shape_clips(30, Size(4, 8, 8)), fps=8.0).close()
    figures = continuation.compare(tmp_path, "wgan-gp", per_stage=1)
    assert figures["points"] == [4, 20, 60] and figures["checkpoints compared"] == 24 + 20 + 10 and not figures["wrong"]


def test_a_difference_in_a_checkpoint_is_seen() -> None:
    """In the last bit of a moment, in a count, in a name."""
    state: dict[str, Any] = {"optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}, "clips": 8}
    changed: dict[str, Any] = {"optimizer": {"state": {0: {"exp_avg": torch.tensor([1, 1 + 2**-23])}}}, "clips": 9}
    assert continuation.unlike(state, state) == []
    assert continuation.unlike(state, changed) == ["state.optimizer.state.0.exp_avg", "state.clips"]
    assert continuation.unlike(state, {"clips": 8}) == ["state"]


def test_the_next_clips_are_the_same_in_any_number_of_processes(tmp_path: Path) -> None:
    (row,) = clip_order.compare(tmp_path, 1200, [2])
    assert row == {"processes": 2, "stopped at": 408, "clips after": 1200, "other": 0}


def test_handles_stay_as_they_are(tmp_path: Path) -> None:
    """Memory settles only after some thousand steps, so its slope is for the full mode."""
    write_store(tmp_path / "store", shape_clips(16, Size(4, 8, 8)), fps=8.0).close()
    figures = soak.soak(tmp_path / "store", tmp_path / "run", steps=90, seconds=300, report=False)
    assert figures["steps"] == 90
    assert not [what for what in soak.grows(figures) if "memory" not in what]


def test_growth_is_seen() -> None:
    notes = [{"step": step, "kb": 1000 + 2 * step, "files": 5 + step // 100, "threads": 3, "children": 0} for step in range(10, 1010, 10)]
    figures = soak.growth(notes)
    assert figures["kb_per_1000_steps"] == pytest.approx(2000)
    assert soak.grows(figures) == ["memory by 2000 kB per 1,000 steps", "files from [7, 9] to [13, 15]"]
