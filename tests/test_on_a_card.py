"""The benchmark for cards on the CPU: its checks pass, find what is wrong, and come out in its table; its measurements measure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from growreel.runtime.convolution_check import Finding

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import golden
import on_a_card

CPU = torch.device("cpu")


def test_gradients_of_a_loss_and_a_device_that_errs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = on_a_card.gradients(CPU, "relativistic")
    assert found["errors"]["plain, float64"] == 0 < found["errors"]["recorded, float32"]
    assert found["errors"]["recorded, float32"] < 0.1, "float32 begins with the weights of float64; kinks may cost it some digits"
    factor = 1.0

    def train(config: Any, device: torch.device) -> Tensor:
        change = torch.ones(4, dtype=torch.float64)
        return change * factor if config.training.cuda_graphs else change

    monkeypatch.setattr(on_a_card, "trained", train)
    assert on_a_card.gradients(CPU, "relativistic")["passed"]
    factor = 1 + 1e-6
    found = on_a_card.gradients(CPU, "relativistic")
    assert not found["passed"] and found["errors"]["recorded, float64"] == pytest.approx(1e-6, rel=1e-3)


def test_the_convolution_that_auto_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    found = on_a_card.convolutions(CPU, on_a_card.SMALL)
    assert list(found) == ["float32", "tf32", "bfloat16"] and all(each["passed"] and each["tflops"] > 0 for each in found.values())
    broken = Finding("bfloat16", (0.3, 0.3, 0.3), 0.1, 10)
    monkeypatch.setattr(on_a_card, "check_convolution", lambda *_: [broken])
    assert on_a_card.convolutions(CPU)["bfloat16"]["passed"] is False


def test_the_golden_run_and_one_that_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [golden.Losses(each.clips, each.discriminator, each.generator * (1 + 1e-5)) for each in golden.GOLDEN]
    monkeypatch.setattr(golden, "golden_losses", lambda *_: losses)
    found = on_a_card.golden_run(CPU, tmp_path, tmp_path)
    assert not found["passed"] and found["errors"]["worst"] == pytest.approx(1e-5, rel=1e-3)
    monkeypatch.setattr(golden, "golden_losses", lambda *_: list(golden.GOLDEN))
    assert on_a_card.golden_run(CPU, tmp_path, tmp_path)["passed"]
    assert golden.largest_difference(losses[:2]) == float("inf")


def test_speed_sampling_and_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = on_a_card.seconds_each
    monkeypatch.setattr(on_a_card, "seconds_each", lambda work, device: plain(work, device, 0.01))
    config = on_a_card.tiny()
    chosen = ["float32, plain", "bfloat16, penalty in tf32, recorded"]
    found = on_a_card.speed(CPU, config, 1, chosen, compile_too=False)
    assert list(found) == chosen and all(each["clips_per_second"] > 0 for each in found.values())
    sampled = on_a_card.sampling(CPU, config, 1)
    report = {
        "versions": {"device": "this one"},
        "checks": {"a check": {"passed": True, "errors": {"x": 1e-9}}, "another": {"passed": False, "errors": [0.5, 0.25]}},
        "speed": {"4x8x8": {**found, "float32, recorded": {"failed": "out of memory, and more words"}}},
        "sampling": {"4x8x8": sampled},
        "seconds": 12.3,
    }
    table = on_a_card.table(report, config)
    assert table.startswith("device this one\n") and table.endswith("12 seconds in all")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]
    assert ["a check", "yes", "x 1.0e-09"] in rows and ["another", "NO", "0 5.0e-01, 1 2.5e-01"] in rows
    (speeds,) = [row for row in rows if row[:2] == ["4x8x8", "4"]]
    assert speeds[2].startswith(f"{found['float32, plain']['clips_per_second']:,.0f} (") and speeds[4] == "out of memory, and m"
    assert ["4x8x8", *(f"{rate:,.0f}" for rate in sampled.values())] in rows
    hours = 80 / found["float32, plain"]["clips_per_second"] / 3600
    assert f"- float32, plain: {hours:,.1f} hours for the clips of these stages" in table


def test_lack_of_memory_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("no room\nat all")

    monkeypatch.setattr(on_a_card, "StageWorkload", full)
    assert on_a_card.measured(CPU, on_a_card.tiny(), 0) == {"failed": "no room"}


def test_two_processes_that_fail_are_no_pass(tmp_path: Path) -> None:
    """Their output is kept. That they agree is the matter of tests/test_distributed.py."""
    store = golden.golden_store(tmp_path / "store")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "holiday.txt").write_text("no run folder")
    found = on_a_card.two_processes(CPU, store, tmp_path)
    assert not found["passed"] and "is not a run folder" in found["output"]


def test_versions_name_known_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_a_card.versions(CPU)["torch"] == torch.__version__
    monkeypatch.setattr(on_a_card, "describe_machine", lambda device: {})
    monkeypatch.setattr(on_a_card, "cudnn_version", lambda: (9, 15, 0))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: type("Card", (), {"total_memory": 80 * 2**30}))
    found = on_a_card.versions(torch.device("cuda"))
    assert (found["cudnn"], found["memory"]) == ("9.15.0", "80 GiB")
    assert found["known faults of this cuDNN"] == ["a TF32 kernel (pytorch#167024)"]
