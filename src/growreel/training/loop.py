"""The training loop: bookkeeping around the step. Progress, and every interval, is counted in real clips shown."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from growreel.bench.fit import check_memory
from growreel.config import Config
from growreel.data.batches import ClipBatches
from growreel.data.record import DataRecord
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.growth import Position
from growreel.runtime import distributed
from growreel.runtime.devices import check_trainable
from growreel.runtime.memory import keep_freed_memory, peak_memory
from growreel.runtime.precision import training_arithmetic, use_arithmetic
from growreel.runtime.signals import catch_signals
from growreel.runtime.transfer import DelayedValues, NamedValues
from growreel.training.budget import within_hours
from growreel.training.checkpoint import list_checkpoints, load_checkpoint, newest_checkpoint, prune_checkpoints
from growreel.training.checkup import Checkup
from growreel.training.compatibility import check_plan
from growreel.training.evaluation import StageEvaluation
from growreel.training.execution import Execution
from growreel.training.health import Diverged, RollbackBudget, check_state, check_step
from growreel.training.initial import InitialWeights
from growreel.training.listening import Listener
from growreel.training.outputs import Outputs
from growreel.training.progress import Progress
from growreel.training.requests import Request
from growreel.training.run_folder import RunFolder, resolve_config
from growreel.training.saved_state import check_saved
from growreel.training.state import TrainingState
from growreel.training.stats import RunningMeans, append_line, read_lines
from growreel.training.step import train_step


@dataclass(frozen=True)
class TrainResult:
    """How a call of `train` ended.

    Attributes:
        clips_shown: real clips shown so far, over all calls.
        signal: what stopped it, if it did not reach its end.
        told_to_stop: whether it was `growreel tell` that stopped it.
        is_first_process: whether this process is the one that speaks for all.
        peak_memory: most bytes that this process held in this call; on a card, that tensors held.
    """

    clips_shown: int
    signal: signal.Signals | None
    is_first_process: bool
    peak_memory: int
    told_to_stop: bool = False


def train(
    store_path: str | Path,
    run_path: str | Path,
    config: Config,
    *,
    allow_config_change: bool = False,
    allow_data_change: bool = False,
    progress: bool = True,
    hours: float | None = None,
    advise: bool = False,
    init_from: str | Path | None = None,
) -> TrainResult:
    """Train on a clip store, in a run folder; the same call again resumes from the newest checkpoint.

    Args:
        store_path: what `prepare` wrote.
        run_path: folder for config.yaml, stats.jsonl, checkpoints, models and samples.
        config: `network.image_channels` may be None and `training.precision` auto.
        allow_config_change: resume even though the configuration differs from the run's.
        allow_data_change: resume even though the store holds other clips than those that the run has learnt from.
        progress: show a bar on a terminal, else one line per statistics interval, through the logger `growreel`.
        hours: scale the schedule so that training takes so long on this machine; a few steps of every stage are measured for it.
        advise: say what the schedule takes and what else there is to choose.
        init_from: a run folder or model that a new run takes its first weights from, and with them its place in the plan
            (`training.initial`); a run that was begun already goes on from its own.

    Raises:
        GrowreelError: store and plan do not fit, the run folder belongs to another configuration, other clips or another process, the
            disk is full, training diverged more often than the health check forgives, another process of the same training failed, or
            the networks or the first stages of `init_from` are others.
    """
    store_path, run_path = Path(store_path), Path(run_path)
    device = distributed.pick_device(config.training.device, "--training.device")
    check_trainable(device, "--training.device")
    if device.type == "cpu":
        keep_freed_memory()
    with ExitStack() as stack:
        stack.enter_context(distributed.process_group(device, config.training.watchdog_seconds))
        store, run = stack.enter_context(ClipStore.open(store_path)), RunFolder(run_path)
        initial = None if init_from is None or list_checkpoints(run.path) else InitialWeights.read(init_from)
        if initial is not None:
            initial.check_store(store)
        config = resolve_config(config, store, device, run)
        check_plan(config.growth.plan(), store)
        times, said = None, ""
        if hours is not None:
            config, times, said = within_hours(config, hours, device, run, initial)
        plan = config.growth.plan()
        check_memory(config, device)
        state = TrainingState(config, device)
        if initial is not None:
            said = "\n".join(filter(None, [said, initial.load_into(state, config)]))
        if distributed.rank() == 0:
            allowed = {"allow_config_change": allow_config_change, "allow_data_change": allow_data_change}
            stack.enter_context(run.open(config, DataRecord.of(store, labelled=config.network.conditional), store_path, **allowed))
        distributed.barrier()
        batches = ClipBatches(
            store,
            seed=config.training.seed,
            mirror=config.training.mirror,
            device=device,
            time_reduction=plan.time_reduction,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            classes=config.network.classes,
        )
        stack.callback(batches.close)
        stack.enter_context(use_arithmetic(training_arithmetic(config.training), fastest=True))
        shown = Progress(config, device, shown=progress, times=times, preface=said, advise=advise)
        return _Loop(run, config, state, batches, store, shown).run_to_end(initial)


class _Loop:
    """One call of `train`: what happens before, between and after steps, top to bottom in `run_to_end`."""

    def __init__(
        self, run: RunFolder, config: Config, state: TrainingState, batches: ClipBatches, store: ClipStore, progress: Progress
    ) -> None:
        self.run, self.config, self.state, self.batches, self.store = run, config, state, batches, store
        self.training = config.training
        self.execution = Execution(config.training, state.device)
        self.scalars = DelayedValues()
        self.latest: dict[str, float] = {}
        self.means = RunningMeans()
        self.budget = RollbackBudget()
        self.is_first = distributed.rank() == 0
        self.outputs = Outputs(run, config, state, store)
        self.total = progress.total
        self.progress = progress
        self.since = (time.perf_counter(), 0)
        self.saved_at: int | None = None
        self.checkup = Checkup(config, state, batches, progress.warn) if self.is_first else None
        self.listener = Listener(run.path, self.is_first)
        self.told_to_stop = False
        self.evaluation = None if self.training.eval_interval is None else StageEvaluation(store, config, state.device)

    def run_to_end(self, initial: InitialWeights | None) -> TrainResult:
        with self.progress, catch_signals() as caught:
            resumed = self._load()
            if self.is_first:
                record = DataRecord.of(self.store, labelled=self.config.network.conditional)
                self.run.record(self.config, record, self.store, self.state.clips_shown, initial)
            if resumed:
                self.progress.say(f"resuming {self.run.path} at {self.state.clips_shown} clips")
            else:
                self._save_checkpoint()  # so that a rollback always finds one
            self._restart_clock()
            with self.listener.open(self.state.clips_shown):
                self._train(caught)
        stopped_by = caught[0] if caught and self.state.clips_shown < self.total else None
        return TrainResult(self.state.clips_shown, stopped_by, self.is_first, peak_memory(self.state.device), self.told_to_stop)

    def _train(self, caught: list[signal.Signals]) -> None:
        while self.state.clips_shown < self.total:
            before = self.state.clips_shown
            try:
                stop, asked = self._step(caught)
                self._maintain(before)
                if stop:
                    self._save_checkpoint()
                    break
                if asked and self._attend(caught):
                    break
            except Diverged as reason:
                self._roll_back(reason)

    def _step(self, caught: list[signal.Signals]) -> tuple[bool, bool]:
        """Train both networks; say whether a process was asked to stop, and whether a request waits."""
        state, position = self.state, self.state.position
        stage = state.plan.stages[position.stage]
        self.progress.step_begins()
        state.prepare_optimizers(position)
        scalars = train_step(state, self.batches, position, self.config, self.execution)
        flags = scalars.values.new_tensor([bool(caught), self.listener.is_asked()])  # with the others, so that all take the same branch
        values = distributed.mean(torch.cat([scalars.values, flags]))
        told = self._look_at(self.scalars.put((*scalars.names, "stop", "asked"), values))
        self.progress.stepped(position, state.clips_shown, stage.minibatch * self.training.critic_steps, self.latest)
        return told

    def _look_at(self, rows: list[NamedValues]) -> tuple[bool, bool]:
        """Check and average what steps told; say whether a process was asked to stop, and whether a request waits. Raises Diverged."""
        stop = asked = False
        for *values, (_, stop_flag), (_, asked_flag) in rows:
            check_step(values, self.training.explosion_limit)
            self.means.add(values)
            self.latest = dict(values)
            stop, asked = stop or stop_flag > 0, asked or asked_flag > 0
        return stop, asked

    def _attend(self, caught: list[signal.Signals]) -> bool:
        """Do what `growreel tell` asks; say whether to stop. The time that it takes does not count as training."""
        began = time.perf_counter()

        def sample(request: Request) -> str:
            if self.is_first:
                self.outputs.write_samples(raw=request.raw)
            return f"wrote {self.outputs.sample_file(request.raw).relative_to(self.run.path)}"

        def save(request: Request | None = None) -> str:
            self._look_at(self.scalars.take_all())
            self._save_checkpoint()
            return f"wrote checkpoint and model {self.state.clips_shown:09d}"

        def stopped() -> bool:
            return bool(distributed.mean(torch.tensor([float(bool(caught))], device=self.state.device)) > 0)

        clips = self.state.clips_shown
        stop = self.listener.attend(clips, {"sample": sample, "save": save}, stopped)
        if stop:
            save()
        self.told_to_stop = stop and not caught
        self.since = (self.since[0] + time.perf_counter() - began, self.since[1])
        self.progress.held()
        return stop

    def _maintain(self, before: int) -> None:
        """Write what is due because an interval ended between `before` and now, or because this is the last step."""

        def due(interval: int) -> bool:
            return self.state.clips_shown // interval > before // interval

        ended = self.state.clips_shown >= self.total
        intervals = (self.training.stats_interval, self.training.sample_interval, self.training.checkpoint_interval)
        if ended or any(map(due, intervals)):
            self._look_at(self.scalars.take_all())
        if due(self.training.stats_interval):  # not at the end: a run that goes on later must have the same lines
            self._write_stats(self.state.plan.position(before))
        if self.evaluation is not None and due(self.evaluation.interval):
            self._evaluate(self.evaluation)
        first_look = self.progress.first_look(self.state.plan.position(before), self.state.clips_shown)
        wanted = ended or due(self.training.sample_interval) or (first_look and not any(self.run.samples.iterdir()))
        if wanted and self.is_first:
            self.outputs.write_samples()
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
        if self.checkup is not None:
            line = self.checkup(line)
            append_line(self.run.stats, line)
        self.progress.statistics(line)
        self.listener.say_state(clips, self.progress.seconds_left(clips))

    def _evaluate(self, evaluation: StageEvaluation) -> None:
        """All processes take part, so none waits for another; the time it takes does not count as training."""
        measured = evaluation(self.state.ema, self.state.position)
        self.since = (self.since[0] + measured["seconds"], self.since[1])
        if self.is_first:
            stage = self.state.plan.sizes[self.state.position.stage]
            append_line(self.run.stats, {"clips": self.state.clips_shown, "stage": str(stage), **measured, "time": time.time()})

    def _save_checkpoint(self) -> None:
        """Write model file and checkpoint, once for a number of clips.

        Raises Diverged rather than save weights that are not finite, GrowreelError rather than save those of one process if others differ.
        """
        clips = self.state.clips_shown
        if clips == self.saved_at:
            return
        check_state(self.state)
        distributed.check_equal(self.state.weights(), f"at {clips} clips the weights")
        if self.is_first:
            self.outputs.write_checkpoint(self.means.state_dict())
        self.saved_at = clips
        self.budget.passed(clips)
        distributed.barrier()

    def _load(self) -> bool:
        """Bring back the newest good checkpoint, drop what was written after it, and make again what is missing; False if there is none."""
        found = (
            newest_checkpoint(self.run.path, self.progress.warn, lambda saved: check_saved(saved, self.state)) if self.is_first else None
        )
        path = distributed.from_first(found.path if found else None)
        lines = read_lines(self.run.stats)
        if path is None:
            if lines or self.run.has_models(beyond=self.state.clips_shown):
                what = "statistics" if lines else "models"
                raise GrowreelError(f"--out {self.run.path}: has {what} but no checkpoint to go on from; give another folder")
            return False
        saved = found.state if found else load_checkpoint(path).state
        self.means.load_state_dict(saved["means"])
        self.state.load_state_dict(saved)
        self.state.rollbacks = max(self.state.rollbacks, sum("event" in line for line in lines))
        self.saved_at = self.state.clips_shown
        distributed.barrier()
        if found:
            prune_checkpoints(self.run.path, self.training.keep_checkpoints)  # if the run was killed before it could
            self.run.restore(found, self.state.clips_shown, self.progress.warn)
            if self.checkup is not None:
                self.checkup.go_on_from(read_lines(self.run.stats))
            if str(self.outputs.sample_file().relative_to(self.run.path)) in self.run.missing(found.made):
                self.outputs.write_samples()
        return True

    def _roll_back(self, reason: Diverged) -> None:
        """Go back to the newest checkpoint; the noise after it is new, the clips are the same."""
        at = self.state.clips_shown
        if self.is_first:
            event = {"clips": at, "event": "diverged", "reason": str(reason), "time": time.time()}
            append_line(self.run.stats, event)
        distributed.barrier()
        self.scalars.clear()
        self.budget.spend(reason, at)
        self._load()
        self._restart_clock()
        self.progress.warn(f"{reason} at {at} clips; went back to {self.state.clips_shown} clips (rollback {self.budget.used})")

    def _restart_clock(self) -> None:
        self.progress.begin(self.state.clips_shown)
        self.since = (time.perf_counter(), self.state.clips_shown)
