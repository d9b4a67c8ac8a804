"""The layout shows the architecture: a file imports only from its own floor and the floors below."""

from __future__ import annotations

import ast
from pathlib import Path

import growreel

ROOT = Path(growreel.__file__).parent
FLOORS = (
    ("errors", "ranges", "growth", "reading", "config"),
    ("runtime", "video"),
    ("models", "data"),
    ("preparation", "losses", "recipe", "sampling", "pretrained"),
    ("evaluation",),
    ("training", "bench"),
    ("report",),
    ("view", "export", "hub"),
    ("demo", "doctor", "cli", "__init__", "__main__"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def imported_rooms(file: Path) -> set[str]:
    """First part below `growreel` of everything that a file imports, inside functions too."""
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "growreel":
            parts = node.module.split(".")[1:]
            rooms |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("growreel.")}
    return rooms


def test_every_room_has_a_floor() -> None:
    rooms = {entry.stem for entry in ROOT.iterdir() if (entry.suffix == ".py" or (entry / "__init__.py").exists())}
    assert rooms - {"presets", "pretrained"} == FLOOR.keys() - {"pretrained"}


def test_imports_go_down() -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {room}"
        for file in ROOT.rglob("*.py")
        for room in imported_rooms(file)
        if FLOOR.get(room, 0) > FLOOR[file.relative_to(ROOT).parts[0].removesuffix(".py")]
    ]
    assert not wrong


def test_plans_and_settings_do_without_torch() -> None:
    for room in ("errors.py", "ranges.py", "growth.py", "reading", "config"):
        files = [ROOT / room] if room.endswith(".py") else list((ROOT / room).rglob("*.py"))
        assert not any("import torch" in file.read_text(encoding="utf-8") for file in files)
