"""Decoding on a Ray cluster: the same store as on one machine, and films and machines that die cost what they cost there."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from growreel.cli.main import main
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.dispatch import Lost
from growreel.preparation.merging import Shard, merge
from growreel.preparation.prepare import prepare
from growreel.preparation.worker import LookTask
from growreel.video.archives import MediaFile
from media import block_frames, encode, save_frames
from test_workers import HOSTILE, contents, interrupted

ray = pytest.importorskip("ray")
SIZE = Size(4, 16, 16)
LOSSLESS: dict[str, Any] = {"codec": "ffv1", "pix_fmt": "bgr0"}

pytestmark = [
    # Ray's own doing: it leaves sockets of its clients and output of its processes to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    # and says at every start that GPUs will be hidden otherwise some day
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning"),
    pytest.mark.xdist_group("ray"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of two cores on this machine, as a caller who is connected already has it: starting one takes seconds."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = signal.getsignal(signal.SIGTERM)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    signal.signal(signal.SIGTERM, before)  # which Ray takes for itself, and other tests look at
    yield
    ray.shutdown()
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(6):
        encode(folder / f"{number}.mkv", block_frames(5 + 9 * (number % 3), 16, 16, number), fps=20, **LOSSLESS)
    save_frames(folder / "frames", block_frames(9, 16, 16, 7))
    (folder / "text.mp4").write_text("words")
    np.save(folder / "array.npy", block_frames(8, 16, 16, 10))
    return folder


def processes_of(token: str) -> list[str]:
    """Commands of living processes that were started with this in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and token.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80])
        except OSError:  # it has ended, or is another user's
            continue
    return [command for command in found if command]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_command_gives_the_same_store_with_a_ray_of_its_own_and_leaves_none(films: Path, tmp_path: Path) -> None:
    """With films that crash or stall their decoder; stopped by SIGTERM in the middle, and gone on with."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(HOSTILE)
    for name in ("b_crash.mkv", "c_hang.mkv"):
        (films / name).write_bytes((films / "1.mkv").read_bytes())
    paths = os.pathsep.join([str(tmp_path / "site"), *(path for path in sys.path if path)])
    token = f"TOKEN={tmp_path.name}{os.getpid()}"
    environment = {**os.environ, "PYTHONPATH": paths, "RAY_TMPDIR": "/tmp", **dict([token.split("=")])}

    def start(engine: str, limit: str = "3") -> subprocess.Popen[str]:
        command = ["prepare", "films", engine, "--size", str(SIZE), "--workers", "2", "--time-limit", limit, "--json", "--engine", engine]
        arguments = [sys.executable, "-m", "growreel", *command]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)

    with start("ray", limit="600") as stopped:
        journal = tmp_path / "ray.partial/journal.jsonl"
        while stopped.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > 4):
            time.sleep(0.01)
        stopped.send_signal(signal.SIGTERM)
        said = stopped.communicate(timeout=60)[1]
        assert stopped.returncode == 128 + signal.SIGTERM, said
        assert "stopped by SIGTERM" in said
    told = {}
    for engine in ("local", "ray"):
        with start(engine) as process:
            out, error = process.communicate(timeout=120)
        assert process.returncode == 1, error
        told[engine] = json.loads(out)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local") and not list(tmp_path.glob("*.partial"))
    assert told["ray"]["sources"] == told["local"]["sources"]
    notes = {row["name"]: row["note"] for row in told["ray"]["sources"]}
    assert "crashed (SIGSEGV)" in notes["b_crash.mkv"] and "no sign of life for 3 s" in notes["c_hang.mkv"]
    end = time.monotonic() + 15
    while processes_of(token) and time.monotonic() < end:
        time.sleep(0.1)
    assert not processes_of(token)


@pytest.mark.usefixtures("cluster")
def test_every_crop_and_shards_are_the_same_on_a_cluster(films: Path, tmp_path: Path) -> None:
    """With more processes wanted than the cluster has cores, too."""
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("video,start_frame,end_frame,x,y,w,h\n1.mkv,0,14,2,2,12,12\n2.mkv,3,23,0,0,8,8\n")
    encode(films / "wide.mkv", block_frames(9, 16, 40, 11), fps=20, **LOSSLESS)
    for crop in ("grid", str(boxes)):
        for engine, options in {"local": {"workers": 0}, "ray": {"workers": 3}}.items():
            prepare(films, tmp_path / engine, SIZE, crop=crop, engine=engine, progress=False, overwrite=True, **options)  # type: ignore[arg-type]
        assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    prepare(films, tmp_path / "whole", SIZE, workers=0, progress=False)
    for number, engine in ((1, "ray"), (2, "local")):
        prepare(films, tmp_path / f"part{number}", SIZE, shard=Shard(number, 2), engine=engine, progress=False, workers=1)  # type: ignore[arg-type]
    merge([tmp_path / "part2", tmp_path / "part1"], tmp_path / "merged")
    assert contents(tmp_path / "merged") == contents(tmp_path / "whole")


@pytest.mark.usefixtures("cluster")
def test_either_engine_goes_on_where_the_other_was_stopped(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(films, tmp_path / "whole", SIZE, workers=0, progress=False)
    interrupted(films, tmp_path / "a", 3, monkeypatch)
    prepare(films, tmp_path / "a", SIZE, workers=2, engine="ray", progress=False)
    interrupted(films, tmp_path / "b", 4, monkeypatch, workers=2, engine="ray")
    prepare(films, tmp_path / "b", SIZE, workers=1, progress=False)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "whole")


@pytest.mark.usefixtures("cluster")
def test_a_task_whose_actor_dies_is_done_by_another(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from growreel.preparation import ray_crew

    mark = tmp_path / "died"

    class Mortal(ray_crew.Decoder):
        """Dies of the first film that it has cut, its clips written."""

        def do(self, task: Any) -> Any:
            result = super().do(task)
            if not isinstance(task, LookTask) and not mark.exists():
                mark.write_text("")
                os._exit(1)
            return result

    prepare(films, tmp_path / "whole", SIZE, workers=0, progress=False)
    monkeypatch.setattr(ray_crew, "Decoder", Mortal)
    command = ["prepare", str(films), str(tmp_path / "store"), "--size", str(SIZE), "--engine", "ray", "--workers", "2", "--json"]
    assert main(command) == 1
    told = json.loads(capsys.readouterr().out)  # nothing of Ray's is in it
    assert mark.exists() and [row["name"] for row in told["sources"] if row["status"] == "skipped"] == ["text.mp4"]
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")

    class Doomed(ray_crew.Decoder):
        """Dies of one film."""

        def do(self, task: Any) -> Any:
            if "1.mkv" in str(task):
                os._exit(1)
            return super().do(task)

    monkeypatch.setattr(ray_crew, "Decoder", Doomed)
    tasks = [LookTask((MediaFile(films / f"{number}.mkv"),)) for number in range(4)]
    with ray_crew.RayCrew(1, 30.0, []) as crew:
        results = list(crew.run(tasks))
    assert [isinstance(result, Lost) for result in results] == [False, True, False, False]
    assert results[1] == Lost("3 processes on machines of the Ray cluster died of it (it died); left out")
    assert ray.is_initialized(), "whoever connected to Ray goes on with it"


@pytest.mark.usefixtures("cluster")
def test_too_little_memory_costs_the_film_that_takes_it(films: Path) -> None:
    """Ray has an error of its own for that, which is none of a dead actor."""
    from growreel.preparation import ray_crew

    tasks = [LookTask((MediaFile(films / f"{number}.mkv"),)) for number in range(3)]
    with ray_crew.RayCrew(1, 30.0, []) as crew:
        asked: list[Any] = []

        def get(ref: Any) -> Any:
            result = ray.get(ref)
            if isinstance(result, list) and "1.mkv" in str(result):
                asked.append(ref)
                raise ray.exceptions.OutOfMemoryError("a page of words")
            return result

        crew._ray = SimpleNamespace(get=get, wait=ray.wait, kill=ray.kill, exceptions=ray.exceptions)  # type: ignore[assignment]
        results = list(crew.run(tasks))
    assert len(asked) == 3
    assert results[1] == Lost("3 processes on machines of the Ray cluster died of it (the machine's memory was short); left out")
    assert not isinstance(results[0], Lost) and not isinstance(results[2], Lost)


@pytest.mark.usefixtures("cluster")
def test_a_machine_that_will_not_do_is_named(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from growreel.preparation import ray_crew

    class Elsewhere(ray_crew.Decoder):
        def facts(self, paths: Any) -> ray_crew.Facts:
            return super().facts([path.replace("films/1.mkv", "films/none") for path in paths])._replace(host="far")

    class Older(ray_crew.Decoder):
        def facts(self, paths: Any) -> ray_crew.Facts:
            return super().facts(paths)._replace(host="old", versions=("0.0.1", *super().facts(paths).versions[1:]))

    class NotShared(ray_crew.Decoder):
        def do(self, task: Any) -> Any:
            result = super().do(task)
            if not isinstance(task, LookTask):
                task.spool.unlink(missing_ok=True)  # as if it were in a folder of that machine's own
            return result

    for decoder, expected in (
        (Elsewhere, "machine far does not see .*films/none; all machines need a shared folder"),
        (Older, "machine old has growreel 0.0.1, "),
        (NotShared, "machine .* wrote into another .*: it is not shared"),
    ):
        with monkeypatch.context() as patch, pytest.raises(GrowreelError, match=expected):
            patch.setattr(ray_crew, "Decoder", decoder)
            prepare(films, tmp_path / "store", SIZE, workers=2, engine="ray", progress=False)


def test_what_cannot_be_is_one_line(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from growreel.preparation import ray_cluster

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_cluster, "ANSWER_LIMIT", 1.0)
    command = ["prepare", str(films), str(tmp_path / "store"), "--size", str(SIZE)]

    def said(*flags: str) -> str:
        assert main([*command, *flags]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "--workers 0: decodes in this process" in said("--engine", "ray", "--workers", "0")
    assert "--ray-address x:1: goes with --engine ray only" in said("--ray-address", "x:1")
    assert "--ray-address nowhere: no Ray cluster can be reached there (is not HOST:PORT)" in said(
        "--engine", "ray", "--ray-address", "nowhere"
    )
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert "refused)" in said("--engine", "ray", "--ray-address", address)
        other.listen()
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert f"RAY_ADDRESS {address}: no Ray cluster can be reached there (something listens, but" in said("--engine", "ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "--engine ray: needs the extra `ray`; install it with: pip install 'growreel[ray]'" in said("--engine", "ray")
    assert not (tmp_path / "store.partial").exists()
