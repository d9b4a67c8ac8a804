"""Decoding on a Ray cluster: the same store as on one machine, and films and machines that die cost what they cost there."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from growreel.cli.main import main
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.prepare import prepare
from growreel.preparation.worker import LookTask
from growreel.video.archives import MediaFile
from media import block_frames, encode, save_frames
from test_workers import HOSTILE, contents

ray = pytest.importorskip("ray")
SIZE = Size(4, 16, 16)
LOSSLESS: dict[str, Any] = {"codec": "ffv1", "pix_fmt": "bgr0"}

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore"
    ),  # Ray's own: sockets that its clients leave to the end, and what becomes of options in later versions
    pytest.mark.xdist_group("ray"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of two cores on this machine, as a caller who is connected already has it: starting one takes seconds."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


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


def test_a_store_made_by_ray_is_that_of_one_machine(films: Path, tmp_path: Path) -> None:
    """Films that crash or stall their decoder among them: through the command, which starts a Ray and leaves none of it behind."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(HOSTILE)
    for name in ("b_crash.mkv", "c_hang.mkv"):
        (films / name).write_bytes((films / "1.mkv").read_bytes())
    paths = os.pathsep.join([str(tmp_path / "site"), *(path for path in sys.path if path)])
    environment = {**os.environ, "PYTHONPATH": paths} | {"RAY_TMPDIR": "/tmp"}
    told = {}
    for engine in ("local", "ray"):
        command = ["prepare", str(films), str(tmp_path / engine), "--size", str(SIZE), "--workers", "2", "--time-limit", "3", "--json"]
        arguments = [sys.executable, "-m", "growreel", *command, "--engine", engine]
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 1, done.stderr
        told[engine] = json.loads(done.stdout)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local") and not list(tmp_path.glob("*.partial"))
    assert told["ray"]["sources"] == told["local"]["sources"]
    notes = {row["name"]: row["note"] for row in told["ray"]["sources"]}
    assert "crashed (SIGSEGV)" in notes["b_crash.mkv"] and "no sign of life for 3 s" in notes["c_hang.mkv"]


@pytest.mark.usefixtures("cluster")
def test_a_task_whose_actor_dies_is_done_by_another(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from growreel.preparation import ray_crew

    mark = tmp_path / "died"

    class Mortal(ray_crew.Decoder):
        def do(self, task: Any) -> Any:
            if not mark.exists():
                mark.write_text("")
                os._exit(1)
            return super().do(task)

    prepare(films, tmp_path / "whole", SIZE, workers=0, progress=False)
    monkeypatch.setattr(ray_crew, "Decoder", Mortal)
    report = prepare(films, tmp_path / "store", SIZE, workers=2, engine="ray", progress=False)
    assert mark.exists() and {row.name for row in report.skipped} == {"text.mp4"}
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")

    class Doomed(ray_crew.Decoder):
        def do(self, task: Any) -> Any:
            os._exit(1)

    monkeypatch.setattr(ray_crew, "Decoder", Doomed)
    with ray_crew.RayCrew(1, 30.0, []) as crew:
        (lost,) = crew.run([LookTask((MediaFile(films / "1.mkv"),))])
    assert lost.reason == "3 Ray actors died of it; left out"
    assert ray.is_initialized(), "whoever connected to Ray goes on with it"


@pytest.mark.usefixtures("cluster")
def test_a_machine_that_will_not_do_is_named(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from growreel.preparation import ray_crew

    class Elsewhere(ray_crew.Decoder):
        def facts(self, paths: Any) -> ray_crew.Facts:
            return super().facts(paths)._replace(host="far", missing=tuple(paths))

    class Older(ray_crew.Decoder):
        def facts(self, paths: Any) -> ray_crew.Facts:
            return super().facts(paths)._replace(host="old", versions=("0.0.1", *super().facts(paths).versions[1:]))

    for decoder, expected in (
        (Elsewhere, "machine far does not see .*films; all machines need"),
        (Older, "machine old has growreel 0.0.1, "),
    ):
        with monkeypatch.context() as patch, pytest.raises(GrowreelError, match=expected):
            patch.setattr(ray_crew, "Decoder", decoder)
            prepare(films, tmp_path / "store", SIZE, workers=2, engine="ray", progress=False)
    with pytest.raises(GrowreelError, match="--workers 3: the Ray cluster has 2 cores"):
        prepare(films, tmp_path / "store", SIZE, workers=3, engine="ray", progress=False)


def test_what_cannot_be_is_one_line(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prepare", str(films), str(tmp_path / "store"), "--size", str(SIZE), "--engine", "ray"]
    assert main([*command, "--workers", "0"]) == 2
    assert "--workers 0: decodes in this process" in capsys.readouterr().err
    with socket.socket() as taken:  # a port at which nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        assert main(command) == 2
    assert re.search(r"--engine ray: RAY_ADDRESS 127.0.0.1:\d+ cannot be reached \(.*refused\)", capsys.readouterr().err)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(command) == 2
    assert "--engine ray: needs the extra `ray`; install it with: pip install 'growreel[ray]'" in capsys.readouterr().err
