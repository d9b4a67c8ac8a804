"""Settings of the adversarial losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from growreel.errors import GrowreelError
from growreel.growth import AXIS_NAMES, GrowthPlan, Size
from growreel.ranges import check_range


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
        check_range("--loss.swgan.matrices", self.matrices, least=1)
        check_range("--loss.swgan.gradient_weight", self.gradient_weight, least=0)
        check_range("--loss.swgan.feature_weight", self.feature_weight, least=0)


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
            check_range(f"--loss.wgan_gp.{name}", getattr(self, name), least=0)


@dataclass(frozen=True)
class RelativisticConfig:
    """The relativistic loss of R3GAN."""

    gradient_weight: float = 1.0
    """Weight of half the squared gradients at real and at generated clips (R1 and R2)."""

    def __post_init__(self) -> None:
        check_range("--loss.relativistic.gradient_weight", self.gradient_weight, least=0)


@dataclass(frozen=True)
class SANConfig:
    """The hinge loss with SAN's normalised last layer."""

    gradient_weight: float = 1.0
    """Weight of half the squared gradient at real clips (R1)."""

    def __post_init__(self) -> None:
        check_range("--loss.san.gradient_weight", self.gradient_weight, least=0)


@dataclass(frozen=True)
class LossConfig:
    """Which adversarial loss, and its settings."""

    name: Literal["swgan", "wgan-gp", "relativistic", "san"] = "swgan"
    """The loss; the settings of the others are ignored."""
    swgan: SlicedConfig = field(default_factory=SlicedConfig)
    """Settings of `swgan`."""
    wgan_gp: WassersteinGPConfig = field(default_factory=WassersteinGPConfig)
    """Settings of `wgan-gp`."""
    relativistic: RelativisticConfig = field(default_factory=RelativisticConfig)
    """Settings of `relativistic`."""
    san: SANConfig = field(default_factory=SANConfig)
    """Settings of `san`."""
    class_weight: float = 0.0
    """Of a conditional model: the discriminator also learns to name the classes of real clips, the generator to make clips that it names
    rightly, each with this weight (AC-GAN). For classes that differ little. 0 for none."""
    penalty_interval: int = 1
    """Take the gradient penalty in every k-th step of the discriminator only, with k times its weight. 1 is the paper's."""
    penalty_reference: str = "last"
    """Size of clips, TxHxW, for which the weight of the gradient penalty is meant. Smaller stages are penalised as if their clips were
    repeated up to it: their squared gradients are divided by the ratio of voxels. `last` is the last stage of the plan, as in the released
    code, which keeps all clips at full size; a larger size trains the beginning of a longer plan; `stage` is each stage's own size."""

    def __post_init__(self) -> None:
        check_range("--loss.penalty_interval", self.penalty_interval, least=1)
        check_range("--loss.class_weight", self.class_weight, least=0)
        if self.penalty_reference not in ("last", "stage"):
            Size.parse(self.penalty_reference, "--loss.penalty_reference")

    def penalty_ratio(self, plan: GrowthPlan, stage: int) -> float:
        """Voxels of the size that the gradient penalty is meant for, divided by those of a stage.

        Raises GrowreelError for a reference that is no whole multiple of the plan's last stage on every axis.
        """
        if self.penalty_reference == "stage":
            return 1.0
        last = plan.sizes[-1]
        reference = last if self.penalty_reference == "last" else Size.parse(self.penalty_reference, "--loss.penalty_reference")
        for axis, wide, extent in zip(AXIS_NAMES, reference, last, strict=True):
            if wide % extent:
                raise GrowreelError(
                    f"--loss.penalty_reference {reference}: its {axis} of {wide} is no whole multiple of the plan's last stage, {last}; "
                    f"give a size that {last} can be repeated to, or last, or stage"
                )
        return reference.voxels / plan.sizes[stage].voxels
