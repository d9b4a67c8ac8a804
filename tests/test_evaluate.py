"""The whole evaluation: sets of every kind, the card, the cache, warnings, and everything a user can get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from conftest import colored, tiny_config
from growreel import cli
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.evaluation import suite
from growreel.evaluation.bootstrap import bootstrap_deviations
from growreel.evaluation.card import Figure, MetricCard, MetricResult
from growreel.evaluation.clips import ArrayClips, FirstFrames, StoreClips, VideoClips
from growreel.evaluation.collect import Extractor, collect
from growreel.evaluation.evaluate import evaluate
from growreel.evaluation.extractors.motion import MotionStatistics
from growreel.evaluation.extractors.pixels import PixelFeatures
from growreel.evaluation.metrics.frechet import FrechetDistance
from growreel.evaluation.options import EvaluationOptions
from growreel.evaluation.rows import RowFile
from growreel.growth import Size
from growreel.models import build_generator
from growreel.models.files import load_generator, save_model
from growreel.recipe import recipe_of
from growreel.sampling import generate, write_samples
from growreel.video import write_clip

SIZE = Size(8, 16, 16)
FAST = ("kid", "prdc", "swd", "swd3d", "motion", "memory")
QUICK = EvaluationOptions(metrics=FAST, resamples=3)


def shapes(count: int, seed: int, size: Size = SIZE) -> NDArray[np.uint8]:
    return np.stack(list(shape_clips(count, size, seed)))


def store_of(path: Path, clips: NDArray[np.uint8]) -> Path:
    write_store(path, iter(clips), fps=8.0)
    return path


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(tmp_path_factory.mktemp("real") / "store", shapes(30, 0))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of 4x8x8 clips."""
    torch.manual_seed(0)
    config = colored(tiny_config())
    path = tmp_path_factory.mktemp("run") / "models" / "000000200.safetensors"
    save_model(path, build_generator(config), config, 200, fps=8.0)
    return path


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROWREEL_WEIGHTS", str(tmp_path / "no weights"))


def test_new_clips_are_near_and_noise_is_far(real: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "new.npy", shapes(30, 1))
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).integers(0, 256, (30, *SIZE, 3), dtype=np.uint8))
    new, noise = (evaluate(tmp_path / f"{name}.npy", real, QUICK) for name in ("new", "noise"))
    for metric, figure in (("kid", "value"), ("swd", "mean"), ("swd3d", "mean"), ("motion", "spectrum_distance")):
        assert noise.value(metric, figure) > 2 * abs(new.value(metric, figure)), metric
        floor = next(result for result in new.results if result.name == metric).figures[figure].real
        assert floor is not None and abs(new.value(metric, figure)) < 5 * abs(floor) + 1e-9, metric
    assert new.value("prdc", "precision") > 0.6 and noise.value("prdc", "precision") == 0
    assert not new.left_out and {result.name for result in new.results} >= {"kid", "prdc", "swd", "swd3d", "motion", "memory (pixels)"}
    assert all(figure.low is not None and figure.low <= figure.value for result in new.results for figure in result.figures.values())


def test_a_model_and_its_samples_score_the_same(real: Path, model: Path, tmp_path: Path) -> None:
    options = EvaluationOptions(metrics=("swd", "motion", "prdc"), clips=12, resamples=0)
    card = evaluate(model, real, options)
    assert card.fake["kind"] == "model" and card.fake["size"] == "4x8x8" and card.real["stored_size"] == "8x16x16"
    clips = generate(load_generator(model), range(12), precision="float32")
    np.save(tmp_path / "samples.npy", clips)
    small = store_of(tmp_path / "small", StoreClips_of(real).read(range(30)))
    again = evaluate(tmp_path / "samples.npy", small, options)
    assert again.value("prdc", "coverage") == card.value("prdc", "coverage")
    assert again.value("motion", "spectrum_distance") == pytest.approx(card.value("motion", "spectrum_distance"))
    assert evaluate(model.parent.parent, real, options).value("swd", "mean") == card.value("swd", "mean")  # a run folder: its newest model


