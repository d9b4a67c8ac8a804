"""The command line: what it prints, what it refuses, and that help needs no torch."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import colored, tiny_config
from growreel.cli import main
from growreel.config import to_yaml
from growreel.data.store import ClipStore
from growreel.models import build_generator
from growreel.models.files import save_model
from growreel.video import write_clip

COMMANDS = [
    "prepare",
    "merge",
    "inspect",
    "plan",
    "train",
    "tell",
    "sample",
    "walk",
    "evaluate",
    "report",
    "view",
    "tensorboard",
    "weights",
    "bench",
    "demo",
    "completion",
]


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must be refused, and return what it says."""
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert re.search("^growreel: ", said.err, re.MULTILINE) and "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_needs_no_torch(command: str) -> None:
    script = f"""
import sys
from growreel.cli import main
try:
    main({[*([command] if command else []), "--help"]!r})
except SystemExit as end:
    assert end.code == 0
assert "torch" not in sys.modules and "av" not in sys.modules and "PIL" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "usage: growreel" in done.stdout
    if not command:
        assert all(name in done.stdout for name in COMMANDS)


def test_help_of_train_explains_every_field() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "growreel", "train", "--preset", "demo", "--help"], check=True, capture_output=True, text=True
    )
    text = " ".join(done.stdout.split())
    assert "--loss.swgan.feature_penalty" in text and "Second penalty, on the 1-D functions" in text
    assert "default: 8x16x16" in text, "defaults are those of the preset"


def test_the_whole_way(shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """inspect, plan, train, train again, sample, walk: on one store, with the flags that the README shows."""
    assert main(["inspect", str(shapes_store), "--sheet", str(tmp_path / "sheet.png"), "--verify"]) == 0
    assert (tmp_path / "sheet.png").exists() and "40" in capsys.readouterr().out
    (tmp_path / "c.yaml").write_text(to_yaml(tiny_config()))
    settings = ["--config", str(tmp_path / "c.yaml"), "--training.ema_decay", "0.5"]
    assert main(["plan", *settings]) == 0
    assert "4x8x8  time + space" in capsys.readouterr().out
    train = ["train", str(shapes_store), "--out", str(tmp_path / "run"), *settings]
    assert main([*train, "--clips", "60"]) == 0
    assert "done: 60 clips shown" in capsys.readouterr().out
    assert main(train) == 0
    assert "done: 120 clips shown" in capsys.readouterr().out
    assert "ema_decay: 0.5" in (tmp_path / "run" / "config.yaml").read_text()
    assert main(["sample", str(tmp_path / "run"), "--count", "3", "--seed", "5", "--out", str(tmp_path / "x.npy")]) == 0
    newest = tmp_path / "run" / "models" / "000000120.safetensors"
    assert main(["sample", str(newest), "--count", "1", "--seed", "7", "--out", str(tmp_path / "y.npy"), "--truncation", "1"]) == 0
    x, y = np.load(tmp_path / "x.npy"), np.load(tmp_path / "y.npy")
    assert x.shape == (3, 4, 8, 8, 3) and np.array_equal(x[2:], y)
    assert main(["sample", str(newest), "--count", "2", "--out", str(tmp_path / "z.gif"), "--separate"]) == 0
    assert (tmp_path / "z-0.gif").exists() and (tmp_path / "z-1.gif").exists()
    capsys.readouterr()
    assert main(["walk", str(newest), "--frames", "12", "--out", str(tmp_path / "new" / "w.webp")]) == 0
    assert (tmp_path / "new" / "w.webp").exists() and "making 12 clips in float32 on cpu" in capsys.readouterr().err
    walks = ["--count", "2", "--frames", "4", "--out", str(tmp_path / "w.npy"), "--precision", "bfloat16"]
    assert main(["walk", str(newest), *walks]) == 0
    assert np.load(tmp_path / "w.npy").shape == (2, 4, 8, 8, 3) and "making 8 clips in bfloat16" in capsys.readouterr().err


def test_prepare_with_every_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A video of 2x2 tiles, 20 frames: two overlapping clips of each tile, and a listed skip that the exit code tells."""
    tile = np.random.default_rng(0).integers(0, 255, (20, 16, 16, 3), dtype=np.uint8)
    (tmp_path / "in" / "waves").mkdir(parents=True)
    write_clip(tmp_path / "in" / "waves" / "a.webp", np.tile(tile, (1, 2, 2, 1)), 10)
    (tmp_path / "in" / "waves" / "b.mp4").write_text("not a video")
    flags = [
        "--size",
        "4x8x8",
        "--frame-stride",
        "2",
        "--clip-stride",
        "3",
        "--max-clips-per-video",
        "2",
        "--fit",
        "pad",
        "--colors",
        "1",
        "--tiles",
        "2x2",
        "--labels",
    ]
    command = ["prepare", str(tmp_path / "in"), str(tmp_path / "store"), *flags]
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "8 clips in" in said and "b.mp4" in said and "skipped" in said
    with ClipStore.open(tmp_path / "store") as store:
        assert (len(store), str(store.size), store.channels, list(store.labels)) == (8, "4x8x8", 1, ["waves"])
        assert sorted({clip.frame for clip in store.clips}) == [0, 3]
    assert main(command) == 2 and "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 1


