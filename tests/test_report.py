"""The report: what is on the page of a run, of several, of one that has hardly begun; and that training never waits for it."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import tiny_config
from growreel.cli import main
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.recipe import read_recipe
from growreel.report import write_report
from growreel.report.chart import MOST_POINTS, Band, Series, draw
from growreel.report.clips import Real
from growreel.report.folder import read_run
from growreel.report.remarks import remarks
from growreel.report.words import figure, short_count
from growreel.training import refresh
from growreel.training.loop import train
from growreel.video import read_frames


@pytest.fixture(scope="module")
def trained(shapes_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of tiny_config with metrics, in a folder whose name has to be escaped."""
    out = tmp_path_factory.mktemp("reports") / "<i>a&b"
    train(shapes_store, out, tiny_config(eval_interval=60, eval_clips=8, eval_metrics=["swd"]), progress=False)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(trained, tmp_path / trained.name))


def page_of(*runs: Path) -> str:
    return write_report(runs, runs[0].parent / "page.html").read_text(encoding="utf-8")


def words_of(page: str) -> str:
    """The text of a page as one line, without styles and scripts."""
    without = re.sub(r"<(style|script)>.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", without)).split())


def test_one_file_that_needs_nothing_else(trained: Path) -> None:
    page = page_of(trained)
    addresses = re.findall(r"""(?:src|srcset|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page)
    assert addresses and all(address.startswith(("data:", "#")) for address in addresses)
    assert "@import" not in page and "default-src 'none'" in page
    assert "<i>a" not in page and "&lt;i&gt;a&amp;b" in page, "everything is escaped"


def test_what_the_page_of_a_run_holds(trained: Path) -> None:
    page, words = page_of(trained), words_of(page_of(trained))
    assert "on 40 colour clips of shapes (4×8×8, 8 frames a second)" in words  # noqa: RUF001
    assert "Training reached its end: 120 clips" in words
    for title in ("Losses", "Critic", "Penalties", "Sliced Wasserstein distance", "Speed", "Memory", "Size of weights"):
        assert f"<h3>{title}" in page, title
    assert len(re.findall(r'alt="Sample of seed \d+, 4×8×8, after 120 clips"', page)) == 2 * 8 + 8  # noqa: RUF001 - samples, and the strip
    assert len(re.findall(r'alt="Sample of seed \d+, 2×4×4, after 40 clips"', page)) == 8  # noqa: RUF001 - the end of the first stage
    assert page.count('alt="Real clip ') == 16 and page.count('alt="Training clip ') == 8
    assert f"--config '{trained.resolve()}/config.yaml'" in words or "config.yaml" in words
    assert "growth.minibatch 4 none" in words, "a setting with its value and its default"
    assert re.search(r'class="fade" style="width:50', page), "the fade is half of the second stage"


def test_saved_from_the_page_a_clip_still_has_its_recipe(trained: Path, tmp_path: Path) -> None:
    page = page_of(trained)
    for size, clips in (("4×8×8", 120), ("2×4×4", 40)):  # noqa: RUF001
        found = re.search(rf'src="data:image/webp;base64,([^"]+)" alt="Sample of seed 3, {size}', page)
        assert found is not None
        (tmp_path / "saved.webp").write_bytes(base64.b64decode(found[1]))
        recipe = read_recipe(tmp_path / "saved.webp")
        assert (recipe.seeds, recipe.clips_shown, recipe.stage) == ((3,), clips, size.replace("×", "x"))  # noqa: RUF001
        shutil.copytree(trained / "models", tmp_path / "models", dirs_exist_ok=True)
        assert main(["sample", "--like", str(tmp_path / "saved.webp"), "--out", str(tmp_path / "again.webp")]) == 0
        again, saved = (np.stack(list(read_frames(tmp_path / name))) for name in ("again.webp", "saved.webp"))
        assert str(Size(*saved.shape[:3])) == recipe.stage and np.array_equal(again, saved)


def test_stores_that_moved_or_changed_are_said(run: Path, tmp_path: Path) -> None:
    environment, local = (json.loads((run / name).read_text()) for name in ("environment.json", "local.json"))
    write_store(tmp_path / "other", shape_clips(8, Size(4, 8, 8)), fps=8.0)
    local[-1]["store"] = str(tmp_path / "other")
    (run / "local.json").write_text(json.dumps(local))
    assert "is not the one that the run was trained on" in words_of(page_of(run))
    local[-1]["store"] = str(tmp_path / "gone")
    (run / "local.json").write_text(json.dumps(local))
    words = words_of(page_of(run))
    assert "gone, is no longer where it was" in words and "40 colour clips" in words
    del environment[-1]["store"]
    (run / "environment.json").write_text(json.dumps(environment))
    assert "does not say which clips" in words_of(page_of(run))


def test_runs_that_have_hardly_begun(run: Path) -> None:
    shutil.rmtree(run / "models")
    words = words_of(page_of(run))
    assert "No model has been saved yet" in words
    (run / "stats.jsonl").unlink()
    (run / "environment.json").unlink()
    words = words_of(page_of(run))
    assert "No line of statistics has been written yet" in words
    (run / "config.yaml").unlink()
    with pytest.raises(GrowreelError, match="is no run folder"):
        write_report([run])


def test_command_and_refusals(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html") and (run / "report.html").is_file()
    assert main(["report", str(run), "--out", str(tmp_path / "x.pdf")]) == 2 and "x.pdf" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2 and "is no run folder" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(run), str(run)]) == 0 and (tmp_path / "comparison.html").is_file()


CARD: dict[str, Any] = {
    "format": "growreel-metric-card-1",
    "fake": {"size": "4x8x8", "compared": 64, "clips shown": 120},
    "real": {"sha256": "a" * 64, "compared": 64},
    "settings": {"protocol": "growreel", "date": "2026-11-26"},
    "results": [
        {
            "name": "swd",
            "about": "sliced distance",
            "better": "lower",
            "figures": {"mean": {"value": 50.0, "low": 40.0, "high": 60.0, "real": 20.0}, "4x8x8": {"value": 30.0}},
        }
    ],
    "left_out": {"fvd": "its weights are not here"},
    "warnings": ["swd: 64 clips are few"],
}


def test_the_metric_card(run: Path) -> None:
    assert "No metric card yet" in words_of(page_of(run))
    (run / "card.json").write_text(json.dumps(CARD))
    page = page_of(run)
    words = words_of(page)
    assert "swd mean 50.00 40.00 to 60.00 20.00 lower" in words
    assert "Left out, fvd: its weights are not here" in words and "swd: 64 clips are few" in words
    assert 'class="range" style="left:66.67%;width:33.33%"' in page and 'class="real" style="left:33.33%"' in page
    (run / "card.json").write_text("{")
    assert "No metric card yet" in words_of(page_of(run)), "a card that is being written is as none"


def test_several_runs(run: Path, trained: Path, shapes_store: Path, tmp_path: Path) -> None:
    other = tmp_path / "wider"
    config = tiny_config(clips=60)
    config = dataclasses.replace(config, network=dataclasses.replace(config.network, max_channels=6))
    train(shapes_store, other, config, progress=False)
    (trained / "card.json").write_text(json.dumps(CARD))
    different = {**CARD, "real": {"sha256": "b" * 64, "compared": 64}}
    different["results"] = [{**CARD["results"][0], "figures": {"mean": {"value": 100.0, "low": 90.0, "high": 110.0}}}]
    (other / "card.json").write_text(json.dumps(different))
    page = page_of(trained, other)
    (trained / "card.json").unlink()
    words = words_of(page)
    assert "network.max_channels 4 6" in words and "network.latent_dim" not in words, "only what differs"
    assert "swd mean lower 50.00 40.00 to 60.00 100.0 90.00 to 110.0" in words and "swd 4x8x8 lower 30.00 not measured" in words
    assert "real clips, sha256: aaaaaaaaaaaa against bbbbbbbbbbbb" in words
    losses = re.search(r"<h3>Losses: generator.*?</figure>", page, flags=re.DOTALL)
    assert losses is not None and losses[0].count("<polyline") == 2, "one curve a run, on top of each other"
    assert len(re.findall(r'alt="wider, sample of seed', page)) == 16


def drawn(values: list[float], **how: Any) -> Any:
    x = np.arange(len(values), dtype=np.float64)
    chart = draw("t", "a", [Series("s", x, np.array(values))], start=0, end=len(values) - 1, **how)
    assert chart is not None
    return chart


def read_back(chart: Any) -> list[float]:
    """Values from coordinates, as the page's script reads them."""
    heights = [1 - float(pair.split(",")[1]) / 1000 for pair in chart.lines[0].points.split()]
    if chart.logarithmic:
        return [chart.low * (chart.high / chart.low) ** height for height in heights]
    return [chart.low + height * (chart.high - chart.low) for height in heights]


def test_charts_can_be_read_back() -> None:
    linear, wide = [3.0, -1.0, 7.5, 2.0], [1e-4, 1.0, 30.0, 0.02]
    assert read_back(drawn(linear)) == pytest.approx(linear, abs=0.01) and not drawn(linear).logarithmic
    assert read_back(drawn(wide)) == pytest.approx(wide, rel=0.01) and drawn(wide).logarithmic
    assert drawn([5.0, 5.0]).low < 5 < drawn([5.0, 5.0]).high
    assert draw("t", "a", [Series("s", np.array([1.0]), np.array([np.nan]))], start=0, end=1) is None
    rng = np.random.default_rng(0)
    wild = [*rng.normal(0, 1, 999).tolist(), 1e9]
    assert drawn(wild).high < 10 and drawn(wild).cut >= 1, "one wild value does not flatten the others"
    bands = drawn([0.0] * 101, bands=[Band("4x4x4", 0, 0, 20), Band("8x8x8", 20, 30, 200)]).bands
    assert bands[1] == pytest.approx((20.0, 10.0, 80.0, "8x8x8")) or bands[1] == (20.0, 10.0, 80.0, "8x8x8")


def test_long_series_are_thinned_and_lose_no_extreme() -> None:
    values = np.zeros(7 * MOST_POINTS)
    values[1234] = 5.0
    chart = drawn(values.tolist())
    assert len(chart.lines[0].points.split()) == MOST_POINTS
    tops = [1 - float(pair.split(",")[1]) / 1000 for pair in chart.lines[0].area.split()]
    highest = chart.low + max(tops) * (chart.high - chart.low)
    assert "highest 5.000" in chart.summary and (highest == pytest.approx(5, abs=0.1) or chart.cut == 1)


REAL = Real(np.zeros((1, 2, 4, 4, 3), np.uint8), 40, 40, np.zeros((1, 2, 4, 4, 3), np.uint8), [0], np.array([1.0, 0.9]), 1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Samples are varied"),
        ({"variety": 0.2}, "nearly the same clip"),
        ({"motion": 0.1}, "Samples move little"),
        ({"motion": 3.0}, "flicker or rush"),
        ({"brightness": -40.0}, "darker than real clips, by 40"),
        ({"closeness": np.array([0.1, 1.0])}, "1 of 2 samples lies much nearer"),
        ({"closeness": None}, "come from one video"),
    ],
)
def test_remarks_on_samples(trained: Path, changes: dict[str, Any], said: str) -> None:
    texts = " ".join(remark.text for remark in remarks(read_run(trained), dataclasses.replace(REAL, **changes)))
    assert said in texts