def test_generated_arrays_are_measured_as_they_are(real: Path, model: Path, tmp_path: Path) -> None:
    """The same numbers as from a file of them; the card says which pixels, how they were made, and in which arithmetic."""
    loaded = load_generator(model)
    clips = generate(loaded, range(12))
    small = store_of(tmp_path / "small", StoreClips_of(real).read(range(30)))
    options = EvaluationOptions(metrics=("swd", "motion", "prdc"), resamples=0)
    card = evaluate(clips, small, options)
    write_samples(tmp_path / "samples.npy", clips, range(12), fps=8, recipe=recipe_of(loaded, range(12), fps=8))
    same = evaluate(tmp_path / "samples.npy", small, options)
    assert [result.figures for result in card.results] == [result.figures for result in same.results]
    assert card.fake["kind"] == "array" and card.fake["sha256"] != evaluate(clips[:11], small, options).fake["sha256"]
    assert "precision float32" in same.fake["made"] and "seeds 0-11" in same.fake["made"]
    assert card.settings["precision"] == "float32" and "precision float32" in card.markdown()
    with pytest.raises(GrowreelError, match="the array: holds float64 values"):
        evaluate(clips / 255, small, options)  # type: ignore[arg-type]
    with pytest.raises(GrowreelError, match=r"real: is an array; it must be the path of a clip store"):
        evaluate(clips, clips, options)  # type: ignore[arg-type]
    with pytest.raises(GrowreelError, match=r"the array: has clips of 4 frames, .* of 8"):
        evaluate(np.repeat(np.repeat(clips, 2, axis=2), 2, axis=3), real, options)


def test_the_card_says_in_which_precision_a_model_was_sampled(real: Path, model: Path) -> None:
    exact, fast = (
        evaluate(model, real, EvaluationOptions(metrics=("swd",), clips=8, resamples=0, precision=each)) for each in ("float32", "bfloat16")
    )
    assert (exact.fake["precision"], fast.fake["precision"]) == ("float32", "bfloat16")
    assert exact.value("swd", "mean") != fast.value("swd", "mean")
    assert any("computed in bfloat16" in warning for warning in fast.warnings) and not any("computed in" in w for w in exact.warnings)
    with pytest.raises(GrowreelError, match="--precision tf32: is arithmetic of CUDA cards"):
        evaluate(model, real, EvaluationOptions(metrics=("swd",), precision="tf32", device="cpu"))


def StoreClips_of(real: Path) -> StoreClips:
    from growreel.data.store import ClipStore

    return StoreClips(ClipStore.open(real), Size(4, 8, 8))


def test_repeats_give_a_deviation(real: Path, model: Path) -> None:
    options = EvaluationOptions(metrics=("swd",), clips=8, repeats=3, resamples=0)
    figure = evaluate(model, real, options).results[0].figures["mean"]
    single = evaluate(model, real, EvaluationOptions(metrics=("swd",), clips=8, resamples=0)).results[0].figures["mean"]
    assert figure.value == single.value and single.mean is None and single.low is None
    assert figure.deviation is not None and figure.deviation > 0 and figure.mean is not None


