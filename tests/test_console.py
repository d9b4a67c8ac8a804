"""Shell comfort: lists with commas, words in help and errors, JSON for programs, colours on terminals, completion."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import colored, tiny_config
from growreel.cli import main
from growreel.cli.config import resolve_config
from growreel.cli.console import print_table, styled
from growreel.cli.lists import spell_lists
from growreel.cli.main import COMMANDS, build_parser
from growreel.cli.parser import commands_of
from growreel.config import Config, to_yaml
from growreel.data.store import ClipStore
from growreel.models import build_generator
from growreel.models.files import save_model

ROOT = Path(__file__).parents[1]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def resolved(*arguments: str) -> Config:
    """The configuration that `growreel plan` makes of the arguments."""
    return resolve_config(build_parser(["plan", *arguments]).parse_args(["plan", *arguments]).plan)


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """Run a command and read all that it prints as JSON."""
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_names_in_tables_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("label   clips\nwa\x1b[2Jve  3\n")
    assert capsys.readouterr().out == "label   clips\nwa\\x1b[2Jve  3\n\n"


def test_lists_take_commas() -> None:
    flag = "--training.eval_metrics"
    assert spell_lists(["train", flag, "kid, motion", "x"]) == ["train", flag, '["kid", "motion"]', "x"]
    assert spell_lists([f"{flag}=kid"]) == [flag, '["kid"]']
    assert spell_lists(["--growth.stages"]) == ["--growth.stages"], "a flag without its value is left to the parser"
    for spelling in ([flag, "kid,motion"], [flag, '["kid", "motion"]']):
        assert resolved("--training.eval_interval", "9", *spelling).training.eval_metrics == ("kid", "motion")
    for spelling in (
        ["--growth.stages", "4x4x4,8x8x8"],
        ["--growth.stages=4x4x4,8x8x8"],
        ["--stages", "4x4x4,8x8x8"],
        ["--growth.stages", '[{"size": "4x4x4"}, {"size": "8x8x8"}]'],
        ["--preset", "demo", "--growth.stages", "4x4x4,8x8x8"],
    ):
        assert list(map(str, resolved(*spelling).growth.plan().sizes)) == ["4x4x4", "8x8x8"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_in_words(command: str) -> None:
    text = COMMANDS[command].parser([]).format_help()
    assert not re.search(r"<(class|function|locals)", text) and "lambda" not in text and "null" not in text
    assert "Path" not in text.replace("Path to a configuration file", "")
    assert "()" not in text and "(, " not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train"], "missing: STORE, --out"),
        (["train", "clips"], "missing: --out"),
        (["train", "clips", "--out", "x", "--training.seed", "one"], "--training.seed: one is not of type int"),
        (["prepare", "a", "b", "--size", "4x4x4", "--colors", "2"], "--colors: invalid choice: 2"),
        (["plan", "--nonsense"], "unrecognized arguments: --nonsense"),
        ([], "missing: a command, one of prepare, merge, inspect"),
    ],
)
def test_wrong_usage_is_told_as_it_is_typed(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and said in error and "<class" not in error
    assert error.startswith(f"usage: growreel {arguments[0] if arguments else 'COMMAND'} ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and re.fullmatch(r"growreel \S+\n", capsys.readouterr().out)


def test_plan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    plan = printed(capsys, "plan", "--preset", "trailerfaces-256", "--json")
    assert plan["parameters"] == {"generator": 3_703_597, "discriminator": 3_707_656, "head": 16_640} and plan["clips"] == 12_000_000
    assert [stage["size"] for stage in plan["stages"]][-1] == "32x256x256" and plan["stages"][2]["from_clip"] == 1_800_000


def test_prepare_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "good.npy", np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8))
    (tmp_path / "in" / "bad.mp4").write_bytes(b"no video")
    arguments = ["prepare", tmp_path / "in", tmp_path / "store", "--size", "4x8x8", "--workers", "1", "--json"]
    assert main(list(map(str, arguments))) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["store"] == str(tmp_path / "store") and report["clips"] == 2
    assert {row["name"]: (row["status"], row["clips"]) for row in report["sources"]} == {"good.npy": ("used", 2), "bad.mp4": ("skipped", 0)}
    assert next(row["note"] for row in report["sources"] if row["name"] == "bad.mp4")


def test_what_prints_a_table_has_json() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8").split("## Output for programs")[1].split("## ")[0]
    named = set(re.findall(r"`([a-z]+)(?: list)?`", page.split(" print one JSON")[0]))
    assert named == {name for name, parser in commands_of(build_parser([])).items() if "--json" in parser.format_help()}


def test_inspect_a_store_as_json(shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "inspect", shapes_store, "--sheet", tmp_path / "s.png", "--json", "--verify")
    with ClipStore.open(shapes_store) as store:
        assert (found["clips"], found["size"], found["bytes"]) == (40, "4x8x8", store.disk_bytes())
    assert found["kind"] == "store" and found["verified"] and Path(found["contact_sheet"]).exists()


def test_inspect_a_model_and_a_run(shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text(to_yaml(tiny_config(clips=60)))
    assert main(["train", str(shapes_store), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "c.yaml")]) == 0
    capsys.readouterr()
    run = printed(capsys, "inspect", tmp_path / "run", "--json")
    assert (run["kind"], run["clips_shown"], run["clips_planned"], run["phase"], run["alpha"]) == ("run", 60, 60, "fade", 0.5)
    assert run["losses"].keys() >= {"loss_generator", "loss_discriminator"} and run["hours"] > 0 and run["checkpoints"] == [40, 60]
    model = printed(capsys, "inspect", run["newest_model"], "--json")
    assert (model["kind"], model["clips_shown"], model["size"], model["alpha"]) == ("model", 60, "4x8x8", 0.5)
    assert model["parameters"] == sum(p.numel() for p in build_generator(colored(tiny_config())).parameters())
    for path, words in ((tmp_path / "run", "a run folder"), (run["newest_model"], "a model file"), ("shapes-16x32x32", "a model file")):
        assert main(["inspect", str(path)]) == 0
        assert words in capsys.readouterr().out


def test_inspect_says_what_it_takes(shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tmp_path / "m.safetensors", build_generator(colored(tiny_config())), colored(tiny_config()), 0, 8.0)
    assert main(["inspect", str(tmp_path)]) == 2 and "neither a clip store nor a run folder" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "nowhere")]) == 2 and "nowhere" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "m.safetensors"), "--verify"]) == 2 and "for clip stores" in capsys.readouterr().err


def test_weights_and_cards_as_json(
    shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROWREEL_WEIGHTS", str(tmp_path))
    (tmp_path / "mean2.npz").write_bytes(b"x")
    listed = printed(capsys, "weights", "list", "--json")
    assert listed["folder"] == str(tmp_path) and [file["file"] for file in listed["files"] if file["here"]] == ["mean2.npz"]
    assert main(["weights", "path", "--json"]) == 2 and "leave --json out" in capsys.readouterr().err
    flags = ["--metrics", "motion", "--clips", "8", "--resamples", "0", "--json", "--card", tmp_path / "card.json"]
    card = printed(capsys, "evaluate", shapes_store, "--real", shapes_store, *flags)
    assert card["results"][0]["name"] == "motion" and card == json.loads((tmp_path / "card.json").read_text())


def test_colours_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert styled("x", "red", Terminal()) == "\x1b[31mx\x1b[0m" and styled("x", "red", io.StringIO()) == "x"
    print_table("head\nrow")
    assert capsys.readouterr().out == "head\nrow\n"
    output, errors = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", errors)
    print_table("head\nrow")
    assert output.getvalue() == "\x1b[1mhead\x1b[0m\nrow\n"
    assert main(["plan", "--target", "9"]) == 2 and errors.getvalue().startswith("\x1b[31mgrowreel:\x1b[0m ")
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("x", "red", Terminal()) == "x"
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert styled("x", "red", Terminal()) == "x"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_flags_and_choices(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)
    assert "eval-every" in script and "wgan-gp" in script


def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)

    def complete(*words: str) -> set[str]:
        script = f"""
source {tmp_path / "script"}
COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; COMP_LINE="${{COMP_WORDS[*]}}"; COMP_POINT=${{#COMP_LINE}}
function=$(complete -p growreel | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function growreel {words[-1]} {words[-2]}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
        return set(subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout.split())

    assert complete("growreel", "tr") == {"train"}
    assert complete("growreel", "sample", "--pre") == {"--precision"}
    assert complete("growreel", "train", "--order", "ti") == {"time"}


def test_the_table_of_exit_codes_is_complete() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z]+)` \|", page, flags=re.MULTILINE)) == set(COMMANDS)
