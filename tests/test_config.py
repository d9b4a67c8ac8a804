"""The configuration tree: presets, YAML, and errors that name the key."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest

from conftest import colored
from growreel import config as config_module
from growreel.config import (
    Config,
    GrowthConfig,
    StageConfig,
    from_dict,
    idle_settings,
    load_config,
    load_preset,
    paper_minibatch,
    preset_names,
    to_yaml,
)
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.models import build_discriminator, build_generator


def test_the_presets_that_the_readme_names_exist() -> None:
    assert {"demo", "best", "paper", "weizmann-64", "ucf101-128", "trailerfaces-256", "golf-128"} <= set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_parses_and_builds(name: str, tmp_path: Path) -> None:
    config = load_preset(name)
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "config.yaml") == config
    resolved = colored(config)
    assert build_generator(resolved).plan == build_discriminator(resolved).plan == config.growth.plan()
    assert str(config.growth.plan().sizes[-1]) == config.growth.target


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"growht": {}}, "here: unknown key 'growht'; known are growth"),
        ({"training": {"sead": 1}}, "training: unknown key 'sead'"),
        ({"training": {"seed": "x"}}, "here: training.seed: 'x' is not of type int"),
        ({"training": {"mirror": 1}}, "mirror: 1 is not of type bool"),
        ({"training": {"seed": True}}, "seed: True is not of type int"),
        ({"loss": {"name": "gan"}}, "name: 'gan' is not one of swgan, wgan-gp, relativistic, san"),
        ({"growth": {"stages": "4x4x4"}}, "stages: '4x4x4' is not a list"),
        ({"growth": {"stages": [{"size": "4x4x4", "clips": 3}]}}, r"stages\[0\]: unknown key 'clips'"),
        ({"growth": [1]}, r"growth: \[1\] is not a mapping"),
        ([], "is not a mapping"),
    ],
)
def test_errors_name_the_key_and_the_value(tree: object, message: str) -> None:
    with pytest.raises(GrowreelError, match=message):
        from_dict(tree, "here")


@pytest.mark.parametrize(
    "tree",
    [
        {"network": {"latent_dim": 0}},
        {"network": {"max_channels": 0}},
        {"network": {"image_channels": 2}},
        {"loss": {"swgan": {"matrices": 0}}},
        {"loss": {"swgan": {"gradient_weight": float("nan")}}},
        {"loss": {"wgan_gp": {"drift_weight": -1.0}}},
        {"optimizer": {"beta1": 1.5}},
        {"training": {"seed": -1}},
        {"training": {"clips": 0}},
        {"training": {"ema_decay": 7.0}},
        {"training": {"augment_probability": 0.9}},
        {"loss": {"relativistic": {"gradient_weight": -1.0}}},
        {"loss": {"san": {"gradient_weight": -1.0}}},
        {"training": {"sample_interval": 0}},
    ],
)
def test_values_out_of_range_name_the_flag(tree: dict[str, dict[str, object]]) -> None:
    ((section, inner),) = tree.items()
    ((name, value),) = inner.items()
    if isinstance(value, dict):
        ((last, value),) = value.items()
        name = f"{name}.{last}"
    with pytest.raises(GrowreelError, match=rf"--{section}.{name} {value}: must be"):
        from_dict(tree, "here")


def test_target_and_stages_must_agree() -> None:
    with pytest.raises(GrowreelError, match=r"growth.target: 8x8x8 is not where growth.stages end \(4x8x8\)"):
        GrowthConfig(target="8x8x8", stages=(StageConfig("4x4x4"), StageConfig("4x8x8"))).plan()
    for rate in (float("inf"), float("nan")):
        with pytest.raises(GrowreelError, match=r"learning_rate \S+: must be above 0 and finite"):
            GrowthConfig(learning_rate=rate).plan()


def test_yaml_numbers_and_plain_sizes(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("growth:\n  stages: [4x4x4, {size: 8x8x8, fade_clips: 5}]\noptimizer: {eps: 1e-7}\n")
    config = load_config(tmp_path / "c.yaml")
    assert config.growth.stages == (StageConfig("4x4x4"), StageConfig("8x8x8", fade_clips=5))
    assert config.optimizer.eps == 1e-7


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(GrowreelError, match=r"nowhere.yaml: cannot be read"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(GrowreelError, match=r"bad.yaml: is not YAML"):
        load_config(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("[]")
    with pytest.raises(GrowreelError, match=r"list.yaml: \[\] is not a mapping"):
        load_config(tmp_path / "list.yaml")
    (tmp_path / "deep.yaml").write_text("training: {seed: x}")
    with pytest.raises(GrowreelError, match=r"deep.yaml: training.seed: 'x' is not of type int"):
        load_config(tmp_path / "deep.yaml")
    with pytest.raises(GrowreelError, match="--preset huge: there is no such preset; choose one of best, demo"):
        load_preset("huge")


def test_schedule_defaults_and_overrides() -> None:
    growth = GrowthConfig(
        stages=(StageConfig("4x4x4"), StageConfig("8x8x8", minibatch=3, learning_rate=0.5, fade_clips=7)), fade_clips=10, stable_clips=20
    )
    first, second = growth.plan().stages
    assert (first.fade_clips, first.stable_clips, first.minibatch, first.learning_rate) == (0, 20, 32, 0.001)
    assert (second.fade_clips, second.stable_clips, second.minibatch, second.learning_rate) == (7, 20, 3, 0.5)


def test_minibatches_of_the_paper() -> None:
    table = {"4x4x4": 32, "8x8x8": 32, "8x16x16": 16, "16x32x32": 16, "16x64x64": 8, "32x128x128": 8, "32x256x256": 4}
    assert {size: paper_minibatch(Size.parse(size)) for size in table} == table


def test_every_field_is_documented() -> None:
    """A field's docstring is its help text."""
    kinds = [kind for _, kind in inspect.getmembers(config_module, inspect.isclass) if dataclasses.is_dataclass(kind)]
    assert Config in kinds
    for kind in kinds:
        lines = [line.strip() for line in inspect.getsource(kind).splitlines()]
        for field in dataclasses.fields(kind):
            at = next(i for i, line in enumerate(lines) if line.startswith(f"{field.name}:"))
            assert lines[at + 1].startswith('"""'), f"{kind.__name__}.{field.name} has no docstring"