def test_folders_of_videos(real: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    clips = shapes(6, 2, Size(10, 16, 16))
    for k, clip in enumerate(clips):
        write_clip(folder / f"{k}.webp", clip, fps=8)
    write_clip(folder / "short.webp", clips[0][:3], fps=8)
    (folder / "notes.txt").write_text("no video")
    with pytest.raises(GrowreelError, match="has 6 clips, needed are 9"):
        evaluate(folder, real, EvaluationOptions(metrics=("swd",), clips=3, repeats=3))
    card = evaluate(folder, real, EvaluationOptions(metrics=("swd",), resamples=0))
    assert card.fake["clips"] == 6 and card.fake["size"] == "8x16x16"
    assert any("short.webp: left out, it has 3 frames of the 8 needed" in warning for warning in card.warnings)
    assert any("notes.txt: left out, it is no video" in warning for warning in card.warnings)
    videos = VideoClips(folder, 8, 3)
    np.testing.assert_array_equal(videos.read([4, 1]), clips[[4, 1], :8])
    videos.close()
    write_clip(folder / "wide.webp", shapes(1, 0, Size(8, 16, 24))[0], fps=8)
    with pytest.raises(GrowreelError, match=r"wide\.webp: has 16x24 pixels, .*0\.webp 16x16; a hidden resize"):
        evaluate(folder, real, QUICK)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 8, 16, 16, 3), np.float32), "holds float32 values; clips are uint8"),
        (np.zeros((4, 3, 8, 16, 16), np.uint8), "has the shape"),
        (np.zeros((8, 16, 16, 3), np.uint8), "has the shape"),
        (np.zeros((1, 8, 16, 16, 3), np.uint8), "a distribution needs at least 2 of each"),
        (np.zeros((4, 8, 16, 16, 1), np.uint8), "has 1 colour channels, .* 3"),
        (np.zeros((4, 8, 12, 16, 3), np.uint8), "do not go evenly into 8x16x16"),
        (np.zeros((4, 8, 32, 32, 3), np.uint8), "do not go evenly into 8x16x16"),
        (np.zeros((4, 4, 16, 16, 3), np.uint8), "compare the first 4 of both with --clip-frames 4"),
        (np.array([{}], dtype=object), "cannot be read as an array"),
    ],
)
def test_arrays_that_cannot_be_compared(array: NDArray[np.uint8], message: str, real: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "fake.npy", array, allow_pickle=True)
    with pytest.raises(GrowreelError, match=message):
        evaluate(tmp_path / "fake.npy", real, QUICK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ("fvdd",)}, "--metrics fvdd: there is no such metric; choose from fvd, is"),
        ({"protocol": "mine"}, "--protocol mine: there is no such protocol; choose from growreel"),
        ({"features": "vgg"}, "--features vgg"),
        ({"clips": 1}, "--clips 1: must be at least 2"),
        ({"clip_frames": 0}, "--clip-frames 0"),
        ({"repeats": 0}, "--repeats 0"),
        ({"seed": -1}, "--seed -1"),
    ],
)
def test_options_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(GrowreelError, match=message):
        EvaluationOptions(**options)  # type: ignore[arg-type]


def test_paths_that_are_nothing(real: Path, tmp_path: Path) -> None:
    with pytest.raises(GrowreelError, match="is no model file"):
        evaluate(tmp_path / "nothing", real, QUICK)
    (tmp_path / "empty").mkdir()
    with pytest.raises(GrowreelError, match="has no video of at least 8 frames"):
        evaluate(tmp_path / "empty", real, QUICK)
    with pytest.raises(GrowreelError, match="no such clip store"):
        evaluate(real, tmp_path / "nothing", QUICK)


def test_first_frames(real: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "long.npy", shapes(8, 3, Size(12, 16, 16)))
    card = evaluate(tmp_path / "long.npy", real, EvaluationOptions(metrics=("motion",), clip_frames=6, resamples=0))
    assert card.settings["frames"] == 6 and card.fake["first_frames_of"] == 12 and card.real["first_frames_of"] == 8
    with pytest.raises(GrowreelError, match=r"--clip-frames 9: .*clips of 8 frames"):
        evaluate(tmp_path / "long.npy", real, EvaluationOptions(metrics=("motion",), clip_frames=9))
    np.testing.assert_array_equal(FirstFrames(ArrayClips(tmp_path / "long.npy"), 5).read([1])[0], shapes(8, 3, Size(12, 16, 16))[1, :5])


