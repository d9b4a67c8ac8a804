"""Decoding in processes: the same bytes for any number of them, and a file that kills or stalls its decoder costs itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from growreel.cli.main import main
from growreel.data.contact import describe
from growreel.data.store import ClipStore
from growreel.data.writer import StoreWriter
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.converting import Cut
from growreel.preparation.crew import LocalCrew
from growreel.preparation.prepare import prepare
from growreel.preparation.report import PrepareReport
from growreel.preparation.sources import Source
from growreel.preparation.worker import ConvertTask, LookTask, SpoolError
from growreel.video.archives import MediaFile
from media import block_frames, cut_off, encode, save_frames

SIZE = Size(4, 16, 16)
LOSSLESS: dict[str, Any] = {"codec": "ffv1", "pix_fmt": "bgr0"}


def run(source: Path, store: Path, **options: Any) -> PrepareReport:
    return prepare(source, store, SIZE, progress=False, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films of all sorts and lengths, some of them damaged."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(6):
        encode(folder / f"{number}.mkv", block_frames(5 + 9 * (number % 3), 16, 16, number), fps=20, **LOSSLESS)
    save_frames(folder / "frames", block_frames(9, 16, 16, 7))
    cut_off(encode(folder / "cut.mp4", block_frames(80, 48, 64, 8), index_first=True))
    encode(folder / "large.mp4", block_frames(40, 96, 128, 9))
    (folder / "text.mp4").write_text("words")
    np.save(folder / "array.npy", block_frames(8, 16, 16, 10))
    return folder


def test_bytes_do_not_depend_on_workers(films: Path, tmp_path: Path) -> None:
    reports = {workers: run(films, tmp_path / str(workers), workers=workers) for workers in (0, 1, 3)}
    alone = contents(tmp_path / "0")
    for workers in (1, 3):
        assert reports[workers].rows == reports[0].rows
        assert contents(tmp_path / str(workers)) == alone
    assert not (tmp_path / "1.partial").exists()
    ClipStore.open(tmp_path / "3").verify()


def test_a_lone_film_is_decoded_by_several_threads_to_the_same_bytes(films: Path, tmp_path: Path) -> None:
    for name in ("large.mp4", "cut.mp4"):
        run(films / name, tmp_path / f"{name}-0", workers=0)
        run(films / name, tmp_path / f"{name}-3", workers=3)
        assert contents(tmp_path / f"{name}-0") == contents(tmp_path / f"{name}-3")


HOSTILE = """
import os, signal, time
import av
plain = av.open
def opened(source, *rest, **options):
    name = os.path.basename(str(source))
    if "crash" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in name:
        time.sleep(600)
    return plain(source, *rest, **options)
