"""What the viewer says is what the files say, and the clips it makes are the model's."""

from __future__ import annotations

import io
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from growreel.cli import main
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.models.files import load_generator
from growreel.preparation.drops import drops_beside, read_drops
from growreel.recipe import Walk, read_recipe
from growreel.report.folder import read_run
from growreel.runtime.latents import Mix, latents_of_places, parse_place
from growreel.runtime.locks import held
from growreel.runtime.randomness import latents_of_seeds
from growreel.sampling import clips_of_latents, generate
from growreel.training.listening import Listener
from growreel.video import read_frames
from growreel.view.helps import config_helps
from growreel.view.server import Refused
from growreel.view.studio import Studio
from growreel.view.subject import Subject
from growreel.view.walking import STATION, Knots, walk_frames, way
from viewing import Viewer, make_runs, viewing


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("view"))


@pytest.fixture(scope="module")
def viewer(runs: Path) -> Iterator[Viewer]:
    with viewing(runs) as served:
        yield served


def webp(body: bytes) -> NDArray[np.uint8]:
    """Pictures of a WebP, [t, h, w, 3]."""
    from PIL import Image, ImageSequence

    with Image.open(io.BytesIO(body)) as image:
        return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)])


def test_what_can_be_viewed(runs: Path, tmp_path: Path) -> None:
    kinds: dict[Path | str, str] = {runs: "folder", runs / "first": "run", runs.parent / "store": "store", "shapes-16x32x32": "model"}
    assert {path: Subject(path).kind for path in kinds} == kinds
    assert set(Subject(runs).runs()) == {"first", "second"} and list(Subject(runs / "first").runs()) == ["first"]
    with pytest.raises(GrowreelError, match="nothing to view; give a run folder"):
        Subject(tmp_path)


def test_a_run_is_told_as_its_files_tell_it(viewer: Viewer, runs: Path) -> None:
    state, run = viewer.get("run?run=first"), read_run(runs / "first")
    assert (state["clips"], state["total"], state["stage"], state["finished"]) == (run.clips_shown, run.total, str(run.size), True)
    assert state["listening"] is None and state["left"] == "finished"
    assert {chart["title"] for chart in state["charts"]} >= {"Losses", "Penalties", "Speed", "Sliced Wasserstein distance"}
    assert state["samples"] == ["000000120", "000000080", "000000040"]
    status, body, headers = viewer.ask("GET", "/api/sample?run=first&name=000000080")
    assert status == 200 and body == (runs / "first" / "samples" / "000000080.webp").read_bytes()
    assert viewer.ask("GET", "/api/sample?run=first&name=000000080", {"If-None-Match": headers["ETag"]})[0] == 304
    helps = config_helps()
    assert all(each["help"] == helps[each["name"]] != "" for each in state["settings"])
    assert "Seed of initial weights" in helps["training.seed"]


def test_a_training_is_told_through_the_page(viewer: Viewer, runs: Path) -> None:
    assert viewer.post("tell", run="first", what="save")[0] == 422, "nobody trains"
    run, listener = runs / "first", Listener(runs / "first", is_first=True)
    with held(run / ".lock", "test"), listener.open(120):
        assert viewer.get("run?run=first")["listening"] == {"state": "training", "clips": 120}
        assert viewer.post("tell", run="first", what="sample", raw=True) == (200, {"asked": "sample"})
        assert viewer.get("run?run=first")["waiting"] == 1
        asked = list[bool]()
        listener.attend(120, {"sample": lambda request: str(asked.append(request.raw) or "wrote it")}, lambda: False)  # type: ignore[func-returns-value]
        assert asked == [True] and "wrote it" in viewer.get("run?run=first")["answers"][0]
        for what in ("rm", "", None, 7, "sample" * 1000):
            assert viewer.post("tell", run="first", what=what)[0] == 422
    assert viewer.post("tell", run="nowhere", what="save")[0] == 404


def test_clips_are_the_models_own(viewer: Viewer, runs: Path, tmp_path: Path) -> None:
    model = load_generator(runs / "first")
    facts = viewer.get("model?run=first")
    assert facts["stages"] == ["2x4x4", "4x8x8"] and facts["stage"] == 1 and facts["models"][0]["id"] == "120"
    for truncation in (1.0, 0.5):
        body = viewer.ask("GET", f"/api/clip?run=first&place=5&truncation={truncation}")[1]
        assert np.array_equal(webp(body), generate(model, [5], truncation)[0])
    assert webp(viewer.ask("GET", "/api/clip?run=first&place=5&stage=0")[1]).shape[1:] == (4, 4, 3)
    ends = [viewer.ask("GET", f"/api/clip?run=first&place={place}")[1] for place in ("5", "5~9~0", "9", "5~9~1")]
    assert np.array_equal(webp(ends[0]), webp(ends[1])) and np.array_equal(webp(ends[2]), webp(ends[3]))
    for form in ("mp4", "gif", "webp"):
        path = tmp_path / f"x.{form}"
        path.write_bytes(viewer.ask("GET", f"/api/export?run=first&places=3,4&format={form}&truncation=0.7")[1])
        recipe = read_recipe(path)
        assert recipe.seeds == (3, 4) and recipe.truncation == 0.7 and len(list(read_frames(path))) == 4
    assert viewer.ask("GET", "/api/export?run=first&places=3,4~5~0.5&format=txt")[1] == b"3\n4~5~0.5\n"