def test_copies_and_small_sets_are_warned_of(real: Path, tmp_path: Path) -> None:
    clips = np.concatenate([shapes(30, 0)[:3], shapes(1, 5).repeat(5, axis=0)])
    np.save(tmp_path / "copies.npy", clips)
    card = evaluate(tmp_path / "copies.npy", real, EvaluationOptions(metrics=("swd", "memory"), resamples=0))
    assert "4 of 8 generated clips are exact copies of other generated ones" in card.warnings
    assert "3 of 8 generated clips are exact copies of real ones, or mirror images" in card.warnings
    np.save(tmp_path / "few.npy", shapes(4, 5))
    few = evaluate(tmp_path / "few.npy", real, EvaluationOptions(metrics=("prdc", "kid"), resamples=0))
    assert few.left_out == {"prdc": "fake: 4 clips are too few for this metric; give at least 6"}


def test_training_clips_apart_from_real_ones(real: Path, tmp_path: Path) -> None:
    training = store_of(tmp_path / "training", np.concatenate([shapes(30, 7), shapes(30, 0)[:2, :, :, ::-1]]))
    np.save(tmp_path / "copied.npy", shapes(30, 7)[:10])
    options = EvaluationOptions(metrics=("memory",), resamples=0)
    card = evaluate(tmp_path / "copied.npy", real, options, training=training, pairs=tmp_path / "new" / "pairs.png")
    assert card.value("memory (pixels)", "memorised") > 0.9 and (tmp_path / "new" / "pairs.png").exists()
    assert "2 of 30 real clips are training clips or mirror images of them" in card.warnings
    fresh = evaluate(real, store_of(tmp_path / "other", shapes(30, 9)), options, training=training)
    assert fresh.value("memory (pixels)", "memorised") < 0.7
    with pytest.raises(GrowreelError, match="is drawn by the metric memory"):
        evaluate(real, real, EvaluationOptions(metrics=("swd",)), pairs=tmp_path / "pairs.png")


def test_the_reference_is_found_again_by_content(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "new.npy", shapes(10, 1))
    options = EvaluationOptions(metrics=("kid", "motion"), resamples=0)
    plain, first = evaluate(tmp_path / "new.npy", real, options), evaluate(tmp_path / "new.npy", real, options, reference=tmp_path / "ref")
    files = sorted(path.name for path in (tmp_path / "ref").iterdir())
    assert len(files) == 3 and not any("partial" in name for name in files)
    with monkeypatch.context() as patch:
        patch.setattr(StoreClips, "read", lambda *_: pytest.fail("read the real clips again"))
        again = evaluate(tmp_path / "new.npy", real, options, reference=tmp_path / "ref")
    for metric, figure in (("kid", "value"), ("motion", "energy_distance")):
        assert plain.value(metric, figure) == first.value(metric, figure) == again.value(metric, figure)
    evaluate(tmp_path / "new.npy", store_of(tmp_path / "other", shapes(30, 9)), options, reference=tmp_path / "ref")
    assert len(list((tmp_path / "ref").iterdir())) == 6  # other clips, other rows


@pytest.mark.parametrize("damage", ["flip", "zeros", "short", "unsealed", "nan", "empty"])
def test_a_reference_that_is_damaged_is_made_anew(damage: str, real: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "new.npy", shapes(10, 1))
    options = EvaluationOptions(metrics=("motion",), resamples=0)
    first = evaluate(tmp_path / "new.npy", real, options, reference=tmp_path / "ref")
    (path,) = (tmp_path / "ref").glob("motion*.npy")
    whole = path.read_bytes()
    rows = np.load(path)
    if damage == "flip":
        path.write_bytes(whole[:300] + bytes([whole[300] ^ 1]) + whole[301:])
    elif damage == "zeros":
        path.write_bytes(whole[:128] + b"\0" * rows.nbytes + whole[128 + rows.nbytes :])
    elif damage == "unsealed":  # as growreel 0.1 wrote it
        path.write_bytes(whole[: 128 + rows.nbytes])
    elif damage == "nan":  # whole, but nothing to compare with
        rows[0] = np.nan
        with path.open("wb") as stream:
            sealed = RowFile(stream, len(rows))
            sealed.append(rows)
            sealed.seal()
    else:
        path.write_bytes(whole[:200] if damage == "short" else b"")
    again = evaluate(tmp_path / "new.npy", real, options, reference=tmp_path / "ref")
    assert again.value("motion", "energy_distance") == first.value("motion", "energy_distance")
    assert path.read_bytes() == whole
    assert f"{path.name}: " in caplog.text and "made anew" in caplog.text