def lines_with(**changes: Any) -> list[dict[str, Any]]:
    """60 lines in the stable phase of the last stage; a function of the line's number for every value to change."""
    usual: dict[str, Any] = {"critic_real": 1.0, "critic_fake": 0.0, "gradient_penalty": 1.0, "clips_per_second": 100.0}
    return [
        {"clips": k, "stage": "4x8x8", "phase": "stable", "time": time.time(), **usual, **{name: at(k) for name, at in changes.items()}}
        for k in range(60)
    ]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (lines_with(critic_real=lambda k: 1.0 + k), "times as far apart"),
        (lines_with(gradient_penalty=lambda k: 1.0 if k < 56 else 100.0), "has become steep"),
        (lines_with(clips_per_second=lambda k: 100.0 if k < 50 else 20.0), "Something else may be using the machine"),
        (lines_with(time=lambda k: time.time() - 7200), "old when this page was written"),
    ],
)
def test_remarks_on_lines(trained: Path, lines: list[dict[str, Any]], said: str) -> None:
    run = dataclasses.replace(read_run(trained), intervals=lines, models={})
    assert said in " ".join(remark.text for remark in remarks(run, None))
    calm = dataclasses.replace(run, intervals=lines_with())
    assert said not in " ".join(remark.text for remark in remarks(calm, None))


