"""One tree of frozen dataclasses. A field's docstring is its help text; the tree is the YAML of a preset and of a run folder.

Pure Python: a machine without a command-line parser, or without torch, can read and write configurations.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Order, Size, Stage, ladder

Precision = Literal["float32", "bfloat16", "auto"]


def _check_range(field: str, value: float, *, least: float, most: float = math.inf) -> None:
    """Raise GrowreelError naming the flag unless least <= value <= most; NaN is never in range."""
    if not least <= value <= most:
        limits = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise GrowreelError(f"--{field} {value}: must be {limits}")


@dataclass(frozen=True)
class StageConfig:
    """One stage of a plan written out by hand; what is left out comes from `growth`."""

    size: str
    """Extent of the clips at this stage, TxHxW."""
    fade_clips: int | None = None
    """Clips shown while this stage fades in."""
    stable_clips: int | None = None
    """Clips shown after the fade."""
    minibatch: int | None = None
    """Clips per step over all processes."""
    microbatch: int | None = None
    """Clips of a process that pass the networks at a time."""
    learning_rate: float | None = None
    """Adam's step size for both networks."""
    final_learning_rate: float | None = None
    """What the step size falls (or rises) to, linearly, through the stable phase; None keeps it constant."""


@dataclass(frozen=True)
class GrowthConfig:
    """Which sizes the model passes through and how long it stays at each."""

    target: str | None = None
    """Size of the finished clips, TxHxW; None is the end of `stages`, or 16x64x64."""
    order: Order = "paper"
    """What grows first: `space` (then time), `time` (then space), `joint` (both together), `paper` (both and space alone in turns)."""
    base: str = "4x4x4"
    """Size of the first stage; it need not be a cube (4x3x4 gives 4:3 pictures, 16x4x4 grows resolution alone)."""
    stages: tuple[StageConfig, ...] = ()
    """The plan written out, instead of `target`, `order` and `base`. In YAML a plain size stands for a stage with defaults."""
    fade_clips: int = 600_000
    """Real clips shown while a stage fades in."""
    stable_clips: int = 600_000
    """Real clips shown at a stage after its fade (the first stage has only these)."""
    minibatch: int | None = None
    """Clips per step over all processes; None takes the paper's: 32 up to 8x8x8, 16 up to 16x32x32, 8 up to 32x128x128, then 4."""
    microbatch: int | None = None
    """Clips of a process that pass the networks at a time, to save memory: the gradients of several passes are added up. None is all of
    them. The groups of four clips of the minibatch standard deviation are formed within a pass, so multiples of 4 change nothing."""
    learning_rate: float = 0.001
    """Adam's step size for both networks."""

    def plan(self) -> GrowthPlan:
        """Resolve into a GrowthPlan. Raises GrowreelError naming the field that does not fit."""
        if self.stages and self.target not in (None, self.stages[-1].size):
            raise GrowreelError(
                f"growth.target: {self.target} is not where growth.stages end ({self.stages[-1].size}); "
                "--target makes a new plan in place of the stages"
            )
        target, base = Size.parse(self.target or "16x64x64", "--target"), Size.parse(self.base, "--growth.base")
        stages = self.stages or tuple(StageConfig(str(size)) for size in ladder(target, self.order, base))
        return GrowthPlan(tuple(self._stage(stage, first=i == 0) for i, stage in enumerate(stages)))

    def _stage(self, stage: StageConfig, first: bool) -> Stage:
        size = Size.parse(stage.size, "growth.stages")
        learning_rate = self.learning_rate if stage.learning_rate is None else stage.learning_rate
        fade_clips = self.fade_clips if stage.fade_clips is None else stage.fade_clips
        minibatch = self.minibatch if stage.minibatch is None else stage.minibatch
        minibatch = paper_minibatch(size) if minibatch is None else minibatch
        microbatch = self.microbatch if stage.microbatch is None else stage.microbatch
        return Stage(
            size=size,
            fade_clips=0 if first and stage.fade_clips is None else fade_clips,
            stable_clips=self.stable_clips if stage.stable_clips is None else stage.stable_clips,
            minibatch=minibatch,
            learning_rate=learning_rate,
            final_learning_rate=learning_rate if stage.final_learning_rate is None else stage.final_learning_rate,
            microbatch=microbatch if microbatch is None else min(microbatch, minibatch),
        )


def paper_minibatch(size: Size) -> int:
    """Minibatch that the paper's table gives a stage of this many voxels (12 GB card)."""
    limits = ((8 * 8 * 8, 32), (16 * 32 * 32, 16), (32 * 128 * 128, 8))
    return next((minibatch for voxels, minibatch in limits if size.voxels <= voxels), 4)