@pytest.mark.parametrize("form", ["mp4", "gif", "webp"])
def test_what_lies_between_two_seeds_is_made_again_from_its_file(viewer: Viewer, runs: Path, tmp_path: Path, form: str) -> None:
    """Clips between seeds, and the film of the walk from one to the other; at a stage of its own too."""
    made = {
        "mixes": ("places=4~5~0.5,7,4~5~0.75", (Mix(4, 5, 0.5), 7, Mix(4, 5, 0.75)), None),
        "film": ("places=4,9&film=12&step=3&stage=0&truncation=0.8", (4,), Walk(12, 1, 9, 3)),
    }
    for name, (query, seeds, walk) in made.items():
        path, again = tmp_path / f"{name}.{form}", tmp_path / f"{name}-again.{form}"
        path.write_bytes(viewer.ask("GET", f"/api/export?run=first&format={form}&{query}")[1])
        recipe = read_recipe(path)
        assert (recipe.seeds, recipe.walk) == (seeds, walk) and len(list(read_frames(path))) == (12 if walk else 4)
        assert main(["sample", str(runs / "first"), "--like", str(path), "--out", str(again)]) == 0
        ours, theirs = (np.stack(list(read_frames(each))).astype(int) for each in (again, path))
        assert np.abs(ours - theirs).mean() < 1 if form == "mp4" else np.array_equal(ours, theirs)


@pytest.mark.parametrize("query", ["places=1,2,3&film=8", "places=1,2~3~0.5&film=8", "places=1,2&film=9999", "places=1,2&film=8&step=99"])
def test_films_that_cannot_be_are_refused(viewer: Viewer, query: str) -> None:
    assert viewer.ask("GET", f"/api/export?run=first&format=gif&{query}")[0] == 400


@pytest.mark.parametrize(
    "query",
    [
        "place=-1",
        "place=x",
        "place=1~2~3",
        "place=1~2",
        f"place={10**17}",
        "stage=9",
        "stage=-1",
        "alpha=2",
        "truncation=nan",
        "truncation=inf",
    ],
)
def test_what_no_model_can_make_is_refused(viewer: Viewer, query: str) -> None:
    assert viewer.ask("GET", f"/api/clip?run=first&{query}")[0] == 400


def test_the_way_between_two_seeds_is_even(runs: Path) -> None:
    """Along the great circle, so every share turns the latent by the same angle."""
    a, b = latents_of_seeds([3, 8], 64)
    places = [latents_of_places([parse_place(f"3~8~{share}")], 64)[0] for share in (0, 0.25, 0.5, 0.75, 1)]
    assert np.array_equal(places[0], a) and np.array_equal(places[-1], b)
    units = [place / np.linalg.norm(place) for place in places]
    angles = [np.arccos(np.clip(u @ v, -1, 1)) for u, v in itertools.pairwise(units)]
    assert np.ptp(angles) < 1e-5


def test_an_endless_walk_is_one_walk_however_it_is_asked_for(runs: Path) -> None:
    model = load_generator(runs / "first")
    whole = walk_frames(model, 7, 0, 24, 1)
    for step in (1, 3, 4):
        knots: Knots = {}
        parts = np.concatenate([walk_frames(model, 7, start, 8, step, knots=knots) for start in (0, 8, 16)])
        assert np.array_equal(parts, walk_frames(model, 7, 0, 24, step)), "chunks fit together"
        assert np.array_equal(parts[::step], whole[::step]), "frames at knots have clips of their own"
    latent = way(7, np.array([10.0]), model.generator.latent_dim)
    clip = next(clips_of_latents(model.generator, model.position, torch.from_numpy(latent)))
    assert any(np.abs(whole[10].astype(int) - frame).max() <= 1 for frame in clip), "of the whole clip, but for rounding"
    frames = np.arange(0, 4 * STATION, 0.5)
    steps = np.linalg.norm(np.diff(way(7, frames, 16), axis=0), axis=1)
    assert steps.max() < 4 * np.median(steps), "no jump, at stations either"


def test_the_walk_comes_as_bytes(viewer: Viewer, runs: Path) -> None:
    body = viewer.ask("GET", "/api/walk?run=first&seed=7&start=8&count=8&step=4")[1]
    assert np.frombuffer(body[:16], "<u4").tolist() == [8, 8, 8, 3]
    expected = walk_frames(load_generator(runs / "first"), 7, 8, 8, 4)
    assert np.array_equal(np.frombuffer(body[16:], np.uint8).reshape(expected.shape), expected)