class Broken:
    """Features that are not finite for one clip."""

    name = "broken"

    def __call__(self, clips: NDArray[np.uint8], numbers: list[int]) -> NDArray[np.float32]:
        rows = clips.reshape(len(clips), -1)[:, :4].astype(np.float32)
        rows[[number == 3 for number in numbers]] = np.nan
        return rows

    def describe(self) -> dict[str, str]:
        return {}


def test_a_metric_that_fails_is_left_out_and_the_others_go_on(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = suite.Metric("broken", "a test", "lower", Broken(), FrechetDistance)  # type: ignore[arg-type]
    monkeypatch.setitem(suite.METRICS, "broken", lambda setting: broken)
    card = evaluate(real, real, EvaluationOptions(metrics=("broken", "motion", "fvd"), resamples=0))
    assert "features are not finite for 1 of 30 clips" in card.left_out["broken"]
    assert "I3D needs clips of at least 9 frames" in card.left_out["fvd"]
    assert card.value("motion", "spectrum_distance") == 0
    with pytest.raises(GrowreelError, match="broken: was left out, real: features are not finite"):
        card.value("broken")
    with pytest.raises(GrowreelError, match=r"is not on the card; there are motion \(spectrum_shape_distance"):
        card.value("swd")


class Means:
    """Mean colours of the first half of a clip's frames."""

    name = "means"

    def __call__(self, clips: NDArray[np.uint8], numbers: list[int]) -> NDArray[np.float32]:
        return np.asarray(clips[:, : clips.shape[1] // 2].mean(axis=(2, 3)).reshape(len(clips), -1), np.float32)

    def describe(self) -> dict[str, str]:
        return {}


def test_few_clips_and_clips_all_alike(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = suite.Metric("means", "a test", "lower", Means(), FrechetDistance, published_clips=2048, dimensions=12)  # type: ignore[arg-type]
    monkeypatch.setitem(suite.METRICS, "means", lambda setting: metric)
    np.save(tmp_path / "alike.npy", shapes(1, 5).repeat(10, axis=0))
    card = evaluate(tmp_path / "alike.npy", real, EvaluationOptions(metrics=("means",), resamples=4))
    assert card.value("means") > 0 and np.isfinite(card.value("means"))
    assert "9 of 10 generated clips are exact copies of other generated ones" in card.warnings
    assert "means: 10 clips; published numbers use 2048, and it matters" in card.warnings
    assert any("means: 10 samples of 12 dimensions: the covariance has not full rank" in warning for warning in card.warnings)


def test_metrics_without_their_weights_say_so(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", shapes(12, 0, Size(16, 16, 16)))
    card = evaluate(store, store, EvaluationOptions(metrics=("fvd", "is", "fid", "fid768", "kid"), resamples=0))
    assert set(card.left_out) == {"fvd", "is", "fid", "fid768"}
    named = evaluate(store, store, EvaluationOptions(metrics=("kid", "memory"), features="inception-768", resamples=0))
    assert set(named.left_out) == {"kid", "memory"} and not named.results
    assert all("its weights are not here; `growreel weights list`" in reason for reason in card.left_out.values())
    with pytest.raises(suite.LeftOut):
        suite.feature_extractor(suite.Setting(Size(16, 16, 16), 3, 12, EvaluationOptions().published()), "i3d")


def test_protocols_warn_of_what_differs(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", shapes(12, 0, Size(16, 16, 16)))
    options = EvaluationOptions(protocol="stylegan-v", clips=12, clip_frames=16)
    card = evaluate(store, store, options)
    assert list(card.left_out) == ["fvd"] and card.settings["frames"] == 16
    assert "not the protocol stylegan-v: clips 12 instead of 2048" in card.warnings


def test_the_card_in_all_its_forms(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "new.npy", shapes(10, 1))
    arguments = ["evaluate", str(tmp_path / "new.npy"), "--real", str(real), "--metrics", "swd,motion", "--resamples", "2"]
    assert cli.main([*arguments, "--card", str(tmp_path / "out" / "card.json")]) == 0
    table = capsys.readouterr().out
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    page = (tmp_path / "out" / "card.md").read_text()
    assert card["format"] == "growreel-metric-card-1"
    swd = card["results"][0]
    assert swd["name"] == "swd" and swd["clips"] == {"real": 30, "fake": 10, "half": 15} and swd["protocol"]["patch"] == "1x7x7"
    assert {"value", "mean", "deviation", "low", "high", "real"} == set(swd["figures"]["mean"])
    assert len(card["real"]["sha256"]) == len(card["fake"]["sha256"]) == 64 and card["settings"]["seed"] == 0
    value = f"{swd['figures']['mean']['value']:.4g}"
    assert value in table and value in page and "real / real" in table and "## Protocols" in page
    assert cli.main([*arguments, "--card", str(tmp_path / "card.txt")]) == 2
    captured = capsys.readouterr()
    assert "--card" in captured.err and "swd" not in captured.out, "found out before anything was measured"


def test_exit_codes(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["evaluate", str(real), "--real", str(real), "--resamples", "0"]
    assert cli.main([*base, "--metrics", "motion"]) == 0
    assert cli.main([*base, "--metrics", "motion,fvd"]) == 1
    assert "left out  fvd: I3D needs clips of at least 9 frames" in capsys.readouterr().out
    assert cli.main([*base, "--protocol", "growreel"]) == 0  # whatever can be measured here
    assert cli.main([*base, "--metrics", "nothing"]) == 2
    assert cli.main(["weights", "add"]) == 2 and cli.main(["weights", "list"]) == 0 and cli.main(["weights", "path"]) == 0


def test_figures() -> None:
    figure = Figure.of([1.0, 2.0, 6.0], 0.5, real=0.1)
    assert (figure.value, figure.mean, figure.real) == (1, 3, 0.1)
    assert figure.deviation == pytest.approx(np.std([1, 2, 6], ddof=1)) and figure.high == pytest.approx(1 + 1.96 * 0.5)
    assert Figure.of([4.0]) == Figure(4.0)
    card = MetricCard({}, {}, None, {}, [MetricResult("m", "", "lower", {"value": Figure(float("inf"))}, {}, {"fake": 1, "real": 1}, 0.0)])
    assert json.loads(card.to_json())["results"][0]["figures"]["value"]["value"] is None


def test_bootstrap_deviation_of_a_mean() -> None:
    data = np.random.default_rng(0).standard_normal(400)
    found = bootstrap_deviations(lambda p, q: {"mean": float(np.average(data, weights=q))}, np.arange(10), 400, 300)
    assert found["mean"] == pytest.approx(data.std() / 20, rel=0.15)
    assert bootstrap_deviations(lambda p, q: {"x": 1.0}, np.arange(5), 5, 1) == {}


def test_bootstrap_draws_whole_groups_of_real_clips() -> None:
    """50 videos of 8 equal clips are 50 samples, not 400."""
    videos = np.random.default_rng(1).standard_normal(50)
    data, groups = videos.repeat(8), np.arange(50).repeat(8) * 3
    found = bootstrap_deviations(lambda p, q: {"mean": float(np.average(data, weights=p))}, groups, 5, 400)
    assert found["mean"] == pytest.approx(videos.std() / 50**0.5, rel=0.15)


def test_rows_do_not_depend_on_how_they_are_read(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = StoreClips_of(real)
    extractors: list[Extractor] = [PixelFeatures(), MotionStatistics()]
    together = collect(clips, range(30), extractors, tmp_path / "a")
    monkeypatch.setattr("growreel.evaluation.collect.CHUNK_BYTES", 1)
    for name, rows in collect(clips, range(30), extractors, tmp_path / "b").items():
        np.testing.assert_allclose(rows, together[name], rtol=1e-6)
    assert together["pixels"].shape[0] == 30
