"""Processes of one start find each other among what earlier starts have left, and none waits for ever for another."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from torch._C._distributed_c10d import HashStore, Store

from conftest import tiny_config
from growreel.config import from_dict, to_dict, to_yaml
from growreel.errors import GrowreelError
from growreel.runtime import distributed
from growreel.runtime.meeting import agree
from growreel.runtime.watchdog import EXIT_CODE, Watchdog

PATIENCE = timedelta(seconds=20)


def meet(store: Store, ranks: list[int], world_size: int) -> set[str]:
    with ThreadPoolExecutor(len(ranks)) as pool:
        return set(pool.map(lambda rank: agree(store, rank, world_size, PATIENCE), ranks))


def test_every_start_agrees_on_a_name_of_its_own() -> None:
    store = HashStore()
    first, second = meet(store, [0, 1, 2], 3), meet(store, [2, 1, 0], 3)
    assert len(first) == len(second) == 1 and first != second


def test_what_the_dead_have_left_is_not_believed() -> None:
    """Process 0 comes first and reads the names of dead processes; the others come later, one of them after the list was written."""
    store = HashStore()
    meet(store, [0, 1, 2], 3)
    with ThreadPoolExecutor(3) as pool:
        early = pool.submit(agree, store, 0, 3, PATIENCE)
        time.sleep(0.1)
        middle = pool.submit(agree, store, 2, 3, PATIENCE)
        time.sleep(0.1)
        assert not early.done()
        late = pool.submit(agree, store, 1, 3, PATIENCE)
        assert early.result() == middle.result() == late.result()


def test_absent_processes_are_named() -> None:
    with pytest.raises(GrowreelError, match="those of rank 1, 2 did not come within 0 s"):
        agree(HashStore(), 0, 3, timedelta(seconds=0.1))
    with pytest.raises(GrowreelError, match="process 1: the first process did not answer"):
        agree(HashStore(), 1, 3, timedelta(seconds=0.1))


class Ended:
    """In place of the end of the process."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.happened = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.happened.set()


def watch(store: Store, rank: int, patience: float, ended: Ended) -> Watchdog:
    return Watchdog(store, rank, 2, patience, end=ended)


def test_a_process_that_falls_silent_ends_the_others(capfd: pytest.CaptureFixture[str]) -> None:
    store, ended = HashStore(), Ended()
    store.set("at 1", json.dumps({"number": 7, "where": "discriminator_step (training/step.py:80)", "still": 0}))
    dog = watch(store, 0, 0.5, ended)
    assert ended.happened.wait(20) and ended.codes == [EXIT_CODE]
    dog.stop()
    said = capfd.readouterr().err
    assert "process 0: process 1 was last heard of" in said and "in discriminator_step (training/step.py:80)" in said


def test_processes_that_all_wait_for_each_other_end(capfd: pytest.CaptureFixture[str]) -> None:
    store, ended = HashStore(), Ended()
    dogs = [watch(store, rank, 0.6, ended) for rank in (0, 1)]
    assert ended.happened.wait(20), "this thread stands still, and it is the main thread of both"
    for dog in dogs:
        dog.stop()
    assert "no process has moved for 1 s (--training.watchdog_seconds): process 0 in " in capfd.readouterr().err


def test_a_busy_process_is_waited_for() -> None:
    store, ended = HashStore(), Ended()
    dogs = [watch(store, rank, 0.4, ended) for rank in (0, 1)]
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        sum(range(1000))
    for dog in dogs:
        dog.stop()
    assert not ended.codes


