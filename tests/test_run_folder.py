"""What a run folder promises: one truth on disk, one writer, known settings, known clips."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from conftest import tiny_config
from growreel.config import Config, from_dict, load_config, to_dict
from growreel.data.shapes import shape_clips
from growreel.data.store import ClipStore
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.evaluation.evaluate import evaluate
from growreel.evaluation.options import EvaluationOptions
from growreel.growth import Size
from growreel.models.files import load_generator
from growreel.training import checkpoint as checkpoints
from growreel.training import loop
from growreel.training.checkpoint import list_checkpoints, save_checkpoint
from growreel.training.loop import train
from growreel.training.run_folder import RunFolder
from growreel.training.saved_state import check_saved
from growreel.training.state import TrainingState
from growreel.training.stats import read_lines

sys.path.append(str(Path(__file__).parents[1] / "benchmarks" / "reliability"))
import kill_points


def run(store: Path, out: Path, config: Config | None = None, **options: Any) -> loop.TrainResult:
    return train(store, out, config or tiny_config(), progress=False, **options)


def changed(**parts: dict[str, Any]) -> Config:
    """tiny_config with other values in its parts."""
    tree = to_dict(tiny_config())
    for part, values in parts.items():
        tree[part] |= values
    return from_dict(tree, "test")


@pytest.fixture(scope="module")
def whole(shapes_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of tiny_config from 0 to 120 clips that nobody disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    run(shapes_store, out)
    return out


@pytest.fixture(scope="module")
def two_thirds(shapes_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "two-thirds"
    run(shapes_store, out, tiny_config(clips=80))
    return out


@pytest.fixture
def stopped(two_thirds: Path, tmp_path: Path) -> Path:
    """A run that stands at 80 of 120 clips; the checkpoint before is of 60."""
    return Path(shutil.copytree(two_thirds, tmp_path / "run"))


def assert_like(out: Path, whole: Path, apart_from: Callable[[str], bool] = lambda name: False) -> None:
    """All files are those of the undisturbed run, to the byte; times and the word of how long to train are left out."""
    expected = kill_points.outcome(whole)
    different = [name for name in kill_points.differences(out, expected) if not apart_from(name)]
    assert not different


def of_the_shorter_run(name: str) -> bool:
    """Models up to 80 clips were saved by a command that said --clips 80, and their header says so."""
    return name.startswith("models/") and int(Path(name).stem) <= 80


def test_two_runs_of_one_command_are_the_same_to_the_byte(whole: Path, shapes_store: Path, tmp_path: Path) -> None:
    run(shapes_store, tmp_path / "again")
    assert_like(tmp_path / "again", whole)
    assert len(list((whole / "models").iterdir())) == 7


@pytest.mark.parametrize(("how", "count"), [("kill", 10), ("full", 6), ("broken", 6)])
def test_a_stop_at_any_change_of_a_file_loses_nothing(how: str, count: int, tmp_path: Path) -> None:
    """The small mode of benchmarks/reliability/kill_points.py: a few of its points."""
    write_store(tmp_path / "store", shape_clips(8, Size(4, 8, 8)), fps=8.0).close()
    changes = kill_points.count_changes(tmp_path / "store", tmp_path / "counted")
    assert changes > 180
    points = [*range(2, changes, changes // count), changes - 2]  # the last but one removes an old checkpoint
    found = kill_points.survey(tmp_path / "store", tmp_path, points, how)
    assert found["stopped"] >= count and not found["wrong"]
    assert set(found["unlike"].values()) <= {"it came to its end"}, "what only removes may fail at the end, or succeed on a full disk"


def lose(path: Path) -> None:
    path.unlink()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [lose, flip])
@pytest.mark.parametrize("name", ["models/000000080.safetensors", "models/000000060.safetensors", "samples/000000080.webp", "stats.jsonl"])
def test_what_a_checkpoint_can_make_is_made_again(
    name: str, harm: Callable[[Path], None], stopped: Path, whole: Path, shapes_store: Path
) -> None:
    before = {name: (stopped / name).read_bytes() for name in ("models/000000080.safetensors", "models/000000060.safetensors")}
    harm(stopped / name)
    run(shapes_store, stopped)
    assert all((stopped / model).read_bytes() == data for model, data in before.items())
    assert_like(stopped, whole, of_the_shorter_run)


@pytest.mark.parametrize("name", ["state.pt", "statistics.jsonl", "checkpoint.json"])
@pytest.mark.parametrize("place", [0.03, 0.5, 0.97])
def test_a_flipped_bit_in_a_checkpoint_is_found(
    name: str, place: float, stopped: Path, whole: Path, shapes_store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = stopped / "checkpoints" / "000000080" / name
    data = bytearray(file.read_bytes())
    data[int(len(data) * place)] ^= 1
    file.write_bytes(data)
    run(shapes_store, stopped)
    said = caplog.text
    assert "000000080 is damaged (" in said and name in said and "falling back to 000000060" in said
    assert_like(stopped, whole, lambda name: of_the_shorter_run(name) or ".damaged" in name)


def resave(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write the newest checkpoint anew with another state; its checksums are right."""
    path = list_checkpoints(folder)[-1]
    loaded = checkpoints.load_checkpoint(path)
    change(loaded.state)
    save_checkpoint(folder, int(path.name), loaded.state, 2, statistics=loaded.statistics or "", model=loaded.model, made=loaded.made)


