"""Two processes are one of twice the batch; how a process finds its card and the others."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from conftest import tiny_config
from growreel.config import Config, from_dict, load_config, to_dict, to_yaml
from growreel.data.store import ClipStore
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Size, Stage
from growreel.runtime import distributed
from growreel.training.checkpoint import list_checkpoints
from growreel.training.compatibility import check_plan
from growreel.training.loop import train
from growreel.training.stats import read_lines


def config(loss: str) -> Config:
    tree = to_dict(tiny_config(clips=96, eval_interval=48, eval_clips=9, eval_metrics=["kid", "motion"]))
    tree["growth"]["minibatch"] = 8
    tree["loss"]["name"] = loss
    tree["optimizer"]["eps"] = 1e-2  # with 1e-8 Adam turns the rounding of a gradient near zero into a whole step
    tree["training"]["precision"] = "float64"  # in float32 rounding decides on which side of a leaky ReLU's kink some values are
    return from_dict(tree, "test")


def train_in_two_processes(store: Path, out: Path, config_file: Path, clips: int) -> str:
    """Run the command line under torchrun and return what it prints."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "growreel", "train"]
    flags = [str(store), "--out", str(out), "--config", str(config_file), "--clips", str(clips)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *flags], check=False, capture_output=True, text=True, env=environment, timeout=800)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_close(one: Path, two: Path) -> None:
    a, b = (torch.load(list_checkpoints(path)[-1] / "state.pt", weights_only=True) for path in (one, two))
    assert a["clips_shown"] == b["clips_shown"] == 96
    for name in ("generator", "discriminator", "loss", "ema"):
        for key, tensor in a[name].items():
            torch.testing.assert_close(b[name][key], tensor, rtol=1e-9, atol=1e-9, msg=f"{name}.{key} differs")
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
        check_plan(plan, store)


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


def test_two_processes_share_the_classes(shapes_store: Path, tmp_path: Path) -> None:
    """A conditional run, evaluated on the way, in two processes and in one."""
    with ClipStore.open(shapes_store) as store:
        labels = ["bright" if clip.mean() > 50 else "dark" for clip in store.read(range(len(store)), store.size)]
        write_store(tmp_path / "store", iter(store.read(range(len(store)), store.size)), fps=8.0, labels=labels)
    tree = to_dict(config("relativistic"))
    tree["network"]["conditional"] = True
    (tmp_path / "c.yaml").write_text(to_yaml(from_dict(tree, "test")))
    train(tmp_path / "store", tmp_path / "one", from_dict(tree, "test"), progress=False)
    train_in_two_processes(tmp_path / "store", tmp_path / "two", tmp_path / "c.yaml", clips=96)
    assert_close(tmp_path / "one", tmp_path / "two")
    assert load_config(tmp_path / "two" / "config.yaml").network.classes == ("bright", "dark")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What `process_group` asks of PyTorch, in order, on a machine with two cards; nothing is done."""
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: seen.append(("set_device", device)))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    environment = ("RANK", "WORLD_SIZE")
    monkeypatch.setattr(distributed, "store_of_this_start", lambda patience: (HashStore(), *(int(os.environ[n]) for n in environment)))
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **options: seen.append((backend, options.get("device_id"))))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: seen.append(("left",)))
    monkeypatch.setattr(HashStore, "clone", lambda store: store, raising=False)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    return seen


def torchrun(monkeypatch: pytest.MonkeyPatch, processes: int, rank: int) -> None:
    """The environment that torchrun gives to one of its processes on one machine."""
    for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", processes), ("LOCAL_WORLD_SIZE", processes)):
        monkeypatch.setenv(name, str(value))


def test_a_process_takes_its_card_before_it_joins_the_others(calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL and collectives of objects use the current card, which is cuda:0 in every process until it is set."""
    torchrun(monkeypatch, processes=2, rank=1)
    card = torch.device("cuda", 1)
    with distributed.process_group(card, patience=60):
        assert calls == [("set_device", card), ("nccl", card)]
    assert calls.pop() == ("left",)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    with distributed.process_group(card, patience=60):
        pass
    assert calls[2:] == [("set_device", card)], "a group that the caller has made is neither made again nor left"


def test_more_processes_than_cards_and_cpus_talk_through_the_host(calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    torchrun(monkeypatch, processes=4, rank=3)
    with distributed.process_group(torch.device("cuda", 1), patience=60):
        assert calls == [("set_device", torch.device("cuda", 1)), ("gloo", None)]
    calls.clear()
    with distributed.process_group(torch.device("cpu"), patience=60):
        assert calls == [("gloo", None)]


def test_one_process_alone_joins_nothing(calls: list[tuple[Any, ...]]) -> None:
    with distributed.process_group(torch.device("cpu"), patience=60):
        assert not calls
    with distributed.process_group(torch.device("cuda", 0), patience=60):
        assert calls == [("set_device", torch.device("cuda", 0))]


def test_processes_with_unlike_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit is enough; checkpoints would otherwise hold the weights of one process, and nobody would know of the others."""
    weights = {"a": torch.ones(3), "b": torch.ones(2, 2, dtype=torch.float64)}
    changed = {"a": torch.ones(3), "b": torch.tensor([[1, 1], [1, 1 + 2**-52]], dtype=torch.float64)}
    for others, refused in ((weights, False), (changed, True)):

        def all_gather(sums: list[torch.Tensor], own: torch.Tensor, others: dict[str, torch.Tensor] = others) -> None:
            theirs = torch.stack([each.view(torch.int32).sum(dtype=torch.int64) for each in others.values()])
            for place, values in zip(sums, (own, own, theirs), strict=True):
                place.copy_(values)

        monkeypatch.setattr(distributed, "world_size", lambda: 3)
        monkeypatch.setattr(dist, "all_gather", all_gather)
        with pytest.raises(GrowreelError, match=r"at 5 clips the weights of process 2 \(first in b\)") if refused else nullcontext():
            distributed.check_equal(weights, "at 5 clips the weights")


def test_every_process_has_a_card_of_its_own(calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks beyond the cards share them; a card that is not usable is named with its flag."""
    asked: list[str] = []

    def zeros(_: int, device: str) -> torch.Tensor:
        asked.append(device)
        return torch.tensor([0.0])

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", zeros)
    for rank, card in ((0, "cuda:0"), (1, "cuda:1"), (2, "cuda:0")):
        torchrun(monkeypatch, processes=3, rank=rank)
        assert [str(distributed.pick_device(name, "--device")) for name in ("auto", "cuda")] == [card] * 2
    assert str(distributed.pick_device("cuda:1", "--device")) == "cuda:1", "one that is named stays"

    def fail(_: int, device: str) -> torch.Tensor:
        raise RuntimeError("no kernel image\nmore")

    monkeypatch.setattr(torch, "zeros", fail)
    with pytest.raises(GrowreelError, match=r"--device cuda:0: is not usable here \(no kernel image\); try cpu"):
        distributed.pick_device("cuda:0", "--device")
