"""Runs that begin with the weights of another."""

from __future__ import annotations

import dataclasses
import html
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from conftest import tiny_config
from growreel.cli.main import main
from growreel.config import Config, from_dict, load_config, to_dict
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.models.facts import model_facts
from growreel.models.files import load_generator, write_model
from growreel.models.header import DISCRIMINATOR_FORMAT, discriminator_file, read_header
from growreel.report import write_report
from growreel.report.folder import read_run
from growreel.training.budget import within_hours
from growreel.training.checkpoint import list_checkpoints, load_checkpoint
from growreel.training.initial import InitialWeights, save_discriminator
from growreel.training.loop import train
from growreel.training.outputs import Outputs
from growreel.training.run_facts import run_facts
from growreel.training.run_folder import RunFolder
from growreel.training.state import TrainingState

CPU = torch.device("cpu")


def changed(**parts: dict[str, Any]) -> Config:
    """tiny_config with other values in its parts, of the store's colours."""
    tree = to_dict(tiny_config())
    tree["network"]["image_channels"] = 3
    for part, values in parts.items():
        tree[part] |= values
    return from_dict(tree, "test")


def grown_further() -> Config:
    """tiny_config with a third stage, and another seed, so that nothing is equal by chance."""
    return changed(growth={"stages": ["2x4x4", "4x8x8", "8x16x16"]}, training={"seed": 5})