av.open = opened
"""


def test_a_crash_or_a_hang_of_a_decoder_costs_one_file(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(HOSTILE)  # read by the children, whose way to modules is ours
    monkeypatch.syspath_prepend(tmp_path / "site")
    source = tmp_path / "in"
    source.mkdir()
    good = (films / "1.mkv").read_bytes()
    for name in ("a.mkv", "b_crash.mkv", "c_hang.mkv", "d.mkv", "e_crash.avi.bin", "f.mkv"):
        (source / name).write_bytes(good)
    begin = time.monotonic()
    report = run(source, tmp_path / "s", workers=2, time_limit=2.0)
    assert time.monotonic() - begin < 60
    assert {row.name for row in report.rows if row.status == "used"} == {"a.mkv", "d.mkv", "f.mkv"}
    notes = {row.name: row.note for row in report.skipped}
    assert notes == {
        "b_crash.mkv": "its decoder crashed (SIGSEGV); left out",
        "c_hang.mkv": "its decoder gave no sign of life for 2 s; left out",
        "e_crash.avi.bin": "its decoder crashed (SIGSEGV); left out",
    }
    assert report.exit_code == 1


def test_crew_gives_results_in_order_and_leaves_no_process(films: Path) -> None:
    files = [MediaFile(path) for path in sorted(films.iterdir()) if path.is_file()]
    with LocalCrew(2, 30.0) as crew:
        results = list(crew.run(LookTask((file,)) for file in files))
        processes = [process._child for process in crew._processes]
        assert [looks[0].file for looks in results] == files
        assert 1 <= len(processes) <= 2
    assert all(process.poll() is not None for process in processes)


def test_a_script_without_a_guard_may_call_prepare(films: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import growreel\n"
        f"report = growreel.prepare({str(films)!r}, {str(tmp_path / 's')!r}, growreel.Size(4, 16, 16), workers=2, progress=False)\n"
        "print(report.clips)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", str(script)], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(ClipStore.open(tmp_path / "s"))


def test_workers_need_no_torch() -> None:
    program = "import sys; import growreel.preparation.worker, growreel.preparation.crew; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def start(source: Path, store: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "growreel", "prepare", str(source), str(store), "--size", str(SIZE), "--workers", "2"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished_sources(store: Path) -> int:
    journal = store.with_name(store.name + ".partial") / "journal.jsonl"
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else -1


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(24):
        encode(folder / f"{number}.mp4", block_frames(60, 96, 128, number), fps=20, options={"preset": "ultrafast"})
    return folder


def test_killed_at_any_point_the_same_command_goes_on_to_the_same_bytes(many: Path, tmp_path: Path) -> None:
    run(many, tmp_path / "whole", workers=0)
    kills = 0
    for enough in (0, 3, 9):
        process = start(many, tmp_path / "s")
        while process.poll() is None and finished_sources(tmp_path / "s") < enough:
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills >= 2
    report = run(many, tmp_path / "s", workers=1)
    assert report.exit_code == 0
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


def test_sigterm_is_answered(many: Path, tmp_path: Path) -> None:
    process = start(many, tmp_path / "s")
    while finished_sources(tmp_path / "s") < 1:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; the same command goes on" in said
    assert "Traceback" not in said


def interrupted(source: Path, store: Path, after: int, monkeypatch: pytest.MonkeyPatch, workers: int = 0, **options: Any) -> None:
    """A call that ends once `after` sources are in the journal."""
    real = StoreWriter.finish_source

    def finish_source(self: StoreWriter, *rest: Any) -> None:
        real(self, *rest)
        if len(self.finished) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StoreWriter, "finish_source", finish_source)
        run(source, store, workers=workers, **options)


def test_a_call_killed_while_it_wrote_the_index_leaves_nothing_in_the_store(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(films, tmp_path / "whole", workers=0)
    interrupted(films, tmp_path / "s", 3, monkeypatch)
    (tmp_path / "s.partial/.index.json.d3c3f984e8abbe90.partial").write_text("{")  # as kill_prepare.py found it
    run(films, tmp_path / "s", workers=0)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


def test_a_film_that_is_replaced_meanwhile_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number in range(4):
        encode(source / f"{number}.mkv", block_frames(8, 16, 16, number), **LOSSLESS)
    interrupted(source, tmp_path / "s", 3, monkeypatch)
    encode(source / "1.mkv", block_frames(12, 16, 16, 9), **LOSSLESS)
    encode(source / "0a.mkv", block_frames(4, 16, 16, 10), **LOSSLESS)  # and one comes between
    run(source, tmp_path / "s", workers=0)
    run(source, tmp_path / "whole", workers=0)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")
    store = ClipStore.open(tmp_path / "s")
    assert [clip.source for clip in store.clips] == ["0.mkv"] * 2 + ["0a.mkv"] + ["1.mkv"] * 3 + ["2.mkv"] * 2 + ["3.mkv"] * 2


def test_a_full_disk_in_a_worker_is_told_and_the_same_call_goes_on(many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    run(many, tmp_path / "whole", workers=0)
    full = tmp_path / "full"  # never the device itself: spools are removed
    full.symlink_to("/dev/full")

    def task(source: Source, cut: Cut, spool: Path, *rest: Any) -> ConvertTask:
        return ConvertTask(source, cut, full if source.name == "3.mp4" else spool, *rest)

    with monkeypatch.context() as patch, pytest.raises(GrowreelError, match=r"disk is full. 45 clips of 3 sources are safe"):
        patch.setattr("growreel.preparation.prepare.ConvertTask", task)
        run(many, tmp_path / "s", workers=1)
    run(many, tmp_path / "s", workers=1)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


def test_no_path_of_the_source_folder_is_in_the_store(films: Path, tmp_path: Path) -> None:
    run(films, tmp_path / "s", workers=0)
    run(films, tmp_path / "anonymous", workers=1, anonymous=True)
    for name in ("s", "anonymous"):
        index = (tmp_path / name / "index.json").read_text()
        assert str(films) not in index
        assert str(films.parent) not in index
        with ClipStore.open(tmp_path / name) as store:
            assert str(films) not in describe(store)
    named, anonymous = (ClipStore.open(tmp_path / name) for name in ("s", "anonymous"))
    index = (tmp_path / "anonymous/index.json").read_text()
    for path in films.rglob("*"):
        assert path.name not in json.dumps(json.loads(index)["clips"])
        assert path.suffix == "" or f'"{path.name}"' not in index
    assert films.name not in index
    assert len({clip.source for clip in named.clips}) == len({clip.source for clip in anonymous.clips})
    everything = range(len(named))
    assert np.array_equal(named.read(everything, SIZE), anonymous.read(everything, SIZE))
    again = tmp_path / "elsewhere"
    again.mkdir()
    for path in films.iterdir():
        if path.is_file():
            (again / f"other {path.name}").write_bytes(path.read_bytes())
    run(again, tmp_path / "again", workers=0, anonymous=True)
    assert {clip.source for clip in ClipStore.open(tmp_path / "again").clips} < {clip.source for clip in anonymous.clips}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fps", "nan"], "--fps nan: must be from 0.01 to 1000"),
        (["--fps", "1e9"], "--fps 1000000000.0: must be from 0.01"),
        (["--fps", "inf"], "--fps inf: must be from"),
        (["--workers", "-1"], "--workers -1: must be at least 0"),
        (["--time-limit", "nan"], "--time-limit nan: must be above 0"),
        (["--channel", "-2"], "--channel -2: must be at least 0"),
    ],
)
def test_settings_out_of_range_are_one_line(films: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    assert main(["prepare", str(films), "nowhere", "--size", str(SIZE), *flags]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"growreel: {message}")
    assert said.count("\n") == 1
    assert not Path("nowhere.partial").exists()


def test_a_seed_below_zero_is_one_line(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(films, tmp_path / "s", workers=0)
    assert main(["inspect", str(tmp_path / "s"), "--seed", "-1"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "growreel: --seed -1: must be at least 0\n"


def test_the_table_shows_what_went_wrong_and_all_only_if_asked(films: Path, tmp_path: Path) -> None:
    report = run(films, tmp_path / "s", workers=0)
    short, long = report.table(), report.table(verbose=True)
    assert "text.mp4" in short
    assert "cut.mp4" in short  # damaged
    assert "0.mkv" not in short
    assert all(row.name in long for row in report.rows)
    assert report.exit_code == 1
    (films / "text.mp4").unlink()
    (films / "cut.mp4").rename(tmp_path / "cut.mp4")
    try:
        assert run(films, tmp_path / "t", workers=0).exit_code == 0
        assert run(tmp_path / "cut.mp4", tmp_path / "u", workers=0).exit_code == 1
    finally:
        (tmp_path / "cut.mp4").rename(films / "cut.mp4")


def test_a_decoder_that_outlives_its_killed_call_cannot_write_into_the_next(tmp_path: Path) -> None:
    """Its task names a spool that is gone by then, whatever the number of its source is now."""
    film = encode(tmp_path / "0.mkv", block_frames(8, 16, 16), **LOSSLESS)
    with StoreWriter(tmp_path / "s", SIZE, 3, options={}) as killed:
        before = killed.new_spool()
    cut = Cut(SIZE, 1, 4, "crop", None, 3, None, None, None)
    late = ConvertTask(Source("0.mkv", "video", (MediaFile(film),)), cut, before / "0.clips", 1, False)
    assert len(late.run(lambda: None).clips) == 2
    with StoreWriter(tmp_path / "s", SIZE, 3, options={}) as writer:
        after = writer.new_spool()
        with pytest.raises(SpoolError):
            late.run(lambda: None)
        assert not list(after.iterdir())
