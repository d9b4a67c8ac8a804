"""The docs are a site whose pages all are in its menu, and the map of the paper names what exists."""

from __future__ import annotations

import ast
import functools
import http.server
import re
import shutil
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "growreel"
MAP = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8").split("## Where things are")[1].split("\n## ")[0]
NAMED = sorted(set(re.findall(r"`([a-z_/]+\.(?:py|yaml)(?::[\w.]+)?)`", MAP)))


def test_the_map_is_long_enough_to_be_one() -> None:
    assert len(NAMED) > 30 and all("`" in row.split("|")[2] for row in MAP.splitlines() if row.startswith("| ") and "| here |" not in row)


@pytest.mark.parametrize("named", NAMED)
def test_what_the_map_of_the_paper_names_exists(named: str) -> None:
    file, _, name = named.partition(":")
    assert (PACKAGE / file).is_file()
    body: list[ast.stmt] = ast.parse((PACKAGE / file).read_text(encoding="utf-8")).body if name else []
    for part in filter(None, name.split(".")):
        found = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == part]
        assert found, f"{file} has no {part} of {name}"
        body = found[0].body


def pages(entry: Any) -> list[str]:
    """All files below an entry of the menu."""
    if isinstance(entry, str):
        return [entry]
    entries = entry.values() if isinstance(entry, dict) else entry
    return [page for each in entries for page in pages(each)]


def test_every_page_is_in_the_menu() -> None:
    listed = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(listed) == there and len(listed) == len(there)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make docs` builds it, where every complaint is an error: links, headings that are linked to, what docstrings refer to."""
    for name in ("mkdocs", "mkdocstrings", "material"):
        pytest.importorskip(name, reason="the extra docs is not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("docs") / "site"
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # of the packages that build it
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


def test_the_site_is_whole_and_asks_nobody_else(site: Path) -> None:
    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    assert all(name in text for name in ("load_generator", "from_pretrained", "LoadedGenerator"))
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|iframe)[^>]*\ssrc=\"?(https?:[^\s\">]+)|<link[^>]*rel=\"?(?:stylesheet|preload)[^>]*href=\"?(https?:[^\s\">]+)",
            page.read_text(encoding="utf-8"),
        )
        assert not loaded, page


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of playwright's own pipes
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_the_site_is_for_everybody(site: Path, width: int, scheme: str) -> None:
    """axe finds nothing on pages with prose, tables that scroll, and code; they fit, and nothing is loaded from anywhere else."""
    playwright: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra: browser)")
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed (extra: browser)")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("there is no Chromium here")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/"
    try:
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            asked = list[str]()
            tab.on("request", lambda request: asked.append(request.url))
            for page in ("", "paper/", "api/"):
                tab.goto(address + page)
                violations = axe.Axe().run(tab).response["violations"]
                assert [(each["id"], each["nodes"][0]["html"][:200]) for each in violations] == [], page
                assert tab.evaluate("document.documentElement.scrollWidth") <= width, page
            browser.close()
        assert all(url.startswith((address, "data:")) for url in asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
