"""Training runs: what is written, resuming from every kind of stop, and what happens when a step or a file goes wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import reference
from conftest import colored, tiny_config, with_other_networks
from growreel.config import Config, LossConfig, load_config
from growreel.data.batches import ClipBatches
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.evaluation.clips import StoreClips
from growreel.evaluation.evaluate import evaluate
from growreel.evaluation.options import EvaluationOptions
from growreel.growth import Position, Size
from growreel.losses import build_loss
from growreel.models import ModulatedGenerator
from growreel.models.files import load_generator
from growreel.runtime.randomness import Purpose, keyed_rng
from growreel.sampling import generate
from growreel.training import loop, step
from growreel.training.augment import Augmentation
from growreel.training.checkpoint import list_checkpoints
from growreel.training.execution import Execution
from growreel.training.loop import train
from growreel.training.state import TrainingState
from growreel.training.stats import read_lines, seconds_trained

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import golden

LossName = Literal["swgan", "wgan-gp", "relativistic", "san"]
TIMES = ("time", "clips_per_second", "peak_memory_bytes", "seconds")


def run(store: Path, out: Path, config: Config | None = None, **options: Any) -> loop.TrainResult:
    return train(store, out, config or tiny_config(), progress=False, **options)


def outcome(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, bytes]]:
    """All that a run leaves and that must not depend on how it got there: state, statistics without times, samples."""
    newest = list_checkpoints(folder)[-1]
    state = torch.load(newest / "state.pt", weights_only=True)
    lines = [{k: v for k, v in line.items() if k not in TIMES} for line in read_lines(folder / "stats.jsonl")]
    return state, lines, {path.name: path.read_bytes() for path in (folder / "samples").iterdir()}


def assert_same(a: Any, b: Any, where: str = "") -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}/{i}")
    else:
        assert a == b, where


@pytest.fixture(scope="module")
def uninterrupted(shapes_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of tiny_config from 0 to its end at 120 clips; the fade is from 40 to 80."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    result = run(shapes_store, out)
    assert (result.clips_shown, result.signal) == (120, None)
    return out


def test_a_run_leaves_what_the_house_plan_says(uninterrupted: Path) -> None:
    assert {path.name for path in uninterrupted.iterdir()} == {
        ".lock",
        "config.yaml",
        "data.json",
        "environment.json",
        "local.json",
        "stats.jsonl",
        "checkpoints",
        "models",
        "samples",
    }
    assert load_config(uninterrupted / "config.yaml").network.image_channels == 3
    (start,) = json.loads((uninterrupted / "environment.json").read_text())
    assert start["torch"] == torch.__version__ and start["clips"] == 0
    assert [path.name for path in list_checkpoints(uninterrupted)] == ["000000100", "000000120"]
    assert sorted(path.stem for path in (uninterrupted / "models").iterdir()) == [f"{n:09d}" for n in range(0, 121, 20)]
    lines = read_lines(uninterrupted / "stats.jsonl")
    assert [line["clips"] for line in lines] == [*range(12, 121, 12)]
    assert {line["stage"] for line in lines} == {"2x4x4", "4x8x8"}
    assert lines[3]["phase"] == "fade" and lines[3]["alpha"] == pytest.approx(4 / 40)
    wanted = {"loss_discriminator", "loss_generator", "gradient_penalty", "feature_penalty", "critic_real", "critic_fake"}
    assert wanted <= lines[0].keys() and lines[0]["clips_per_second"] > 0 and lines[0]["peak_memory_bytes"] > 1e7


def test_seconds_trained_adds_up_speeds_over_stops() -> None:
    lines: list[dict[str, Any]] = [
        {"clips": 10, "clips_per_second": 5.0},
        {"clips": 10, "metrics": {"swd mean": 1.0}, "seconds": 3.0},
        {"clips": 10, "event": "rollback"},
        {"clips": 40, "clips_per_second": 10.0},
    ]
    assert seconds_trained(lines) == 2.0 + 3.0
    assert seconds_trained([]) == 0


def at_clips(monkeypatch: pytest.MonkeyPatch, clips: int, action: Callable[[], None]) -> None:
    """Do something once, in the middle of the discriminator's step at `clips`."""
    plain = step.discriminator_step
    waiting = [action]

    def discriminator_step(state: TrainingState, *rest: Any) -> dict[str, torch.Tensor]:
        if state.clips_shown == clips and waiting:
            waiting.pop()()
        return plain(state, *rest)

    monkeypatch.setattr(step, "discriminator_step", discriminator_step)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("clips", [20, 56, 76, 116])