def test_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().growth = GrowthConfig()  # type: ignore[misc]


def test_the_preset_of_the_paper_is_what_the_defaults_are() -> None:
    """Published values: nothing that a later option changed, and the twelve million clips of the paper."""
    paper, faces = load_preset("paper"), load_preset("trailerfaces-256")
    published = dataclasses.replace(Config().training, ema_decay=0.999)  # per step; today's default counts in clips
    assert dataclasses.replace(paper, growth=GrowthConfig()) == dataclasses.replace(Config(), training=published)
    assert paper.growth.plan().total_clips == 12_000_000
    assert dataclasses.replace(faces, training=dataclasses.replace(faces.training, precision="float32")) == paper


def test_stages_in_both_plans_keep_the_schedule() -> None:
    best = load_preset("best").growth
    cut, taken = best.along([Size(4, 4, 4), Size(8, 8, 8), Size(8, 16, 16), Size(16, 32, 32)])
    assert cut.plan().stages == best.plan().stages[:4] and not taken
    longer, taken = best.along([*best.plan().sizes, Size(32, 128, 128)])
    assert longer.plan().stages[:5] == best.plan().stages and taken == {Size(32, 128, 128): Size(16, 64, 64)}
    assert longer.plan().stages[5] == dataclasses.replace(best.plan().stages[4], size=Size(32, 128, 128))
    paper = load_preset("paper").growth
    assert paper.along(paper.plan().sizes)[0].plan() == paper.plan()


def test_a_stage_that_the_preset_lacks_takes_the_nearest_schedule() -> None:
    """Its falling learning rate only at the end of the plan, and a fade of its own where it took the first stage's lengths."""
    best = load_preset("best").growth
    names = "2x4x4 4x4x4 8x8x8 16x8x8 16x16x16 16x32x32 16x64x64 16x64x128"
    sizes = [Size.parse(name) for name in names.split()]
    planned, taken = best.along(sizes)
    assert taken == {sizes[0]: sizes[1], sizes[3]: Size(8, 16, 16), sizes[4]: Size(8, 16, 16), sizes[7]: sizes[6]}
    stages = planned.plan().stages
    assert [stage.fade_clips for stage in stages] == [0, 10_000, 10_000, 10_000, 10_000, 20_000, 40_000, 40_000]
    assert [stage.final_learning_rate for stage in stages[-2:]] == [0.0005, 0.0005]
    upper = best.along([Size(16, 64, 32), Size(16, 64, 64)])[0].plan().stages
    assert upper[0].final_learning_rate == upper[0].learning_rate
    *first, last = best.stages
    best = dataclasses.replace(best, stages=(*first, dataclasses.replace(last, decay_clips=9_000)))
    assert [stage.decay_clips for stage in best.along([Size(16, 64, 32), Size(16, 64, 64)])[0].plan().stages] == [None, 9_000]


def test_a_decay_needs_a_rate_to_go_to() -> None:
    stage = StageConfig("4x4x4", decay_clips=8)
    with pytest.raises(GrowreelError, match=r"growth.stages: 4x4x4: decay_clips has no effect without final_learning_rate"):
        GrowthConfig(stages=(stage,)).plan()


def test_settings_without_effect_are_known_with_their_reason() -> None:
    idle = idle_settings(load_preset("demo"))
    assert {"growth.order", "growth.base", "growth.fade_clips", "growth.stable_clips", "loss.san", "training.eval_clips"} <= idle.keys()
    assert not {"growth.minibatch", "growth.learning_rate", "loss.relativistic", "training.ema_rampup"} & idle.keys()
    assert "growth.fade_clips" not in idle_settings(load_preset("paper")) and "training.ema_rampup" in idle_settings(load_preset("paper"))
    assert not {name for name in idle_settings(Config()) if name.startswith("growth")}