@pytest.fixture(scope="module")
def finished(shapes_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of tiny_config at its end, 120 clips."""
    out = tmp_path_factory.mktemp("initial") / "finished"
    train(shapes_store, out, tiny_config(), progress=False)
    return out


@pytest.fixture(scope="module")
def larger_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("initial") / "larger"
    write_store(path, shape_clips(12, Size(8, 16, 16)), fps=8.0)
    return path


def saved(run: Path) -> dict[str, Any]:
    return load_checkpoint(list_checkpoints(run)[-1]).state


def test_every_weight_is_that_of_the_run_or_newly_drawn(finished: Path) -> None:
    config, theirs = grown_further(), saved(finished)
    state, fresh = TrainingState(config, CPU), TrainingState(config, CPU).state_dict()
    InitialWeights.read(finished).load_into(state, config)
    for name, module in state.modules().items():
        source = theirs["ema" if name == "generator" else name]
        for key, tensor in module.state_dict().items():
            expected = fresh[name][key] if "8x16x16" in key else source[key]
            assert torch.equal(tensor, expected), (name, key)
    assert state.clips_shown == 120
    assert state.position.stage == 2 and state.position.alpha == 0


def test_the_first_clips_are_those_of_the_model_enlarged(finished: Path) -> None:
    config = grown_further()
    state = TrainingState(config, CPU)
    InitialWeights.read(finished).load_into(state, config)
    latents = torch.randn(3, 8)
    before = load_generator(finished).generator(latents, 1)
    expected = before.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    torch.testing.assert_close(state.ema(latents, 2, 0.0), expected)


def test_a_run_grows_further_with_other_clips_and_goes_on_without_the_first(finished: Path, larger_store: Path, tmp_path: Path) -> None:
    config, source, out = grown_further(), tmp_path / "source", tmp_path / "out"
    shutil.copytree(finished, source)
    stop = dataclasses.replace(config, training=dataclasses.replace(config.training, clips=160))
    assert train(larger_store, out, stop, progress=False, init_from=source).clips_shown == 160
    shutil.rmtree(source)
    assert train(larger_store, out, config, progress=False, init_from=source).clips_shown == 200
    stages = {line["stage"] for line in map(json.loads, (out / "stats.jsonl").read_text().splitlines())}
    assert stages == {"8x16x16"}
    assert [record.clips for record in RunFolder(out).read_data()] == [40, 12]
    assert [record["clips"] for record in load_generator(out).data] == [40, 12]


def test_a_model_of_the_last_size_begins_with_its_stable_phase(finished: Path, shapes_store: Path, tmp_path: Path) -> None:
    model = finished / "models" / "000000120.safetensors"
    train(shapes_store, tmp_path / "out", tiny_config(clips=84), progress=False, init_from=model)
    first, *_ = sorted((tmp_path / "out" / "models").iterdir())
    assert first.name == "000000080.safetensors"
    weights, theirs = load_generator(first).generator.state_dict(), load_generator(model).generator.state_dict()
    assert all(torch.equal(weights[name], theirs[name]) for name in theirs)


def test_a_fade_goes_on_where_it_was(shapes_store: Path, tmp_path: Path) -> None:
    train(shapes_store, tmp_path / "run", tiny_config(clips=60), progress=False)
    plan = changed(growth={"fade_clips": 80}).growth.plan()
    assert InitialWeights.read(tmp_path / "run").start(plan) == 40 + 40
    train(shapes_store, tmp_path / "ended", tiny_config(clips=40), progress=False)
    before = InitialWeights.read(tmp_path / "ended")  # where a fade is to begin, nothing of its stage is trained
    assert before.start(changed(growth={"stages": ["2x4x4", "2x8x8"]}).growth.plan()) == 40


def test_a_discriminator_travels_with_its_model(finished: Path, tmp_path: Path) -> None:
    model = tmp_path / "mine.safetensors"
    shutil.copyfile(finished / "models" / "000000120.safetensors", model)
    config, theirs = changed(), saved(finished)
    alone = InitialWeights.read(model)
    assert set(alone.weights) == {"generator"}
    assert "begins anew: discriminator and loss" in alone.load_into(TrainingState(config, CPU), config)

    written = save_discriminator(finished, model)
    assert written == discriminator_file(model) == tmp_path / "mine.discriminator.safetensors"
    assert model_facts(load_generator(model))["discriminator"] == "mine.discriminator.safetensors"
    state = TrainingState(changed(training={"seed": 5}), CPU)
    assert "anew" not in InitialWeights.read(model).load_into(state, config)
    for name in ("discriminator", "loss"):
        module = state.modules()[name].state_dict()
        assert module and all(torch.equal(tensor, theirs[name][key]) for key, tensor in module.items())
    with pytest.raises(GrowreelError, match=r"format 'growreel-discriminator-1', not 'growreel-generator-2'"):
        load_generator(written)


def test_a_discriminator_of_another_model_is_refused(finished: Path, tmp_path: Path) -> None:
    model, other = tmp_path / "mine.safetensors", tmp_path / "other.safetensors"
    shutil.copyfile(finished / "models" / "000000120.safetensors", model)
    shutil.copyfile(finished / "models" / "000000100.safetensors", other)
    save_discriminator(finished, model)
    discriminator_file(model).rename(discriminator_file(other))
    with pytest.raises(GrowreelError, match=r"other\.discriminator\.safetensors: belongs to another model than other\.safetensors"):
        InitialWeights.read(other)


def test_a_spoilt_discriminator_is_refused(finished: Path, tmp_path: Path) -> None:
    model = tmp_path / "mine.safetensors"
    shutil.copyfile(finished / "models" / "000000120.safetensors", model)
    file = save_discriminator(finished, model)
    assert file is not None
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(GrowreelError, match="is damaged: its checksum"):
        InitialWeights.read(model)

    header, tensors = read_header(file_of(whole, file), (DISCRIMINATOR_FORMAT,)), load(whole)
    facts = {name: text for name, text in header.metadata.items() if name != "sha256"}
    for spoilt, reason in (
        ({**tensors, "evil.x": torch.zeros(3)}, "are not those of a discriminator of mine.safetensors"),
        ({name: tensor * torch.nan for name, tensor in tensors.items()}, "is not finite"),
        ({name: tensor.double() for name, tensor in tensors.items()}, "does not fit mine.safetensors"),
    ):
        write_model(file, spoilt, facts)
        with pytest.raises(GrowreelError, match=reason):
            InitialWeights.read(model)


def file_of(contents: bytes, path: Path) -> Path:
    path.write_bytes(contents)
    return path


def test_a_damaged_checkpoint_is_named(finished: Path, shapes_store: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    (list_checkpoints(run)[-1] / "state.pt").write_bytes(b"")
    with pytest.raises(GrowreelError, match=r"000000120: is damaged .* 000000120\.safetensors is then taken without its discriminator"):
        train(shapes_store, tmp_path / "out", tiny_config(), progress=False, init_from=run)
    assert not (tmp_path / "out").exists()
    shutil.rmtree(list_checkpoints(run)[-1])
    assert set(InitialWeights.read(run).weights) == {"generator"}


def test_a_checkpoint_of_other_weights_is_not_taken(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    shutil.copyfile(run / "models" / "000000100.safetensors", run / "models" / "000000120.safetensors")
    assert set(InitialWeights.read(run).weights) == {"generator"}


def test_weights_of_float64_stay_what_they_are(shapes_store: Path, tmp_path: Path) -> None:
    config = changed(training={"precision": "float64", "clips": 40})
    train(shapes_store, tmp_path / "run", config, progress=False)
    state = TrainingState(config, CPU)
    InitialWeights.read(tmp_path / "run").load_into(state, changed(training={"precision": "float64"}))
    theirs = saved(tmp_path / "run")
    assert all(torch.equal(tensor, theirs["ema"][key]) for key, tensor in state.ema.state_dict().items() if "4x8x8" not in key)
    assert save_discriminator(
        tmp_path / "run", shutil.copyfile(tmp_path / "run/models/000000040.safetensors", tmp_path / "copy.safetensors")
    )


def test_stages_that_follow_may_have_other_widths(finished: Path) -> None:
    """Four channels up to 8x8 either way; at 16x16 two where the model planned four."""
    config = changed(growth={"stages": ["2x4x4", "4x8x8", "8x16x16"]}, network={"base_channels": 16}, training={"seed": 5})
    state, theirs = TrainingState(config, CPU), saved(finished)
    InitialWeights.read(finished).load_into(state, config)
    assert state.generator.state_dict()["to_rgb.8x16x16.weight"].shape[1] == 2
    assert all(torch.equal(tensor, theirs["ema"][key]) for key, tensor in state.generator.state_dict().items() if "8x16x16" not in key)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (changed(network={"base_channels": 8}), r"its --network\.base_channels is 1024, the run's 8"),
        (changed(network={"max_channels": 8}), r"its --network\.max_channels is 4, the run's 8"),
        (changed(growth={"stages": ["4x4x4", "4x8x8"]}), "has grown through 2x4x4 4x8x8, and the plan is 4x4x4 4x8x8"),
        (changed(growth={"stages": [{"size": "2x4x4"}, {"size": "4x8x8", "stable_clips": 0}]}), "nothing is left to train"),
        (changed(training={"clips": 80}), r"--clips 80: .* the run begins at 80 clips of its plan and would end before"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    config: Config, reason: str, finished: Path, shapes_store: Path, tmp_path: Path
) -> None:
    with pytest.raises(GrowreelError, match=reason):
        train(shapes_store, tmp_path / "out", config, progress=False, init_from=finished)
    assert not (tmp_path / "out").exists()


def test_another_loss_gets_a_new_head(finished: Path) -> None:
    config = changed(loss={"name": "wgan-gp"})
    state = TrainingState(config, CPU)
    head = {key: tensor.clone() for key, tensor in state.loss.state_dict().items()}
    assert InitialWeights.read(finished).load_into(state, config).endswith("begins anew: loss")
    assert all(torch.equal(tensor, head[key]) for key, tensor in state.loss.state_dict().items())


def test_hours_are_those_of_the_stages_that_are_left(finished: Path, tmp_path: Path) -> None:
    config = changed(growth={"stages": [{"size": "2x4x4", "stable_clips": 4_000_000}, {"size": "4x8x8", "stable_clips": 400}]})
    initial, run = InitialWeights.read(finished), RunFolder(tmp_path)
    whole, _, _ = within_hours(config, 0.1, CPU, run)
    rest, _, _ = within_hours(config, 0.1, CPU, run, initial)
    assert whole.growth.plan().total_clips < 1.5 * config.growth.plan().total_clips
    assert rest.growth.plan().stages[1].stable_clips > 100 * whole.growth.plan().stages[1].stable_clips


@pytest.mark.parametrize("first_with", [True, False])
def test_a_start_that_came_to_no_checkpoint_leaves_nothing(
    first_with: bool, finished: Path, shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between data.json and the first checkpoint, then begun the other way."""
    small = tmp_path / "small"
    write_store(small, shape_clips(20, Size(4, 8, 8)), fps=8.0)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Outputs, "write_checkpoint", interrupted)
        train(small, tmp_path / "out", tiny_config(), progress=False, init_from=finished if first_with else None)
    train(small, tmp_path / "out", tiny_config(clips=100), progress=False, init_from=None if first_with else finished)
    run = RunFolder(tmp_path / "out")
    assert [record.clips for record in run.read_data()] == ([20] if first_with else [40, 20])
    assert run.began_at() == (0 if first_with else 80)


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        ({"channels": 1}, "makes coloured clips, and those of .* are grey"),
        ({"labels": [f"{k % 2}" for k in range(12)]}, "has learnt the classes a, b, and the clips of .* have the labels 0, 1"),
        ({}, r"has learnt the classes a, b, and the clips of .* have the labels \(none\)"),
    ],
)
def test_clips_that_do_not_suit_the_model_are_refused(store: dict[str, Any], reason: str, tmp_path: Path) -> None:
    clips = list(shape_clips(12, Size(4, 8, 8)))
    write_store(tmp_path / "clips", clips, fps=8.0, labels=["ab"[k % 2] for k in range(12)])
    config = changed(network={"conditional": True}, training={"clips": 8})
    train(tmp_path / "clips", tmp_path / "run", config, progress=False)
    others = [clip[..., : store.get("channels", 3)] for clip in clips]
    write_store(tmp_path / "other", others, fps=8.0, labels=store.get("labels"))
    with pytest.raises(GrowreelError, match=f"--init-from .*run: {reason}"):
        train(tmp_path / "other", tmp_path / "out", config, progress=False, init_from=tmp_path / "run")
    assert not (tmp_path / "out").exists()


