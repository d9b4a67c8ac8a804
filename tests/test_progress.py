"""What a person sees while a run trains: lines off a terminal, a bar on one, first samples soon, choices where nothing was chosen."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import pytest
import torch

from conftest import colored, tiny_config
from growreel.cli import main
from growreel.config import to_yaml
from growreel.growth import Position
from growreel.training import progress as progress_module
from growreel.training.loop import train
from growreel.training.progress import Progress
from growreel.training.trial import StageTimes

TIMES = [StageTimes(0.5, 0.5), StageTimes(1.0, 1.0)]


def test_off_a_terminal_one_line_per_interval(shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text(to_yaml(tiny_config(stats_interval=40)))
    assert main(["train", str(shapes_store), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "c.yaml")]) == 0
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if "clips/s" in line]
    assert [re.match(r"\d+", line)[0] for line in lines] == ["40", "80", "120"]  # type: ignore[index]
    assert lines[1].startswith("80 of 120 clips (67%): 4x8x8 fade alpha 0.90, "), "as the line of stats.jsonl"
    assert all(re.search(r"loss D -?[\d.e-]+, loss G -?[\d.e-]+, penalty [\d.e-]+, about [\d.]+ (s|min|h) left", line) for line in lines)
    assert not said.err and "\r" not in said.out and "120 clips to train, about" in said.out


def test_on_a_terminal_a_bar_with_losses(
    shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)
    train(shapes_store, tmp_path / "run", tiny_config())
    said = capsys.readouterr()
    assert "loss D" in said.err and "left" in said.err and "120/120" in said.err
    assert "clips/s" not in said.out


def test_without_progress_only_messages(
    shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "growreel"):
        train(shapes_store, tmp_path / "run", tiny_config(clips=40), progress=False)
        train(shapes_store, tmp_path / "run", tiny_config(clips=60), progress=False)
    assert caplog.messages == [f"resuming {tmp_path / 'run'} at 40 clips"]
    said = capsys.readouterr()
    assert not said.out and not said.err


def test_first_samples_and_statistics_do_not_wait_for_an_interval(
    shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "FIRST_LOOK_SECONDS", 0.0)
    train(shapes_store, tmp_path / "run", tiny_config(stats_interval=10**6, sample_interval=10**6))
    assert sorted(sample.stem for sample in (tmp_path / "run" / "samples").iterdir()) == ["000000004", "000000120"]
    assert not (tmp_path / "run" / "stats.jsonl").exists(), "what a resumed run must write alike keeps to its intervals"
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines() if "clips/s" in line] == [
        "4 of 120 clips (3%): 2x4x4 stable"
    ]


def test_first_look_comes_once_and_by_the_clock(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "FIRST_LOOK_SECONDS", 20.0)
    now = [100.0]
    shown = Progress(colored(tiny_config()), torch.device("cpu"), shown=True, times=TIMES, clock=lambda: now[0])
    shown.begin(0)
    assert "about 1.7 min on this machine" in capsys.readouterr().out
    looks, position = [], Position(0, "stable", 1.0)
    for step in range(1, 11):
        shown.step_begins()
        now[0] += 4.0
        shown.stepped(position, 4 * step, 4, {"loss_generator": 0.5, "loss_discriminator": -1.0})
        looks.append(shown.first_look(position, 4 * step))
    assert looks == [False] * 4 + [True] + [False] * 5
    assert "20 of 120 clips (17%): 2x4x4 stable, 1 clips/s, loss D -1, loss G 0.5" in capsys.readouterr().out


def test_who_chose_nothing_is_told_what_there_is(
    shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "measure_stages", lambda *_: [StageTimes(3600.0, 3600.0)] * 2)
    plan = ["--growth.base", "2x4x4", "--target", "4x8x8", "--growth.stable_clips", "40", "--growth.fade_clips", "40"]
    small = ["--network.max_channels", "4", "--network.latent_dim", "8", "--network.feature_dim", "8", "--growth.minibatch", "4"]
    command = ["train", str(shapes_store), *plan, *small]
    assert main([*command, "--out", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert "The schedule: 120 clips to 4x8x8, about 120 h on this machine." in said and "--hours H" in said and "--clips N" in said
    assert main([*command, "--out", str(tmp_path / "b"), "--clips", "8"]) == 0
    assert "--hours" not in capsys.readouterr().out
