"""The doctor finds what is planted, and is content where nothing is wrong."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
import torch

from growreel import doctor
from growreel.cli.main import main
from growreel.doctor import Check, examine
from growreel.evaluation.extractors import weights
from growreel.evaluation.suite import METRICS
from growreel.runtime.convolution_check import Finding

RIGHT = [Finding("float32", (1e-6,) * 3, 0.010, 1), Finding("bfloat16", (1e-3,) * 3, 0.004, 1)]


@pytest.fixture(autouse=True)
def checked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_convolution", lambda device, precisions: RIGHT)
    monkeypatch.setattr(doctor, "DISK_BYTES", 2**20)


def found(folder: Path, name: str) -> Check:
    (check,) = (check for check in examine(folder, "cpu") if check.name == name)
    return check


def test_a_healthy_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--device", "cpu", "--out", str(tmp_path / "not" / "there"), "--json"]) == 0
    checks = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert checks["torch"]["found"] == torch.__version__.split("+")[0] or checks["torch"]["found"] == torch.__version__
    assert "2.5 times as fast as float32: --training.precision bfloat16" in checks["bfloat16"]["advice"]
    assert str(tmp_path) in checks["disk space"]["found"], "the nearest folder that exists"
    assert not any(tmp_path.iterdir()), "nothing is left behind"
    assert main(["doctor", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "MB/s" in said and "GB free" in said


def test_wrong_arithmetic_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [Finding("float32", (0.3,) * 3, 0.010, 1), Finding("bfloat16", failure="no kernel")]
    monkeypatch.setattr(doctor, "check_convolution", lambda device, precisions: wrong)
    assert main(["doctor", "--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert "!!! float32" in said and "(!) bfloat16" in said and "do not train in it here" in said


def test_what_is_short_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "available_memory", lambda device: 10**9)
    monkeypatch.setattr("growreel.doctor.shutil.disk_usage", lambda place: type("Usage", (), {"free": 10**9}))
    monkeypatch.setattr(doctor, "_write_speed", lambda place: 5e6)
    assert found(tmp_path, "memory").advice == "growreel plan --fit chooses settings that need less"
    assert found(tmp_path, "disk space").level == found(tmp_path, "disk speed").level == "look"

    def refuse(place: Path) -> float:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(doctor, "_write_speed", refuse)
    assert found(tmp_path, "disk speed") == Check(
        "disk speed", "bad", f"{tmp_path} cannot be written (Read-only file system)", "give runs another folder"
    )


def test_missing_packages_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    present = metadata.version
    absent = ("av", "numpy", "tensorboard")

    def version(name: str) -> str:
        if name in absent:
            raise metadata.PackageNotFoundError(name)
        return present(name)

    monkeypatch.setattr("growreel.doctor.metadata.version", version)
    monkeypatch.setattr(weights, "find", lambda role: None)
    assert (found(tmp_path, "av").level, found(tmp_path, "numpy").level) == ("look", "bad")
    assert found(tmp_path, "metric fvd").found == "no weights for i3d-kinetics400"
    assert "pip install 'growreel[tensorboard]'" in found(tmp_path, "extra tensorboard").advice
    assert set(doctor.NEEDS) < set(METRICS) and set(doctor.NEEDS.values()) <= {file.role for file in weights.KNOWN}
