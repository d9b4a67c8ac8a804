"""One tree of frozen dataclasses. A field's docstring is its help text; the tree is the YAML of a preset and of a run folder."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from growreel.config.growth import GrowthConfig
from growreel.config.loss import LossConfig
from growreel.errors import GrowreelError
from growreel.ranges import check_range

Precision = Literal["float64", "float32", "tf32", "bfloat16", "auto"]
Resampling = Literal["box", "smooth"]
GeneratorKind = Literal["plain", "modulated"]
OutputKind = Literal["linear", "tanh"]
MinibatchStddev = Literal["mean", "channels"]
Normalization = Literal["none", "instance"]
TimePadding = Literal["zeros", "replicate"]
PlanesKind = Literal["linear", "curved"]
EMA_HALFLIFE_CLIPS = 10_000.0


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
    resampling: Resampling = "box"
    """How blocks scale up and down: `box` repeats voxels and averages them (the paper); `smooth` filters with 1, 3, 3, 1 along every axis
    that grows (StyleGAN), which leaves no grid and costs more."""
    generator: GeneratorKind = "plain"
    """`plain`: the paper's; `modulated`: the latent weighs the channels of every convolution (StyleGAN2), and tells it where things are."""
    planes: PlanesKind = "linear"
    """What a `modulated` generator's latent adds to every channel of a convolution's output: `linear`, a function of frame, row and column
    that is linear in each; `curved`, also an offset and the square of the frame, for things that move on curved paths (docs/log.md)."""
    output: OutputKind = "linear"
    """What makes colours of the generator's last features: `linear`, one weight each (the paper); `tanh` bounds that, so that flat colours
    and sharp edges are learnt sooner."""
    minibatch_stddev: MinibatchStddev = "mean"
    """What the discriminator is told of how the clips of a group differ: one number, the mean over all channels (ProGAN, the paper), or
    one for each of the `channels`, by which it sees at once that, say, all have one colour."""
    skips: bool = False
    """Whether a stage adds to those before it: its colours to theirs, and what the discriminator sees of the clip to what it sees at every
    smaller size (StyleGAN2's skips). Without, a stage takes the place of the one before once its fade is over (the paper)."""
    discriminator_norm: Normalization = "none"
    """What the discriminator's blocks do between convolution and leaky ReLU: `none`, nothing (the paper); `instance` gives every channel of
    every clip mean 0 and deviation 1, by which small differences of form are seen sooner, and costs time (docs/log.md)."""
    time_padding: TimePadding = "zeros"
    """What the convolutions of both networks see before the first and after the last frame: `zeros`, as beyond the edges of a frame (the
    paper), or `replicate`, that frame once more. A generator that was taught its clips drew the ends of time better so (docs/log.md)."""
    conditional: bool = False
    """Learn the classes that the store's labels name apart: the generator is told which to make, the critic which it should be."""
    classes: tuple[str, ...] = ()
    """Names of the classes of a conditional model, sorted; they come from the store."""

    def __post_init__(self) -> None:
        for name in ("base_channels", "max_channels", "latent_dim", "feature_dim"):
            check_range(f"--network.{name}", getattr(self, name), least=1)
        if self.image_channels not in (None, 1, 3):
            raise GrowreelError(f"--network.image_channels {self.image_channels}: must be 1 (grey) or 3 (RGB)")
        if self.classes and not self.conditional:
            raise GrowreelError(f"--network.classes {','.join(self.classes)}: is for --conditional; add that, or leave the classes out")
        if self.classes and (len(self.classes) < 2 or list(self.classes) != sorted(set(self.classes)) or not all(self.classes)):
            raise GrowreelError(f"--network.classes {','.join(self.classes)}: must be two names or more, sorted, each once")


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
            check_range(f"--optimizer.{name}", getattr(self, name), least=0, most=0.999999)
        check_range("--optimizer.eps", self.eps, least=1e-30)


