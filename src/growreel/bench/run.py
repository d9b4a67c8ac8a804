"""`growreel bench`: every stage of a plan on this machine, in rounds that take turns."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from growreel.bench.machine import Yardsticks, describe_machine, synchronize
from growreel.bench.process import Remote
from growreel.bench.report import BenchReport, StageFigures
from growreel.bench.workload import StageWorkload
from growreel.config import Config, to_dict
from growreel.data.batches import ClipBatches
from growreel.data.store import ClipStore
from growreel.data.writer import write_store
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Size, Stage
from growreel.ranges import check_range
from growreel.reading.folders import command_without_folders
from growreel.runtime import distributed
from growreel.runtime.devices import check_trainable
from growreel.runtime.precision import dtype_of
from growreel.runtime.precision_choice import resolve_training
from growreel.training.compatibility import of_store

LOG = logging.getLogger(__name__)
LEAST_SECONDS = 0.5
CLIPS_IN_STORE = 16


def bench(config: Config, *, sizes: Sequence[Size] | None = None, repeats: int = 5, store: Path | None = None) -> BenchReport:
    """Measure training, sampling and loading at the stages of a plan.

    Args:
        config: what `train` would be given.
        sizes: stages to measure; None is all.
        repeats: rounds; each measures everything once.
        store: clips for the loader; None makes a few of noise at the plan's last size. They are read from the page cache.

    Raises:
        GrowreelError: a size is no stage, the store does not fit, or memory ran out.
    """
    check_range("--repeats", repeats, least=1)
    device = distributed.pick_device(config.training.device, "--training.device")
    check_trainable(device, "--training.device")
    plan = config.growth.plan()
    for size in sizes or ():
        if size not in plan.sizes:
            raise GrowreelError(f"--sizes {size}: is no stage of the plan; there are {', '.join(map(str, plan.sizes))}")
    with (
        tempfile.TemporaryDirectory(prefix="growreel-bench-") as folder,
        ClipStore.open(store or _noise_store(Path(folder), plan, config)) as opened,
    ):
        network = dataclasses.replace(config.network, image_channels=opened.channels) if store is None else of_store(config.network, opened)
        config = dataclasses.replace(config, network=network, training=resolve_training(config.training, device))
        date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
        settings = {"date": date, "repeats": repeats, "command": command_without_folders(sys.argv[1:]), "config": to_dict(config)}
        report = BenchReport(describe_machine(device), settings, config.training.precision, list(map(str, plan.sizes)))
        stages = _Stages(config, opened, device, repeats, report)
        for number, stage in enumerate(plan.stages):
            if sizes is None or stage.size in sizes:
                report.stages.append(stages.measure(number, stage))
                LOG.info("%s measured", stage.size)
    return report


class _Stages:
    """Measures stage after stage, with the yardsticks and settings that all stages share."""

    def __init__(self, config: Config, store: ClipStore, device: torch.device, repeats: int, report: BenchReport) -> None:
        self.config, self.store, self.device, self.repeats, self.report = config, store, device, repeats, report
        self.yardsticks = Yardsticks(device, dtype_of(config.training.precision))

    def measure(self, number: int, stage: Stage) -> StageFigures:
        """Measure all rounds at one stage, with a process of its own for the networks, so that its peak of memory is its own."""
        figures = StageFigures(str(stage.size), stage.minibatch, stage.fade_clips, stage.stable_clips)
        batches = ClipBatches(
            self.store, seed=0, mirror=self.config.training.mirror, device=self.device, time_reduction=self.config.growth.time_reduction
        )
        try:
            with Remote(StageWorkload, to_dict(self.config), number, str(self.device)) as worker:
                self._measure(figures, worker, batches, stage, fades=number > 0)
        finally:
            batches.close()
        return figures

    def _measure(self, figures: StageFigures, worker: Remote, batches: ClipBatches, stage: Stage, fades: bool) -> None:
        clips = stage.minibatch * self.config.training.critic_steps
        steps = _times(worker, "train", False)
        memory = worker.call("memory")  # now, while it is that of training alone
        figures.peak, figures.at_start = memory["peak"], memory["at_start"]
        fade_steps = _times(worker, "train", True) if fades else 0
        made, calls = worker.call("batch"), _times(worker, "sample")
        for what, each in worker.call("counted").items():
            figures.operations[what] = {name: total / (clips if what == "train" else made) for name, total in each.items()}
        for _ in range(self.repeats):
            self.report.matrix_rates.append(self.yardsticks.matrix_rate())
            self.report.copy_rates.append(self.yardsticks.copy_rate())
            figures.train.append(clips / worker.call("train", False, steps))
            if fades:
                figures.fade.append(clips / worker.call("train", True, fade_steps))
            figures.sample.append(made / worker.call("sample", calls))
            figures.load.append(_load_rate(batches, stage, self.device))


def _times(worker: Remote, method: str, *arguments: Any) -> int:
    """Return how many calls of the worker's method last for at least `LEAST_SECONDS`; asking warms it up."""
    worker.call(method, *arguments, 2)
    seconds: float = worker.call(method, *arguments, 1)
    return max(1, math.ceil(LEAST_SECONDS / seconds))


def _load_rate(batches: ClipBatches, stage: Stage, device: torch.device) -> float:
    """Return the clips a second that the loader brings to the device while nothing else runs."""
    batches.at(0, stage.size, stage.minibatch)
    shown, started = stage.minibatch, time.perf_counter()
    while time.perf_counter() - started < LEAST_SECONDS:
        batches.at(shown, stage.size, stage.minibatch)
        synchronize(device)
        shown += stage.minibatch
    return (shown - stage.minibatch) / (time.perf_counter() - started)


def _noise_store(folder: Path, plan: GrowthPlan, config: Config) -> Path:
    size, channels = plan.sizes[-1], config.network.image_channels or 3
    rng = np.random.default_rng(0)
    clips = (rng.integers(0, 256, (*size, channels), np.uint8) for _ in range(CLIPS_IN_STORE))
    write_store(folder / "clips", clips, fps=25.0)
    return folder / "clips"