POISONS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "missing": (lambda s: s.pop("ema"), "ema is missing"),
    "weight": (lambda s: s["generator"].pop("dense.bias"), "generator: dense.bias is missing"),
    "unknown": (lambda s: s["loss"].update(x=torch.zeros(1)), "loss: x is not known"),
    "type": (lambda s: s.update(rollbacks="no"), "rollbacks is of type str"),
    "dtype": (lambda s: s["ema"].update({"dense.bias": s["ema"]["dense.bias"].double()}), "ema: dense.bias is a tensor of torch.float64"),
    "shape": (lambda s: s["ema"].update({"dense.bias": torch.zeros(3)}), r"ema: dense.bias has shape \[3\] instead"),
    "nan": (lambda s: s["discriminator"]["dense.bias"].fill_(float("nan")), "discriminator: dense.bias is not finite"),
    "moment": (lambda s: s["generator_optimizer"]["state"][0]["exp_avg_sq"].fill_(float("inf")), "exp_avg_sq is not finite"),
    "moments": (lambda s: s["generator_optimizer"]["state"][0].pop("step"), "moments of parameter 0 are"),
    "means": (lambda s: s["means"]["sums"].update(loss_generator=None), "means are"),
    "phase": (lambda s: s.update(optimizers_for=[0]), "optimizers_for is"),
    "clips": (lambda s: s.update(clips_shown=40), "it holds the state at 40 clips"),
}


@pytest.mark.parametrize("name", POISONS)
def test_a_checkpoint_that_cannot_be_continued_gives_way_by_name_with_the_reason(
    name: str, stopped: Path, whole: Path, shapes_store: Path, tmp_path: Path
) -> None:
    poison, reason = POISONS[name]
    resave(stopped, poison)
    said: list[str] = []
    state = TrainingState(load_config(stopped / "config.yaml"), torch.device("cpu"))
    found = checkpoints.newest_checkpoint(stopped, said.append, lambda saved: check_saved(saved, state))
    assert found is not None and found.path.name == "000000060"
    assert len(said) == 1 and "000000080 is damaged" in said[0]
    assert re.search(reason, said[0])
    if name == "nan":  # three rollbacks to the same poisoned file were the end of such a run
        run(shapes_store, stopped)
        assert_like(stopped, whole, lambda name: of_the_shorter_run(name) or ".damaged" in name)


