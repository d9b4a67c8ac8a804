"""The web export in a real browser: clips without any other server, equal to PyTorch's, worked by keyboard and by pointer."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import tiny_config
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.export import export_page, page
from growreel.export.plain import PlainGenerator
from growreel.growth import Size
from growreel.models.files import load_generator
from growreel.runtime.cache import cache_folder
from growreel.runtime.randomness import latents_of_seeds
from growreel.sampling import generate
from growreel.training.loop import train

playwright: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra: browser)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: onnx)")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PACKAGE = Path(os.environ.get("GROWREEL_TEST_RUNTIME", Path.home() / ".cache" / "growreel" / page.RUNTIME))
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
    pytest.mark.skipif(not PACKAGE.is_file(), reason=f"{page.RUNTIME} is not here; GROWREEL_TEST_RUNTIME names it"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of playwright's own pipes
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path: Any) -> str:
        """Modules are scripts and WebAssembly is WebAssembly, whatever this system's tables say."""
        kinds = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}
        return kinds.get(Path(path).suffix) or super().guess_type(path)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def run(shapes_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "run"
    train(shapes_store, path, tiny_config(), progress=False)
    return path


@contextmanager
def served(run: Path) -> Iterator[str]:
    """The folder of the page of a run, served as any web server would; its address."""
    folder = run.with_name("web")
    export_page(run, folder, runtime=PACKAGE, webgpu=False, title="Moving shapes")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def page_at(address: str) -> Iterator[tuple[Any, list[str], list[str]]]:
    """The page with its first clips; what it complained about; whom it asked."""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 390, "height": 900})
        complaints, requests = list[str](), list[str]()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(address)
        tab.locator("html[data-clips='8']").wait_for(state="attached", timeout=120_000)
        yield tab, complaints, requests
        browser.close()


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    with served(run) as found:
        yield found


@pytest.fixture
def opened(address: str) -> Iterator[tuple[Any, list[str], list[str]]]:
    with page_at(address) as found:
        yield found


def test_clips_are_those_of_the_model(opened: tuple[Any, list[str], list[str]], run: Path, address: str) -> None:
    """Of seeds in the table and of latents that were never seen before, to 8-bit rounding; nobody else was asked for anything."""
    tab, complaints, requests = opened
    model = load_generator(run)
    plain = PlainGenerator(model.generator, model.position).eval()
    for buffer in plain.buffers():
        if buffer.numel() >= 64:
            buffer.copy_(buffer.half().float())
    latents = latents_of_seeds([0, 5, 100], 8)
    expected = plain(torch.from_numpy(latents), torch.ones(1)).numpy()
    for k, seed in enumerate((0, 5, 100)):
        found = tab.evaluate("async (seed) => Array.from((await growreel.make(growreel.latentsOf(seed), 1)).values)", seed)
        levels, wanted = (np.rint((np.asarray(values).reshape(-1) + 1) * 127.5) for values in (found, expected[k]))
        assert np.abs(levels - wanted).max() <= 1 and (levels == wanted).mean() > 0.99
    assert all(url.startswith(address) for url in requests) and not complaints


def test_every_control(opened: tuple[Any, list[str], list[str]]) -> None:
    tab, complaints, _ = opened

    def seeds() -> list[str]:
        tab.locator("html[data-clips='8']").wait_for(state="attached", timeout=60_000)
        return [text.strip() for text in tab.locator("#wall span").all_inner_texts()]

    assert seeds()[0] == "seed 0"
    said = tab.locator("#state").inner_text()
    assert re.fullmatch(r"8 of 8 clips, [\d,]+(\.\d)? frames a second, made on the processor\.", said), said
    tab.get_by_role("button", name="Next seeds").click()
    assert seeds()[0] == "seed 8"
    tab.get_by_role("button", name="Seeds before").focus()
    tab.keyboard.press("Enter")
    assert seeds()[0] == "seed 0"
    tab.get_by_label("First seed").fill("300")
    tab.keyboard.press("Tab")
    assert seeds()[0] == "seed 300"
    tab.get_by_role("button", name="By chance").click()
    assert seeds()[0] != "seed 300"
    tab.get_by_label("Truncation").focus()
    tab.keyboard.press("ArrowLeft")
    assert tab.locator("#truncation-said").inner_text() == "0.95"
    pause = tab.get_by_role("button", name="Pause")
    pause.focus()
    tab.keyboard.press("Space")
    assert pause.get_attribute("aria-pressed") == "true"
    pause.click()
    assert pause.get_attribute("aria-pressed") == "false"
    assert not complaints


