"""`growreel tell`: a real training in a process of its own is asked, answers, and is none the worse for it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import tiny_config
from growreel.cli import main
from growreel.config import to_yaml
from growreel.errors import GrowreelError
from growreel.models.files import load_generator
from growreel.runtime.locks import held, is_held
from growreel.training import listening
from growreel.training.checkpoint import list_checkpoints
from growreel.training.listening import Listener
from growreel.training.loop import train
from growreel.training.requests import RequestFolder, What, ask, await_answer

WORDS_IN_TURN: tuple[What, ...] = ("pause", "sample", "save", "resume", "stop")
ENDLESS = {"clips": 10**9, "checkpoint_interval": 10**8, "sample_interval": 10**8, "stats_interval": 12}


@contextmanager
def training(store: Path, run: Path, processes: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """`growreel train` without an end, once it listens."""
    config = run.parent / f"{run.name}.yaml"
    config.write_text(to_yaml(tiny_config(**ENDLESS)))
    together = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"] if processes > 1 else []
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            *together,
            "growreel",
            "train",
            str(store),
            "--out",
            str(run),
            "--config",
            str(config),
            "--growth.minibatch",
            str(4 * processes),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 120
        while RequestFolder(run).listener() is None:
            assert process.poll() is None and time.monotonic() < until, process.stdout and process.stdout.read()
            time.sleep(0.1)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_training_does_what_it_is_told(shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    with training(shapes_store, run) as process:
        assert main(["tell", str(run), "sample"]) == 0
        said = capsys.readouterr().out
        assert said.startswith("sample: wrote samples/") and (run / said.split()[2]).is_file()
        assert main(["tell", str(run), "sample", "--raw"]) == 0
        raw = run / capsys.readouterr().out.split()[2]
        assert raw.is_file() and raw.stem.endswith("-raw")
        before = len(list_checkpoints(run))
        assert main(["tell", str(run), "save"]) == 0
        clips = int(capsys.readouterr().out.split()[5])
        assert len(list_checkpoints(run)) == before + 1 and load_generator(run).clips_shown == clips

        assert main(["tell", str(run), "resume"]) == 1, "it was not paused"
        assert "not done: it was not paused" in capsys.readouterr().out
        assert main(["tell", str(run), "pause"]) == 0
        lines = (run / "stats.jsonl").read_text()
        time.sleep(1.5)
        assert (run / "stats.jsonl").read_text() == lines and RequestFolder(run).listener().state == "paused"  # type: ignore[union-attr]
        assert main(["tell", str(run), "sample"]) == 0, "it answers in a pause, too"
        assert main(["tell", str(run), "resume"]) == 0
        capsys.readouterr()

        asked = [ask(run, what) for what in ("save", "sample", "stop")]
        answers = [await_answer(run, request, 60) for request in asked]
        assert [answer and answer.what for answer in answers] == ["save", "sample", "stop"]
        assert all(answer and answer.done for answer in answers)
        assert [a.id for a in reversed(RequestFolder(run).latest_answers(3))] == [request.id for request in asked], "in their order"
        assert process.wait(60) == 0
        assert b"stopped by growreel tell; the same command resumes" in process.stdout.read()  # type: ignore[union-attr]
    assert not RequestFolder(run).waiting() and not RequestFolder(run).listening.exists()
    assert main(["tell", str(run), "sample"]) == 2
    assert "no training runs here" in capsys.readouterr().err and not RequestFolder(run).waiting()


def test_what_a_killed_training_has_left_is_not_done(shapes_store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with training(shapes_store, run) as process:
        process.send_signal(signal.SIGSTOP)  # so that it cannot look
        requests = [ask(run, "stop"), ask(run, "sample")]
        process.kill()
    assert len(RequestFolder(run).waiting()) == 2
    with pytest.raises(GrowreelError, match="no training runs here"):
        ask(run, "stop")
    with training(shapes_store, run) as process:
        answers = [await_answer(run, request, 30) for request in requests]
        assert all(answer and not answer.done and "left behind" in answer.said for answer in answers)
        time.sleep(1.5)
        assert process.poll() is None, "the old stop does not stop it"
    assert not list((run / "samples").glob("0*.webp"))


def test_two_processes_hold_go_on_and_stop_together(shapes_store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with training(shapes_store, run, processes=2) as process:
        for what in WORDS_IN_TURN:
            request = ask(run, what)
            answer = await_answer(run, request, 60)
            assert answer and answer.done and answer.what == what
        assert process.wait(120) == 0


def test_a_run_that_was_told_things_is_the_same_run(shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked at every single step to save and sample, bit for bit."""
    train(shapes_store, tmp_path / "alone", tiny_config(), progress=False)
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.0)
    run, step = tmp_path / "told", Listener.is_asked

    def asked(self: Listener) -> bool:
        for what in ("pause", "sample", "save", "resume"):
            ask(run, what)
        return step(self)

    monkeypatch.setattr(Listener, "is_asked", asked)
    train(shapes_store, run, tiny_config(), progress=False)
    for name in ("models/000000120.safetensors", "samples/000000120.webp"):
        assert (run / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    told, alone = [
        [{k: v for k, v in json.loads(row).items() if k not in ("time", "clips_per_second", "peak_memory_bytes")} for row in rows]
        for rows in ((folder / "stats.jsonl").read_text().splitlines() for folder in (run, tmp_path / "alone"))
    ]
    assert told == alone
    assert {answer.what for answer in RequestFolder(run).latest_answers(100)} == {"pause", "sample", "save", "resume"}


def test_stopping_keeps_what_was_learnt(shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is stopped at its tenth step and resumed ends where one without a stop does."""
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.0)
    run, step, steps = tmp_path / "run", Listener.is_asked, iter(range(10**6))

    def asked(self: Listener) -> bool:
        if next(steps) == 10:
            ask(run, "stop")
        return step(self)

    monkeypatch.setattr(Listener, "is_asked", asked)
    stopped = train(shapes_store, run, tiny_config(), progress=False)
    assert stopped.told_to_stop and stopped.signal is None and 0 < stopped.clips_shown < 120
    assert not train(shapes_store, run, tiny_config(), progress=False).told_to_stop
    train(shapes_store, tmp_path / "alone", tiny_config(), progress=False)
    last = "models/000000120.safetensors"
    assert (run / last).read_bytes() == (tmp_path / "alone" / last).read_bytes()


def test_what_is_no_request_goes_and_says_nothing(tmp_path: Path) -> None:
    listener = Listener(tmp_path, is_first=True)
    (tmp_path / "requests").mkdir()
    with held(tmp_path / ".lock", "test"), listener.open(0):
        (tmp_path / "config.yaml").touch()
        good = ask(tmp_path, "save")
        for number, text in enumerate(["", "{", "[1]", '{"session": "x"}', '{"what": "rm", "session": "x", "asked": 1}', "9" * 10**6]):
            (tmp_path / "requests" / f"{number:020d}-00000000.json").write_text(text)
        (tmp_path / "requests" / "note.txt").write_text("mine")
        done = list[str]()
        assert not listener.attend(7, {"save": lambda request: done.append(request.id) or "saved"}, lambda: False)  # type: ignore[func-returns-value]
        assert done == [good.id] and sorted(path.name for path in (tmp_path / "requests").iterdir()) == ["note.txt"]
        foreign = replace(good, id=f"{1:020d}-00000001", session="another")
        (tmp_path / "requests" / f"{foreign.id}.json").write_text(json.dumps({"session": "another", "what": "save", "asked": 1.0}))
        listener.attend(8, {}, lambda: False)
        answer = RequestFolder(tmp_path).find_answer(foreign.id)
        assert answer is not None and not answer.done and "another training" in answer.said
        assert is_held(tmp_path / ".lock")
    assert not is_held(tmp_path / ".lock") and not is_held(tmp_path / "missing")


def test_a_sample_that_cannot_be_written_ends_no_training(tmp_path: Path) -> None:
    listener = Listener(tmp_path, is_first=True)
    (tmp_path / "config.yaml").touch()

    def full(request: object) -> str:
        raise GrowreelError("samples: the disk is full")

    with held(tmp_path / ".lock", "test"), listener.open(0):
        request = ask(tmp_path, "sample")
        assert not listener.attend(1, {"sample": full}, lambda: False)
    answer = RequestFolder(tmp_path).find_answer(request.id)
    assert answer is not None and not answer.done and "disk is full" in answer.said