@dataclass(frozen=True)
class NetworkConfig:
    """Widths of generator and discriminator."""

    base_channels: int = 1024
    """Channels are min(base / 2^i, max) with i = log2(height) - 1 (ProGAN's fmap_base)."""
    max_channels: int = 128
    """Upper limit of channels (ProGAN's fmap_max)."""
    latent_dim: int = 128
    """Length of the latent vector."""
    feature_dim: int = 128
    """Length of the discriminator's feature vector, on which the loss's critic head works."""
    image_channels: int | None = None
    """Colour channels of a clip, 1 or 3; None takes the store's."""

    def __post_init__(self) -> None:
        for name in ("base_channels", "max_channels", "latent_dim", "feature_dim"):
            _check_range(f"network.{name}", getattr(self, name), least=1)
        if self.image_channels not in (None, 1, 3):
            raise GrowreelError(f"--network.image_channels {self.image_channels}: must be 1 (grey) or 3 (RGB)")


@dataclass(frozen=True)
class SlicedConfig:
    """The SWGAN loss."""

    matrices: int = 1
    """Orthogonal matrices; there are matrices * feature_dim slices."""
    gradient_weight: float = 50.0
    """Weight of the zero-centred gradient penalty."""
    feature_penalty: Literal["released", "slope", "none"] = "released"
    """Second penalty, on the 1-D functions: as in the released code, on their true slope, or none."""
    feature_weight: float = 10.0
    """Weight of the second penalty."""
    feature_target: float | None = None
    """Target of the second penalty; None takes the form's own: 0.01 for `released`, 1 for `slope`."""

    def __post_init__(self) -> None:
        _check_range("loss.swgan.matrices", self.matrices, least=1)
        _check_range("loss.swgan.gradient_weight", self.gradient_weight, least=0)
        _check_range("loss.swgan.feature_weight", self.feature_weight, least=0)


@dataclass(frozen=True)
class WassersteinGPConfig:
    """The WGAN-GP loss, the paper's baseline."""

    gradient_weight: float = 10.0
    """Weight of the gradient penalty."""
    gradient_target: float = 1.0
    """Norm that the gradient is drawn to."""
    drift_weight: float = 0.001
    """Weight of the squared scores of real clips."""

    def __post_init__(self) -> None:
        for name in ("gradient_weight", "gradient_target", "drift_weight"):
            _check_range(f"loss.wgan_gp.{name}", getattr(self, name), least=0)


@dataclass(frozen=True)
class LossConfig:
    """Which adversarial loss, and its settings."""

    name: Literal["swgan", "wgan-gp"] = "swgan"
    """The loss; the settings of the other one are ignored."""
    swgan: SlicedConfig = field(default_factory=SlicedConfig)
    """Settings of `swgan`."""
    wgan_gp: WassersteinGPConfig = field(default_factory=WassersteinGPConfig)
    """Settings of `wgan-gp`."""
    penalty_interval: int = 1
    """Take the gradient penalty in every k-th step of the discriminator only, with k times its weight. 1 is the paper's."""

    def __post_init__(self) -> None:
        _check_range("loss.penalty_interval", self.penalty_interval, least=1)


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, for generator and discriminator alike."""

    beta1: float = 0.0
    """Decay of the first moment."""
    beta2: float = 0.99
    """Decay of the second moment."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    reset: Literal["stage", "phase"] = "phase"
    """When the moments start anew: with every stage, or also when a fade ends (the released code)."""

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            _check_range(f"optimizer.{name}", getattr(self, name), least=0, most=0.999999)
        _check_range("optimizer.eps", self.eps, least=1e-30)


