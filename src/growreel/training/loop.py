"""The training loop: bookkeeping around the step. Progress, and every interval, is counted in real clips shown."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from tqdm import tqdm

from growreel.config import Config
from growreel.data.batches import ClipBatches
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Position
from growreel.models.files import save_model
from growreel.recipe import recipe_in_training
from growreel.runtime import distributed
from growreel.runtime.memory import keep_freed_memory, peak_memory
from growreel.sampling import clips_of_seeds, write_samples
from growreel.training.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from growreel.training.evaluation import StageEvaluation
from growreel.training.forecast import Forecast
from growreel.training.health import Diverged, RollbackBudget, check_state, check_step
from growreel.training.refresh import refresh_report
from growreel.training.run_folder import RunFolder, resolve_config
from growreel.training.state import TrainingState
from growreel.training.stats import RunningMeans, append_line, mean_over_processes, read_lines
from growreel.training.step import discriminator_step, fade_real, generator_step


@dataclass(frozen=True)
class TrainResult:
    """How a call of `train` ended.

    Attributes:
        clips_shown: real clips shown so far, over all calls.
        signal: what stopped it, if it did not reach its end.
        is_first_process: whether this process is the one that speaks for all.
        peak_memory: most bytes that this process held in this call; on a card, that tensors held.
    """

    clips_shown: int
    signal: signal.Signals | None
    is_first_process: bool
    peak_memory: int


def train(
    store_path: str | Path, run_path: str | Path, config: Config, *, allow_config_change: bool = False, progress: bool = True
) -> TrainResult:
    """Train on a clip store, in a run folder; the same call again resumes from the newest checkpoint.

    Args:
        store_path: what `prepare` wrote.
        run_path: folder for config.yaml, stats.jsonl, checkpoints, models and samples.
        config: `network.image_channels` may be None and `training.precision` auto.
        allow_config_change: resume even though the configuration differs from the run's.
        progress: show a progress bar.

    Raises:
        GrowreelError: store and plan do not fit, the run folder belongs to another configuration, the disk is full, or training
            diverged more often than the health check forgives.
    """
    store_path, run_path = Path(store_path), Path(run_path)
    device = distributed.pick_device(config.training.device, "--training.device")
    distributed.setup(device)
    if device.type == "cpu":
        keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = False  # PyTorch's default would make "float32" convolutions on CUDA something less
    with ClipStore.open(store_path) as store:
        run = RunFolder(run_path)
        config = resolve_config(config, store.channels, store_path, device, run)
        plan = config.growth.plan()
        _check_fit(plan, store)
        state = TrainingState(config, device)
        if distributed.rank() == 0:
            run.open(config, allow_config_change, store)
        distributed.barrier()
        batches = ClipBatches(
            store,
            seed=config.training.seed,
            mirror=config.training.mirror,
            device=device,
            time_reduction=plan.time_reduction,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
        )
        try:
            return _Loop(run, config, state, batches, store, progress).run_to_end()
        finally:
            batches.close()
            distributed.shutdown()


def _check_fit(plan: GrowthPlan, store: ClipStore) -> None:
    """Find out before the first step what would stop a later one."""
    for stage in plan.stages:
        store.level_for(stage.size)
        if stage.minibatch % distributed.world_size():
            raise GrowreelError(
                f"stage {stage.size}: minibatch {stage.minibatch} does not divide over {distributed.world_size()} processes; "
                "set --growth.minibatch to a multiple"
            )
        share = stage.minibatch // distributed.world_size()
        if stage.microbatch is not None and stage.microbatch < share and share % stage.microbatch:
            raise GrowreelError(f"stage {stage.size}: microbatch {stage.microbatch} does not divide the {share} clips of each process")


class _Loop:
    """One call of `train`: what happens before, between and after steps, top to bottom in `run_to_end`."""

    def __init__(
        self, run: RunFolder, config: Config, state: TrainingState, batches: ClipBatches, store: ClipStore, progress: bool
    ) -> None:
        self.run, self.config, self.state, self.batches, self.store = run, config, state, batches, store
        self.training = config.training
        self.means = RunningMeans()
        self.budget = RollbackBudget()
        self.is_first = distributed.rank() == 0
        self.total = state.plan.total_clips if self.training.clips is None else self.training.clips
        self.forecast = Forecast(state.generator, state.discriminator)
        self.bar = tqdm(
            total=self.total,
            unit=" clips",
            disable=not (progress and self.is_first),
            dynamic_ncols=True,
            smoothing=0.05,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]",
        )
        self.since = (time.perf_counter(), 0)
        self.saved_at: int | None = None
        self.evaluation = None if self.training.eval_interval is None else StageEvaluation(store, config, state.device)

    def run_to_end(self) -> TrainResult:
        with self.bar, _catch_signals() as caught:
            if self._load():
                self._say(f"resuming {self.run.path} at {self.state.clips_shown} clips")
            else:
                self._save_checkpoint()  # so that a rollback always finds one
            self._restart_clock()
            while self.state.clips_shown < self.total:
                before = self.state.clips_shown
                try:
                    self._step()
                    self._maintain(before)
                    if distributed.any_true(bool(caught), self.state.device):
                        self._save_checkpoint()
                        break
                except Diverged as reason:
                    self._roll_back(reason)
        stopped_by = caught[0] if caught and self.state.clips_shown < self.total else None
        return TrainResult(self.state.clips_shown, stopped_by, self.is_first, peak_memory(self.state.device))

    def _step(self) -> None:
        """`critic_steps` of the discriminator on new real clips, one of the generator."""
        state, position = self.state, self.state.position
        stage, started = state.plan.stages[position.stage], time.perf_counter()
        if state.prepare_optimizers(position):
            self.forecast.entered()
        for _ in range(self.training.critic_steps):
            real = fade_real(self.batches.at(state.clips_shown, stage.size, stage.minibatch), state, position)
            scalars = discriminator_step(state, real, position, stage.minibatch, self.config)
            state.clips_shown += stage.minibatch
        scalars |= generator_step(state, real, position, stage.minibatch, self.config)
        values = mean_over_processes(scalars)
        check_step(values, self.training.explosion_limit)
        self.means.add(values)
        clips = stage.minibatch * self.training.critic_steps
        self.forecast.measured(position.stage, clips, time.perf_counter() - started)
        left = self.forecast.seconds_left(state.clips_shown, self.total) or 0.0
        self.bar.set_description_str(f"{stage.size} {position.phase} alpha {position.alpha:.2f}", refresh=False)
        self.bar.set_postfix_str(f"{tqdm.format_interval(left)} left", refresh=False)
        self.bar.update(clips)

    def _maintain(self, before: int) -> None:
        """Write what is due because an interval ended between `before` and now, or because this is the last step."""

        def due(interval: int) -> bool:
            return self.state.clips_shown // interval > before // interval

        ended = self.state.clips_shown >= self.total
        if due(self.training.stats_interval):  # not at the end: a run that goes on later must have the same lines
            self._write_stats(self.state.plan.position(before))
        if self.evaluation is not None and due(self.evaluation.interval):
            self._evaluate(self.evaluation)
        if ended or due(self.training.sample_interval):
            self._write_samples()
        if ended or due(self.training.checkpoint_interval):
            self._save_checkpoint()

    def _write_stats(self, position: Position) -> None:
        averages = self.means.take()
        now, clips = time.perf_counter(), self.state.clips_shown
        rate = (clips - self.since[1]) / (now - self.since[0])
        self.since = (now, clips)
        line = {
            "clips": clips,
            "stage": str(self.state.plan.sizes[position.stage]),
            "phase": position.phase,
            "alpha": position.alpha,
            **averages,
            "clips_per_second": rate,
            "peak_memory_bytes": peak_memory(self.state.device),
            "time": time.time(),
        }
        if self.is_first:
            append_line(self.run.stats, line)

    def _evaluate(self, evaluation: StageEvaluation) -> None:
        """All processes take part, so none waits for another; the time it takes does not count as training."""
        measured = evaluation(self.state.ema, self.state.position)
        self.since = (self.since[0] + measured["seconds"], self.since[1])
        if self.is_first:
            stage = self.state.plan.sizes[self.state.position.stage]
            append_line(self.run.stats, {"clips": self.state.clips_shown, "stage": str(stage), **measured, "time": time.time()})

    def _write_samples(self) -> None:
        if not self.is_first:
            return
        seeds, shown = range(self.training.sample_count), self.state.clips_shown
        clips = clips_of_seeds(self.state.ema, self.state.position, seeds)
        recipe = recipe_in_training(self.state.plan, shown, seeds, self._fps())
        write_samples(self.run.samples / f"{shown:09d}.webp", clips, seeds, fps=self._fps(), recipe=recipe)

    def _save_checkpoint(self) -> None:
        """Write checkpoint and model file, once for a number of clips. Raises Diverged rather than save weights that are not finite."""
        clips = self.state.clips_shown
        if clips == self.saved_at:
            return
        check_state(self.state)
        if self.is_first:
            state = {**self.state.state_dict(), "means": self.means.state_dict()}
            save_checkpoint(self.run.path, clips, state, self.training.keep_checkpoints)
            save_model(self.run.models / f"{clips:09d}.safetensors", self.state.ema, self.config, clips, self._fps())
            refresh_report(self.run.path, self.training.report and clips > 0)
        self.saved_at = clips
        self.budget.passed(clips)
        distributed.barrier()

    def _load(self) -> bool:
        """Bring back the newest checkpoint and drop what was written after it; False if there is none."""
        found = newest_checkpoint(self.run.path, self._say) if self.is_first else None
        path = distributed.from_first(found[0] if found else None)
        lines = read_lines(self.run.stats)
        if path is None:
            if lines:
                raise GrowreelError(f"--out {self.run.path}: has statistics but no checkpoint to go on from; give another folder")
            return False
        saved = found[1] if found else load_checkpoint(path)
        self.means.load_state_dict(saved.pop("means"))
        self.state.load_state_dict(saved)
        self.state.rollbacks = max(self.state.rollbacks, sum("event" in line for line in lines))
        self.saved_at = self.state.clips_shown
        self.bar.reset(total=self.total)
        self.bar.update(self.state.clips_shown)
        distributed.barrier()
        if self.is_first:
            self.run.drop_after(self.state.clips_shown)
        return True

    def _roll_back(self, reason: Diverged) -> None:
        """Go back to the newest checkpoint; the noise after it is new, the clips are the same."""
        at = self.state.clips_shown
        if self.is_first:
            event = {"clips": at, "event": "diverged", "reason": str(reason), "time": time.time()}
            append_line(self.run.stats, event)
        distributed.barrier()
        self.budget.spend(reason, at)
        self._load()
        self._restart_clock()
        self._say(f"{reason} at {at} clips; went back to {self.state.clips_shown} clips (rollback {self.budget.used})")

    def _say(self, message: str) -> None:
        if self.is_first:
            self.bar.write(message)

    def _restart_clock(self) -> None:
        self.since = (time.perf_counter(), self.state.clips_shown)

    def _fps(self) -> float:
        """The store's frame rate, at the duration of the stage."""
        frames = self.state.plan.sizes[self.state.position.stage].t
        return self.store.fps * frames / self.store.size.t


@contextmanager
def _catch_signals() -> Iterator[list[signal.Signals]]:
    """Collect the first Ctrl-C or SIGTERM instead of dying of it; a second one acts as usual."""
    caught: list[signal.Signals] = []

    def remember(number: int, frame: FrameType | None) -> None:
        caught.append(signal.Signals(number))
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, remember)
    except ValueError:  # not in the main thread: signals are the caller's affair
        previous.clear()
    try:
        yield caught
    finally:
        restore()
