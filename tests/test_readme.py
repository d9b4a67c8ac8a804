"""README and docs say what is true: their commands parse, their links lead somewhere, presets are all there are."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from growreel.cli.evaluation import evaluate_parser
from growreel.cli.main import COMMANDS as EXISTING
from growreel.cli.main import build_parser
from growreel.cli.preparation import prepare_parser
from growreel.cli.training import train_parser
from growreel.config import from_dict, preset_names
from growreel.models.files import PRETRAINED, pretrained_names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/pictures").glob("*.md"))
}
SHOWN = [
    line.split("#")[0].split(" > ")[0].strip() for page in PAGES.values() for line in page.splitlines() if line.startswith("    growreel ")
]
COMMANDS = sorted(set(SHOWN))


def test_every_command_is_shown_with_its_flags_or_in_the_table() -> None:
    listed = set(re.findall(r"^\| `([a-z]+)` \|", PAGES["docs/commands.md"], flags=re.MULTILINE))
    assert listed == set(EXISTING)
    assert {command.split()[1] for command in COMMANDS} >= {"prepare", "plan", "train", "report", "sample", "evaluate", "weights", "bench"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the docs' `run` has a model, whose settings `--init-from` takes, and the configurations that docs name."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "run" / "models").mkdir(parents=True)
    shutil.copyfile(PRETRAINED / f"{pretrained_names()[0]}.safetensors", folder / "run" / "models" / "000000100.safetensors")
    (folder / "docs").symlink_to(ROOT / "docs")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    arguments = shlex.split(command)[1:]
    assert build_parser(arguments).parse_args(arguments).command == arguments[0]


@pytest.mark.parametrize("flag", sorted(set(re.findall(r"`(--[a-z._-]+)", README + PAGES["docs/training.md"] + PAGES["docs/growth.md"]))))
def test_flags_exist(flag: str) -> None:
    helps = "".join(parser().format_help() for parser in (prepare_parser, evaluate_parser, lambda: train_parser([])))
    assert re.search(rf"{flag}\b", helps)


def test_presets_are_listed() -> None:
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \| \d", PAGES["docs/choosing.md"], flags=re.MULTILINE)) == set(preset_names())


def test_the_file_tree_exists() -> None:
    tree = PAGES["CONTRIBUTING.md"].split("src/growreel/\n")[1].split("\n\n")[0]
    names = [name for line in tree.splitlines() if line.startswith("      ") for name in re.findall(r"^[a-z_./ ]+?(?=  )", line.strip())]
    paths = [path for group in names for path in group.split()]
    assert len(paths) > 12
    for path in paths:
        assert (ROOT / "src" / "growreel" / path).exists(), path


def anchors(page: str) -> set[str]:
    """The names by which a page's headings are linked to."""
    headings = re.findall(r"^#+ (.+)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", PAGES[page]):
        path, _, heading = target.partition("#")
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.exists(), target
        assert not heading or heading in anchors(linked.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", "".join(PAGES.values()), flags=re.DOTALL))
def test_configurations_are_read(block: str) -> None:
    assert from_dict(yaml.safe_load(block), "docs").growth.plan().sizes