def test_remarks_on_rollbacks_and_metrics(trained: Path) -> None:
    run = read_run(trained)
    metrics = [{"clips": clips, "stage": "4x8x8", "metrics": {"swd mean": value}} for clips, value in ((60, 9.0), (80, 5.0), (100, 8.0))]
    run = dataclasses.replace(run, rollbacks=[{"clips": 50, "reason": "loss_generator is nan"}], evaluations=metrics)
    texts = " ".join(remark.text for remark in remarks(run, None))
    assert "1 step went wrong" in texts and "loss_generator is nan" in texts
    assert "was 5.000 at 80 clips and is 8.000 now" in texts
    assert "only 40 training clips" in texts


def wait_for(path: Path, seconds: float = 400) -> bool:
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return path.exists()


def test_training_has_its_report_refreshed_and_does_not_wait(shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process stands in for the report that takes longer than training: training ends before it does."""
    started: list[subprocess.Popen[bytes]] = []

    def start(run: Path) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True))
        return started[-1]

    monkeypatch.setattr(refresh, "_start", start)
    try:
        result = train(shapes_store, tmp_path / "run", tiny_config(report=True), progress=False)
        assert result.clips_shown == 120
        assert len(started) == 2, "one at work and one that waits for it, however many checkpoints there are"
        assert all(process.poll() is None for process in started)
    finally:
        for process in started:
            process.kill()
            process.wait()
    train(shapes_store, tmp_path / "off", tiny_config(), progress=False)
    assert len(started) == 2


@pytest.mark.timeout(1200)  # on a busy machine: a process that gives way takes minutes
def test_the_process_that_training_starts(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a real one; what goes wrong in it is written down and harms nobody."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    refresh.refresh_report(run, True)
    assert wait_for(run / "report.html")
    (process,) = refresh._started.pop(run)
    assert process.wait(400) == 0 and not (run / "report.log").exists()
    (run / "config.yaml").write_text("growth: 7")
    refresh.refresh_report(run, True)
    assert wait_for(run / "report.log")
    (process,) = refresh._started.pop(run)
    assert process.wait(400) == 1 and "config.yaml" in (run / "report.log").read_text()
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: (_ for _ in ()).throw(OSError("no more processes")))
    refresh.refresh_report(run, True)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0"),
        (0.00052, "0.0005200"),
        (-0.0000123, "-1.23\N{MULTIPLICATION SIGN}10\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT FIVE}"),
        (0.004132, "0.004132"),
        (12.345, "12.35"),
        (999.96, "1,000"),
        (20_000, "20,000"),
        (3e30, "3\N{MULTIPLICATION SIGN}10\N{SUPERSCRIPT THREE}\N{SUPERSCRIPT ZERO}"),
    ],
)
def test_figures_are_for_people(number: float, said: str) -> None:
    assert figure(number) == said


def test_counts_are_for_people() -> None:
    assert [short_count(number) for number in (950, 26_000, 999_600, 1_200_000, 2e10)] == ["950", "26k", "1M", "1.2M", "20G"]
    assert short_count(1e15).endswith("10\N{SUPERSCRIPT ONE}\N{SUPERSCRIPT FIVE}")


def test_ticks_are_for_people() -> None:
    wild = draw("Losses", "", [Series("loss", np.array([0.0, 1, 2]), np.array([1e-9, 3.0, 1e20]))], start=0, end=2)
    assert wild is not None and not re.search(r"\de[+-]?\d", wild.summary + " ".join(tick.label for tick in wild.y_ticks))