def test_one_that_waits_on_purpose_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that was told to pause, in all its processes."""
    store, ended = HashStore(), Ended()
    dogs = [watch(store, rank, 0.4, ended) for rank in (0, 1)]
    monkeypatch.setattr(distributed, "_watchdogs", dogs)
    for _ in range(15):
        distributed.wait_on_purpose(0.1)
    for dog in dogs:
        dog.stop()
    assert not ended.codes


def test_one_that_has_left_is_not_missed() -> None:
    store, ended = HashStore(), Ended()
    one, other = (watch(store, rank, 0.4, ended) for rank in (0, 1))
    other.stop()
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        sum(range(1000))
    one.stop()
    assert not ended.codes


def test_a_last_word_ends_the_others(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("growreel.runtime.watchdog.GRACE_SECONDS", 0.1)
    store, ended = HashStore(), Ended()
    one, other = (watch(store, rank, 60, ended) for rank in (0, 1))
    other.leave_last_word(GrowreelError("the disk is full"))
    one.leave_last_word(GrowreelError("connection closed"))
    assert one.last_word() == (1, "the disk is full"), "the first error is the reason for the others"
    assert ended.happened.wait(20)
    one.stop()
    other.stop()
    assert "process 0: stopped because process 1 did: the disk is full" in capfd.readouterr().err


def torchrun(
    store: Path, out: Path, config: Path, *, start: tuple[str, ...] = ("--standalone", "--nproc-per-node", "2"), code: str = ""
) -> subprocess.Popen[str]:
    """`growreel train` in two processes; `code` is run in each before."""
    script = f"import os, sys\nfrom growreel.cli.main import main\nrank = os.environ['RANK']\n{code}\nsys.exit(main(sys.argv[1:]))\n"
    out.with_suffix(".py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--max-restarts=3", *start]
    arguments = [str(out.with_suffix(".py")), "train", str(store), "--out", str(out), "--config", str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )


def write_config(path: Path, **training: object) -> Path:
    tree = to_dict(tiny_config(clips=96, checkpoint_interval=16))
    tree["growth"]["minibatch"] = 8
    tree["training"] |= training
    path.write_text(to_yaml(from_dict(tree, "test")))
    return path


BEFORE_EACH_STEP = (
    "from growreel.errors import GrowreelError\nfrom growreel.training import loop\nplain = loop._Loop._step\n"
    "def step(self, caught):\n"
    "    {}\n"
    "    return plain(self, caught)\n"
    "loop._Loop._step = step\n"
)


@pytest.fixture(scope="module")
def whole(shapes_store: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The last model of a run of two processes that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    run = torchrun(shapes_store, folder / "run", write_config(folder / "c.yaml"))
    said, _ = run.communicate(timeout=200)
    assert run.returncode == 0, said
    return last_model(folder / "run")


def last_model(run: Path) -> bytes:
    return sorted((run / "models").iterdir())[-1].read_bytes()


def test_killed_processes_come_back_and_end_the_same(whole: bytes, shapes_store: Path, tmp_path: Path) -> None:
    """First process 0, then process 1. Killing process 0 hung 3 of 4 times: the store of torchrun still had the addresses of the dead."""
    config = write_config(tmp_path / "c.yaml")
    kill = BEFORE_EACH_STEP.format(
        f"if self.state.clips_shown == 40 and os.environ['TORCHELASTIC_RESTART_COUNT'] == rank: os.kill(os.getpid(), {signal.SIGKILL:d})"
    )
    killed = torchrun(shapes_store, tmp_path / "killed", config, code=kill)
    said, _ = killed.communicate(timeout=200)
    assert killed.returncode == 0, said
    assert said.count("resuming") == 2
    assert last_model(tmp_path / "killed") == whole


def test_two_nodes_and_a_death_on_the_second(whole: bytes, shapes_store: Path, tmp_path: Path) -> None:
    """Two torchruns that meet on the loopback. The node of the dead counts a restart, the other one may not."""
    config = write_config(tmp_path / "c.yaml")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ("--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--local-addr=127.0.0.1")
    once = f"mark = {str(tmp_path / 'died')!r}\n"
    kill = once + BEFORE_EACH_STEP.format(
        f"if rank == '1' and self.state.clips_shown == 40 and not os.path.exists(mark):\n"
        f"        open(mark, 'w').close()\n"
        f"        os.kill(os.getpid(), {signal.SIGKILL:d})"
    )
    nodes = [torchrun(shapes_store, tmp_path / "run", config, start=flags, code=kill) for _ in range(2)]
    said = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert (tmp_path / "died").exists() and last_model(tmp_path / "run") == whole


def test_an_error_of_one_process_is_the_message_of_all(shapes_store: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml")
    fail = BEFORE_EACH_STEP.format("if rank == '1' and self.state.clips_shown == 40: raise GrowreelError('its store is gone')")
    failing = torchrun(shapes_store, tmp_path / "run", config, start=("--standalone", "--nproc-per-node=2", "--max-restarts=0"), code=fail)
    said, _ = failing.communicate(timeout=200)
    assert failing.returncode != 0
    assert "growreel: its store is gone" in said
    assert said.count("Traceback") == 1, f"torchrun's own, after ours have said what happened: {said}"


def test_a_frozen_process_is_named_and_the_run_goes_on(shapes_store: Path, tmp_path: Path) -> None:
    """SIGSTOP: no error reaches the other, which would have waited for half an hour."""
    config = write_config(tmp_path / "c.yaml", watchdog_seconds=3)
    at_once = "rank == '1' and self.state.clips_shown == 40 and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'"
    freeze = BEFORE_EACH_STEP.format(f"if {at_once}: os.kill(os.getpid(), {signal.SIGSTOP:d})")
    frozen = torchrun(shapes_store, tmp_path / "run", config, code=freeze)
    said, _ = frozen.communicate(timeout=200)
    assert frozen.returncode == 0, said
    assert "process 0: process 1 was last heard of" in said and "(growreel/" in said
    assert len(sorted((tmp_path / "run" / "models").iterdir())) == len(range(0, 97, 16))
