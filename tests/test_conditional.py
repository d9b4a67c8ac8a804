"""Class-conditional models: what the networks compute, what is refused, and that what is asked for is what is made."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import growreel
import reference
from conftest import colored, make_plan, tiny_config
from growreel.cli.main import main
from growreel.config import Config, LossConfig, from_dict, to_dict
from growreel.data.batches import ClipBatches
from growreel.data.classes import class_names, in_proportion
from growreel.data.record import DataRecord
from growreel.data.shapes import ShapeTrack, render, shape_clips
from growreel.data.store import ClipStore
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.evaluation.evaluate import evaluate
from growreel.evaluation.options import EvaluationOptions
from growreel.export import export
from growreel.export.plain import PlainGenerator
from growreel.growth import Position, Size
from growreel.hub.push import write_repository
from growreel.losses import Batch, build_loss, gradient_penalty
from growreel.models import Discriminator, Generator, ModulatedGenerator, build_generator
from growreel.models.files import save_model
from growreel.models.window import frames_of_clips
from growreel.recipe import read_recipe
from growreel.runtime.latents import Mix, classes_of_places
from growreel.runtime.randomness import latents_of_seeds
from growreel.sampling.continuation import lengthened
from growreel.training.execution import Execution
from growreel.training.loop import train
from growreel.training.state import TrainingState
from growreel.training.step import discriminator_step, generator_step
from growreel.view.playing import View, model_facts
from growreel.view.server import Asked, Refused
from growreel.view.studio import Studio
from growreel.view.subject import Subject
from growreel.view.walking import walk_frames
from media import block_frames, encode

LossName = Literal["swgan", "wgan-gp", "relativistic", "san"]
LOSSES: tuple[LossName, ...] = ("swgan", "wgan-gp", "relativistic", "san")
CPU = torch.device("cpu")


def conditional(config: Config, *classes: str) -> Config:
    network = dataclasses.replace(config.network, conditional=True, classes=classes)
    return dataclasses.replace(config, network=network)


def labelled_store(path: Path, labels: list[str | None]) -> Path:
    write_store(path, shape_clips(len(labels), Size(4, 8, 8)), fps=8.0, labels=labels)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 procedural clips of three classes whose labels say nothing of what they show, half of them of the first."""
    return labelled_store(tmp_path_factory.mktemp("labelled") / "store", ["wave", "walk", "wave", "run"] * 10)


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps, through a fade."""
    path = tmp_path_factory.mktemp("run") / "run"
    train(store, path, conditional(tiny_config(clips=88, eval_interval=80, eval_metrics=["motion"], eval_clips=8)), progress=False)
    return path


@pytest.mark.parametrize("kind", [Generator, ModulatedGenerator])
def test_a_class_is_a_vector_beside_the_latent(kind: type[Generator]) -> None:
    """Against the float64 reference, which is given both as one latent: halves of a root mean square of 1 make a whole of 1."""
    torch.manual_seed(0)
    plan = make_plan("2x2x2", "2x4x4")
    ours = kind(plan, latent_dim=4, classes=3, base_channels=8, max_channels=3, image_channels=1).double()
    latents, classes = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 2, 1, 2, 0])
    state = {name: value.numpy() for name, value in ours.state_dict().items()}
    given = np.concatenate([reference.pixel_norm(each) for each in (latents.numpy(), state["embedding.weight"][classes])], axis=1)
    expected = (reference.modulated_generator if kind is ModulatedGenerator else reference.generator)(state, plan.sizes, 1, 0.4, given)
    with torch.no_grad():
        made = ours(latents, 1, 0.4, classes=classes)
        np.testing.assert_allclose(made.numpy(), expected, rtol=1e-6, atol=1e-7)
        mean = ours(latents, 1, 0.4, truncation=0.0, classes=classes)
        assert torch.allclose(mean[0], mean[4]) and not torch.allclose(mean[0], mean[1]), "without a latent, one clip for each class"
        part = frames_of_clips(ours, latents, 1, 0.4, 1.0, None, range(1, 2), classes)
        torch.testing.assert_close(part, made[:, :, 1:2])
        exported = PlainGenerator(ours, Position(1, "fade", 0.4))(latents, torch.ones(1, dtype=torch.float64), classes)
        torch.testing.assert_close(exported, made.clamp(-1, 1), rtol=1e-9, atol=1e-9)


def test_networks_without_classes_are_what_they_were() -> None:
    """Names and values: whether there could be classes draws nothing from the random numbers that weights are made of."""
    states = [TrainingState(colored(tiny_config()), CPU).weights() for _ in range(2)]
    assert not any("embedding" in name or "projection" in name for name in states[0])
    config = conditional(colored(tiny_config()), "a", "b")
    added = {name: tuple(value.shape) for name, value in TrainingState(config, CPU).weights().items() if name not in states[0]}
    assert added == {f"{part}.embedding.weight": (2, 8) for part in ("generator", "ema", "loss.projection")}


@pytest.mark.parametrize("name", LOSSES)
def test_every_critic_projects_on_the_class(name: LossName) -> None:
    """Scores by the equation of each loss; and the gradient penalty, which takes each clip as one of its own class."""
    torch.manual_seed(0)
    discriminator = Discriminator(make_plan("2x2x2", "2x4x4"), base_channels=8, max_channels=3, feature_dim=5, image_channels=1).double()
    loss = build_loss(LossConfig(name=name), 5, classes=3).double()
    classes, features = torch.tensor([2, 0, 1, 2]), torch.randn(4, 5, dtype=torch.float64)
    state = {key: value.numpy() for key, value in loss.state_dict().items()}
    f, y = features.numpy(), classes.numpy()
    match name:
        case "swgan":
            w, s, b = (state[f"swd.{part}"] for part in ("matrices", "scale", "bias"))
            expected = reference.sliced_critic(f, w, s, b)[0] + (f * state["projection.embedding.weight"][y]).mean(axis=1)
        case "san":
            expected = (f * (state["direction"] / np.linalg.norm(state["direction"], axis=1, keepdims=True))[y]).sum(axis=1)
        case _:
            together = state["head.weight"] + state["projection.embedding.weight"][y]
            expected = (f * together).sum(axis=1) / np.sqrt(5) + state["head.bias"]
    np.testing.assert_allclose(loss.critic(features, classes).detach().numpy(), expected, rtol=1e-10)

    real, fake = torch.randn(2, 4, 1, 2, 4, 4, dtype=torch.float64)
    mix = torch.rand(4, dtype=torch.float64)
    batch = Batch(real, fake, mix, mix, classes)

    def discriminate(clips: Tensor, *, parts: int = 1, penalty: bool = False) -> Tensor:
        found: Tensor = discriminator(clips, 1, parts=parts)
        return found

    term = gradient_penalty(loss, discriminate, batch)
    assert term is not None
    minibatches = loss.penalty_clips(batch)
    points = torch.cat(minibatches)
    step, gradients = 1e-5, torch.zeros_like(points)

    def total(clips: Tensor) -> Tensor:
        return loss.critic(discriminate(clips, parts=len(minibatches)), torch.cat([classes] * len(minibatches))).sum()

    with torch.no_grad():
        for place in range(points.numel()):
            change = torch.zeros_like(points).view(-1)
            change[place] = step
            gradients.view(-1)[place] = (total(points + change.view_as(points)) - total(points - change.view_as(points))) / (2 * step)
        slope = loss.slope_penalty(gradients, mix)
    assert term.stats["gradient_penalty"].item() == pytest.approx(slope.item(), rel=1e-5)
    other = gradient_penalty(loss, discriminate, dataclasses.replace(batch, classes=classes.flip(0)))
    assert other is not None and other.value.item() != pytest.approx(term.value.item(), rel=1e-3), "the class matters"


def test_the_classifier_names_real_clips_for_the_critic_and_generated_ones_for_the_generator() -> None:
    """Its cross-entropy by its equation, and how much more either loss is with it than without."""
    config = conditional(colored(tiny_config(precision="float64")), "a", "b", "c")
    rng = torch.Generator().manual_seed(0)
    real, classes = torch.rand(8, 3, 4, 8, 8, generator=rng, dtype=torch.float64) * 2 - 1, torch.tensor([0, 2, 2, 0, 0, 2, 0, 2])
    found: dict[float, list[dict[str, float]]] = {}
    for weight in (0.0, 0.5):
        weighed = dataclasses.replace(config, loss=LossConfig(name="relativistic", class_weight=weight))
        state = TrainingState(weighed, CPU)
        expected = []
        if state.loss.classifier is not None:
            head, scale = state.loss.classifier.head, state.discriminator.feature_dim**-0.5
            features = state.discriminator(real, 1).detach().numpy()
            logits = features @ (head.weight.detach().numpy() * scale).T + head.bias.detach().numpy()
            expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(8), classes]
        stats = []
        for step in (discriminator_step, generator_step):
            step_stats = step(state, real, Position(1, "stable", 1.0), 8, weighed, Execution(weighed.training, CPU), classes)
            stats.append({name: value.item() for name, value in step_stats.items()})
        found[weight] = stats
        if weight:
            assert stats[0]["class_real"] == pytest.approx(np.mean(expected), rel=1e-10)
    critic, generator = found[0.5]
    assert critic["loss_discriminator"] == pytest.approx(found[0.0][0]["loss_discriminator"] + 0.5 * critic["class_real"], rel=1e-9)
    assert "class_fake" in generator and "class_real" not in generator and not any("class" in name for name in found[0.0][1])


def test_a_classifier_wants_classes() -> None:
    with pytest.raises(GrowreelError, match=re.escape("--loss.class_weight 1.0: is for --conditional; add that, or leave the weight out")):
        from_dict({"loss": {"class_weight": 1.0}}, "test")


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_classes_of_the_real_clips(name: LossName) -> None:
    """In microbatches and with augmentation as in one batch; and a class that is not there gets no gradient."""
    found = []
    for microbatch in (None, 4):
        config = conditional(colored(tiny_config(precision="float64", augment_probability=0.5)), "a", "b", "c")
        growth = dataclasses.replace(config.growth, minibatch=8, microbatch=microbatch)
        config = dataclasses.replace(config, growth=growth, loss=LossConfig(name=name, class_weight=0.5))
        state = TrainingState(config, CPU)
        rng = torch.Generator().manual_seed(0)
        real, classes = torch.rand(8, 3, 4, 8, 8, generator=rng, dtype=torch.float64) * 2 - 1, torch.tensor([0, 2, 2, 0, 0, 2, 0, 2])
        execution = Execution(config.training, CPU)
        position = Position(1, "fade", 0.3)
        for step in (discriminator_step, generator_step):
            step(state, real, position, 8, config, execution, classes)
        assert state.generator.embedding is not None and state.loss.classifier is not None
        vectors: dict[str, Tensor] = {
            key: parameter for key, parameter in state.loss.named_parameters() if "projection" in key or key == "direction"
        }
        vectors["embedding"] = state.generator.embedding.weight
        found.append({key: parameter.grad for key, parameter in [*vectors.items(), *state.loss.classifier.named_parameters()]})
    for (key, whole), parts in zip(found[0].items(), found[1].values(), strict=True):
        assert whole is not None and parts is not None
        torch.testing.assert_close(parts, whole, rtol=1e-8, atol=1e-10)
        if key in vectors:
            assert not whole[1].any() and whole[0].any() and whole[2].any()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([None, None, None], r"have no labels; prepare gives labels with --labels .* or --list FILE"),
        (["a", "b", None], r"1 of 3 clips of .* have no label"),
        (["a", "a", "a"], r"all clips of .* are 'a'"),
    ],
)
def test_stores_without_classes_are_refused(labels: list[str | None], said: str, tmp_path: Path) -> None:
    with pytest.raises(GrowreelError, match=said):
        train(labelled_store(tmp_path / "store", labels), tmp_path / "run", conditional(tiny_config()), progress=False)
    assert not (tmp_path / "run").exists()


def test_a_class_that_is_held_out_as_a_whole_is_refused(tmp_path: Path) -> None:
    labelled_store(tmp_path / "store", ["a", "b", "a", "c"])
    with ClipStore.open(tmp_path / "store") as opened:
        opened.clips = tuple(dataclasses.replace(clip, source=str(number)) for number, clip in enumerate(opened.clips))
        opened.held_out = frozenset({"0", "3"})
        with pytest.raises(GrowreelError, match="holds all clips of c out"):
            class_names(opened)


def test_settings_of_classes_are_checked() -> None:
    for network, said in (
        ({"classes": ["a", "b"]}, "is for --conditional"),
        ({"conditional": True, "classes": ["b", "a"]}, "sorted"),
        ({"conditional": True, "classes": ["a"]}, "two names or more"),
    ):
        with pytest.raises(GrowreelError, match=said):
            from_dict({"network": network}, "test")


def test_a_run_knows_its_classes_and_goes_on_with_no_others(run: Path, store: Path, tmp_path: Path) -> None:
    model = growreel.load_generator(run)
    assert model.classes == ("run", "walk", "wave")
    config = conditional(tiny_config(clips=100))
    other = labelled_store(tmp_path / "other", ["wave", "walk", "wave", "sit"] * 10)
    with pytest.raises(GrowreelError, match=r"network.classes: .*'run', 'walk', 'wave'.* -> .*'sit', 'walk', 'wave'"):
        train(other, run, config, progress=False)
    shuffled = labelled_store(tmp_path / "shuffled", ["walk", "wave", "wave", "run"] * 10)
    with pytest.raises(GrowreelError, match="learnt from other clips"):
        train(shuffled, run, config, progress=False)
    with pytest.raises(GrowreelError, match=r"network.conditional: True -> False"):
        train(store, run, tiny_config(clips=100), progress=False)
    with ClipStore.open(store) as opened, ClipStore.open(shuffled) as unlike:
        assert DataRecord.of(opened) == DataRecord.of(unlike), "the pixels are the same, and unconditional runs see nothing else"


def test_a_stopped_run_goes_on_as_if_nothing_had_been(run: Path, store: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"eval_interval": 80, "eval_metrics": ["motion"], "eval_clips": 8}
    for clips in (52, 88):
        train(store, tmp_path / "run", conditional(tiny_config(clips=clips, **settings)), progress=False)
    names = [f"models/{clips:09d}.safetensors" for clips in (80, 88)]
    assert [(tmp_path / "run" / name).read_bytes() for name in names] == [(run / name).read_bytes() for name in names]


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_share_out_the_classes_with_the_clips(processes: int, store: Path) -> None:
    """The clips and their classes of all processes, put together again, are those of the store, across the ends of epochs."""
    names = ("run", "walk", "wave")
    with ClipStore.open(store) as opened:
        pixels = opened.read(range(len(opened)), opened.size)
        of_pixels = {clip.tobytes(): opened.labels[record.label or 0] for clip, record in zip(pixels, opened.clips, strict=True)}
        seen = 0
        for rank in range(processes):
            batches = ClipBatches(opened, seed=3, mirror=False, device=CPU, rank=rank, world_size=processes, classes=names)
            for shown in range(0, 96, 8):
                clips, classes = batches.at(shown, opened.size, 8), batches.classes_at(shown, 8)
                assert classes is not None and classes.dtype == torch.int64 and len(classes) == len(clips) == 8 // processes
                levels = ((clips + 1) * 127.5).round().to(torch.uint8).movedim(1, -1).numpy()
                assert [names[number] for number in classes] == [of_pixels[clip.tobytes()] for clip in levels]
                seen += len(clips)
            batches.close()
        assert seen == 96


def test_a_seed_has_its_class_whatever_else_is_asked_for(run: Path) -> None:
    model = growreel.load_generator(run)
    every = growreel.generate(model, seeds=range(6))
    assert np.array_equal(growreel.generate(model, seeds=[4]), every[4:5])
    assert np.array_equal(growreel.generate(model, seeds=[4], classes="walk"), every[4:5]), "4 is of class 4 modulo 3"
    assert np.array_equal(growreel.generate(model, seeds=range(6), classes="all"), every)
    some = growreel.generate(model, seeds=range(6), classes=["wave", "run"])
    assert np.array_equal(some[5], growreel.generate(model, seeds=[5], classes=("run",))[0])
    assert not np.array_equal(some[5], every[5])
    assert classes_of_places([7, Mix(7, 2, 0.3)], [5, 9]).tolist() == [9, 9]
    longer, other = (lengthened(model, 2, 6, of_class=number) for number in (2, 1))
    assert longer.shape == (6, 8, 8, 3) and not np.array_equal(longer, other)
    assert np.array_equal(longer[:2], every[2][:2])


@pytest.mark.parametrize(("classes", "said"), [("walk,sit", r"sit is no class of this model; it has run, walk, wave"), ("", "is no class")])
def test_classes_that_there_are_not(classes: str, said: str, run: Path) -> None:
    with pytest.raises(GrowreelError, match=said):
        growreel.generate(growreel.load_generator(run), seeds=[0], classes=classes)


def test_a_model_without_classes_says_so(tmp_path: Path) -> None:
    config, file = colored(tiny_config()), tmp_path / "without.safetensors"
    save_model(file, build_generator(config), config, clips_shown=0, fps=8.0)
    with pytest.raises(GrowreelError, match=r"--classes walk: this model has no classes \(train --conditional learns them\)"):
        growreel.generate(growreel.load_generator(file), seeds=[0], classes="walk")


def test_the_command_line_makes_classes_and_makes_them_again(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, again = tmp_path / "a.npy", tmp_path / "b.npy"
    assert main(["sample", str(run), "--out", str(first), "--count", "5", "--seed", "3", "--classes", "wave,walk"]) == 0
    assert main(["sample", "--like", str(first), str(run), "--out", str(again)]) == 0
    assert np.array_equal(np.load(first), np.load(again))
    assert np.array_equal(np.load(first), growreel.generate(growreel.load_generator(run), range(3, 8), classes="wave,walk"))
    assert main(["sample", str(run), "--out", str(tmp_path / "grid.png"), "--count", "3", "--scale", "8"]) == 0
    assert read_recipe(tmp_path / "grid.png").classes == ("run", "walk", "wave")
    pixels = np.asarray(Image.open(tmp_path / "grid.png"))
    assert pixels[:14].max() > 200 and pixels.shape[0] % (64 + 14) == 0, "the name of each clip's class stands above it"
    assert main(["walk", str(run), "--out", str(tmp_path / "walk.npy"), "--frames", "6", "--count", "2", "--classes", "run"]) == 0
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "grid.png")]) == 0
    assert "classes    run, walk, wave, in turn" in capsys.readouterr().out
    assert main(["inspect", str(run / "models" / "000000088.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == ["run", "walk", "wave"]


def test_a_longer_clip_is_of_a_class_that_the_model_has(run: Path) -> None:
    model = growreel.load_generator(run)
    for wrong in (None, 3, -1):
        with pytest.raises(GrowreelError, match=rf"of_class {wrong}: must be 0 \(run\), 1 \(walk\), 2 \(wave\)"):
            lengthened(model, 0, 9, of_class=wrong)
    assert lengthened(model, 0, 9, of_class=2).shape == (9, 8, 8, 3)


def test_the_samples_of_a_run_say_their_classes(run: Path) -> None:
    recipe = read_recipe(run / "samples" / "000000088.webp")
    assert recipe.classes == ("run", "walk", "wave") and recipe.class_names() == ["run", "walk"]


def test_clips_are_compared_in_the_proportions_of_the_real_ones(run: Path, store: Path, tmp_path: Path) -> None:
    assert in_proportion(np.array([2, 0, 0, 0]), 8) == [0, 0, 0, 0, 0, 0, 2, 2]
    options = EvaluationOptions(metrics=("motion",), clips=40, repeats=2, resamples=0)
    assert evaluate(run, store, options).fake["classes"] == "run 10, walk 10, wave 20"
    alone = evaluate(run, store, dataclasses.replace(options, classes="wave"))
    assert alone.fake["classes"] == "wave 40" and alone.real["clips"] == 20
    unlike = labelled_store(tmp_path / "unlike", [None] * 12)
    card = evaluate(run, unlike, options)
    assert card.fake["classes"] == "run 13, walk 14, wave 13" and any("equally often" in warning for warning in card.warnings)
    with pytest.raises(GrowreelError, match="has no clips with such a label"):
        evaluate(run, unlike, dataclasses.replace(options, classes="wave"))
    with pytest.raises(GrowreelError, match=r"is for a conditional model, which .* is not"):
        evaluate(store, store, dataclasses.replace(options, classes="wave"))


@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_an_exported_file_is_given_the_classes(format: Literal["onnx", "pt2"], run: Path, tmp_path: Path) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
        pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    facts = export(run, tmp_path / f"model.{format}", format)
    assert json.loads(facts["classes"]) == ["run", "walk", "wave"]
    model = growreel.load_generator(run)
    given = (latents_of_seeds(range(5), 8), np.ones(1, np.float32), np.arange(5) % 3)
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
        clips = session.run(["clips"], dict(zip(("latents", "truncation", "classes"), given, strict=True)))[0]
    else:
        clips = torch.export.load(tmp_path / "model.pt2").module()(*map(torch.from_numpy, given)).detach().numpy()
    levels = np.rint((clips + 1) * 127.5).astype(int).transpose(0, 2, 3, 4, 1)
    assert np.abs(levels - growreel.generate(model, range(5)).astype(int)).max() <= 1


def test_the_viewer_makes_the_class_that_is_chosen(run: Path) -> None:
    subject, studio = Subject(run), Studio()
    model = growreel.load_generator(run)
    named = {"run": next(iter(subject.runs()))}
    facts = model_facts(subject, studio, Asked("api/model", named, None, lambda: True, ""))
    assert facts["classes"] == ["run", "walk", "wave"]
    view = View.of(subject, {**named, "class": "walk"})
    assert np.array_equal(view.clips(view.loaded(studio), [0, 3]), growreel.generate(model, [0, 3], classes="walk"))
    walks = [walk_frames(model, 5, 0, 4, 1, wanted=wanted) for wanted in (None, ("wave",), ("run",))]
    assert np.array_equal(walks[0], walks[1]) and not np.array_equal(walks[0], walks[2]), "5 is of class 5 modulo 3"
    with pytest.raises(Refused, match="is none of the model's"):
        View.of(subject, {**named, "class": "sit"}).loaded(studio)


def test_the_card_of_the_hub_lists_the_classes(run: Path, tmp_path: Path) -> None:
    card = (write_repository(run, tmp_path / "folder", license="mit") / "README.md").read_text()
    assert "It makes 3 classes: run, walk, wave." in card and "no label" not in card and "classes=model.classes[:1]" in card


def moving_disc(number: int) -> tuple[NDArray[np.uint8], str]:
    """A bright shape on its way down (even numbers) or up, 4x8x8. The frames of both are the same ones: only their order tells."""
    rng = np.random.default_rng(number)
    rows = np.linspace(2.5, 5.5, 4)[:: -1 if number % 2 else 1]
    centers = np.stack([rows, np.full(4, rng.uniform(2.5, 5.5))], axis=1)
    return render(ShapeTrack("disc" if rng.random() < 0.5 else "square", "yellow", 2.3, centers), Size(4, 8, 8)), ("down", "up")[number % 2]


def way_down(clips: NDArray[np.uint8]) -> NDArray[np.float64]:
    """By how many rows the centre of what is bright gets lower from the first frame to the last, [n]."""
    light = np.clip(clips.max(axis=-1).astype(np.float64) - 60, 0, None).sum(axis=3)
    centers = (light * np.arange(light.shape[2])).sum(axis=2) / np.maximum(light.sum(axis=2), 1e-9)
    moved: NDArray[np.float64] = centers[:, -1] - centers[:, 0]
    return moved


def test_what_is_asked_for_is_made(tmp_path: Path) -> None:
    """Real clips move by 3 rows; the rule asks for 1, of 90 % of the clips. In four of four seeds it was true of all, by 2.9 on average."""
    clips, labels = zip(*map(moving_disc, range(64)), strict=True)
    write_store(tmp_path / "store", iter(clips), fps=8.0, labels=labels)
    config = from_dict(
        {
            "growth": {
                "stages": ["2x4x4", "4x8x8"],
                "fade_clips": 480,
                "stable_clips": 960,
                "minibatch": 8,
                "learning_rate": 0.004,
            },
            "network": {"max_channels": 12, "latent_dim": 8, "feature_dim": 16, "conditional": True},
            "loss": {"penalty_reference": "stage"},
            "training": {"device": "cpu", "report": False, "checkpoint_interval": 10_000, "ema_halflife_clips": 500},
        },
        "toy",
    )
    train(tmp_path / "store", tmp_path / "run", config, progress=False)
    model = growreel.load_generator(tmp_path / "run")
    assert np.abs(way_down(np.stack(clips))) == pytest.approx(3, abs=0.5)
    for name, sign in (("down", 1), ("up", -1)):
        moved = sign * way_down(growreel.generate(model, range(100), classes=name))
        assert (moved > 1).mean() >= 0.9, f"{name}: {(moved > 1).mean():.0%}, {moved.mean():.2f} rows"


def test_ucf101_of_two_classes_from_its_lists_to_a_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folders, names and official lists; each list is a store, one is learnt by class, the other is what it is measured against."""
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for number, name in enumerate(("ApplyEyeMakeup", "ApplyLipstick"), 1):
        (tmp_path / "UCF-101" / name).mkdir(parents=True)
        for group in (1, 2, 8, 9):
            video = f"{name}/v_{name}_g{group:02d}_c01.avi"
            encode(tmp_path / "UCF-101" / video, block_frames(40, height=48, width=64, seed=10 * number + group), codec="mpeg4")
            lists["test" if group < 8 else "train"].append(video if group < 8 else f"{video} {number}")
    for part, lines in lists.items():
        (tmp_path / f"{part}list01.txt").write_text("\r\n".join(lines) + "\r\n")
    (tmp_path / "classInd.txt").write_text("1 ApplyEyeMakeup\r\n2 ApplyLipstick\r\n")
    for part in lists:
        command = ["prepare", str(tmp_path / "UCF-101"), str(tmp_path / part), "--list", str(tmp_path / f"{part}list01.txt")]
        assert main([*command, "--size", "4x8x8"]) == 0
        with ClipStore.open(tmp_path / part) as opened:
            assert opened.labels == ("ApplyEyeMakeup", "ApplyLipstick") and len(opened) == 40
    (tmp_path / "small.yaml").write_text(json.dumps(to_dict(tiny_config(clips=56))))
    run = str(tmp_path / "run")
    assert main(["train", str(tmp_path / "train"), "--out", run, "--config", str(tmp_path / "small.yaml"), "--conditional"]) == 0
    capsys.readouterr()
    measure = ["--real", str(tmp_path / "test"), "--training", str(tmp_path / "train"), "--clips", "24", "--metrics", "swd,motion"]
    assert main(["evaluate", run, *measure, "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert re.fullmatch(r"ApplyEyeMakeup \d+, ApplyLipstick \d+", card["fake"]["classes"])
    assert main(["evaluate", run, *measure, "--classes", "ApplyLipstick", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["fake"]["classes"] == "ApplyLipstick 24" and card["real"]["clips"] == 20
    assert {result["name"] for result in card["results"]} == {"swd", "motion"}
