"""The viewer in a real browser: quiet, offline, every control by mouse and by keyboard, readable by everybody."""

from __future__ import annotations

import dataclasses
import http.client
import http.server
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import tiny_config
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.growth import Size
from growreel.preparation.drops import drops_beside, read_drops
from growreel.recipe import Walk, read_recipe
from growreel.report.words import figure
from growreel.runtime.locks import held
from growreel.training.listening import Listener
from growreel.training.loop import train
from viewing import Viewer, make_runs, viewing

playwright: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra: browser)")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of playwright's own pipes
]
WIDTHS, SCHEMES, PAGES = (390, 1280), ("light", "dark"), ("run", "play", "data", "compare")
SCREENSHOTS = os.environ.get("GROWREEL_SCREENSHOTS")
"""A folder for pictures of every page, for whoever wants to look at them."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def viewer(runs: Path) -> Iterator[Viewer]:
    with viewing(runs) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


class Visit:
    """A page that is open, and everything that it asked for or complained about; both are looked at when it is closed."""

    def __init__(
        self, browser: Any, viewer: Viewer, page: str, width: int = 1280, scheme: str = "light", motion: str = "no-preference"
    ) -> None:
        self.viewer = viewer
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion=motion, accept_downloads=True
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(f"{viewer.address}#{page}")
        self.page.wait_for_selector(f"#page-{page}:visible")

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, kind: object, *error: object) -> None:
        self.context.close()
        if kind is None:
            assert self.complaints == []
            own = (self.viewer.address, "data:", f"blob:{self.viewer.address}")
            assert [address for address in self.requests if not address.startswith(own)] == []


def until(page: Any, condition: str, arg: Any = None) -> None:
    """Wait for a condition in the page. Playwright's own way makes code from text there, which the page's policy forbids."""
    end = time.monotonic() + 120  # clips are made and looked at when nobody else wants the processor
    while not page.evaluate(condition, arg):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


READY = {
    "run": "document.querySelectorAll('#run-charts .chart').length > 3 && document.getElementById('run-picture').naturalWidth > 0",
    "play": "(() => { const all = [...document.querySelectorAll('#play-wall img')]; "
    "return all.length === 16 && all.every((image) => image.naturalWidth); })()",
    "data": "document.querySelectorAll('#data-wall .tile').length === 43",
    "compare": "document.querySelectorAll('#compare-rows tr').length === 2",
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", PAGES)
def test_pages_are_quiet_fit_and_are_for_everybody(browser: Any, viewer: Viewer, name: str, scheme: str) -> None:
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed (extra: browser)")
    for width in WIDTHS:
        visit = Visit(browser, viewer, name, width, scheme)
        with visit as page:
            until(page, READY[name])
            if name == "compare":
                page.get_by_label("Choose first").check()
                page.get_by_label("Choose second").check()
                page.get_by_role("button", name="Show the chosen beside each other").click()
                page.wait_for_selector("#compare-beside .chart")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            if SCREENSHOTS:
                page.wait_for_timeout(300)
                page.screenshot(path=f"{SCREENSHOTS}/{name}-{width}-{scheme}.png", full_page=True)
            # axe's own script is not the page's: it is brought in past the policy of the page
            violations = axe.Axe().run(page).response["violations"]
            assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []


def press(page: Any, control: Any, key: str = "Enter") -> None:
    """Use a control by keyboard alone."""
    control.focus()
    page.keyboard.press(key)


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_training_is_steered(browser: Any, viewer: Viewer, runs: Path, by: str) -> None:
    run, listener, did = runs / "first", Listener(runs / "first", is_first=True), list[str]()
    stop = threading.Event()

    def training() -> None:
        def done(what: str) -> Any:
            def do(request: Any) -> str:
                did.append(what + ("-raw" if request.raw else ""))
                return f"{what} done"

            return do

        with held(run / ".lock", "test"), listener.open(120):
            while not stop.is_set():
                listener.attend(120, {"sample": done("sample"), "save": done("save")}, stop.is_set)
                time.sleep(0.05)

    thread = threading.Thread(target=training)
    thread.start()
    try:
        with Visit(browser, viewer, "run") as page:
            page.get_by_label("Run", exact=True).select_option("first")
            until(page, "document.getElementById('run-state').textContent.includes('Training')")
            for name, answer in (
                ("Sample now", "sample: sample done"),
                ("Sample now, raw", "sample: sample done"),
                ("Save now", "save: save done"),
                ("Pause", "pause: training holds"),
                ("Resume", "resume: training goes on"),
                ("Stop after saving", "stop: saved"),
            ):
                button = page.get_by_role("button", name=name, exact=True)
                until(
                    page,
                    "(name) => [...document.querySelectorAll('#run-tell button')].some((b) => b.textContent === name && !b.disabled)",
                    arg=name,
                )
                if by == "mouse":
                    button.click()
                else:
                    press(page, button)
                until(page, "(text) => document.getElementById('run-answers').textContent.includes(text)", arg=answer)
    finally:
        stop.set()
        thread.join()
    assert did == ["sample", "sample-raw", "save", "save"]
    shutil.rmtree(run / "requests")
    (run / "answers.jsonl").unlink()


def test_the_run_is_read(browser: Any, viewer: Viewer) -> None:
    with Visit(browser, viewer, "run") as page:
        page.get_by_label("Run", exact=True).select_option("first")
        until(page, "document.querySelectorAll('#run-charts .chart').length > 5")
        assert page.get_by_role("button", name="Sample now", exact=True).is_disabled(), "nobody would do it"
        chart = page.locator(".chart", has_text="Losses")
        last = chart.locator(".legend b").first.inner_text()
        press(page, page.get_by_label("Read values at"), "Home")
        assert page.locator("#run-reader output").inner_text() == "0 clips"
        assert chart.locator(".legend b").first.inner_text() != last
        page.keyboard.press("Tab")
        assert chart.locator(".legend b").first.inner_text() == last
        chart.locator(".plot").hover(position={"x": 5, "y": 20})
        assert chart.locator(".cross").is_visible()
        page.get_by_label("Grid").select_option("000000040")
        until(page, "document.getElementById('run-picture').src.includes('000000040')")
        press(page, page.get_by_label("Grid"), "Home")
        until(page, "document.getElementById('run-picture').src.includes('000000120')")
        assert "Seed of initial weights" not in page.locator("#run-settings").inner_text(), "the seed is at its default"
        assert "Stop after so many" not in page.locator("#run-settings").inner_text()
        assert page.locator("#run-settings tr").count() > 5


def test_values_are_written_as_the_server_writes_them(browser: Any, viewer: Viewer) -> None:
    values = [0.0, -0.0000123, 0.00052, 0.004132, 12.345, 999.96, 20_000, 3e30]
    with Visit(browser, viewer, "run") as page:
        said = page.evaluate("async (values) => { const charts = await import('./charts.js'); return values.map(charts.written); }", values)
    assert said == [re.sub(r"(\.\d*?)0+$", r"\1", figure(value)) for value in values]


def test_clips_are_played_with(browser: Any, viewer: Viewer, tmp_path: Path) -> None:
    with Visit(browser, viewer, "play") as page:
        page.get_by_label("Run", exact=True).select_option("first")
        until(page, READY["play"])
        heading, tiles = page.locator("#play-heading"), page.locator("#play-wall .tile")
        page.get_by_label("Clips", exact=True).select_option("4")
        until(page, "document.querySelectorAll('#play-wall .tile').length === 4")
        page.get_by_label("First seed").fill("100")
        page.keyboard.press("Enter")
        page.get_by_label("Choose seed 100", exact=True).wait_for()
        page.get_by_role("button", name="Next seeds").click()
        page.get_by_label("Choose seed 104", exact=True).wait_for()
        press(page, page.get_by_role("button", name="Seeds before"))
        page.get_by_label("Choose seed 100", exact=True).wait_for()
        before = page.locator("#play-wall img").first.get_attribute("src")
        press(page, page.get_by_label("Stage", exact=True), "Home")
        until(
            page,
            "(before) => { const i = document.querySelector('#play-wall img'); return i.src !== before && i.naturalWidth === 4; }",
            arg=before,
        )
        press(page, page.get_by_label("Stage", exact=True), "End")
        until(page, "document.querySelector('#play-wall img').naturalWidth === 8")
        for label in ("Alpha", "Truncation"):
            before = page.locator("#play-wall img").first.get_attribute("src")
            press(page, page.get_by_label(label, exact=True), "ArrowLeft")
            until(page, "(before) => { const i = document.querySelector('#play-wall img'); return i.src && i.src !== before; }", arg=before)
        page.get_by_label("Truncation", exact=True).fill("0.5")

        tiles.nth(0).click()
        assert tiles.nth(0).get_attribute("aria-pressed") == "true"
        press(page, page.get_by_role("button", name="Neighbours of the chosen clip"))
        until(page, "document.getElementById('play-heading').textContent.startsWith('Neighbours')")
        page.get_by_role("button", name="Back to the seeds").click()
        page.get_by_label("Choose seed 101", exact=True).wait_for()
        press(page, page.get_by_label("Choose seed 100", exact=True)) if tiles.nth(0).get_attribute("aria-pressed") != "true" else None
        press(page, page.get_by_label("Choose seed 103", exact=True), "Space")
        page.get_by_role("button", name="Walk between the two chosen").click()
        until(page, "document.querySelectorAll('#play-wall .tile').length === 9")
        assert heading.inner_text() == "From one to the other"
        page.get_by_label("Take away").select_option("film")
        page.get_by_label("Frames", exact=True).select_option("60")
        press(page, page.get_by_label("A clip of its own for every"), "End")
        for form in ("mp4", "gif", "webp"):
            page.get_by_label("as", exact=True).select_option(form)
            with page.expect_download() as download:
                press(page, page.get_by_role("button", name="Export"))
            download.value.save_as(tmp_path / f"film.{form}")
            recipe = read_recipe(tmp_path / f"film.{form}")
            assert (recipe.seeds, recipe.walk) == ((100,), Walk(60, 1, 103, 8)) and recipe.truncation == 0.5
        press(page, page.get_by_role("button", name="Back to the seeds"))

        press(page, page.get_by_label("Choose seed 100", exact=True), "ArrowRight")
        page.keyboard.press("n")
        until(page, "document.getElementById('play-heading').textContent === 'Neighbours of seed 101'")
        until(page, "document.activeElement.dataset.place === '101'")
        press(page, page.get_by_role("button", name="Back to the seeds"))
        page.get_by_label("Choose seed 102", exact=True).wait_for()

        page.get_by_label("Favourite: seed 101", exact=True).click()
        press(page, page.get_by_label("Choose seed 102", exact=True), "f")
        page.get_by_role("button", name="Favourites (2)").click()
        until(page, "document.querySelectorAll('#play-wall .tile').length === 2")
        page.get_by_label("Take away").select_option("favourites")
        for form in ("mp4", "gif", "webp"):
            page.get_by_label("as", exact=True).select_option(form)
            with page.expect_download() as download:
                page.get_by_role("button", name="Export").click()
            download.value.save_as(tmp_path / f"x.{form}")
            recipe = read_recipe(tmp_path / f"x.{form}")
            assert recipe.seeds == (101, 102) and recipe.truncation == 0.5
        page.get_by_label("as", exact=True).select_option("txt")
        with page.expect_download() as download:
            press(page, page.get_by_role("button", name="Export"))
        download.value.save_as(tmp_path / "x.txt")
        assert (tmp_path / "x.txt").read_text() == "101\n102\n"
        page.reload()
        page.get_by_role("button", name="Favourites (2)").wait_for()
        page.get_by_role("button", name="Seeds by chance").click()
        page.locator("#play-wall .tile").first.wait_for()
        page.get_by_text("What these mean").click()
        assert "non-negative integer per clip" in page.locator("#help-seed").inner_text()


def test_the_walk_goes_on_and_stops(browser: Any, viewer: Viewer) -> None:
    with Visit(browser, viewer, "play") as page:
        until(page, READY["play"])
        page.get_by_role("button", name="Start the walk").click()
        until(page, "document.getElementById('walk-rate').textContent.includes('frames/s')")
        looks = "(() => { const c = document.getElementById('walk-canvas'); return c.toDataURL(); })()"
        first = page.evaluate(looks)
        until(page, f"(first) => {looks} !== first", arg=first)
        page.get_by_label("A clip for every").select_option("8")
        until(page, "document.getElementById('walk-rate').textContent.includes('frames/s')")
        press(page, page.get_by_role("button", name="Stop the walk"))
        assert page.get_by_role("button", name="Start the walk").is_visible()
        page.get_by_role("button", name="Start the walk").click()
        page.get_by_role("link", name="Data").click()
        page.wait_for_selector("#page-data:visible")
        press(page, page.get_by_role("link", name="Play"))
        page.get_by_role("button", name="Start the walk").wait_for()  # it stops when the page is left


def test_clips_stop_when_asked_and_for_who_wants_no_motion(browser: Any, viewer: Viewer) -> None:
    still = "[...document.querySelectorAll('#play-wall img')].every((i) => i.src.startsWith('data:'))"
    with Visit(browser, viewer, "play") as page:
        until(page, READY["play"])
        assert not page.evaluate(still)
        press(page, page.get_by_role("button", name="Pause clips"))
        until(page, still)
        page.get_by_role("button", name="Next seeds").click()
        until(page, f"{READY['play']} && {still}")
        page.get_by_role("button", name="Play clips").click()
        until(page, f"!{still}")
    with Visit(browser, viewer, "play", motion="reduce") as page:
        until(page, f"{READY['play']} && {still}")


def test_clips_are_kept_and_dropped_by_keyboard(browser: Any, viewer: Viewer, runs: Path) -> None:
    path = drops_beside(runs.parent / "store")
    path.unlink(missing_ok=True)
    with Visit(browser, viewer, "data") as page:
        until(page, READY["data"])
        tiles = page.locator("#data-wall .tile")
        tiles.nth(0).focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("d")
        until(page, "document.querySelectorAll('#data-wall .tile')[1].getAttribute('aria-pressed') === 'true'")
        assert tiles.nth(1).evaluate("(tile) => tile === document.activeElement"), "the focus stays"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        tiles.nth(5).click()
        until(page, "document.getElementById('data-about').textContent.includes('2 dropped')")
        assert len(read_drops(path)) == 2
        page.get_by_label("Show", exact=True).select_option("dropped")
        until(page, "document.querySelectorAll('#data-wall .tile').length === 2")
        press(page, page.locator("#data-wall .tile").first, "k")
        until(page, "document.getElementById('data-about').textContent.includes('1 dropped')")
        page.get_by_label("Show", exact=True).select_option("copies")
        until(page, "document.querySelectorAll('#data-wall .tile').length === 6")
        page.get_by_label("Show", exact=True).select_option("all")
        page.get_by_label("Label").select_option("square")
        until(page, "document.querySelectorAll('#data-wall .tile').length === 20")
        page.get_by_label("Label").select_option("")
        page.get_by_label("Source has").fill("nothing like it")
        page.get_by_text("No clip is like that.").wait_for()
        page.get_by_label("Source has").fill("")
        until(page, READY["data"])
        order = "[...document.querySelectorAll('#data-wall .tile')].map((tile) => tile.dataset.clip).join()"
        page.get_by_label("Sort by").select_option("motion")
        until(page, f"{order}.endsWith(',0,40')")  # these two, of which one is a copy, move most
        press(page, page.get_by_label("largest first"), "Space")
        until(page, f"{order}.startsWith('0,40,')")
        assert page.get_by_role("button", name="Next page").is_disabled()
        assert "Nothing was skipped" in page.locator("#data-skipped").inner_text()
    path.unlink()


def test_runs_are_compared(browser: Any, viewer: Viewer) -> None:
    with Visit(browser, viewer, "compare") as page:
        until(page, READY["compare"])
        press(page, page.get_by_label("Choose first"), "Space")
        press(page, page.get_by_label("Choose second"), "Space")
        press(page, page.get_by_role("button", name="Show the chosen beside each other"))
        page.wait_for_selector("#compare-beside .chart")
        assert page.locator("#compare-beside img").count() == 2
        press(page, page.get_by_label("Read values at"), "Home")
        page.get_by_role("button", name="second", exact=True).click()
        page.wait_for_selector("#page-run:visible")
        assert page.get_by_label("Run", exact=True).input_value() == "second"


class Proxy(http.server.BaseHTTPRequestHandler):
    """Takes a prefix off every address, as a hub does."""

    prefix, target = "/user/me/view", 0

    def do_GET(self) -> None:
        self.pass_on()

    def do_POST(self) -> None:
        self.pass_on()

    def pass_on(self) -> None:
        if not self.path.startswith(self.prefix + "/"):
            self.send_error(404)
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.target)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection.request(self.command, self.path.removeprefix(self.prefix), body or None, dict(self.headers.items()))
        answer = connection.getresponse()
        text = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)
        connection.close()

    def log_message(self, format: str, *values: Any) -> None:
        pass


def test_it_works_below_a_path_of_a_proxy(browser: Any, runs: Path) -> None:
    """With the token that this needs, and a request that changes something."""
    with viewing(runs, allow_hosts=["hub.localhost"]) as viewer:
        handler = type("Here", (Proxy,), {"target": viewer.port})
        proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        context = browser.new_context()
        try:
            page, outside = context.new_page(), list[str]()
            base = f"http://hub.localhost:{proxy.server_port}{Proxy.prefix}/"
            page.on(
                "request", lambda request: outside.append(request.url) if not request.url.startswith((base, "data:", "blob:")) else None
            )
            page.goto(f"{base}?token={viewer.token}#data")
            until(page, READY["data"])
            assert "token" not in page.url and outside == []
            page.locator("#data-wall .tile").first.click()
            until(page, "document.getElementById('data-about').textContent.includes('1 dropped')")
        finally:
            context.close()
            proxy.shutdown()
            proxy.server_close()
            thread.join()
    drops_beside(runs.parent / "store").unlink()


def test_names_are_text_and_never_code(browser: Any, viewer: Viewer, tmp_path: Path) -> None:
    """A folder of runs and a store from somewhere, with names that would be code in a page that is put together from text."""
    evil = "<img src=x onerror=alert(1)>"
    shutil.copytree(viewer.application.subject.path / "first", tmp_path / "runs" / evil)
    clips = [np.zeros((4, 8, 8, 3), np.uint8) + k for k in range(3)]
    write_store(tmp_path / "store", clips, fps=8.0, labels=[evil] * 3, source=f"{evil}.mp4")
    with viewing(tmp_path / "runs") as served, Visit(browser, served, "compare") as page:
        page.get_by_label(f"Choose {evil}").check()
        page.get_by_role("button", name="Show the chosen beside each other").click()
        page.wait_for_selector("#compare-beside .chart")
        assert page.locator("[onerror]").count() == 0 and evil in page.locator("#compare-rows").inner_text()
    with viewing(tmp_path / "store") as served, Visit(browser, served, "data") as page:
        until(page, "document.querySelectorAll('#data-wall .tile').length === 3")
        assert page.locator("[onerror]").count() == 0 and evil in page.locator("#data-wall").inner_text()


def test_the_class_is_chosen(browser: Any, tmp_path: Path) -> None:
    """Of a conditional model: in turn by seed, or one for all. A name is text here, too."""
    evil = "<img src=x onerror=alert(1)>"
    write_store(tmp_path / "store", shape_clips(8, Size(4, 8, 8)), fps=8.0, labels=["walk", evil] * 4)
    config = tiny_config(clips=48)
    config = dataclasses.replace(config, network=dataclasses.replace(config.network, conditional=True))
    train(tmp_path / "store", tmp_path / "runs" / "one", config, progress=False)
    with viewing(tmp_path / "runs") as served, Visit(browser, served, "play") as page:
        until(page, READY["play"])
        page.get_by_label(f"Choose seed 4, {evil}", exact=True).wait_for()
        before = page.locator("#play-wall img").nth(4).get_attribute("src")
        page.get_by_label("Class", exact=True).select_option("walk")
        page.get_by_label("Choose seed 4, walk", exact=True).wait_for()
        until(page, READY["play"])
        assert page.locator("#play-wall img").nth(4).get_attribute("src") != before and page.locator("[onerror]").count() == 0
        with page.expect_download() as download:
            page.get_by_role("button", name="Export", exact=True).click()
        download.value.save_as(tmp_path / "clips.mp4")
    assert read_recipe(tmp_path / "clips.mp4").classes == ("walk",)


def test_a_viewer_that_has_ended_is_told(browser: Any, runs: Path) -> None:
    with viewing(runs) as viewer:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{viewer.address}#data")
        until(page, READY["data"])
    page.get_by_label("Show", exact=True).select_option("kept")
    page.get_by_text("is growreel view still running").wait_for()
    context.close()


def test_opened_wide_the_address_has_the_token_once(browser: Any, runs: Path) -> None:
    with viewing(runs, host="0.0.0.0") as viewer:
        address = viewer.address.replace("0.0.0.0", "127.0.0.1")
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        until(page, READY["compare"])
        assert "token" not in page.url
        context.close()
