"""The docs are a site whose pages all are in its menu, and the map of the paper names what exists."""

from __future__ import annotations

import ast
import re
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


@pytest.mark.filterwarnings("default")  # of the packages that build it
def test_the_site_is_built_without_a_complaint(tmp_path: Path) -> None:
    """As `make docs` does: links, headings that are linked to, and what docstrings refer to; no page asks anybody else for anything."""
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    pytest.importorskip("material", reason="the extra docs is not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site")))
    text = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    assert all(name in text for name in ("load_generator", "from_pretrained", "LoadedGenerator"))
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|iframe)[^>]*\ssrc=\"?(https?:[^\s\">]+)|<link[^>]*rel=\"?(?:stylesheet|preload)[^>]*href=\"?(https?:[^\s\">]+)",
            page.read_text(encoding="utf-8"),
        )
        assert not loaded, page