def test_reports_and_facts_are_of_what_the_run_did(
    finished: Path, larger_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    train(larger_store, out, grown_further(), progress=False, init_from=finished)
    lines = [json.loads(line) for line in (out / "stats.jsonl").read_text().splitlines()]
    ends = [120, *(line["clips"] for line in lines)]
    seconds = sum((b - a) / line["clips_per_second"] for a, b, line in zip(ends[:-1], ends[1:], lines, strict=True))
    assert run_facts(out)["hours"] == pytest.approx(seconds / 3600)
    run = read_run(out)
    assert run.seconds == pytest.approx(seconds) and (run.began_at, run.init_from) == (120, "finished")
    assert "--config out/config.yaml --init-from finished" in html.unescape(write_report([out]).read_text(encoding="utf-8"))


def test_the_settings_are_those_of_the_model(
    finished: Path, shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(shapes_store), "--out", str(tmp_path / "out"), "--init-from", str(finished), "--training.mirror", "false"]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert f"begins with the weights of {finished}, at 80 clips of the plan" in told and "done: 120 clips" in told
    expected = load_config(finished / "config.yaml")
    expected = dataclasses.replace(expected, training=dataclasses.replace(expected.training, mirror=False))
    assert load_config(tmp_path / "out" / "config.yaml") == expected
    assert str(finished) not in "".join(file.read_text() for file in (tmp_path / "out").glob("*.yaml"))


def test_a_run_needs_its_model_no_more(finished: Path, shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = shutil.copytree(finished, tmp_path / "source")
    command = ["train", str(shapes_store), "--out", str(tmp_path / "out"), "--init-from", str(source)]
    assert main([*command, "--clips", "100"]) == 0
    shutil.rmtree(source)
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "resuming" in told and told.endswith(f"done: 120 clips shown, {told.split('120 clips shown, ')[1]}")


@pytest.mark.parametrize(
    ("target", "sizes"), [("8x16x16", "2x4x4 4x8x8 8x16x16"), ("8x32x32", "2x4x4 4x8x8 8x16x16 8x32x32"), ("2x4x4", "2x4x4")]
)
def test_a_target_grows_the_plan_of_the_model(target: str, sizes: str, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--init-from", str(finished), "--target", target, "--json"]) == 0
    assert " ".join(stage["size"] for stage in json.loads(capsys.readouterr().out)["stages"]) == sizes


def test_a_target_beside_the_plan_of_the_model_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--init-from", str(finished), "--target", "8x4x4"]) == 2
    assert "--target 8x4x4: the model's plan is 2x4x4 4x8x8; give one of these, or a larger one" in capsys.readouterr().err


def test_bench_measures_the_stages_of_the_model(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--init-from", str(finished), "--sizes", "2x4x4", "--repeats", "1"]) == 0
    assert "2x4x4" in capsys.readouterr().out


def test_fit_is_about_what_is_left(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fit.yaml"
    assert main(["plan", "--init-from", str(finished), "--fit", "--memory", "8GB", "--hours", "0.01", "--save", str(out), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["stages"]
    assert first["clips"] == [0, 0] and first["seconds"] == 0
    assert second["clips"][0] == 0 and second["seconds"] == pytest.approx(36, rel=0.05)
