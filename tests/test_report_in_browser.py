"""The report in a real browser: nothing is asked of the network, nothing goes wrong, and everything works by keyboard and by pointer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import tiny_config
from growreel.report import write_report
from growreel.training.loop import train

playwright: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra: browser)")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of playwright's own pipes
]
WIDTHS, SCHEMES = (390, 1280), ("light", "dark")


@pytest.fixture(scope="module")
def pages(shapes_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report with 1,000 lines of statistics and a metric card, and a comparison of two runs."""
    folder = tmp_path_factory.mktemp("browser")
    run = folder / "run"
    train(shapes_store, run, tiny_config(eval_interval=60, eval_clips=8, eval_metrics=["swd"]), progress=False)
    lines = [json.loads(text) for text in (run / "stats.jsonl").read_text().splitlines()]
    figures, metrics = [line for line in lines if "alpha" in line], [line for line in lines if "metrics" in line]
    long = [{**figures[k % len(figures)], "clips": 12 + k * 108 // 999} for k in range(1000)]
    (run / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*long, *metrics]))
    figure = {"value": 50.0, "low": 40.0, "high": 60.0, "real": 20.0}
    result = {"name": "swd", "about": "sliced distance", "better": "lower", "figures": {"mean": figure}}
    card = {"format": "growreel-metric-card-1", "fake": {}, "real": {}, "settings": {}, "results": [result]}
    (run / "card.json").write_text(json.dumps(card))
    shutil.copytree(run, folder / "other")
    return {"run": write_report([run]), "comparison": write_report([run, folder / "other"], folder / "comparison.html")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


class Visit:
    """A page that is open, and everything that it asked for or complained about."""

    def __init__(self, browser: Any, path: Path, width: int = 1280, scheme: str = "light", motion: str = "no-preference") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion=motion)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.resolve().as_uri())

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *error: object) -> None:
        self.context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["run", "comparison"])
def test_quiet_offline_and_no_wider_than_the_screen(browser: Any, pages: dict[str, Path], name: str, width: int) -> None:
    visit = Visit(browser, pages[name], width)
    with visit as page:
        assert visit.complaints == []
        assert [address for address in visit.requests if not address.startswith("data:")] == [pages[name].resolve().as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["run", "comparison"])
def test_axe_finds_nothing(browser: Any, pages: dict[str, Path], name: str, scheme: str) -> None:
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed (extra: browser)")
    for width in WIDTHS:
        with Visit(browser, pages[name], width, scheme) as page:
            found = axe.Axe().run(page).response["violations"]
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []


def test_values_are_read_by_keyboard_and_by_pointer(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["run"]) as page:
        chart = page.locator(".chart", has_text="Losses")
        last = chart.locator(".legend b").first.inner_text()
        page.get_by_label("Read values at").focus()
        page.keyboard.press("Home")
        assert page.locator(".reader output").inner_text() == "0 clips"
        lines = [json.loads(text) for text in (pages["run"].parent / "stats.jsonl").read_text().splitlines()]
        first = chart.locator(".legend b").first.inner_text()
        assert float(first) == pytest.approx(lines[0]["loss_discriminator"], abs=0.02)
        page.keyboard.press("Tab")
        assert chart.locator(".legend b").first.inner_text() == last, "left again, the newest values are back"
        chart.locator(".plot").hover(position={"x": 5, "y": 20})
        assert chart.locator(".legend b").first.inner_text() == first and chart.locator(".cross").is_visible()
        page.mouse.move(5, 5)
        assert not chart.locator(".cross").is_visible()


def test_clips_stop_when_asked_and_for_who_wants_no_motion(browser: Any, pages: dict[str, Path]) -> None:
    shown = "document.querySelector('.clip img').currentSrc === document.querySelector('.clip img').src"
    with Visit(browser, pages["run"]) as page:
        button = page.get_by_role("button", name="Pause clips")
        assert page.evaluate(shown)
        button.focus()
        page.keyboard.press("Enter")
        page.wait_for_function(f"!({shown})")
        page.get_by_role("button", name="Play clips").click()
        page.wait_for_function(shown)
    with Visit(browser, pages["run"], motion="reduce") as page:
        assert not page.evaluate(shown)
        assert page.get_by_role("button", name="Play clips").is_visible()


def test_it_is_whole_without_scripts(browser: Any, pages: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["run"].resolve().as_uri())
    assert page.locator(".plot svg polyline").count() > 10 and page.locator(".clip img").first.is_visible()
    assert not page.locator("#motion").is_visible() and not page.locator(".reader").is_visible(), "what would not work is not shown"
    context.close()
