"""Models on the hub: the folder that is pushed, its card, and the way back, offline: a server of our own stands for the hub's."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import growreel
from conftest import tiny_config
from growreel.cli.main import main
from growreel.data.store import file_checksum
from growreel.errors import GrowreelError
from growreel.hub import from_pretrained, push, write_repository
from growreel.models.files import load_generator, newest_model
from growreel.models.hub import is_hub_address
from growreel.reading.folders import command_without_folders, without_folders
from growreel.recipe import find_model, read_recipe
from growreel.training.checkpoint import list_checkpoints
from growreel.training.loop import train

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECRET = "/home/somebody/secret"


@pytest.fixture(scope="module")
def run(shapes_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run with a metric card that belongs to its newest model."""
    path = tmp_path_factory.mktemp("hub") / "run"
    train(shapes_store, path, tiny_config(clips=60), progress=False)
    figure = {"value": 50.0, "low": 40.0, "high": 60.0, "real": 20.0}
    card: dict[str, Any] = {
        "format": "growreel-metric-card-1",
        "fake": {"path": f"{SECRET}/run/models/1.safetensors", "sha256": file_checksum(newest_model(path)), "compared": 8},
        "real": {"path": f"{SECRET}/clips", "compared": 8},
        "settings": {"protocol": "growreel", "date": "2026-11-26"},
        "results": [{"name": "swd", "about": "sliced distance", "better": "lower", "figures": {"mean": figure}}],
        "warnings": [f"{SECRET}/clips: few clips"],
    }
    (path / "card.json").write_text(json.dumps(card))
    return path


@pytest.fixture(scope="module")
def repository(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pushed") / "shapes"
    return write_repository(run, folder, repo="me/shapes", license="My own terms: ask", about="Discs & <b>squares</b>", data_license="CC0")


def test_the_folder_is_a_model_with_everything_about_it(run: Path, repository: Path) -> None:
    assert sorted(path.name for path in repository.iterdir()) == [
        "README.md",
        "card.json",
        "config.yaml",
        "model.discriminator.safetensors",
        "model.safetensors",
        "samples.webp",
    ]
    source, copy = load_generator(run), from_pretrained(repository)
    assert (copy.license, copy.clips_shown, copy.data) == ("My own terms: ask", source.clips_shown, source.data)
    np.testing.assert_array_equal(growreel.generate(copy, [3]), growreel.generate(source, [3]))
    samples = repository / "samples.webp"
    assert find_model(read_recipe(samples), samples) == repository / "model.safetensors"
    assert not [path.name for path in repository.iterdir() if SECRET.encode() in path.read_bytes()]
    assert str(run.parent).encode() not in b"".join(path.read_bytes() for path in repository.iterdir())


def test_the_card_is_filled_in(repository: Path) -> None:
    _, front, text = (repository / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    facts = yaml.safe_load(front)
    assert (facts["license"], facts["license_name"], facts["library_name"]) == ("other", "My own terms: ask", "growreel")
    for expected in (
        "Discs & \\<b\\>squares",
        "40 clips of 4x8x8",
        "Terms of these clips: CC0",
        "Licence of the weights: My own terms: ask",
        "2x4x4 → 4x8x8",
        "fading in, alpha 0.5",
        "| swd mean | 50",
        "- clips: few clips",
        hashlib.sha256((repository / "model.safetensors").read_bytes()).hexdigest(),
        'from_pretrained("me/shapes")',
        "## What it is for",
        "## Limits",
    ):
        assert expected in text, expected
    assert "Not measured" not in text and "has not said" not in text


def test_figures_of_another_model_are_left_out(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    older = next(path for path in sorted((run / "models").iterdir()) if path != newest_model(run))
    folder = write_repository(older, tmp_path / "older", license="mit")
    assert "is of another model" in caplog.text and not (folder / "card.json").exists()
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "Not measured, or measured on another file" in text and "has not stated them" in text and "license: mit\n" in text


def test_paths_lose_their_folders() -> None:
    said = {"path": "runs/a/b.safetensors", "why": ["~/x/i3d.pt: there is no such file", "real / real is 1/2 of C:\\me\\clips"]}
    assert without_folders(said) == {"path": "b.safetensors", "why": ["i3d.pt: there is no such file", "real / real is 1/2 of clips"]}
    words = ["train", "/home/me/my clips", "--out=/home/me/run", "../me/x", "~/y", "runs/z", "--loss.name", "1/2"]
    assert command_without_folders(words) == ["train", "my clips", "--out=run", "x", "y", "runs/z", "--loss.name", "1/2"]


def test_clear_errors(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(run), "me/shapes", "--folder", str(tmp_path / "new")]) == 2
    assert "states no licence" in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert main(["push", str(run), "--license", "mit", "--folder", str(tmp_path)]) == 2
    assert "exists; give a new folder" in capsys.readouterr().err
    assert main(["push", str(run), "--license", "mit"]) == 2
    assert "give OWNER/NAME" in capsys.readouterr().err
    with pytest.raises(GrowreelError, match="is no name of a repository"):
        push(run, "https://somewhere/me/shapes", license="mit")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(GrowreelError, match="huggingface_hub is not installed; pip install 'growreel\\[hub\\]'"):
        push(run, "me/shapes", license="mit")
    with pytest.raises(GrowreelError, match="huggingface_hub is not installed"):
        from_pretrained("me/shapes")


def test_a_model_is_pushed_without_a_discriminator_that_is_damaged(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (list_checkpoints(copy)[-1] / "state.pt").write_bytes(b"")
    folder = write_repository(copy, tmp_path / "pushed", license="mit")
    assert "the discriminator is left out: " in caplog.text and "000000060: is damaged" in caplog.text
    assert (folder / "model.safetensors").exists() and not (folder / "model.discriminator.safetensors").exists()


def test_pushed_repositories_are_private_unless_told(
    run: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub: Any = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    calls: list[Any] = []

    class Api:
        def __init__(self, **named: Any) -> None:
            pass

        def create_repo(self, repo: str, **named: Any) -> None:
            calls.append((repo, named))

        def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str, delete_patterns: list[str]) -> str:
            assert delete_patterns == ["model.discriminator.safetensors"]
            calls.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir())))
            return "address of the commit"

    monkeypatch.setattr(hub, "HfApi", Api)
    assert main(["push", str(run), "me/shapes", "--license", "mit"]) == 0
    assert capsys.readouterr().out == "address of the commit\n"
    assert calls[0] == ("me/shapes", {"private": True, "exist_ok": True})
    assert calls[1] == ("me/shapes", [*sorted(path.name for path in repository.iterdir())])
    assert main(["push", str(run), "me/shapes", "--license", "mit", "--public"]) == 0
    assert calls[2][1]["private"] is False
    monkeypatch.setattr(Api, "create_repo", lambda *_, **__: (_ for _ in ()).throw(hub.errors.LocalTokenNotFoundError("no token")))
    assert main(["push", str(run), "me/shapes", "--license", "mit"]) == 2
    assert "me/shapes: the hub did not take it (no token)" in capsys.readouterr().err