@dataclass(frozen=True)
class TrainingConfig:
    """The loop around the step. Every interval is in real clips shown."""

    seed: int = 0
    """Seed of initial weights, order of clips, and noise."""
    clips: int | None = None
    """Stop after so many real clips shown; None trains to the end of the plan."""
    critic_steps: int = 1
    """Discriminator steps per generator step, each on new real clips."""
    ema_decay: float = 0.999
    """Decay per step of the generator's moving average, which is what is sampled and saved."""
    mirror: bool = True
    """Mirror half of the clips left to right, whole clips at a time."""
    precision: Precision = "float32"
    """Arithmetic of the blocks. With bfloat16 the penalties' values, heads, EMA and optimiser stay float32 (docs/log.md has the
    error); `auto`: bfloat16 where the device has it."""
    recompute_voxels: int | None = None
    """Blocks whose clips have at least so many voxels (frames x rows x columns) are computed again in the backward pass instead of kept
    in memory; None for none."""
    device: str = "auto"
    """`auto` takes a CUDA card where there is one, else the CPU; or a device as PyTorch names it."""
    stats_interval: int = 2_000
    """Between lines of stats.jsonl."""
    sample_interval: int = 20_000
    """Between sample grids."""
    checkpoint_interval: int = 50_000
    """Between checkpoints (and model files)."""
    keep_checkpoints: int = 2
    """Newest checkpoints to keep. Model files are all kept."""
    sample_count: int = 16
    """Clips in a sample grid."""
    eval_interval: int | None = None
    """Between evaluations, which go to stats.jsonl; None for none."""
    eval_metrics: tuple[str, ...] = ("swd", "motion")
    """What is evaluated; names as of `growreel evaluate --metrics`, without `memory`."""
    eval_clips: int = 256
    """Generated clips in an evaluation, and at most as many real ones."""
    explosion_limit: float = 1e6
    """A loss beyond this, or not finite, takes the run back to its last checkpoint."""

    def __post_init__(self) -> None:
        _check_range("training.seed", self.seed, least=0)
        _check_range("training.ema_decay", self.ema_decay, least=0, most=1)
        _check_range("training.explosion_limit", self.explosion_limit, least=1e-30)
        if self.clips is not None:
            _check_range("training.clips", self.clips, least=1)
        if self.recompute_voxels is not None:
            _check_range("training.recompute_voxels", self.recompute_voxels, least=1)
        if self.eval_interval is not None:
            _check_range("training.eval_interval", self.eval_interval, least=1)
        _check_range("training.eval_clips", self.eval_clips, least=2)
        for name in ("critic_steps", "stats_interval", "sample_interval", "checkpoint_interval", "keep_checkpoints", "sample_count"):
            _check_range(f"training.{name}", getattr(self, name), least=1)


@dataclass(frozen=True)
class Config:
    """Everything that decides a run, apart from the clips."""

    growth: GrowthConfig = field(default_factory=GrowthConfig)
    """The growth plan."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The networks."""
    loss: LossConfig = field(default_factory=LossConfig)
    """The adversarial loss."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimiser."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The loop."""


def preset_names() -> list[str]:
    """Names of the presets that come with growreel."""
    folder = resources.files("growreel") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_preset(name: str) -> Config:
    """The shipped preset `name`. Raises GrowreelError listing the names there are."""
    if name not in preset_names():
        raise GrowreelError(f"--preset {name}: there is no such preset; choose one of {', '.join(preset_names())}")
    text = (resources.files("growreel") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return from_dict(yaml.safe_load(text) or {}, f"preset {name}")


def load_config(path: Path) -> Config:
    """Read a YAML file. Raises GrowreelError naming the file and the key or value that is wrong."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GrowreelError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GrowreelError(f"{path}: is not YAML ({error})") from error
    return from_dict({} if tree is None else tree, str(path))


def to_dict(config: Config) -> dict[str, Any]:
    """Nested plain dicts and lists, as stored in YAML, checkpoints and model files."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(config))
    return plain


def to_yaml(config: Config) -> str:
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def from_dict(tree: Any, where: str) -> Config:
    """Build a Config from nested dicts; missing keys keep their defaults. Raises GrowreelError naming `where` and the bad key."""
    config = _convert(tree, Config, f"{where}:")
    assert isinstance(config, Config)
    return config


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _convert(value: Any, kind: Any, where: str) -> Any:
    """Check `value` against the annotation `kind` and convert it; `where` is the path of keys for the error."""
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(value, kind, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value in arguments:
            return value
        raise GrowreelError(f"{where}: {value!r} is not one of {', '.join(map(str, arguments))}")
    if origin is types.UnionType:
        if value is None:
            return None
        return _convert(value, next(a for a in arguments if a is not types.NoneType), where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise GrowreelError(f"{where}: {value!r} is not a list")
        return tuple(_convert(entry, arguments[0], f"{where}[{i}]") for i, entry in enumerate(value))
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-8 as text
        except ValueError:
            pass
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise GrowreelError(f"{where}: {value!r} is not of type {kind.__name__}")
    return value


def _convert_dataclass(value: Any, kind: Any, where: str) -> Any:
    if kind is StageConfig and isinstance(value, str):
        return StageConfig(value)
    if isinstance(value, kind):
        return value
    if not isinstance(value, dict):
        raise GrowreelError(f"{where.removesuffix(':')}: {value!r} is not a mapping of names to values")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(map(str, value)) - set(hints))
    if unknown:
        raise GrowreelError(f"{where.removesuffix(':')}: unknown key {unknown[0]!r}; known are {', '.join(hints)}")
    joint = " " if where.endswith(":") else "."  # `file: growth.stages`
    return kind(**{key: _convert(entry, hints[key], f"{where}{joint}{key}") for key, entry in value.items()})
