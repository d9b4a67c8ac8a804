"""The metrics by name: what each extracts from clips, and how it compares the rows of real and fake ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.evaluation.bootstrap import Comparison
from growreel.evaluation.collect import Extractor
from growreel.evaluation.extractors import weights
from growreel.evaluation.extractors.motion import MotionStatistics
from growreel.evaluation.extractors.networks import C3DProbabilities, I3DLogits, InceptionFeatures
from growreel.evaluation.extractors.patches import PyramidPatches
from growreel.evaluation.extractors.pixels import PixelFeatures
from growreel.evaluation.metrics.frechet import FrechetDistance
from growreel.evaluation.metrics.inception_score import InceptionScore
from growreel.evaluation.metrics.kernel import KernelDistance
from growreel.evaluation.metrics.manifold import Manifold
from growreel.evaluation.metrics.motion import Motion
from growreel.evaluation.metrics.sliced import SlicedWasserstein
from growreel.evaluation.protocols import Protocol
from growreel.growth import Size
from growreel.runtime.precision import Arithmetic

PATCHES = 2**15
"""Patches per pyramid level and set that the sliced Wasserstein distance aims at."""
MAX_PATCHES_PER_CLIP = 128
FEATURES = ("i3d", "inception-2048", "inception-768", "pixels")
"""Feature spaces of kid, prdc and memory, the best one first; `pixels` needs no weights."""

Rows = NDArray[Any]


class LeftOut(GrowreelError):
    """A metric cannot be measured here; the message says why and what to do."""


@dataclass(frozen=True)
class Setting:
    """What the metrics of one evaluation have in common.

    Attributes:
        size, channels: of the clips.
        fewest: clips in the smaller set.
        protocol: frames, resize and clip counts of the field's published protocols.
        features: feature space of kid, prdc and memory; None takes the best one whose weights are here.
        torchscript: an I3D in TorchScript, to be used in place of the weights folder's.
        device: where networks run.
        seed: of patch positions, directions and chosen samples.
        arithmetic: of the networks.
        built: feature extractors by name, so that metrics which share a network load it once.
    """

    size: Size
    channels: int
    fewest: int
    protocol: Protocol
    features: str | None = None
    torchscript: str | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seed: int = 0
    arithmetic: Arithmetic = "float32"
    built: dict[str, Extractor] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """An extractor and a comparison of its rows, ready for clips of one setting.

    Attributes:
        name, about: for the card.
        better: which way is better.
        extractor: makes the rows.
        compare: takes rows of real and of fake clips; gives the comparison.
        parameters: for the card.
        published_clips: fewer fake or real clips than this and the number is not comparable with published ones.
        samples_per_clip, dimensions: where too few samples make a covariance rank-deficient; 0 where that is no matter.
    """

    name: str
    about: str
    better: Literal["lower", "higher", "as real"]
    extractor: Extractor
    compare: Callable[[Rows, Rows], Comparison]
    parameters: dict[str, Any] = field(default_factory=dict)
    published_clips: int = 0
    samples_per_clip: int = 1
    dimensions: int = 0


def build_metric(name: str, setting: Setting) -> Metric:
    """A metric of `METRICS` for a setting. Raises LeftOut, with the reason, or GrowreelError for a name that is none."""
    if name not in METRICS:
        raise GrowreelError(f"--metrics {name}: there is no such metric; choose from {', '.join(METRICS)}")
    return METRICS[name](setting)


def extractors_of(metrics: Sequence[Metric]) -> list[Extractor]:
    """Return the extractors that the metrics need, each once."""
    return list({metric.extractor.name: metric.extractor for metric in metrics}.values())


def feature_extractor(setting: Setting, name: str | None = None) -> Extractor:
    """Features in the space `name` (default: the setting's). Raises LeftOut if its weights are not here."""
    name = name or setting.features
    if name is None:
        name = next(each for each in FEATURES if each == "pixels" or _weights_here(each, setting))
    if name not in setting.built:
        setting.built[name] = _build_extractor(name, setting)
    return setting.built[name]


def _build_extractor(name: str, setting: Setting) -> Extractor:
    match name:
        case "i3d":
            if setting.size.t < I3DLogits.LEAST_FRAMES:
                raise LeftOut(f"I3D needs clips of at least {I3DLogits.LEAST_FRAMES} frames, these have {setting.size.t}")
            file = _weights("i3d-kinetics400", setting)
            scripted = setting.torchscript is not None
            return I3DLogits(file, setting.protocol.fvd_resize, setting.device, scripted, setting.arithmetic)
        case "inception-2048" | "inception-768":
            features: Literal[768, 2048] = 2048 if name == "inception-2048" else 768
            return InceptionFeatures(_weights(name, setting), features, setting.device, setting.arithmetic)
        case "pixels":
            return PixelFeatures()
    raise GrowreelError(f"--features {name}: there is no such feature space; choose from {', '.join(FEATURES)}")


def _weights_here(name: str, setting: Setting) -> bool:
    if name == "i3d":
        has_weights = setting.torchscript is not None or weights.find("i3d-kinetics400") is not None
        return has_weights and setting.size.t >= I3DLogits.LEAST_FRAMES
    return weights.find(name) is not None


def _weights(role: str, setting: Setting) -> weights.WeightsFile:
    if role == "i3d-kinetics400" and setting.torchscript is not None:
        return weights.identify(Path(setting.torchscript))
    found = weights.find(role)
    if found is None:
        raise LeftOut(
            f"its weights are not here; `growreel weights list` says where {role} comes from, `growreel weights add FILE` adds it"
        )
    return found


def _fvd(setting: Setting) -> Metric:
    return Metric(
        "fvd",
        "Frechet video distance, I3D of Kinetics-400 (Unterthiner et al. 2018)",
        "lower",
        feature_extractor(setting, "i3d"),
        FrechetDistance,
        published_clips=2048,
        dimensions=400,
    )


def _inception_score(setting: Setting) -> Metric:
    if setting.size.t < C3DProbabilities.FRAMES:
        raise LeftOut(f"C3D needs clips of at least {C3DProbabilities.FRAMES} frames, these have {setting.size.t}")
    network, mean = _weights("c3d-ucf101", setting), _weights("c3d-ucf101-mean", setting)
    return Metric(
        "is",
        "video Inception Score, C3D of UCF-101 (Saito et al. 2017)",
        "higher",
        C3DProbabilities(network, mean, setting.protocol.is_frames, setting.device, setting.arithmetic),
        InceptionScore,
        published_clips=2048,
    )


def _fid(dimensions: Literal[768, 2048]) -> Callable[[Setting], Metric]:
    def build(setting: Setting) -> Metric:
        return Metric(
            "fid" if dimensions == 2048 else "fid768",
            f"Frechet Inception distance of single frames, {dimensions} features (Heusel et al. 2017)",
            "lower",
            feature_extractor(setting, f"inception-{dimensions}"),
            FrechetDistance,
            published_clips=2048,
            samples_per_clip=setting.size.t,
            dimensions=dimensions,
        )

    return build


def _kid(setting: Setting) -> Metric:
    extractor = feature_extractor(setting)

    def compare(real: Rows, fake: Rows) -> Comparison:
        return KernelDistance(real, fake, seed=setting.seed)

    about = "kernel Inception distance, unbiased, cubic kernel (Binkowski et al. 2018)"
    return Metric("kid", about, "lower", extractor, compare, {"features": extractor.name})


def _prdc(setting: Setting) -> Metric:
    extractor = feature_extractor(setting)
    about = "precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020)"
    return Metric("prdc", about, "higher", extractor, Manifold, {"features": extractor.name, "nearest": 5})


def _sliced(space_time: bool) -> Callable[[Setting], Metric]:
    def build(setting: Setting) -> Metric:
        patches = max(1, min(MAX_PATCHES_PER_CLIP, PATCHES // setting.fewest))
        extractor = PyramidPatches(setting.size, setting.channels, patches, space_time, setting.seed)

        def compare(real: Rows, fake: Rows) -> Comparison:
            return SlicedWasserstein(real, fake, extractor.levels, setting.seed)

        kind = "over time and space" if space_time else "of single frames"
        about = f"sliced Wasserstein distance of Laplacian pyramid patches {kind} (Karras et al. 2017), x 1000"
        return Metric("swd3d" if space_time else "swd", about, "lower", extractor, compare)

    return build


def _motion(setting: Setting) -> Metric:
    if setting.size.t < 2:
        raise LeftOut("motion needs clips of at least 2 frames")
    about = "frame differences, static clips, loops, temporal spectrum: what per-frame metrics do not see"
    return Metric("motion", about, "as real", MotionStatistics(), Motion)


METRICS: dict[str, Callable[[Setting], Metric]] = {
    "fvd": _fvd,
    "is": _inception_score,
    "fid": _fid(2048),
    "fid768": _fid(768),
    "kid": _kid,
    "prdc": _prdc,
    "swd": _sliced(False),
    "swd3d": _sliced(True),
    "motion": _motion,
}
"""Every metric that compares fake with real clips; `memory` looks at training clips as well and is `metrics.nearest`."""
