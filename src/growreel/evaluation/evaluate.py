"""`growreel evaluate`: generated clips against real ones, every number with its floor, its interval and its warnings."""

from __future__ import annotations

import datetime
import platform
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.evaluation import copies
from growreel.evaluation.bootstrap import bootstrap_deviations
from growreel.evaluation.card import Figure, MetricCard, MetricResult
from growreel.evaluation.clips import FirstFrames
from growreel.evaluation.collect import Extractor, Mirrored, collect
from growreel.evaluation.measure import measure, source_halves
from growreel.evaluation.metrics.nearest import Memory, nearest_training_clips, unseen_neighbours
from growreel.evaluation.options import MEMORY, EvaluationOptions
from growreel.evaluation.pairs import check_picture, draw_pairs
from growreel.evaluation.sets import Sets, open_sets
from growreel.evaluation.suite import METRICS, LeftOut, Metric, Rows, Setting, build_metric, extractors_of, feature_extractor
from growreel.runtime import distributed
from growreel.runtime.precision import named_arithmetic
from growreel.runtime.version import installed_version

HASHES = copies.ClipHashes()


def evaluate(
    fake: str | Path | NDArray[np.uint8],
    real: str | Path,
    options: EvaluationOptions | None = None,
    *,
    training: str | Path | None = None,
    reference: str | Path | None = None,
    pairs: str | Path | None = None,
    progress: bool = False,
) -> MetricCard:
    """Measure generated clips against the clips of a store.

    Args:
        fake: a model file or run folder, a clip store, a folder of videos, or uint8 clips [n, t, h, w, c], as `growreel.generate` gives
            them or in a `.npy` file.
        real: a clip store; read at the size of the fakes (box averages).
        training: store of the clips that were learnt, if `real` holds others; then `memory` takes the real clips as unseen ones.
        reference: folder in which features of real clips are kept, by the content of store and weights, and found again.
        pairs: a .png to draw generated clips into, each with its nearest training clip; needs the metric `memory`.
        progress: show progress bars.

    Returns:
        The card. A metric that cannot be measured here is on it as left out, with the reason.

    Raises:
        GrowreelError: fake and real clips cannot be compared, there are fewer than 2, or an option is out of range.
    """
    for name, value in (("real", real), ("training", training)):
        if isinstance(value, np.ndarray):
            raise GrowreelError(
                f"{name}: is an array; it must be the path of a clip store: growreel.prepare makes one of the file that numpy.save wrote"
            )
    options = options or EvaluationOptions()
    names = tuple(options.metrics or options.published().metrics or (*METRICS, MEMORY))
    if pairs is not None and MEMORY not in names:
        raise GrowreelError(f"--pairs {pairs}: is drawn by the metric {MEMORY}, which was not asked for; add it to --metrics")
    if pairs is not None:
        check_picture(Path(pairs))
    device = distributed.pick_device(options.device, "--device")
    named_arithmetic(options.precision, "--precision", device)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="growreel-")))
        fake = fake if isinstance(fake, np.ndarray) else Path(fake)
        sets = open_sets(fake, Path(real), Path(training) if training else None, options, device, stack)
        run = _Evaluation(sets, options, device, folder, Path(reference) if reference else None, progress)
        run.prepare(names)
        run.compare()
        if run.spaces:
            run.remember(Path(pairs) if pairs else None)
        run.warn()
        return run.card


