"""A plan that does not fit is made to fit, or refused before it begins; memory that runs out in the middle does not end a run."""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import tiny_config
from growreel.bench import fit as fit_module
from growreel.bench.fit import StageFit, check_memory, fit, rough_memory
from growreel.cli.main import main
from growreel.cli.training import parse_bytes
from growreel.config import Config, from_dict, load_config, load_preset, to_dict, to_yaml
from growreel.errors import GrowreelError
from growreel.runtime.memory import available_memory, is_out_of_memory
from growreel.training import execution as execution_module
from growreel.training.checkpoint import list_checkpoints
from growreel.training.loop import train
from growreel.training.objectives import accumulate_gradients

CPU = torch.device("cpu")


def config(**training: Any) -> Config:
    tree = to_dict(tiny_config(**training))
    tree["growth"]["minibatch"] = 16
    return from_dict(tree, "test")


def needs(bytes_per_voxel: int) -> Any:
    """In place of a measured step: memory in proportion to clips at a time and voxels, half for blocks computed again or bfloat16."""

    def measure(config: Config, number: int, device: torch.device, limit: int) -> StageFit | None:
        stage = config.growth.plan().stages[number]
        portion = stage.microbatch or stage.minibatch
        again = config.training.recompute_voxels is not None and stage.size.voxels >= config.training.recompute_voxels
        half = config.training.precision == "bfloat16"
        peak = bytes_per_voxel * portion * stage.size.voxels // (2 if again else 1) // (2 if half else 1)
        seconds = 1e-6 * stage.size.voxels * (1.3 if again else 1)
        found = StageFit(
            str(stage.size), stage.minibatch, portion, again, config.training.precision, peak, seconds, seconds, (stage.fade_clips, 40)
        )
        return found if peak <= limit else None

    return measure


def test_each_way_is_taken_when_the_one_before_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "_try", needs(1000))
    whole = 1000 * 16 * 4 * 8 * 8
    enough = fit(config(), memory=whole)
    assert not enough.changed and enough.config.growth == config().growth
    halved = fit(config(), memory=whole / 2)
    assert halved.changed == ("4x8x8: 8 clips at a time (microbatch), the same mathematics",)
    assert [stage.microbatch for stage in halved.config.growth.plan().stages] == [None, 8], "only where it is needed"
    again = fit(config(), memory=whole / 8)
    assert again.config.training.recompute_voxels == 256 and [stage.recompute for stage in again.stages] == [False, True]
    rounded = fit(config(), memory=whole / 16)
    assert rounded.config.training.precision == "bfloat16" and {stage.precision for stage in rounded.stages} == {"bfloat16"}
    with pytest.raises(GrowreelError, match=r"a step at 4x8x8 does not fit into 0\.00 GB in any way tried \(16 at a time"):
        fit(config(), memory=whole / 40)


def test_hours_scale_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "_try", needs(1))
    report = fit(config(), memory=1e9, hours=0.001)
    assert sum(stage.seconds for stage in report.stages) == pytest.approx(3.6, rel=0.05)
    assert report.config.growth.plan().total_clips > config().growth.plan().total_clips