def test_the_class_is_chosen(tmp_path: Path) -> None:
    """Of a conditional model: in turn by seed, as growreel has it, or one for all."""
    write_store(tmp_path / "store", shape_clips(8, Size(4, 8, 8)), fps=8.0, labels=["walk", "wave"] * 4)
    config = tiny_config(clips=48)
    train(
        tmp_path / "store",
        tmp_path / "run",
        dataclasses.replace(config, network=dataclasses.replace(config.network, conditional=True)),
        progress=False,
    )
    expected = generate(load_generator(tmp_path / "run"), [0, 1, 1], classes="all")
    expected[2] = generate(load_generator(tmp_path / "run"), [1], classes="walk")[0]
    with served(tmp_path / "run") as address, page_at(address) as (tab, complaints, _):
        assert tab.locator("#wall span").all_inner_texts()[:2] == ["seed 0, walk", "seed 1, wave"]
        for clip, (seed, kind) in zip(expected, ((0, 0), (1, 1), (1, 0)), strict=True):
            made = "async ([seed, kind]) => Array.from((await growreel.make(growreel.latentsOf(seed), 1, kind)).values)"
            values = np.reshape(tab.evaluate(made, [seed, kind]), (3, 4, 8, 8))
            levels = np.rint((values + 1) * 127.5).transpose(1, 2, 3, 0)
            assert np.abs(levels - clip).mean() < 1, "weights in half precision"
        tab.get_by_label("Class").select_option("wave")
        tab.locator("html[data-clips='8']").wait_for(state="attached", timeout=60_000)
        assert tab.locator("#wall span").all_inner_texts()[:2] == ["seed 0, wave", "seed 1, wave"] and not complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_accessible_and_fits(scheme: str, width: int, opened: tuple[Any, list[str], list[str]]) -> None:
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed (extra: browser)")
    tab, _, _ = opened
    tab.set_viewport_size({"width": width, "height": 900})
    tab.emulate_media(color_scheme=scheme)
    found = axe.Axe().run(tab)
    assert found.violations_count == 0, found.generate_report()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    if shots := os.environ.get("GROWREEL_SCREENSHOTS"):
        tab.screenshot(path=Path(shots) / f"page-{width}-{scheme}.png")


def test_clear_errors(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GrowreelError, match="exists; give a new folder"):
        export_page(run, tmp_path, runtime=PACKAGE)
    (tmp_path / "other.tgz").write_bytes(b"not it")
    with pytest.raises(GrowreelError, match="its checksum is another"):
        export_page(run, tmp_path / "web", runtime=tmp_path / "other.tgz")
    with pytest.raises(GrowreelError, match=r"--runtime .*gone\.tgz: cannot be read"):
        export_page(run, tmp_path / "web", runtime=tmp_path / "gone.tgz")

    assert not (cache_folder() / page.RUNTIME).exists(), "tests have a cache of their own"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GrowreelError, match=r"fetched with npm, which is not here; .* give that with --runtime"):
        export_page(run, tmp_path / "web")

    def unreachable(command: list[str], **options: Any) -> Any:
        raise subprocess.CalledProcessError(1, command, stderr=b"no network")

    monkeypatch.setattr("subprocess.run", unreachable)
    with pytest.raises(GrowreelError, match=r"npm could not fetch onnxruntime-web@1\.30\.0 \(no network\); .* --runtime"):
        export_page(run, tmp_path / "web")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other.tgz"]
