"""The bench measures what it says: right counts, a table, processes that fail loudly."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from conftest import colored, tiny_config
from growreel import cli
from growreel.bench.counting import count
from growreel.bench.process import Remote
from growreel.bench.report import BenchReport, StageFigures
from growreel.cli.config import resolve_config
from growreel.cli.main import build_parser
from growreel.errors import GrowreelError

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import compare


class Answers:
    def __init__(self, add: int) -> None:
        self.add = add

    def plus(self, number: int) -> tuple[int, int]:
        return number + self.add, os.getpid()

    def fail(self) -> None:
        raise ValueError("no luck")

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_an_object_in_another_process() -> None:
    with Remote(Answers, 3) as first, Remote(Answers, 30) as second:
        (a, where), (b, elsewhere) = first.call("plus", 4), second.call("plus", 4)
        assert (a, b) == (7, 34) and len({where, elsewhere, os.getpid()}) == 3
        with pytest.raises(GrowreelError, match="ValueError: no luck"):
            first.call("fail")
        with pytest.raises(GrowreelError, match="memory ran out"):
            second.call("die")
    with pytest.raises(GrowreelError, match="TypeError"):
        Remote(Answers)


def test_operations_are_counted_as_by_hand() -> None:
    weight, x = torch.randn(5, 3, 3, 3, 3, requires_grad=True), torch.randn(2, 3, 4, 6, 8)
    forward = 2 * (2 * 5 * 4 * 6 * 8) * (3 * 27)  # two for every output value and every weight that it takes part in
    assert count(lambda: torch.nn.functional.conv3d(x, weight, padding=1))["flops"] == forward
    assert count(lambda: torch.nn.functional.conv3d(x, weight, padding=1).sum().backward())["flops"] == 2 * forward
    transposed = 2 * x.numel() * 5 * 64  # every input value goes to 64 places in 5 channels
    assert count(lambda: torch.nn.functional.conv_transpose3d(x, torch.randn(3, 5, 4, 4, 4), stride=2, padding=1))["flops"] == transposed
    block = torch.zeros(1000)
    assert count(lambda: block + 1)["bytes"] == 8000
    assert count(lambda: block.view(10, 100).T)["bytes"] == 0


def test_bench_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("growreel.bench.run.LEAST_SECONDS", 0.01)
    small = ["--network.max_channels", "4", "--network.latent_dim", "4", "--network.feature_dim", "4", "--growth.minibatch", "4"]
    plan = ["--config", str(tmp_path / "plan.yaml"), "--repeats", "2", *small]
    (tmp_path / "plan.yaml").write_text("growth: {stages: [4x4x4, 8x8x8], fade_clips: 1000, stable_clips: 1000}")
    assert cli.main(["bench", *plan, "--out", str(tmp_path / "out" / "b.json")]) == 0
    page = capsys.readouterr().out
    assert "| 4x4x4 |" in page and "the whole plan (3,000 clips" in page
    found = json.loads((tmp_path / "out" / "b.json").read_text())
    assert (tmp_path / "out" / "b.md").read_text().strip() in page
    assert [len(stage[name]) for stage in found["stages"] for name in ("train", "fade", "sample", "load")] == [2, 0, 2, 2, 2, 2, 2, 2]
    assert found["stages"][1]["operations"]["train"]["flops"] > found["stages"][0]["operations"]["train"]["flops"] > 0
    assert found["stages"][0]["peak"] > found["stages"][0]["at_start"] > 0
    assert cli.main(["bench", *plan, "--sizes", "8x16x16"]) == 2
    assert "--sizes 8x16x16: is no stage of the plan" in capsys.readouterr().err
    assert cli.main(["bench", *plan, "--out", "b.txt"]) == 2
    assert "--out b.txt: must end in .json" in capsys.readouterr().err


def test_without_a_preset_the_papers_networks_are_measured() -> None:
    arguments = ["bench", "--sizes", "4x4x4"]
    options = build_parser(arguments).parse_args(arguments).bench
    config = resolve_config(options)
    assert str(config.growth.plan().sizes[-1]) == "32x256x256" and config.network.max_channels == 128


def test_forecast_adds_up_what_was_measured() -> None:
    stages = [
        StageFigures("4x4x4", 8, 0, 7200, train=[1.0, 2.0, 9.0]),
        StageFigures("8x8x8", 8, 3600, 7200, train=[4.0], fade=[0.5, 1.0, 1.5]),
    ]
    assert [stage.hours() for stage in stages] == [1.0, 1.5]
    report = BenchReport({}, {"repeats": 3}, "float32", ["4x4x4", "8x8x8"], stages)
    assert report._forecast().startswith("forecast: 2.5 hours for the whole plan (18,000 clips")


def test_plain_and_growreel_take_turns() -> None:
    config = colored(tiny_config())
    config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, name="swgan"))
    figures = compare.measure(config, 1, {"missing": "/nonexistent/peer.py"}, with_plain=True, with_compiled=False, repeats=2)
    assert [len(each.get("train", [])) for each in figures.values()] == [2, 2, 2, 2, 0]
    rows = compare.table(figures)
    assert len(rows) == 7 and "1.00" in rows[2] and "No such file" in rows[6]