def test_a_real_step_is_measured_and_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str], shapes_store: Path) -> None:
    (tmp_path / "c.yaml").write_text(json.dumps(to_dict(config())))
    flags = [
        "plan",
        str(shapes_store),
        "--fit",
        "--memory",
        "4GB",
        "--config",
        str(tmp_path / "c.yaml"),
        "--save",
        str(tmp_path / "f.yaml"),
    ]
    assert main([*flags, "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    lines = [line for line in printed.err.splitlines() if line.startswith("measuring")]
    assert lines == [f"measuring steps at {size}, 16 at a time in float32" for size in ("4x8x8", "2x4x4")]
    assert [stage["size"] for stage in found["stages"]] == ["2x4x4", "4x8x8"] and found["memory_limit"] == 4 * 10**9
    assert all(50e6 < stage["peak"] < 4e9 and stage["stable"] > 0 for stage in found["stages"])
    assert load_config(tmp_path / "f.yaml").growth.plan() == config().growth.plan()


def test_a_measured_step_that_finds_no_memory_does_not_fit() -> None:
    """The process has 300 MB for data, of which PyTorch alone takes most."""
    large = load_preset("paper")
    large = dataclasses.replace(large, network=dataclasses.replace(large.network, image_channels=3))
    assert fit_module._try(large, 3, CPU, 300 * 10**6) is None


def test_a_run_that_would_not_fit_is_not_begun(
    monkeypatch: pytest.MonkeyPatch, shapes_store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fit_module, "available_memory", lambda device: int(rough_memory(config(), 1)))
    monkeypatch.setattr(fit_module, "_try", lambda *arguments: None)
    caplog.set_level(logging.INFO, "growreel")
    with pytest.raises(
        GrowreelError, match=r"stage 4x8x8: a step with 16 clips at a time in float32 does not fit .*--growth\.microbatch 4"
    ):
        train(shapes_store, tmp_path / "run", config(), progress=False)
    assert "making a step at 4x8x8, to see whether it fits into memory" in caplog.messages
    assert not (tmp_path / "run" / "config.yaml").exists()
    monkeypatch.setattr(fit_module, "available_memory", lambda device: 100 * 10**9)
    check_memory(config(), CPU)


def test_a_script_without_a_guard_may_train(shapes_store: Path, tmp_path: Path) -> None:
    """A step is measured in a process that does not begin the caller's program again."""
    (tmp_path / "config.yaml").write_text(to_yaml(config(clips=32)))
    script = tmp_path / "script.py"
    script.write_text(
        "import growreel\n"
        "from growreel.bench import fit\n"
        "fit.rough_memory = lambda config, number: float('inf')\n"
        "print('begun', flush=True)\n"
        f"growreel.train({str(shapes_store)!r}, 'run', growreel.load_config('config.yaml'), progress=False)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", script.name], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "begun\n" and not done.stderr
    assert list_checkpoints(tmp_path / "run")


def test_memory_that_runs_out_changes_nothing_but_the_portions(
    monkeypatch: pytest.MonkeyPatch, shapes_store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every step with more than four clips at a time fails, the generator's after the discriminator has moved."""
    double = config(precision="float64", clips=64)
    train(shapes_store, tmp_path / "roomy", double, progress=False)
    real = accumulate_gradients

    def short(objective: Any, inputs: Any, passes: int) -> Any:
        stats = real(objective, inputs, passes)
        if len(inputs.real) // passes > 4 and type(objective).__name__ == "GeneratorObjective":
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.\nmore")
        return stats

    monkeypatch.setattr(execution_module, "accumulate_gradients", short)
    with caplog.at_level(logging.WARNING):
        train(shapes_store, tmp_path / "short", double, progress=False)
    said = [record.message for record in caplog.records if "memory ran out" in record.message]
    assert len(said) == 4, "16 to 8 and 8 to 4, at each of the two stages"
    assert "memory ran out at 2x4x4 with 16 clips at a time" in said[0] and "--growth.microbatch 8" in said[0]
    one, two = (torch.load(list_checkpoints(tmp_path / name)[-1] / "state.pt", weights_only=True) for name in ("roomy", "short"))
    for part in ("generator", "discriminator"):
        for key, tensor in one[part].items():
            torch.testing.assert_close(two[part][key], tensor, rtol=1e-7, atol=1e-9, msg=f"{part}.{key}")


def test_memory_for_the_smallest_portion_must_be_there(monkeypatch: pytest.MonkeyPatch, shapes_store: Path, tmp_path: Path) -> None:
    def never(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(execution_module, "accumulate_gradients", never)
    with pytest.raises(GrowreelError, match=r"memory does not suffice for a step at 2x4x4 with 4 clips at a time.*recompute_voxels 32"):
        train(shapes_store, tmp_path / "run", config(), progress=False)


@pytest.mark.parametrize(("text", "size"), [("12GB", 12e9), ("1.5 GiB", 1.5 * 2**30), ("500MB", 5e8), ("4096", 4096), ("2T", 2e12)])
def test_amounts_of_memory(text: str, size: float) -> None:
    assert parse_bytes(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "lots", "12XB", "-3GB", "0GB"])
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(GrowreelError, match="is no amount of memory; give one such as 12GB"):
        parse_bytes(text, "--memory")


def test_flags_of_fit_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--memory", "3GB"]) == 2
    assert "--memory 3GB: is for plan --fit" in capsys.readouterr().err


def test_what_counts_as_out_of_memory() -> None:
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(torch.OutOfMemoryError("x"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert available_memory(CPU) >= 0