@pytest.fixture
def server(repository: Path) -> Iterator[str]:
    """As much of a hub as giving one model takes."""
    served = {
        f"/me/{repo}/resolve/{revision}/{name}": (repository / name).read_bytes()
        for repo, names in (("shapes", ("model.safetensors", "model.discriminator.safetensors")), ("alone", ("model.safetensors",)))
        for name in names
        for revision in ("main", COMMIT)
    }

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(False)

        def do_GET(self) -> None:
            self.answer(True)

        def answer(self, with_body: bool) -> None:
            content = served.get(self.path.split("?")[0], b"")
            there = bool(content)
            self.send_response(200 if there else 404)
            known = self.path.startswith(("/me/shapes/", "/me/alone/"))
            if known:
                self.send_header("X-Repo-Commit", COMMIT)
            if there:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            else:
                self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if there and with_body:
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_model_comes_from_the_hub(server: str, repository: Path, tmp_path: Path) -> None:
    """With the real client, by a name in Python and by its address on the command line; then without the hub, from the cache."""
    pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    settings = {
        **os.environ,
        "HF_ENDPOINT": server,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    code = "import growreel; m = growreel.from_pretrained('me/shapes', revision='main'); print(m.clips_shown, m.license)"

    def python(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], env={**settings, **more}, capture_output=True, text=True, check=False)

    done = python("-c", code)
    assert done.stdout == "60 My own terms: ask\n", done.stderr
    out = tmp_path / "clips.npy"
    done = python("-m", "growreel", "sample", "hf://me/shapes", "--count", "2", "--out", str(out), HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(out), growreel.generate(load_generator(repository / "model.safetensors"), [0, 1]))
    done = python("-m", "growreel", "inspect", "hf://me/shapes", "--json")
    assert json.loads(done.stdout)["license"] == "My own terms: ask", done.stderr
    done = python("-m", "growreel", "sample", "hf://me/nothing", "--out", str(out))
    assert done.returncode == 2 and "hf://me/nothing: its model.safetensors cannot be had" in done.stderr and "Traceback" not in done.stderr
    begin = "from growreel.training.initial import InitialWeights; print(*InitialWeights.read('hf://me/{}').weights)"
    assert python("-c", begin.format("shapes")).stdout == "generator discriminator loss\n"
    unasked = python("-c", begin.format("alone"), HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "other"))
    assert "hf://me/alone: its model.safetensors cannot be had" in unasked.stderr
    assert python("-c", "import growreel; growreel.from_pretrained('me/alone')", HF_HOME=str(tmp_path / "other")).returncode == 0
    unasked = python("-c", begin.format("alone"), HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "other"))
    assert "hf://me/alone: its model.discriminator.safetensors cannot be had" in unasked.stderr, "whether there is one is not known"
    assert python("-c", begin.format("alone")).stdout == "generator\n"
    assert python("-c", begin.format("alone"), HF_HUB_OFFLINE="1").stdout == "generator\n"


def test_addresses() -> None:
    assert is_hub_address("hf://me/shapes") and is_hub_address(Path("hf://me/shapes@v1")), "a path has lost a slash"
    assert not any(map(is_hub_address, ("me/shapes", "runs/hf", "hf://me", "hf://me/shapes/more")))
