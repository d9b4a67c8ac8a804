"""Files that are there whole or not at all, names that nobody can foresee, and locks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import growreel
from growreel.errors import GrowreelError
from growreel.runtime.durable import remove_folder, replace_text, replacing, replacing_folder, tidy
from growreel.runtime.locks import held

SOURCE = Path(growreel.__file__).parent


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    replace_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half")
        file.flush()
        assert path.read_text() == "old"
        raise ZeroDivisionError
    assert path.read_text() == "old" and names(tmp_path) == ["a.json"]
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_text() == "new" and names(tmp_path) == ["a.json"]


def test_names_may_be_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    replace_text(tmp_path / ("ü" * 127), "x")
    assert names(tmp_path) == ["ü" * 127]


def test_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace_text(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_link_beside_a_file_leads_no_writer_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither at a name that can be guessed nor, were the token known, at the true one."""
    victim, run = tmp_path / "victim", tmp_path / "run"
    victim.write_text("mine")
    run.mkdir()
    (run / "config.yaml.partial").symlink_to(victim)
    replace_text(run / "config.yaml", "a: 1")
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    (run / f".config.yaml.{'0' * 16}.partial").symlink_to(victim)
    with pytest.raises(FileExistsError):
        replace_text(run / "config.yaml", "a: 2")
    assert victim.read_text() == "mine" and (run / "config.yaml").read_text() == "a: 1"


def test_all_writers_come_through_one_helper() -> None:
    """The writer of stores is the exception: its unfinished folder is found again, so its name must be known."""
    by_hand = re.compile(r"os\.replace\(|\.partial\b|mkstemp|NamedTemporaryFile")
    allowed = {"runtime/durable.py", "data/writer.py", "data/store.py"}
    allowed |= {f"preparation/{name}.py" for name in ("prepare", "merging", "finishing")}
    allowed |= {"preparation/ray_crew.py"}  # moves files of the spool, which nothing takes up after its call
    found = {str(file.relative_to(SOURCE)) for file in SOURCE.rglob("*.py") if by_hand.search(file.read_text(encoding="utf-8"))}
    assert found <= allowed


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with replacing_folder(tmp_path / "f") as folder:
            (folder / "x").write_text(text)
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "f") as folder:
        (folder / "x").write_text("three")
        raise ZeroDivisionError
    assert (tmp_path / "f" / "x").read_text() == "two" and names(tmp_path) == ["f"]
    remove_folder(tmp_path / "f")
    assert names(tmp_path) == []


def test_tidy_removes_what_was_killed_and_nothing_else(tmp_path: Path) -> None:
    token = "0123456789abcdef"
    (tmp_path / "mine.partial").write_text("")
    (tmp_path / f".a.{token}.partial").write_text("")
    for name in (f".f.{token}.partial", f".g.{token}.replaced", f".h.{token}.replaced", "h"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    tidy(tmp_path)
    assert names(tmp_path) == ["g", "h", "mine.partial"]
    assert (tmp_path / "g" / "x").read_text() == f".g.{token}.replaced", "its successor never came"
    assert (tmp_path / "h" / "x").read_text() == "h"
    tidy(tmp_path / "nowhere")


def test_a_lock_is_held_by_one_process_and_ends_with_it(tmp_path: Path) -> None:
    script = f"""
import pathlib, time
from growreel.runtime.locks import held
with held(pathlib.Path({str(tmp_path / ".lock")!r}), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(GrowreelError, match=rf"^busy \(process {process.pid} on .*wait for it"), held(tmp_path / ".lock", "busy"):
            pass
        process.send_signal(signal.SIGKILL)
    with held(tmp_path / ".lock", "busy"), pytest.raises(GrowreelError, match="busy"), held(tmp_path / ".lock", "busy"):
        pass


def test_locks_and_their_users_import_where_there_is_no_fcntl(tmp_path: Path) -> None:
    """As on Windows; what `msvcrt` is asked for there is looked at, too."""
    script = f"""
import errno, logging, os, pathlib, socket, sys, types
import numpy, torch, tqdm, growreel.errors
asked = []
def locking(descriptor, mode, count):
    asked.append((os.lseek(descriptor, 0, os.SEEK_CUR), mode, count))
    if len(asked) > 1:
        raise OSError(errno.EACCES, "Permission denied")
sys.modules["fcntl"], sys.modules["msvcrt"] = None, types.SimpleNamespace(LK_NBLCK=2, locking=locking)
here, sys.platform = sys.platform, "win32"
from growreel.runtime.locks import held
with held(pathlib.Path({str(tmp_path / ".lock")!r}), "busy"):
    try:
        with held(pathlib.Path({str(tmp_path / ".lock")!r}), "busy"):
            raise AssertionError
    except growreel.errors.GrowreelError as error:
        assert str(error).startswith("busy (process")
assert set(asked) == {{(2**30, 2, 1)}} and len(asked) > 1
sys.platform = here
import growreel.data.writer, growreel.training.run_folder
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
