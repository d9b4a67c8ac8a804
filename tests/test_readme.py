"""The README says what is true: its commands parse, its files exist, its presets are all there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from growreel.cli.evaluation import evaluate_parser
from growreel.cli.main import build_parser
from growreel.cli.preparation import prepare_parser
from growreel.cli.training import train_parser
from growreel.config import preset_names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith("    growreel ")]


def test_the_readme_shows_every_command() -> None:
    assert {command.split()[1] for command in COMMANDS} >= {"prepare", "inspect", "plan", "train", "sample", "walk", "evaluate"}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command: str) -> None:
    arguments = shlex.split(command)[1:]
    assert build_parser(arguments).parse_args(arguments).command == arguments[0]


@pytest.mark.parametrize("flag", sorted(set(re.findall(r"`(--[a-z._-]+)", README))))
def test_flags_exist(flag: str) -> None:
    helps = "".join(parser().format_help() for parser in (prepare_parser, evaluate_parser, lambda: train_parser([])))
    assert re.search(rf"{flag}\b", helps)


def test_presets_are_listed() -> None:
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \| \d", README, flags=re.MULTILINE)) == set(preset_names())


def test_the_file_tree_exists() -> None:
    tree = README.split("src/growreel/\n")[1].split("\n\n")[0]
    names = [name for line in tree.splitlines() if line.startswith("      ") for name in re.findall(r"^[a-z_./ ]+?(?=  )", line.strip())]
    paths = [path for group in names for path in group.split()]
    assert len(paths) > 12
    for path in paths:
        assert (ROOT / "src" / "growreel" / path).exists(), path


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