def test_sigterm_leaves_a_run_that_resumes(shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real process, stopped from outside as soon as it has written its first line of statistics."""
    (tmp_path / "c.yaml").write_text(to_yaml(tiny_config(clips=100_000)))
    command = ["train", str(shapes_store), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "c.yaml")]
    with subprocess.Popen(
        [sys.executable, "-m", "growreel", *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        deadline = time.monotonic() + 250  # a busy machine takes long to start Python
        while not (tmp_path / "run" / "stats.jsonl").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=250)
    assert process.returncode == 128 + signal.SIGTERM
    shown = int(re.search(r"stopped by SIGTERM; the same command resumes: (\d+) clips shown", said)[1])  # type: ignore[index]
    assert main([*command, "--clips", str(shown + 8)]) == 0
    assert f"resuming {tmp_path / 'run'} at {shown} clips" in capsys.readouterr().out


def test_stages_target_and_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--preset", "trailerfaces-256"]) == 0
    assert "3,703,597" in capsys.readouterr().out
    assert main(["plan", "--preset", "trailerfaces-256", "--target", "8x8x8", "--order", "time"]) == 0
    assert "8x4x4" in capsys.readouterr().out
    assert main(["plan", "--stages", "4x3x4,8x6x8"]) == 0
    assert "8x6x8" in capsys.readouterr().out
    assert "--target" in fails(capsys, "plan", "--stages", "4x4x4", "--target", "8x8x8")
    assert "time goes from 4 to 16" in fails(capsys, "plan", "--stages", "4x4x4,16x4x4")
    assert "--target: '9' is not a size" in fails(capsys, "plan", "--target", "9")


def test_bad_input_names_what_is_wrong(shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert "nowhere" in fails(capsys, "train", tmp_path / "nowhere", "--out", out)
    assert "--preset huge" in fails(capsys, "train", shapes_store, "--out", out, "--preset", "huge")
    assert "only one of the two" in fails(capsys, "train", shapes_store, "--out", out, "--preset", "demo", "--config", "x")
    assert "smaller" in fails(capsys, "train", shapes_store, "--out", out, "--target", "16x64x64")
    assert "no such model file" in fails(capsys, "sample", tmp_path / "m.safetensors", "--out", out)
    assert "--count 0" in fails(capsys, "sample", tmp_path, "--out", "x.gif", "--count", 0)
    assert "--size" in fails(capsys, "prepare", tmp_path, out, "--size", "64")
    folder = tmp_path / "folder.gif"
    folder.mkdir()
    save_model(tmp_path / "m.safetensors", build_generator(colored(tiny_config())), colored(tiny_config()), 0, 8.0)
    for command in ("sample", "walk"):
        model = [command, tmp_path / "m.safetensors", "--out"]
        assert "cannot be written" in fails(capsys, *model, tmp_path / "m.safetensors" / "x.gif")
        with pytest.raises(SystemExit):
            main([*map(str, model), str(tmp_path / "x.gif"), "--precision", "auto"])
        capsys.readouterr()
        assert "cannot be written" in fails(capsys, *model, folder)
        assert "frames per second 0.0" in fails(capsys, *model, tmp_path / "x.gif", "--fps", "0")
        assert "--scale 3000" in fails(capsys, *model, tmp_path / "x.gif", "--scale", "3000")
        assert "x.docx" in fails(capsys, *model, tmp_path / "x.docx")
    assert "cannot be written" in fails(capsys, "inspect", shapes_store, "--sheet", tmp_path / "no" / "x.png")
    assert "--seed -1" in fails(capsys, "inspect", shapes_store, "--seed", "-1", "--sheet", tmp_path / "x.png")
    (tmp_path / "file").write_text("")
    assert "cannot be written" in fails(
        capsys, "train", shapes_store, "--out", tmp_path / "file" / "run", "--target", "4x8x8", "--growth.base", "2x4x4"
    )
    assert "--training.clips 0" in fails(capsys, "train", shapes_store, "--out", out, "--clips", "0")
    assert "--stages ''" in fails(capsys, "plan", "--stages", "")
    assert "growth.target: 8x8x8" in fails(capsys, "plan", "--preset", "demo", "--growth.target", "8x8x8")
    assert "--tiles: '7' is not ROWSxCOLUMNS" in fails(capsys, "prepare", tmp_path, out, "--size", "4x4x4", "--tiles", "7")
    assert not out.exists()
    for wrong in (["train", str(shapes_store)], ["nonsense"], ["train", str(shapes_store), "--out", "x", "--training.seed", "one"]):
        with pytest.raises(SystemExit) as stop:
            main(wrong)
        assert stop.value.code == 2


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--preset", "demo", "--growth.order", "space"], "--growth.order space: has no effect: the plan is written out .*--order makes"),
        (["--preset", "demo", "--growth.base", "2x4x4"], "--growth.base 2x4x4: has no effect"),
        (["--preset", "demo", "--growth.fade_clips", "7"], "--growth.fade_clips 7: has no effect: .* every stage there has its own"),
        (["--preset", "best", "--target", "16x32x32", "--growth.stable_clips", "7"], "--growth.stable_clips 7: has no effect"),
        (["--stages", "4x4x4,8x8x8", "--growth.order", "joint"], "--growth.order joint: has no effect"),
        (["--loss.san.gradient_weight", "3"], r"--loss.san.gradient_weight 3.0: has no effect: the loss is swgan \(--loss.name\)"),
        (["--network.planes", "curved"], r"--network.planes curved: has no effect: the generator is plain \(--network.generator\)"),
        (["--training.eval_clips", "9"], "--training.eval_clips 9: has no effect: nothing is evaluated"),
        (["--training.ema_decay", "0.9", "--training.ema_rampup", "0.5"], "--training.ema_rampup 0.5: has no effect"),
        (["--training.ema_decay", "0.9", "--training.ema_halflife_clips", "500"], "leave one out"),
    ],
)
def test_a_flag_that_cannot_take_effect_says_why(flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(reason, fails(capsys, "plan", *flags))


@pytest.mark.parametrize(
    "flags",
    [
        ["--preset", "demo", "--growth.learning_rate", "0.02"],
        ["--preset", "paper", "--growth.fade_clips", "7"],
        ["--preset", "demo", "--order", "space"],
        ["--preset", "demo", "--target", "8x16x16", "--growth.order", "space"],
        ["--preset", "demo", "--target", "8x16x16", "--growth.base", "2x4x4"],
        ["--target", "32x8x8", "--growth.base", "32x4x4", "--order", "space", "--growth.fade_clips", "7"],
        ["--preset", "demo", "--training.ema_decay", "0.5"],
        ["--preset", "paper", "--training.ema_halflife_clips", "500"],
        ["--preset", "best", "--loss.name", "san", "--loss.san.gradient_weight", "3"],
        ["--preset", "demo", "--growth.order", "paper", "--training.eval_interval", "5", "--training.eval_clips", "9"],
    ],
)
def test_a_flag_that_takes_effect_is_taken(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *flags]) == 0


def test_a_preset_with_another_target_keeps_its_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    def plan(*flags: str) -> tuple[str, str]:
        assert main(["plan", *flags]) == 0
        said = capsys.readouterr()
        return said.out, said.err

    whole, _ = plan("--preset", "best")
    cut, said = plan("--preset", "best", "--target", "16x32x32")
    rows, kept = ([line.split() for line in text.splitlines()[1:5]] for text in (whole, cut))
    assert kept == rows and "clips in all: 220,000" in cut and not said
    assert "clips in all: 12,000,000" in plan("--preset", "paper", "--target", "32x256x256")[0]
    larger, said = plan("--preset", "best", "--target", "32x128x128")
    assert "clips in all: 620,000" in larger
    assert "does not have take the schedule of the one nearest in size: 32x128x128 that of 16x64x64" in said
