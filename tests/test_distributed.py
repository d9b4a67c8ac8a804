"""Two processes are one of twice the batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conftest import tiny_config
from growreel.config import Config, from_dict, to_dict, to_yaml
from growreel.training.checkpoint import list_checkpoints
from growreel.training.loop import train
from growreel.training.stats import read_lines


def config(loss: str) -> Config:
    tree = to_dict(tiny_config(clips=96))
    tree["growth"]["minibatch"] = 8
    tree["loss"]["name"] = loss
    tree["optimizer"]["eps"] = 1e-2  # with 1e-8 Adam turns the rounding of a gradient near zero into a whole step
    return from_dict(tree, "test")


@pytest.mark.parametrize("loss", ["swgan", "wgan-gp"])
def test_two_processes_equal_one_of_twice_the_batch(loss: str, shapes_store: Path, tmp_path: Path) -> None:
    """12 steps, through the first stage, a whole fade and into the stable phase."""
    train(shapes_store, tmp_path / "one", config(loss), progress=False)
    (tmp_path / "c.yaml").write_text(to_yaml(config(loss)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "growreel", "train"]
    flags = [str(shapes_store), "--out", str(tmp_path / "two"), "--config", str(tmp_path / "c.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *flags], check=False, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(list_checkpoints(tmp_path / name)[-1] / "state.pt", weights_only=True) for name in ("one", "two"))
    assert one["clips_shown"] == two["clips_shown"] == 96
    for name in ("generator", "discriminator", "loss", "ema"):
        for key, tensor in one[name].items():
            torch.testing.assert_close(two[name][key], tensor, rtol=1e-5, atol=1e-5, msg=f"{name}.{key} differs")
    assert len(read_lines(tmp_path / "two" / "stats.jsonl")) == len(read_lines(tmp_path / "one" / "stats.jsonl"))
