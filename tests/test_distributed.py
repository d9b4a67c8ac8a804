"""Two processes are one of twice the batch."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from conftest import tiny_config
from growreel.config import Config, from_dict, to_dict, to_yaml
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Size, Stage
from growreel.training import loop
from growreel.training.checkpoint import list_checkpoints
from growreel.training.loop import train
from growreel.training.stats import read_lines


def config(loss: str) -> Config:
    tree = to_dict(tiny_config(clips=96, eval_interval=48, eval_clips=9, eval_metrics=["kid", "motion"]))
    tree["growth"]["minibatch"] = 8
    tree["loss"]["name"] = loss
    tree["optimizer"]["eps"] = 1e-2  # with 1e-8 Adam turns the rounding of a gradient near zero into a whole step
    return from_dict(tree, "test")


def train_in_two_processes(store: Path, out: Path, config_file: Path, clips: int) -> str:
    """Run the command line under torchrun and return what it prints."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "growreel", "train"]
    flags = [str(store), "--out", str(out), "--config", str(config_file), "--clips", str(clips)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *flags], check=False, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_close(one: Path, two: Path) -> None:
    a, b = (torch.load(list_checkpoints(path)[-1] / "state.pt", weights_only=True) for path in (one, two))
    assert a["clips_shown"] == b["clips_shown"] == 96
    for name in ("generator", "discriminator", "loss", "ema"):
        for key, tensor in a[name].items():
            torch.testing.assert_close(b[name][key], tensor, rtol=1e-5, atol=1e-5, msg=f"{name}.{key} differs")
    lines = [read_lines(path / "stats.jsonl") for path in (one, two)]
    assert len(lines[0]) == len(lines[1])
    measured = [[line["metrics"] for line in each if "metrics" in line] for each in lines]
    assert len(measured[0]) == 2
    for alone, shared in zip(*measured, strict=True):  # a pixel may round the other way
        assert shared == pytest.approx(alone, rel=0.02, abs=0.02)


@pytest.mark.parametrize(
    ("minibatch", "processes", "refused"),
    [(12, 2, True), (4, 2, True), (4, 4, True), (8, 2, False), (12, 3, False), (2, 2, True), (16, 4, False)],
)
def test_processes_must_not_change_the_groups_of_the_deviation(
    minibatch: int, processes: int, refused: bool, shapes_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their gradients were off by 16 % (12 clips on 2 processes) to 71 % (4 on 4) without a word."""
    monkeypatch.setattr("growreel.runtime.distributed.world_size", lambda: processes)
    plan = GrowthPlan((Stage(Size(2, 4, 4), 0, 100, minibatch, 0.001, 0.001),))
    with ClipStore.open(shapes_store) as store, pytest.raises(GrowreelError, match="another discriminator") if refused else nullcontext():
        loop._check_fit(plan, store)


@pytest.mark.parametrize("loss", ["swgan", "wgan-gp", "relativistic"])
def test_two_processes_equal_one_of_twice_the_batch(loss: str, shapes_store: Path, tmp_path: Path) -> None:
    """12 steps, through the first stage, a whole fade and into the stable phase; for swgan with a stop and a damaged checkpoint."""
    train(shapes_store, tmp_path / "one", config(loss), progress=False)
    (tmp_path / "c.yaml").write_text(to_yaml(config(loss)))
    if loss == "swgan":
        train_in_two_processes(shapes_store, tmp_path / "two", tmp_path / "c.yaml", clips=56)
        os.truncate(list_checkpoints(tmp_path / "two")[-1] / "state.pt", 1000)
        said = train_in_two_processes(shapes_store, tmp_path / "two", tmp_path / "c.yaml", clips=96)
        assert said.count("000000056 is damaged") == 1 and said.count("resuming") == 1, "one process chooses the checkpoint for all"
    else:
        train_in_two_processes(shapes_store, tmp_path / "two", tmp_path / "c.yaml", clips=96)
    assert_close(tmp_path / "one", tmp_path / "two")