def test_what_nobody_waits_for_is_not_made() -> None:
    studio, gate = Studio(), threading.Event()
    made = list[str]()

    def slow() -> bytes:
        gate.wait()
        return b"slow"

    first = threading.Thread(target=lambda: studio.get("slow", slow, lambda: True))
    first.start()
    time.sleep(0.05)
    with pytest.raises(Refused, match="no longer wanted"):
        studio.get("left", lambda: made.append("left") or b"", lambda: False)  # type: ignore[func-returns-value]
    gate.set()
    first.join()
    assert studio.get("next", lambda: b"next", lambda: True) == b"next" and made == [] and studio.left_out == 1
    before = studio.made
    assert studio.get("slow", lambda: b"other", lambda: True) == b"slow" and studio.made == before, "it is kept"
    with pytest.raises(GrowreelError, match="no such"):
        studio.get("bad", lambda: (_ for _ in ()).throw(GrowreelError("no such")), lambda: True)
    assert studio.get("bad", lambda: b"good", lambda: True) == b"good", "a failure is not kept"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives threads priorities of their own")
def test_clips_are_made_when_nobody_else_wants_the_processor() -> None:
    def priority() -> bytes:
        return str(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).encode()

    before = priority()
    assert Studio().get("priority", priority, lambda: True) == b"19" and priority() == before


def test_the_clips_of_a_store(viewer: Viewer, runs: Path) -> None:
    store = ClipStore.open(runs.parent / "store")
    until = time.monotonic() + 30
    while (page := viewer.get("data?run=first"))["looked"] < 43:
        assert time.monotonic() < until
    assert page["clips"] == page["found"] == 43 and page["labels"] == ["disc", "square"]
    clips = store.read(range(43), store.size)
    assert [row["brightness"] for row in page["rows"]] == pytest.approx(clips.mean(axis=(1, 2, 3, 4)), abs=0.06)
    moves = np.abs(np.diff(clips.astype(int), axis=1)).mean(axis=(1, 2, 3, 4))
    assert [row["motion"] for row in page["rows"]] == pytest.approx(moves, abs=0.006)
    copies = viewer.get("data?run=first&show=copies")
    assert [row["clip"] for row in copies["rows"]] == [0, 40, 1, 41, 2, 42], "beside each other, the mirrored one too"
    by_motion = [row["clip"] for row in viewer.get("data?run=first&sort=motion&down=1")["rows"]]
    assert [moves[k] for k in by_motion] == sorted(moves, reverse=True)
    assert {row["label"] for row in viewer.get("data?run=first&label=square")["rows"]} == {"square"}
    assert viewer.get("data?run=first&text=nothing")["rows"] == []
    assert np.array_equal(webp(viewer.ask("GET", "/api/data/clip?run=first&clip=7")[1]), clips[7])
    for query in ("sort=x", "show=x", "first=-1", "first=x"):
        assert viewer.ask("GET", f"/api/data?run=first&{query}")[0] == 400
    assert viewer.ask("GET", "/api/data/clip?run=first&clip=43")[0] == 404


def test_keeping_and_dropping_is_a_list_beside_the_store(viewer: Viewer, runs: Path) -> None:
    store = ClipStore.open(runs.parent / "store")
    path = drops_beside(store.path)
    assert viewer.post("drop", run="first", clip=3, keep=False)[1]["dropped"] == 1
    assert viewer.post("drop", run="first", clip=9, keep=False)[1]["dropped"] == 2
    assert read_drops(path) == {(store.clips[k].source, store.clips[k].frame) for k in (3, 9)}
    assert [row["clip"] for row in viewer.get("data?run=first&show=dropped")["rows"]] == [3, 9]
    assert viewer.get("data?run=first&show=kept")["found"] == 41
    for number in (3, 3, 9):
        assert viewer.post("drop", run="first", clip=number, keep=True)[0] == 200
    assert read_drops(path) == frozenset()
    wrong: list[tuple[Any, Any]] = [(43, False), (-1, False), ("3", False), (True, False), (3, "no"), (None, None)]
    for clip, keep in wrong:
        assert viewer.post("drop", run="first", clip=clip, keep=keep)[0] == 400


def test_runs_beside_each_other(viewer: Viewer) -> None:
    table = viewer.get("compare")
    assert {row["id"] for row in table["rows"]} == {"first", "second"} and "swd mean" in table["metrics"]
    row = next(row for row in table["rows"] if row["id"] == "first")
    assert row["size"] == "4x8x8" and row["clips"] == 120 and row["share"] == 1
    both = viewer.get("compare/beside?runs=first|second")
    assert [run["name"] for run in both["runs"]] == ["first", "second"]
    assert any(len(chart["lines"]) == 2 for chart in both["charts"])
    assert viewer.ask("GET", "/api/compare/beside?runs=")[0] == 400 and viewer.ask("GET", "/api/compare/beside?runs=a")[0] == 404


def test_looking_changes_nothing(runs: Path, viewer: Viewer) -> None:
    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (runs / "second").rglob("*")}

    before = files()
    for path in ("run?run=second", "model?run=second", "data?run=second", "compare"):
        viewer.get(path)
    assert files() == before