@pytest.mark.parametrize("error", [MemoryError(), PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_what_proves_no_damage_changes_nothing(
    error: Exception, stopped: Path, whole: Path, shapes_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kill_points.outcome(stopped)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", fail) if isinstance(error, MemoryError) else patch.setattr(checkpoints, "open_file", fail)
        reasons = "(not enough memory|no permission|Input)"
        with pytest.raises(GrowreelError, match=rf"80: the checkpoint cannot be read \({reasons}.*nothing was changed"):
            run(shapes_store, stopped)
    assert kill_points.outcome(stopped) == before
    run(shapes_store, stopped)
    assert_like(stopped, whole, of_the_shorter_run)


def test_no_checkpoint_is_set_aside_where_none_is_good(stopped: Path, shapes_store: Path) -> None:
    for path in list_checkpoints(stopped):
        flip(path / "state.pt")
    before = kill_points.outcome(stopped)
    with pytest.raises(GrowreelError, match=r"none of its 2 checkpoints can be read \(000000080: state.pt.*; 000000060: state.pt"):
        run(shapes_store, stopped)
    assert kill_points.outcome(stopped) == before


def test_checkpoints_of_the_first_format_are_read(stopped: Path, whole: Path, shapes_store: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A state.pt alone. The newest has a flipped bit that PyTorch does not see."""
    for path in list_checkpoints(stopped):
        state = checkpoints.load_checkpoint(path).state
        for file in path.iterdir():
            file.unlink()
        torch.save(state, path / "state.pt")
    weights = state["generator"]["dense.weight"].numpy().tobytes()
    data = bytearray((path / "state.pt").read_bytes())
    data[data.index(weights)] ^= 1
    (path / "state.pt").write_bytes(data)
    assert torch.load(path / "state.pt", weights_only=True)["clips_shown"] == 80
    (stopped / "data.json").unlink()
    run(shapes_store, stopped)
    assert "000000080 is damaged (state.pt: " in caplog.text
    assert_like(stopped, whole, lambda name: of_the_shorter_run(name) or ".damaged" in name or name == "data.json" or "models" in name)


def test_a_new_checkpoint_without_its_manifest_is_not_taken_for_an_old_one(stopped: Path, shapes_store: Path) -> None:
    (stopped / "checkpoints" / "000000080" / "checkpoint.json").unlink()
    with pytest.raises(checkpoints.DamagedCheckpoint, match=r"checkpoint\.json is missing"):
        checkpoints.load_checkpoint(stopped / "checkpoints" / "000000080")


def test_a_second_process_is_refused_and_the_first_goes_on(
    stopped: Path, whole: Path, shapes_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, refused = RunFolder.restore, []

    def restore(*arguments: Any) -> None:
        plain(*arguments)
        with pytest.raises(GrowreelError, match=rf"run: another process is training here \(process {os.getpid()} on .*wait"):
            run(shapes_store, stopped)
        refused.append(True)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "restore", restore)
        run(shapes_store, stopped)
    assert refused == [True]
    assert_like(stopped, whole, of_the_shorter_run)


@pytest.mark.parametrize("left", [[], [".lock"], [".lock", ".config.yaml.0123456789abcdef.partial"], [".lock", "models/", "samples/"]])
def test_a_start_that_was_killed_before_its_first_file_starts_again(left: list[str], shapes_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in left:
        (out / name).mkdir() if name.endswith("/") else (out / name).write_text("")
    assert run(shapes_store, out, tiny_config(clips=4)).clips_shown == 4
    assert not list(out.glob("*.partial"))


def test_models_without_checkpoints_are_not_started_over(shapes_store: Path, tmp_path: Path) -> None:
    run(shapes_store, tmp_path / "run", tiny_config(clips=8))
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(GrowreelError, match="has models but no checkpoint"):
        run(shapes_store, tmp_path / "run")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (changed(network={"max_channels": 8}), r"discriminator blocks\S+ is 4 in the run and 8 now \(network.max_channels: 4 -> 8\)"),
        (changed(loss={"name": "wgan-gp"}), r"loss \S+ is (nowhere|\S+) in the run and (nowhere|\S+) now .*loss.name: swgan -> wgan-gp"),
        (changed(growth={"stages": ["2x4x4", "4x4x4", "4x8x8"]}), "is nowhere in the run"),
    ],
)
def test_networks_of_another_shape_are_refused_before_anything_is_written(
    other: Config, message: str, stopped: Path, whole: Path, shapes_store: Path
) -> None:
    before, written = kill_points.outcome(stopped), (stopped / "environment.json").read_text()
    with pytest.raises(GrowreelError, match=message):
        run(shapes_store, stopped, other, allow_config_change=True)
    assert kill_points.outcome(stopped) == before and (stopped / "environment.json").read_text() == written
    run(shapes_store, stopped)  # the old command goes on
    assert_like(stopped, whole, of_the_shorter_run)


def test_changed_settings_are_written_only_once_the_run_goes_on_with_them(stopped: Path, shapes_store: Path) -> None:
    for path in list_checkpoints(stopped):
        flip(path / "state.pt")
    before = (stopped / "config.yaml").read_text()
    with pytest.raises(GrowreelError, match="none of its 2 checkpoints"):
        run(shapes_store, stopped, tiny_config(ema_decay=0.5), allow_config_change=True)
    assert (stopped / "config.yaml").read_text() == before


def test_every_start_has_its_line(stopped: Path, shapes_store: Path) -> None:
    run(shapes_store, stopped, tiny_config(clips=84))
    text = (stopped / "environment.json").read_text()
    assert [start["clips"] for start in json.loads(text)] == [0, 80]
    assert len(text.splitlines()) == 4, "a line per start between two brackets"
    assert json.loads(text)[1]["store"]["path"] == shapes_store.name
    assert [start["store"]["path"] for start in RunFolder(stopped).starts()] == [str(shapes_store)] * 2
    (stopped / "environment.json").write_text('{"torch": "2.11"}')  # as the first format was
    run(shapes_store, stopped, tiny_config(clips=88))
    assert [start.get("clips") for start in json.loads((stopped / "environment.json").read_text())] == [None, 84]


def test_the_optimiser_goes_on_with_the_settings_of_today(shapes_store: Path, tmp_path: Path) -> None:
    """In the middle of a fade: at 80 clips the moments would begin anew."""
    out = tmp_path / "run"
    run(shapes_store, out, tiny_config(clips=60))
    run(shapes_store, out, changed(optimizer={"beta2": 0.9, "eps": 1e-6}, training={"clips": 72}), allow_config_change=True)
    state = checkpoints.load_checkpoint(list_checkpoints(out)[-1]).state
    for name in ("generator_optimizer", "discriminator_optimizer"):
        (group,) = state[name]["param_groups"]
        assert (group["betas"], group["eps"]) == ((0.0, 0.9), 1e-6)
        assert next(iter(state[name]["state"].values()))["step"] == 8, "the moments are the run's own"


@pytest.mark.parametrize(
    "other",
    [
        changed(loss={"san": {"gradient_weight": 7.0}}),
        changed(growth={"order": "space", "base": "2x2x2"}),
        changed(training={"eval_clips": 9, "ema_rampup": 0.5}),
        changed(training={"ema_decay": None}),  # nothing is said of the average, so it goes on as it was
        changed(growth={"stages": [{"size": "2x4x4", "stable_clips": 40}, {"size": "4x8x8", "fade_clips": 40}], "target": "4x8x8"}),
    ],
)
def test_settings_that_decide_nothing_block_no_resume(other: Config, stopped: Path, whole: Path, shapes_store: Path) -> None:
    run(shapes_store, stopped, other)
    assert_like(stopped, whole, lambda name: name == "config.yaml" or name.startswith("models/"))


@pytest.fixture(scope="module")
def other_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many clips of the same shape, in another order."""
    path = tmp_path_factory.mktemp("stores") / "other"
    write_store(path, [*shape_clips(40, Size(4, 8, 8))][::-1], fps=8.0).close()
    return path


def test_a_run_knows_its_clips(stopped: Path, other_store: Path, shapes_store: Path, tmp_path: Path) -> None:
    (record,) = json.loads((stopped / "data.json").read_text())
    assert (record["clips"], record["size"], record["channels"], record["fps"], record["since"]) == (40, "4x8x8", 3, 8.0, 0)
    before = kill_points.outcome(stopped)
    with pytest.raises(GrowreelError, match=r"learnt from other clips than .*other holds: contents: [0-9a-f]+ -> .*--allow-data-change"):
        run(other_store, stopped)
    assert kill_points.outcome(stopped) == before
    shutil.copytree(shapes_store, tmp_path / "moved")
    run(tmp_path / "moved", stopped, tiny_config(clips=84))
    run(other_store, stopped, tiny_config(clips=100), allow_data_change=True)
    run(other_store, stopped, tiny_config(clips=104))  # from now on these are the run's
    model = load_generator(stopped)
    assert [(each["since"], each["clips"]) for each in model.data] == [(0, 40), (84, 40)]
    assert model.data[0]["sha256"] == record["sha256"] != model.data[1]["sha256"]
    assert str(tmp_path) not in (stopped / "models" / "000000104.safetensors").read_bytes().decode(errors="ignore")
    card = evaluate(stopped, other_store, EvaluationOptions(metrics=("motion",), clips=4, resamples=0))
    assert card.fake["learnt from"].count("40 clips 4x8x8 with content ") == 2
    assert card.real["content"] == model.data[1]["sha256"] and card.real["content"] in card.fake["learnt from"]


@pytest.mark.parametrize("text", ["[", "[1]", '[{"clips": 3}]'])
def test_a_damaged_record_of_the_clips_is_named(text: str, stopped: Path, shapes_store: Path) -> None:
    (stopped / "data.json").write_text(text)
    with pytest.raises(GrowreelError, match=r"data.json: is (damaged|no record)"):
        run(shapes_store, stopped)


def test_a_store_with_another_frame_rate_is_another(shapes_store: Path, stopped: Path, tmp_path: Path) -> None:
    with ClipStore.open(shapes_store) as store:
        write_store(tmp_path / "slow", store.read(range(40), store.size), fps=4.0).close()
    with pytest.raises(GrowreelError, match=r"frame rate: 8\.0 -> 4\.0"):
        run(tmp_path / "slow", stopped)


def test_statistics_lose_only_what_is_damaged(stopped: Path) -> None:
    lines = (stopped / "stats.jsonl").read_text().split("\n")
    lines[2] = lines[2][:10]
    (stopped / "stats.jsonl").write_text("\n".join([*lines, "[]", '{"clips": "x"}', "\0"]))
    assert [line["clips"] for line in read_lines(stopped / "stats.jsonl")] == [12, 24, 48, 60, 72]


@pytest.fixture
def group_of_the_caller(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_the_process_group_of_the_caller_stays(group_of_the_caller: None, shapes_store: Path, tmp_path: Path) -> None:
    run(shapes_store, tmp_path / "run", tiny_config(clips=4))
    assert dist.is_initialized()