def test_a_signal_saves_and_the_same_call_goes_on_as_if_nothing_had_been(
    number: signal.Signals, clips: int, uninterrupted: Path, shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        at_clips(patch, clips, lambda: signal.raise_signal(number))
        first = run(shapes_store, tmp_path / "run")
    assert first.clips_shown == clips + 4
    assert first.signal == (number if clips + 4 < 120 else None)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # handlers are given back
    run(shapes_store, tmp_path / "run")
    assert_same(outcome(tmp_path / "run"), outcome(uninterrupted))


def test_sigkill_in_a_fade_costs_only_the_way_since_the_last_checkpoint(uninterrupted: Path, shapes_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    script = f"""
import os, signal, sys, pathlib
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import colored, tiny_config
from growreel.evaluation.evaluate import evaluate
from growreel.evaluation.options import EvaluationOptions
from growreel.training import loop, step
plain = step.discriminator_step
def killed(state, *rest):
    if state.clips_shown == 72:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(state, *rest)
step.discriminator_step = killed
loop.train(pathlib.Path({str(shapes_store)!r}), pathlib.Path({str(out)!r}), tiny_config(), progress=False)
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list_checkpoints(out)[-1].name == "000000060"
    assert read_lines(out / "stats.jsonl")[-1]["clips"] == 72  # beyond the checkpoint: shown again, so written again
    run(shapes_store, out)
    assert_same(outcome(out), outcome(uninterrupted))


def test_going_on_with_more_clips(uninterrupted: Path, shapes_store: Path, tmp_path: Path) -> None:
    run(shapes_store, tmp_path / "run", tiny_config(clips=52))  # in the fade, between two lines of statistics
    run(shapes_store, tmp_path / "run", tiny_config())
    assert_same(outcome(tmp_path / "run")[:2], outcome(uninterrupted)[:2])
    again = run(shapes_store, tmp_path / "run", tiny_config())
    assert again.clips_shown == 120  # a finished run has nothing to do


@pytest.mark.parametrize("cut", [0, 1000, -100])
def test_a_checkpoint_cut_in_half_falls_back_to_the_one_before(
    cut: int, uninterrupted: Path, shapes_store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    run(shapes_store, out, tiny_config(clips=80))
    newest = list_checkpoints(out)[-1] / "state.pt"
    os.truncate(newest, newest.stat().st_size + cut if cut < 0 else cut)
    run(shapes_store, out)
    assert "000000080 is damaged" in caplog.text
    assert (out / "checkpoints" / "000000080.damaged").exists()
    assert_same(outcome(out), outcome(uninterrupted))


def test_a_run_without_checkpoints_is_not_started_over(shapes_store: Path, tmp_path: Path) -> None:
    run(shapes_store, tmp_path / "run", tiny_config(clips=24))
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(GrowreelError, match="has statistics but no checkpoint"):
        run(shapes_store, tmp_path / "run")


def test_no_readable_checkpoint_is_an_error_not_a_fresh_start(shapes_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(shapes_store, out, tiny_config(clips=20))
    for checkpoint in list_checkpoints(out):
        os.truncate(checkpoint / "state.pt", 10)
    with pytest.raises(GrowreelError, match="none of its 2 checkpoints can be read"):
        run(shapes_store, out)


def test_a_full_disk_keeps_the_last_checkpoint(
    uninterrupted: Path, shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plain = tmp_path / "run", torch.save

    def full(state: dict[str, Any], file: Any) -> None:
        if state["clips_shown"] == 60:
            file.write(b"part")
            raise OSError(28, "No space left on device")
        plain(state, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(GrowreelError, match=r"No space left on device.*newest whole checkpoint is .*000000040"):
            run(shapes_store, out)
    assert [path.name for path in sorted((out / "checkpoints").iterdir())] == ["000000020", "000000040"]
    run(shapes_store, out)
    assert_same(outcome(out), outcome(uninterrupted))


def spoil(monkeypatch: pytest.MonkeyPatch, clips: int, times: int, value: float = float("nan")) -> None:
    """Let the generator's loss be NaN at `clips`, so many times."""
    plain, left = vars(step)["generator_step"], [times]

    def generator_step(state: TrainingState, *rest: Any) -> dict[str, torch.Tensor]:
        scalars: dict[str, torch.Tensor] = plain(state, *rest)
        if state.clips_shown == clips and left[0]:
            left[0] -= 1
            scalars["loss_generator"] = torch.tensor(value)
        return scalars

    monkeypatch.setattr(step, "generator_step", generator_step)


@pytest.mark.parametrize("which", [0, 1])
def test_every_critic_step_is_checked(
    which: int, shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A loss that is NaN in the first of two steps of the discriminator, and in the second alone."""
    plain, calls = step.discriminator_step, list[int]()

    def discriminator_step(state: TrainingState, *rest: Any) -> dict[str, torch.Tensor]:
        stats = plain(state, *rest)
        calls.append(state.clips_shown)
        if len(calls) == 7 + which:  # the first or second of the fourth pair
            stats["loss_discriminator"] = torch.tensor(float("nan"))
        return stats

    monkeypatch.setattr(step, "discriminator_step", discriminator_step)
    assert run(shapes_store, tmp_path / "run", tiny_config(critic_steps=2)).clips_shown == 120
    assert "loss_discriminator is nan at 32 clips; went back to 24 clips (rollback 1)" in caplog.text


def test_every_critic_step_is_counted(shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two steps of the discriminator and a penalty in every second one: means are over all that was measured, of each what it has."""
    plain, told = step.discriminator_step, list[dict[str, float]]()

    def discriminator_step(state: TrainingState, *rest: Any) -> dict[str, torch.Tensor]:
        stats = plain(state, *rest)
        told.append({name: value.item() for name, value in stats.items()})
        return stats

    monkeypatch.setattr(step, "discriminator_step", discriminator_step)
    config = tiny_config(critic_steps=2, stats_interval=16, clips=32)
    run(shapes_store, tmp_path / "run", dataclasses.replace(config, loss=dataclasses.replace(config.loss, penalty_interval=2)))
    lines = read_lines(tmp_path / "run" / "stats.jsonl")
    assert ["gradient_penalty" in stats for stats in told] == [True, False] * 4
    assert [line["clips"] for line in lines] == [16, 32]
    for line, steps in zip(lines, (told[:4], told[4:]), strict=True):
        for name in ("loss_discriminator", "critic_real", "critic_fake", "gradient_penalty"):
            values = [stats[name] for stats in steps if name in stats]
            assert line[name] == pytest.approx(np.mean(values), rel=1e-6), name
            assert len(set(values)) == len(values), "or a mean would not show what was left out"


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 2e6])
def test_a_step_gone_wrong_goes_back_to_the_checkpoint(
    value: float,
    uninterrupted: Path,
    shapes_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(monkeypatch, 76, times=2, value=value)
    assert run(shapes_store, tmp_path / "run").clips_shown == 120
    assert f"loss_generator is {value:g} at 76 clips; went back to 60 clips (rollback 2)" in caplog.text
    state, lines, _ = outcome(tmp_path / "run")
    assert state["rollbacks"] == 2
    assert [line["event"] for line in lines if "event" in line] == ["diverged", "diverged"]
    assert [line["clips"] for line in lines if "event" not in line] == [*range(12, 121, 12)]
    expected, whole_lines, _ = outcome(uninterrupted)
    assert [line for line in lines if line["clips"] <= 60 and "event" not in line] == whole_lines[:5]
    # The noise after a rollback is new, or the same step would go wrong again.
    assert not torch.equal(state["generator"]["dense.weight"], expected["generator"]["dense.weight"])


def test_after_three_rollbacks_the_run_stops(shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 76, times=4)
    with pytest.raises(GrowreelError, match=r"diverged at 76 clips \(loss_generator is nan\) after 3 rollbacks.*learning_rate"):
        run(shapes_store, tmp_path / "run")
    # The next call draws noise that none of the four attempts had.
    assert run(shapes_store, tmp_path / "run").clips_shown == 120
    assert outcome(tmp_path / "run")[0]["rollbacks"] == 4


def test_weights_that_are_not_finite_never_become_a_checkpoint(shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator's last update before a checkpoint spoils it; the losses of that step know nothing of it."""
    plain, waiting = step.generator_step, [True]

    def generator_step(state: TrainingState, *rest: Any) -> dict[str, torch.Tensor]:
        scalars = plain(state, *rest)
        if state.clips_shown == 60 and waiting:
            waiting.pop()
            with torch.no_grad():
                state.generator.dense.bias[0] = float("nan")
        return scalars

    monkeypatch.setattr(step, "generator_step", generator_step)
    assert run(shapes_store, tmp_path / "run").clips_shown == 120
    events = [line for line in read_lines(tmp_path / "run" / "stats.jsonl") if "event" in line]
    assert [line["reason"] for line in events] == ["a weight of the generator is not finite"]


def test_rollbacks_are_forgiven_once_training_is_past_them(shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 28, times=3)
    spoil(monkeypatch, 96, times=3)
    assert run(shapes_store, tmp_path / "run").clips_shown == 120
    assert outcome(tmp_path / "run")[0]["rollbacks"] == 6


def test_a_learning_rate_that_explodes_is_caught(shapes_store: Path, tmp_path: Path) -> None:
    config = tiny_config()
    config = dataclasses.replace(config, growth=dataclasses.replace(config.growth, learning_rate=1e12))
    with pytest.raises(GrowreelError, match=r"diverged at .* clips"):
        run(shapes_store, tmp_path / "run", config)


def test_settings_may_not_change_behind_a_run(shapes_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(shapes_store, out, tiny_config(clips=8))
    with pytest.raises(GrowreelError, match=r"training.ema_decay: 0.9 -> 0.5; training.seed: 0 -> 1|training.seed: 0 -> 1; .*ema_decay"):
        run(shapes_store, out, tiny_config(clips=8, ema_decay=0.5, seed=1))
    assert run(shapes_store, out, tiny_config(clips=16, ema_decay=0.5), allow_config_change=True).clips_shown == 16


def test_a_folder_that_is_no_run_is_left_alone(shapes_store: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(GrowreelError, match="is not a run folder"):
        run(shapes_store, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_what_would_stop_a_later_stage_stops_the_first_step(shapes_store: Path, tmp_path: Path) -> None:
    too_large = dataclasses.replace(tiny_config(), growth=dataclasses.replace(tiny_config().growth, stages=(), target="8x16x16"))
    with pytest.raises(GrowreelError, match=r"4x8x8, are smaller than 8x8x8"):
        run(shapes_store, tmp_path / "run", too_large)
    with pytest.raises(GrowreelError, match=r"--training.device tpu"):
        run(shapes_store, tmp_path / "run", tiny_config(device="tpu"))
    assert not (tmp_path / "run").exists()  # so that the corrected command finds no run with the wrong settings


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
@pytest.mark.parametrize("name", ["swgan", "wgan-gp", "relativistic", "san"])
def test_every_loss_and_precision_trains(name: LossName, precision: str, shapes_store: Path, tmp_path: Path) -> None:
    config = tiny_config(precision=precision, critic_steps=2)
    config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, name=name))
    assert run(shapes_store, tmp_path / "run", config).clips_shown == 120
    lines = read_lines(tmp_path / "run" / "stats.jsonl")
    assert all(abs(line["loss_generator"]) < 1e3 for line in lines)
    resolved = load_config(tmp_path / "run" / "config.yaml").training.precision
    assert resolved in ("float32", "bfloat16") if precision == "auto" else resolved == precision


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_networks_train_stop_and_go_on(precision: str, shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = with_other_networks(tiny_config(precision=precision))
    run(shapes_store, tmp_path / "whole", config)
    with monkeypatch.context() as patch:
        at_clips(patch, 56, lambda: signal.raise_signal(signal.SIGTERM))
        assert run(shapes_store, tmp_path / "run", config).clips_shown == 60
    run(shapes_store, tmp_path / "run", config)
    assert_same(outcome(tmp_path / "run"), outcome(tmp_path / "whole"))
    model = load_generator(tmp_path / "run")
    assert isinstance(model.generator, ModulatedGenerator)
    assert generate(model, range(3)).shape == (3, 4, 8, 8, 3)


def test_golden_losses(tmp_path: Path) -> None:
    """A refactor reproduces these (30 steps); a change of numerics says in its commit why they moved.

    In float64: in float32, rounding decides at the kink of a leaky ReLU, and two makes of CPU had two outcomes after 30 steps
    (benchmarks/golden.py trains the same under several instruction sets and numbers of threads).
    """
    found = golden.golden_losses(golden.golden_store(tmp_path / "store"), tmp_path / "run", golden.golden_config())
    assert found == [pytest.approx(losses, rel=golden.TOLERANCE) for losses in golden.GOLDEN]


def test_float64_runs_begin_alike_on_every_cpu() -> None:
    """PyTorch draws float32 normal numbers that differ in the last bit with the CPU's instructions; float64 ones it does not."""
    script = """
import hashlib, torch
from golden import golden_config
from growreel.training.state import TrainingState
from conftest import colored
state = TrainingState(colored(golden_config()), torch.device("cpu"))
print(hashlib.sha256(b"".join(t.numpy().tobytes() for t in state.generator.state_dict().values())).hexdigest())
"""
    said = []
    for capability in ("default", "avx2"):
        environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
        said.append(done.stdout)
    assert said[0] == said[1] and len(said[0]) == 65


def test_a_bare_machine_trains_from_python(shapes_store: Path, tmp_path: Path) -> None:
    """Without av, jsonargparse and docstring-parser, and from a source tree that is not installed."""
    source = Path(loop.__file__).parents[2]
    script = f"""
import sys
sys.path[:0] = [{str(source)!r}, {str(Path(__file__).parent)!r}]
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("av", "jsonargparse", "docstring_parser"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
import growreel
from conftest import colored, tiny_config
growreel.train({str(shapes_store)!r}, {str(tmp_path / "run")!r}, tiny_config(clips=24), progress=False)
growreel.generate(growreel.load_generator({str(tmp_path / "run")!r}), seeds=range(2))
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_real_clips_fade_with_their_own_down_then_up_version() -> None:

    state = TrainingState(colored(tiny_config()), torch.device("cpu"))
    clips = torch.randn(2, 3, 4, 8, 8)
    for alpha in (0.0, 0.25):
        faded = step.fade_real(clips, state, Position(1, "fade", alpha)).double().numpy()
        assert faded == pytest.approx(reference.blend_real(clips.double().numpy(), (2, 2, 2), alpha), abs=1e-6)
    assert torch.equal(step.fade_real(clips, state, Position(1, "stable", 1.0)), clips)


def test_a_plan_that_subsamples_shows_frames_of_the_store(shapes_store: Path, tmp_path: Path) -> None:
    """While training, in the fade, and in what a model of an early stage is measured against."""
    plan = dataclasses.replace(tiny_config().growth, time_reduction="subsample")
    config = dataclasses.replace(tiny_config(mirror=False, clips=36), growth=plan)
    with ClipStore.open(shapes_store) as store:
        batches = ClipBatches(store, seed=0, mirror=False, device=torch.device("cpu"), time_reduction="subsample")
        small, large = batches.at(0, Size(2, 4, 4), 4), batches.at(0, Size(4, 8, 8), 4)
        batches.close()
        in_space = torch.nn.functional.avg_pool3d(large, (1, 2, 2))
        assert (small - in_space[:, :, ::2]).abs().max() < 1.1 / 127.5, "the store rounds averages to bytes"
        real = StoreClips(store, Size(2, 4, 4), "subsample").read([0])
        assert np.array_equal(real, store.read([0], Size(4, 4, 4))[:, ::2])
    faded = step.fade_real(large, TrainingState(colored(config), torch.device("cpu")), Position(1, "fade", 0.0))
    assert torch.equal(faded, in_space[:, :, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4))
    run(shapes_store, tmp_path / "run", config)
    card = evaluate(tmp_path / "run", shapes_store, EvaluationOptions(metrics=("swd",), clips=8, resamples=0))
    assert card.real["takes_every"] == 2


def test_augmentation_is_one_for_all_frames_and_can_be_left_out() -> None:
    clips = torch.rand(64, 3, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(Augmentation.draw(np.random.default_rng(0), 64, 0.0)(clips), clips)
    draw = Augmentation.draw(np.random.default_rng(0), 64, 0.5)
    changed = draw(clips)
    alone = torch.cat([draw.part(slice(k, k + 1))(clips[k : k + 1, :, frame : frame + 1]) for k in range(64) for frame in range(3)])
    torch.testing.assert_close(changed, alone.view(64, 3, 3, 16, 16).transpose(1, 2))
    untouched = (changed - clips).abs().amax(dim=(1, 2, 3, 4)) < 1e-6
    assert 0 < untouched.sum() < 16, "a sixteenth of the clips keeps out of all four"
    assert torch.equal(draw.shift[:, 0] == 0, draw.shift[:, 1] == 0) and draw.shift.abs().max() <= 1 / 8
    moved = Augmentation.draw(np.random.default_rng(0), 64, 0.0)._replace(shift=torch.tensor([[1 / 8, -1 / 8]]).repeat(64, 1))
    shifted = moved(clips)
    torch.testing.assert_close(shifted[..., 2:, :-2], clips[..., :-2, 2:])
    torch.testing.assert_close(shifted[..., 0, :-2], clips[..., 0, 2:])


def test_augmentation_passes_the_gradient_of_every_transform() -> None:
    draw = Augmentation.draw(np.random.default_rng(1), 4, 0.8)
    clips, weights = torch.rand(2, 4, 3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    clips.requires_grad_()
    (gradient,) = torch.autograd.grad((draw(clips) * weights).sum(), clips)
    step_along = torch.randn(clips.shape, generator=torch.Generator().manual_seed(1))
    rise = ((draw(clips + step_along) - draw(clips)) * weights).sum()  # exact: every transform is affine
    assert (gradient * step_along).sum().item() == pytest.approx(rise.item(), rel=1e-4)


@pytest.mark.parametrize("passes", [1, 2])
def test_the_generator_step_augments_what_the_discriminator_sees(passes: int) -> None:
    """Real and generated clips with draws of their own, in halves of the minibatch as at once."""
    config = colored(tiny_config(augment_probability=0.8))
    config = dataclasses.replace(config, growth=dataclasses.replace(config.growth, minibatch=8, microbatch=8 // passes))
    state, real, seen = TrainingState(config, torch.device("cpu")), torch.rand(8, 3, 4, 8, 8) * 2 - 1, list[torch.Tensor]()
    state.loss = build_loss(LossConfig(name="relativistic"), 8)
    rng = keyed_rng(Purpose.AUGMENTATION, 0, 0, 0, Purpose.GENERATOR_NOISE)
    of_fake, of_real = Augmentation.draw(rng, 8, 0.8), Augmentation.draw(rng, 8, 0.8)
    latents = torch.from_numpy(keyed_rng(Purpose.GENERATOR_NOISE, 0, 0, 0).standard_normal((8, 8), dtype="float32"))
    with torch.no_grad():
        fake = state.generator(latents, 1)
    state.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    step.generator_step(state, real, Position(1, "stable", 1.0), 8, config, Execution(config.training, state.device))
    fakes, reals = (torch.stack(seen[k::2], 1).flatten(0, 1) for k in (0, 1))
    assert not torch.equal(reals, real)
    torch.testing.assert_close(reals, of_real(real))
    torch.testing.assert_close(fakes, of_fake(fake), atol=1e-5, rtol=1e-5)


def test_evaluation_while_training_is_that_of_evaluate(shapes_store: Path, tmp_path: Path, uninterrupted: Path) -> None:
    measured = {"eval_interval": 40, "eval_clips": 9, "eval_metrics": ["swd", "motion", "prdc"]}
    run(shapes_store, tmp_path / "run", tiny_config(**measured))
    lines = [line for line in read_lines(tmp_path / "run" / "stats.jsonl") if "metrics" in line]
    assert [(line["clips"], line["stage"]) for line in lines] == [(40, "4x8x8"), (80, "4x8x8"), (120, "4x8x8")]
    for line in lines:
        options = EvaluationOptions(metrics=("swd", "motion", "prdc"), clips=9, resamples=0)
        card = evaluate(tmp_path / "run" / "models" / f"{line['clips']:09d}.safetensors", shapes_store, options)
        for metric, figure in (("swd", "mean"), ("motion", "spectrum_distance"), ("prdc", "recall")):
            assert line["metrics"][f"{metric} {figure}"] == card.value(metric, figure)
    assert_same(outcome(tmp_path / "run")[0], outcome(uninterrupted)[0], "looking at a run does not change it")
    again = run(shapes_store, tmp_path / "stopped", tiny_config(clips=88, **measured))
    assert again.clips_shown == 88
    run(shapes_store, tmp_path / "stopped", tiny_config(**measured))
    assert_same(outcome(tmp_path / "stopped")[1], outcome(tmp_path / "run")[1], "statistics")


def test_a_metric_that_cannot_be_measured_stops_before_the_first_step(
    shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROWREEL_WEIGHTS", str(tmp_path / "none"))
    for metric, message in (
        ("fvd", "I3D needs clips of at least 9 frames"),
        ("fid768", "its weights are not here"),
        ("x", "no such metric"),
    ):
        with pytest.raises(GrowreelError, match=message):
            run(shapes_store, tmp_path / metric, tiny_config(eval_interval=40, eval_metrics=[metric]))