@dataclass(frozen=True)
class TrainingConfig:
    """The loop around the step. Every interval is in real clips shown."""

    seed: int = 0
    """Seed of initial weights, order of clips, and noise."""
    clips: int | None = None
    """Stop after so many real clips shown; None trains to the end of the plan."""
    critic_steps: int = 1
    """Discriminator steps per generator step, each on new real clips."""
    ema_halflife_clips: float | None = None
    """Clips shown in which the weight of the past halves in the generator's moving average, which is what is sampled and saved; 0 is no
    average. None is 10,000, unless `ema_decay` is given."""
    ema_rampup: float | None = 0.05
    """The half-life is at most this share of the clips shown so far, so that the average follows fast at the beginning; None for no
    such limit."""
    ema_decay: float | None = None
    """Decay of the moving average per step instead, whatever the minibatch (ProGAN); then there is no ramp."""
    mirror: bool = True
    """Mirror half of the clips left to right, whole clips at a time."""
    augment_probability: float = 0.0
    """Shift, brighten, change contrast and saturation of what the discriminator sees, real and generated, each with this probability and
    the same for all frames of a clip; for small sets. At most 0.8: beyond, generated clips could learn the changes."""
    precision: Precision = "float32"
    """Arithmetic of the blocks. With bfloat16 the penalties' values, heads, EMA and optimiser stay float32 (docs/log.md has the
    error); `auto`: the fastest that a convolution on this device shows to be right, when the run begins. float64 is for checks: everything
    is computed in it."""
    penalty_precision: Literal["float32", "tf32"] = "float32"
    """On a CUDA card with bfloat16: how float32 products are computed, which are the values of the gradient penalty. tf32 rounds their
    operands to 10 bits; steps were 1.2 times as fast on an H200."""
    recompute_voxels: int | None = None
    """Blocks whose clips have at least so many voxels (frames x rows x columns) are computed again in the backward pass instead of kept
    in memory; None for none."""
    compile: Literal["auto", "on", "off"] = "off"
    """Make one compiled graph of each step, once for every stage (a minute or less each, kept between runs); `auto`: on a CUDA card,
    unless blocks are to be computed again (`recompute_voxels`), and the step as it is where the compiler fails."""
    cuda_graphs: bool = True
    """On a card, record the steps of small stages once and start them as a whole: the same operations, without the time that launching
    some hundreds of them takes."""
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
    report: bool = True
    """Refresh report.html at every checkpoint, in a process of its own that gives way to all others and that training does not wait for."""
    explosion_limit: float = 1e6
    """A loss beyond this, or not finite, takes the run back to its last checkpoint."""
    watchdog_seconds: float = 300.0
    """With several processes: all end, saying which one stopped where, if one has not been heard of, or none has moved, for so long."""

    def __post_init__(self) -> None:
        check_range("--training.seed", self.seed, least=0)
        check_range("--training.augment_probability", self.augment_probability, least=0, most=0.8)
        for name, most in (("ema_decay", 1.0), ("ema_halflife_clips", math.inf), ("ema_rampup", math.inf)):
            check_range(f"--training.{name}", getattr(self, name), least=0, most=most)
        if self.ema_decay is not None and self.ema_halflife_clips is not None:
            raise GrowreelError(
                f"--training.ema_halflife_clips {self.ema_halflife_clips:g}, --training.ema_decay {self.ema_decay:g}: both say how long "
                "the moving average remembers; leave one out"
            )
        check_range("--training.explosion_limit", self.explosion_limit, least=1e-30)
        check_range("--training.watchdog_seconds", self.watchdog_seconds, least=1)
        if self.compile == "on" and self.recompute_voxels is not None:
            raise GrowreelError(
                f"--compile on, --training.recompute_voxels {self.recompute_voxels}: a compiled graph computes nothing twice; leave one out"
            )
        check_range("--training.eval_clips", self.eval_clips, least=2)
        intervals = ("stats_interval", "sample_interval", "checkpoint_interval", "eval_interval")
        for name in (*intervals, "clips", "critic_steps", "keep_checkpoints", "sample_count", "recompute_voxels"):
            check_range(f"--training.{name}", getattr(self, name), least=1)

    @property
    def ema_halflife(self) -> float:
        """The half-life of the moving average in clips shown, where `ema_decay` does not set it per step."""
        return EMA_HALFLIFE_CLIPS if self.ema_halflife_clips is None else self.ema_halflife_clips


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

    def __post_init__(self) -> None:
        if self.loss.class_weight and not self.network.conditional:
            raise GrowreelError(f"--loss.class_weight {self.loss.class_weight}: is for --conditional; add that, or leave the weight out")
