"""Runs in TensorBoard, read back with TensorBoard's own reader."""

from __future__ import annotations

import io
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import tiny_config
from growreel.cli import main
from growreel.report.folder import read_run
from growreel.report.tensorboard import _Copy
from growreel.training.loop import train

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its protocol buffers
    event_accumulator: Any = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed (extra: tensorboard)"
    )

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def trained(shapes_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tensorboard") / "run"
    train(shapes_store, out, tiny_config(eval_interval=60, eval_clips=8, eval_metrics=["swd"]), progress=False)
    return out


def read(folder: Path) -> Any:
    events = event_accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


def curve(folder: Path, name: str) -> dict[int, float]:
    return {event.step: event.value for event in read(folder).Scalars(name)}


def test_everything_of_the_lines_is_there(trained: Path, tmp_path: Path) -> None:
    assert main(["tensorboard", str(trained), "--out", str(tmp_path / "events")]) == 0
    events = read(tmp_path / "events" / "run")
    lines = [json.loads(text) for text in (trained / "stats.jsonl").read_text().splitlines()]
    for name, tag in (("loss_generator", "loss/loss_generator"), ("gradient_penalty", "penalty/gradient_penalty"), ("alpha", "run/alpha")):
        assert curve(tmp_path / "events" / "run", tag) == pytest.approx({line["clips"]: line[name] for line in lines if name in line})
    measured = {line["clips"]: line["metrics"]["swd mean"] for line in lines if "metrics" in line}
    assert measured and curve(tmp_path / "events" / "run", "metrics/swd_mean") == pytest.approx(measured)
    grids = events.Images("samples")
    assert [grid.step for grid in grids] == [40, 80, 120]
    with Image.open(io.BytesIO(grids[-1].encoded_image_string)) as image:
        assert image.format == "GIF" and image.n_frames == 4  # type: ignore[attr-defined]
    assert main(["tensorboard", str(trained), "--out", str(tmp_path / "events")]) == 0, "again, without doubling anything"
    assert len(curve(tmp_path / "events" / "run", "run/alpha")) == len(read(tmp_path / "events" / "run").Scalars("run/alpha"))


def test_a_run_that_goes_on_or_back_is_followed(trained: Path, tmp_path: Path) -> None:
    """Lines appear; then the run resumes from an earlier checkpoint and writes other ones in their place."""
    shutil.copytree(trained, tmp_path / "run")
    stats = tmp_path / "run" / "stats.jsonl"
    whole = [json.loads(text) for text in stats.read_text().splitlines() if "metrics" not in text]

    def write(lines: list[dict[str, Any]]) -> None:
        stats.write_text("".join(json.dumps(line) + "\n" for line in lines))

    write(whole[:4])
    copy = _Copy(read_run(tmp_path / "run"), tmp_path / "events")
    copy.catch_up()
    write(whole[:8])
    copy.run = read_run(tmp_path / "run")
    copy.catch_up()
    assert list(curve(tmp_path / "events", "run/alpha")) == [line["clips"] for line in whole[:8]]
    other = [{**line, "alpha": 0.123, "time": line["time"] + 100} for line in whole[5:7]]
    write([*whole[:5], *other])
    copy.run = read_run(tmp_path / "run")
    copy.catch_up()
    copy.close()
    expected = {line["clips"]: line["alpha"] for line in [*whole[:5], *other]}
    assert curve(tmp_path / "events", "run/alpha") == pytest.approx(expected)
