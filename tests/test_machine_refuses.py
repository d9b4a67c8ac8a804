"""No permission, too many open files, no memory: one line with what to do, and exit code 3. Pipes and folders in a file's place: code 2."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import colored, tiny_config
from growreel.cli.main import COMMANDS as CLI
from growreel.cli.main import main
from growreel.config import to_yaml
from growreel.errors import GrowreelError
from growreel.models import build_generator
from growreel.models.files import save_model

NOBODY = 65534


@pytest.fixture
def files(shapes_store: Path, tmp_path: Path) -> Path:
    """A model, a configuration, an array of clips and a store, in one folder."""
    folder = tmp_path / "locked"
    config = colored(tiny_config())
    save_model(folder / "model.safetensors", build_generator(config), config, 70, 12.5)
    (folder / "config.yaml").write_text(to_yaml(config))
    np.save(folder / "clips.npy", np.zeros((2, 4, 8, 8, 3), np.uint8))
    (folder / "store").symlink_to(shapes_store)
    return folder


COMMANDS = {
    "inspect MODEL": lambda f: ["inspect", f"{f}/model.safetensors"],
    "inspect STORE": lambda f: ["inspect", f"{f}/store", "--sheet", f"{f}/sheet.png"],
    "plan": lambda f: ["plan", "--config", f"{f}/config.yaml"],
    "sample": lambda f: ["sample", f"{f}/model.safetensors", "--count", "1", "--out", f"{f}/out.webp"],
    "evaluate": lambda f: ["evaluate", f"{f}/clips.npy", "--real", f"{f}/store", "--metrics", "motion"],
    "train": lambda f: ["train", f"{f}/store", "--config", f"{f}/config.yaml", "--out", f"{f}/run", "--clips", "4"],
    "prepare": lambda f: ["prepare", f"{f}/clips.npy", f"{f}/new", "--size", "4x8x8", "--fps", "8", "--overwrite"],
    "report": lambda f: ["report", f"{f}/run"],
}


@contextmanager
def without_permission(folder: Path) -> Iterator[None]:
    """Nobody may look into `folder`; root, who always may, becomes another user for a while."""
    mode, root = folder.stat().st_mode, os.geteuid() == 0
    folder.chmod(0)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(mode)


@contextmanager
def without_handles(_: Path) -> Iterator[None]:
    """The process may open no file more."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").exists() else 64
    gaps = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, limit[1]))
        while True:
            try:
                gaps.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        for descriptor in gaps:
            os.close(descriptor)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("refusal", "words"), [(without_permission, "no permission"), (without_handles, "too many open files")])
def test_what_the_machine_refuses_is_one_line(
    refusal: Callable[[Path], Iterator[None]], words: str, command: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(COMMANDS[command](files))  # so that everything is imported that the command needs
    capsys.readouterr()
    with refusal(files):  # type: ignore[attr-defined]
        code = main(COMMANDS[command](files))
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and "Traceback" not in error, error
    assert code == 3


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.empty(2**46, dtype=torch.uint8),
        lambda: np.ones(2**46, np.uint8),
        lambda: b"x" * 2**46,
        lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
    ids=["torch", "numpy", "python", "cuda"],
)
def test_too_little_memory_is_one_line(
    ask: Callable[[], object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> int:
        found = ask()
        assert isinstance(found, Exception)
        raise found

    monkeypatch.setitem(CLI, "demo", replace(CLI["demo"], run=run))
    assert main(["demo"]) == 3
    assert capsys.readouterr().err.startswith("growreel: not enough memory: ")


def test_other_faults_of_growreel_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: object) -> int:
        raise RuntimeError("shape mismatch")

    monkeypatch.setitem(CLI, "demo", replace(CLI["demo"], run=run))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        main(["demo"])


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
@pytest.mark.parametrize("command", ["inspect MODEL", "plan", "sample", "evaluate", "train", "prepare"])
def test_what_is_no_file_is_refused_and_never_waited_for(kind: str, command: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("model.safetensors", "config.yaml", "clips.npy"):
        (files / name).unlink()
        if kind == "pipe":
            os.mkfifo(files / name)
        elif kind == "folder":
            (files / name).mkdir()
        else:
            (files / name).symlink_to("/dev/zero")
    signal.alarm(30)  # a hang ends the tests
    try:
        assert main(COMMANDS[command](files)) == 2
    finally:
        signal.alarm(0)
    assert capsys.readouterr().err.startswith(f"growreel: {files}")


def test_messages_are_short_and_have_no_control_characters() -> None:
    message = str(GrowreelError("file\x1b[2J\u202e.yaml: " + "y" * 10**6))
    assert message.isprintable() and len(message) < 4000 and message.startswith(r"file\x1b[2J\u202e.yaml")