class _Evaluation:
    """One call of `evaluate`, and the card that it fills."""

    def __init__(
        self, sets: Sets, options: EvaluationOptions, device: torch.device, folder: Path, reference: Path | None, progress: bool
    ) -> None:
        self.sets, self.options, self.folder, self.reference, self.progress = sets, options, folder, reference, progress
        fewest = min(len(sets.real_numbers), len(sets.fake_numbers[0]))
        self.setting = Setting(
            sets.fake.size,
            sets.fake.channels,
            fewest,
            options.published(),
            options.features,
            options.torchscript,
            device,
            options.seed,
            "tf32" if options.precision == "tf32" else "float32",
        )
        self.metrics: list[Metric] = []
        self.spaces: dict[str, Extractor] = {}  # feature spaces of the metric memory
        self.real: dict[str, Rows] = {}
        self.fakes: list[dict[str, Rows]] = []
        self.card = MetricCard(
            fake={**sets.fake.describe(), "compared": len(sets.fake_numbers[0])},
            real={**sets.real.describe(), "compared": len(sets.real_numbers)},
            training=sets.training.describe() if sets.training is not None else None,
            settings=_settings(sets, options, device),
            warnings=[*sets.fake.warnings],
        )

    def prepare(self, names: Sequence[str]) -> None:
        """Build the metrics, and take from each set in one pass what all of them need."""
        for name in names:
            try:
                if name == MEMORY:
                    spaces = (feature_extractor(self.setting, "pixels"), feature_extractor(self.setting))
                    self.spaces = {each.name: each for each in spaces}
                else:
                    self.metrics.append(build_metric(name, self.setting))
            except LeftOut as reason:
                self.card.left_out[name] = str(reason)
        needed = {each.name: each for each in (HASHES, *extractors_of(self.metrics), *self.spaces.values())}
        extractors = list(needed.values())
        keep = self.reference is not None
        self.real = collect(self.sets.real, self.sets.real_numbers, extractors, self._place(), reuse=keep, **self._shown("real"))
        for numbers in self.sets.fake_numbers:
            self.fakes.append(collect(self.sets.fake, numbers, extractors, self.folder / str(len(self.fakes)), **self._shown("generated")))
        self.groups = copies.source_groups(self._sources(), self.real[HASHES.name])

    def compare(self) -> None:
        """Compute every metric of fake against real clips."""
        halves = source_halves(self.groups, self.options.seed)
        for metric in self.metrics:
            name = metric.extractor.name
            fakes = [rows[name] for rows in self.fakes]
            try:
                result = measure(metric, self.real[name], fakes, self.groups, halves, self.options.resamples, self.options.seed)
            except GrowreelError as reason:  # not finite, or too few: this metric only
                self.card.left_out[metric.name] = str(reason)
            else:
                self.card.results.append(result)
                if all(figure.real is None for figure in result.figures.values()):
                    self.card.warnings.append(f"{metric.name}: too few real clips to compare one half with the other")

    def remember(self, picture: Path | None) -> None:
        """The metric `memory`, in pixels and in the feature space of the setting; all training clips are looked at."""
        training = self.sets.real if self.sets.training is None else self.sets.training
        numbers = list(range(len(training)))
        extractors = [HASHES, *(each for space in self.spaces.values() for each in (space, Mirrored(space)))]
        learnt = collect(training, numbers, extractors, self._place(), reuse=self.reference is not None, **self._shown("training"))
        groups = copies.source_groups(training.sources, learnt[HASHES.name])
        unseen = None if self.sets.training is None else self.real
        unseen_groups = groups if unseen is None else self.groups
        fake = self.fakes[0]
        for name, space in self.spaces.items():
            started = time.perf_counter()
            rows, mirrored = learnt[name], learnt[Mirrored(space).name]
            try:
                near = nearest_training_clips(fake[name], rows, mirrored)
                memory = Memory(near, unseen_neighbours(rows, mirrored, groups, None if unseen is None else unseen[name]))
            except GrowreelError as reason:
                self.card.left_out[f"{MEMORY} ({name})"] = str(reason)
                continue
            deviations = bootstrap_deviations(memory, unseen_groups, len(fake[name]), self.options.resamples, self.options.seed)
            figures = {key: Figure.of([value], deviations.get(key)) for key, value in memory(None, None).items()}
            how = "real clips, which were not learnt" if unseen is not None else "training clips, the other videos being the training set"
            protocol = {**space.describe(), "unseen": how, "training clips": len(rows), "with mirror images": True}
            about = f"nearest training clip, in {name} (Meehan et al. 2020)"
            clips = {"real": len(rows), "fake": len(fake[name]), "half": 0}
            seconds = time.perf_counter() - started
            self.card.results.append(MetricResult(f"{MEMORY} ({name})", about, "as real", figures, protocol, clips, seconds))
            if picture is not None and name == "pixels":
                draw_pairs(picture, self.sets.fake, training, near, self.sets.fake_numbers[0])
        if self.sets.training is not None:
            overlap = copies.shared(self.real[HASHES.name], learnt[HASHES.name])
            if overlap:
                self.card.warnings.append(
                    f"{overlap} of {len(self.sets.real_numbers)} real clips are training clips or mirror images of them"
                )

    def warn(self) -> None:
        """What a reader must know before comparing these numbers with others."""
        card, fake, real = self.card, self.fakes[0][HASHES.name], self.real[HASHES.name]
        if changes := self.options.deviations():
            card.warnings.append(f"not the protocol {self.options.protocol}: {', '.join(changes)}")
        if self.options.precision != "float32":
            card.warnings.append(f"computed in {self.options.precision}: compare with numbers of the same precision")
        for result, metric in ((result, metric) for result in card.results for metric in self.metrics if metric.name == result.name):
            least = min(result.clips["real"], result.clips["fake"])
            if least < metric.published_clips:
                card.warnings.append(f"{metric.name}: {least} clips; published numbers use {metric.published_clips}, and it matters")
            if least * metric.samples_per_clip <= metric.dimensions:
                card.warnings.append(
                    f"{metric.name}: {least * metric.samples_per_clip} samples of {metric.dimensions} dimensions: the covariance has not "
                    "full rank; compare only with equal numbers of clips"
                )
        for what, count, total in (
            ("generated clips are exact copies of other generated ones", copies.repeated(fake), len(fake)),
            ("real clips are exact copies of other real ones", copies.repeated(real), len(real)),
            ("generated clips are exact copies of real ones, or mirror images", copies.shared(fake, real), len(fake)),
        ):
            if count:
                card.warnings.append(f"{count} of {total} {what}")
        videos, independent = len(set(self._sources() or ())), len(np.unique(self.groups))
        if videos == 1:
            card.warnings.append("all real clips come from one source: real / real figures and memory take them as independent")
        elif videos > independent:
            card.warnings.append(f"{videos} real videos are {independent} independent ones: the others share clips or mirror images")

    def _place(self) -> Path:
        return self.reference or self.folder / "real"

    def _sources(self) -> list[str] | None:
        """Of the real clips that are compared."""
        sources = self.sets.real.sources
        return None if sources is None else [sources[number] for number in self.sets.real_numbers]

    def _shown(self, what: str) -> dict[str, Any]:
        return {"what": f"{what} clips", "progress": self.progress}


def _settings(sets: Sets, options: EvaluationOptions, device: torch.device) -> dict[str, Any]:
    real = sets.real.clips if isinstance(sets.real, FirstFrames) else sets.real
    return {
        "protocol": f"{options.protocol} ({options.published().source})",
        "frames": sets.fake.size.t,
        "frame stride": real.describe()["prepared_with"].get("frame_stride"),
        "repeats": len(sets.fake_numbers),
        "resamples": options.resamples,
        "seed": options.seed,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "growreel": installed_version("growreel"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "precision": options.precision,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU",
    }
