"""Metrics while training: the code of `growreel evaluate`, at the size of the stage, the work shared by all processes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from growreel.config import Config
from growreel.data.classes import class_numbers, in_proportion
from growreel.data.split import clips_of
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.evaluation.clips import StoreClips, choose_real
from growreel.evaluation.collect import collect
from growreel.evaluation.protocols import PROTOCOLS
from growreel.evaluation.suite import LeftOut, Metric, Rows, Setting, build_metric, extractors_of
from growreel.growth import Position, Size
from growreel.models.generator import Generator
from growreel.sampling import GeneratedClips


class StageEvaluation:
    """Measures a generator against the store's clips at any stage. Every process calls it, takes its share, and gets all numbers."""

    def __init__(self, store: ClipStore, config: Config, device: torch.device) -> None:
        """Raises GrowreelError at once for a metric that could not be measured at the last stage, for want of weights, say."""
        self.store, self.training, self.device = store, config.training, device
        self.time_reduction = config.growth.time_reduction
        self.interval, self.channels = config.training.eval_interval or 0, store.channels
        self.real_count = min(self.training.eval_clips, len(store))
        self._classes = self._classes_to_make(config.network.classes) if config.network.classes else None
        self._size: Size | None = None
        self._metrics: list[Metric] = []
        self._left_out: dict[str, str] = {}
        self._real: dict[str, Rows] = {}
        try:
            for name in self.training.eval_metrics:
                build_metric(name, self._setting(config.growth.plan().sizes[-1]))
        except LeftOut as reason:
            raise GrowreelError(f"--training.eval_metrics {name}: {reason}") from reason

    def __call__(self, generator: Generator, position: Position) -> dict[str, Any]:
        """The line for stats.jsonl: `metrics` by name, `left_out` with reasons (a stage may have too few frames), `seconds`."""
        started = time.perf_counter()
        clips = GeneratedClips(generator, position, self.channels, self.training.eval_clips, classes=self._classes)
        with tempfile.TemporaryDirectory() as folder:
            if clips.size != self._size:
                self._enter(clips.size, Path(folder))
            fake = collect(clips, range(len(clips)), extractors_of(self._metrics), Path(folder), what="generated clips")
            values = {}
            for metric in self._metrics:
                name = metric.extractor.name
                for figure, value in metric.compare(self._real[name], fake[name])(None, None).items():
                    values[metric.name if figure == "value" else f"{metric.name} {figure}"] = value
        line: dict[str, Any] = {"metrics": values, "seconds": time.perf_counter() - started}
        return {**line, "left_out": self._left_out} if self._left_out else line

    def _enter(self, size: Size, folder: Path) -> None:
        """Build the metrics for a size and take the rows of the real clips, once for a stage."""
        self._size, self._metrics, self._left_out = size, [], {}
        for name in self.training.eval_metrics:
            try:
                self._metrics.append(build_metric(name, self._setting(size)))
            except LeftOut as reason:
                self._left_out[name] = str(reason)
        clips = StoreClips(self.store, size, self.time_reduction)
        chosen = choose_real(clips, self.real_count, self.training.seed)
        rows = collect(clips, chosen, extractors_of(self._metrics), folder, what="real clips")
        self._real = {name: array.copy() for name, array in rows.items()}  # out of the file, which goes

    def _classes_to_make(self, names: Sequence[str]) -> list[int]:
        """In the proportions of the real clips that are looked at."""
        numbers = class_numbers(self.store, names)[clips_of(self.store, "training")]
        return in_proportion(numbers[choose_real(numbers, self.real_count, self.training.seed)], self.training.eval_clips)

    def _setting(self, size: Size) -> Setting:
        return Setting(size, self.channels, self.real_count, PROTOCOLS["growreel"], device=self.device, seed=self.training.seed)
