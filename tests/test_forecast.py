"""The time left of a run: exact where speeds are as expected, near where the machine is slower than in the trial, and the trial itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from conftest import colored, make_plan, tiny_config
from growreel.bench.workload import StageWorkload
from growreel.growth import Position
from growreel.training import trial
from growreel.training.forecast import Forecast, in_words
from growreel.training.loop import train
from growreel.training.stats import read_lines
from growreel.training.trial import StageTimes, measure_stages, stage_costs

PLAN = make_plan("2x4x4", "4x8x8", "4x16x16")  # 20, 10 + 20 and 10 + 20 clips
TIMES = [StageTimes(1.0, 1.0), StageTimes(3.0, 2.0), StageTimes(7.0, 5.0)]


def test_the_stages_are_added_up() -> None:
    forecast = Forecast(PLAN, TIMES)
    assert forecast.stage_seconds(80) == pytest.approx([20, 10 * 3 + 20 * 2, 10 * 7 + 20 * 5])
    assert forecast.seconds_left(0, 80) == pytest.approx(260)
    assert forecast.seconds_left(25, 80) == pytest.approx(5 * 3 + 20 * 2 + 170)
    assert forecast.seconds_left(5, 40) == pytest.approx(15 + 10 * 3 + 10 * 2), "a run that ends before the plan"
    assert forecast.seconds_left(70, 100) == pytest.approx(30 * 5), "the last stage goes on for ever"
    assert forecast.seconds_left(100, 100) == 0


@pytest.mark.parametrize("slower", [0.4, 1.0, 2.5])
def test_within_a_quarter_after_a_minute_on_a_machine_of_another_pace(slower: float) -> None:
    """The trial was made while the machine was `slower` times as slow as expected; sampling every 40 clips takes a tenth on top."""
    plan = make_plan("2x4x4", "4x8x8", minibatch=4)
    times = [StageTimes(1.0, 1.0), StageTimes(4.0, 4.0)]
    forecast = Forecast(plan, times)
    total, shown, clock = 4000, 0, 0.0
    while clock < 60:
        position = plan.position(shown)
        seconds = 4 * slower * times[position.stage].stable
        forecast.measured(position, 4, seconds)
        forecast.paused(0.1 * seconds)
        clock += 1.1 * seconds
        shown += 4
    truth = 1.1 * slower * (max(0, 20 - shown) * 1.0 + (total - max(shown, 20)) * 4.0)
    assert forecast.seconds_left(shown, total) == pytest.approx(truth, rel=0.25)


def test_a_stage_that_is_odd_does_not_spoil_the_others() -> None:
    """A short first stage at a fifth of its expected speed, after much training as expected: later stages are expected as they were."""
    forecast = Forecast(PLAN, TIMES)
    for _ in range(300):
        forecast.measured(Position(1, "stable", 1.0), 1, 2.0)
    for _ in range(10):
        forecast.measured(Position(0, "stable", 1.0), 1, 5.0)
    seconds = forecast.stage_seconds(80)
    assert seconds[0] > 3 * 20 and seconds[2] == pytest.approx(170, rel=0.2)


def test_a_stall_is_not_the_pace() -> None:
    """A hundred steps that take a hundred times as long, while something else has the machine; ten minutes of training are left."""
    forecast = Forecast(make_plan("2x4x4"), [StageTimes(0.1, 0.1)])
    for step in range(3000):
        forecast.measured(Position(0, "stable", 1.0), 1, 10.0 if 2500 <= step < 2600 else 0.1)
    assert forecast.seconds_left(3000, 9000) == pytest.approx(600, rel=0.25)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (144, "2.4 min"), (600, "10 min"), (3 * 3600, "3.0 h"), (270 * 3600, "270 h"), (3.6e6, "42 days")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_every_stage_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of both stages, the second in its fade too, on networks of their own: nothing random is drawn outside."""
    monkeypatch.setattr(trial, "LIMIT_SHARE", 1e9)
    monkeypatch.setattr(trial, "LIMIT_SECONDS", 1e9)  # however slow this machine is
    steps: list[tuple[int, bool]] = []
    real = StageWorkload.train

    def noted(self: StageWorkload, fading: bool, count: int) -> float:
        steps.extend([(self.stage, fading)] * count)
        return real(self, fading, count)

    monkeypatch.setattr(StageWorkload, "train", noted)
    before = torch.get_rng_state()
    times = measure_stages(colored(tiny_config()), torch.device("cpu"), 120)
    assert len(times) == 2 and all(seconds > 0 for each in times for seconds in (each.fade, each.stable))
    assert {(0, False), (1, False), (1, True)} == set(steps)
    assert torch.equal(before, torch.get_rng_state())
    steps.clear()
    assert len(measure_stages(colored(tiny_config()), torch.device("cpu"), 120, first_stage=1)) == 2
    assert {stage for stage, _ in steps} == {1}, "a stage that is over is not measured"


@pytest.mark.parametrize("why", ["time", "memory"])
def test_what_cannot_be_measured_follows_from_the_arithmetic(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(tree: dict[str, object], stage: int, device: str) -> StageWorkload:
        if stage == 1:
            raise torch.OutOfMemoryError("no room")
        return StageWorkload(tree, stage, device)

    monkeypatch.setattr(trial, "StageWorkload", build)
    monkeypatch.setattr(trial, "LIMIT_SHARE", 1e9 if why == "memory" else 0.0)
    config = colored(tiny_config())
    costs, times = stage_costs(config), measure_stages(config, torch.device("cpu"), 120)
    assert times[1].stable / times[0].stable == pytest.approx(costs[1] / costs[0])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_slow_start_is_not_the_pace(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process's first step takes a minute, all others a tenth of a second at any stage, as on a card where starting operations decides.

    `--hours 0.12` had made a run of 385,000 clips one of 2,608, since only the first of five stages was measured.
    """
    clock = [0.0]

    class Workload:
        def __init__(self, tree: dict[str, object], stage: int, device: str) -> None:
            pass

        def train(self, fading: bool, steps: int) -> float:
            clock[0] += 0.1 * steps if clock[0] else 60.0
            return 0.1

    monkeypatch.setattr(trial, "StageWorkload", Workload)
    monkeypatch.setattr(trial, "forget_peak", lambda _: None)
    monkeypatch.setattr("growreel.training.trial.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(trial, "LIMIT_SHARE", 1e9 if device == "cpu" else 0.0)
    times = measure_stages(colored(tiny_config()), torch.device(device), 120)
    assert len(times) == 2
    assert times[1].stable == times[0].stable


def test_the_trial_changes_nothing_that_is_learnt(shapes_store: Path, tmp_path: Path) -> None:
    lines = []
    for progress in (True, False):
        run = tmp_path / str(progress)
        train(shapes_store, run, tiny_config(), progress=progress)
        lines.append([{k: v for k, v in line.items() if "loss" in k or "penalty" in k} for line in read_lines(run / "stats.jsonl")])
    assert lines[0] == lines[1] and len(lines[0]) == 10
