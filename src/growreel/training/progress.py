"""What a person sees of a run while it trains: a bar on a terminal, one plain line per statistics interval anywhere else."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from tqdm import tqdm

from growreel.config import Config
from growreel.growth import Position
from growreel.runtime import distributed
from growreel.training.budget import choices
from growreel.training.forecast import Forecast, in_words
from growreel.training.trial import StageTimes, measure_stages

FIRST_LOOK_SECONDS = 20.0
"""A run that has shown nothing for so long shows its first statistics and samples, whatever the intervals."""

logger = logging.getLogger("growreel")


class Progress:
    """Messages, progress, losses and time left of one call of `train`. In all processes but the first it is silent.

    Messages and lines go to the logger `growreel` at level INFO; where that is not enabled, they are printed if progress is shown.

    Args:
        config: settled.
        device: that the run trains on; trial steps are made there.
        shown: show progress; without it there are messages only, and no trial steps are made.
        times: seconds per clip at every stage, if they were measured already.
        preface: said before anything else.
        advise: when a fresh run begins, say what there is to choose.
        clock: seconds that pass.
    """

    def __init__(
        self,
        config: Config,
        device: torch.device,
        *,
        shown: bool,
        times: Sequence[StageTimes] | None = None,
        preface: str = "",
        advise: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.config, self.device, self.shown, self.clock = config, device, shown, clock
        self.preface, self.advise = preface, advise
        self.plan = config.growth.plan()
        self.total = self.plan.total_clips if config.training.clips is None else config.training.clips
        self.forecast = None if times is None else Forecast(self.plan, times)
        self.is_first = distributed.rank() == 0
        self.on_terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=self.total,
            unit=" clips",
            disable=not (shown and self.is_first and self.on_terminal),
            dynamic_ncols=True,
            smoothing=0.05,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]",
        )
        self._losses: dict[str, float] = {}
        self._began = self._mark = clock()
        self._began_at, self._shows_lines, self._looked = 0, False, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.bar.close()

    def begin(self, clips_shown: int) -> None:
        """Training starts, or starts again, at `clips_shown`. Every process must call it: trial steps may be made here, once."""
        if self.preface:
            self.say(self.preface)
        if self.shown and self.forecast is None and clips_shown < self.total:
            times = measure_stages(self.config, self.device, self.total, self.plan.position(clips_shown).stage)
            self.forecast = Forecast(self.plan, times)
        if self.shown and self.forecast is not None:
            left = self.forecast.seconds_left(clips_shown, self.total)
            if self.advise and clips_shown == 0:
                self.say(choices(self.config, left))
            else:
                self.say(f"{self.total - clips_shown:,} clips to train, about {in_words(left)} on this machine")
        self.preface, self.advise = "", False
        self.bar.reset(total=self.total)
        self.bar.update(clips_shown)
        self._began = self._mark = self.clock()
        self._began_at = clips_shown

    def step_begins(self) -> None:
        """Tell that what comes now is a step, and what passed since the last one was something else."""
        now = self.clock()
        if self.forecast is not None:
            self.forecast.paused(now - self._mark)
        self._mark = now

    def stepped(self, position: Position, clips_shown: int, clips: int, losses: Mapping[str, float]) -> None:
        """The step that began has shown `clips` more, which makes `clips_shown`; `losses` are those known by now."""
        for name, value in losses.items():
            self._losses[name] = 0.9 * self._losses.get(name, value) + 0.1 * value
        now = self.clock()
        if self.forecast is not None:
            self.forecast.measured(position, clips, now - self._mark)
        self._mark = now
        if not self.bar.disable:
            size = self.plan.sizes[position.stage]
            self.bar.set_description_str(f"{size} {position.phase} alpha {position.alpha:.2f}", refresh=False)
            self.bar.set_postfix_str(", ".join([*losses_in_words(self._losses), self._left(clips_shown)]), refresh=False)
            self.bar.update(clips)

    def held(self) -> None:
        """Tell that training stood still on purpose: what passed since the last step counts for nothing."""
        self._mark = self.clock()

    def seconds_left(self, clips_shown: int) -> float | None:
        """Return the seconds that the run still needs, as far as that is known."""
        return None if self.forecast is None else self.forecast.seconds_left(clips_shown, self.total)

    def statistics(self, line: Mapping[str, Any]) -> None:
        """A line of stats.jsonl was written. Off a terminal it is shown; on one the bar has shown it already."""
        self._shows_lines = True
        if not self.on_terminal:
            self._show_line(line)

    def first_look(self, position: Position, clips_shown: int) -> bool:
        """True once, when it has trained for `FIRST_LOOK_SECONDS`: time for first samples, if there are none yet.

        A line of statistics is shown then, too, unless there was one; stats.jsonl keeps to its intervals.
        """
        seconds = self.clock() - self._began
        if self._looked or seconds < FIRST_LOOK_SECONDS:
            return False
        self._looked = True
        if not self._shows_lines and not self.on_terminal:
            rate = (clips_shown - self._began_at) / seconds
            size = self.plan.sizes[position.stage]
            line = {"clips": clips_shown, "stage": str(size), "phase": position.phase, "alpha": position.alpha, "clips_per_second": rate}
            self._show_line({**line, **self._losses})
        return True

    def warn(self, message: str) -> None:
        """Tell that something went wrong, even where nobody listens to messages."""
        if self.is_first:
            logger.warning(message)

    def say(self, message: str) -> None:
        """Tell the person who runs this something, above the bar where there is one."""
        if not self.is_first:
            return
        logger.info(message)
        if self.shown and not logger.isEnabledFor(logging.INFO):
            tqdm.write(message)
            sys.stdout.flush()

    def _show_line(self, line: Mapping[str, Any]) -> None:
        if not self.shown:
            return
        where = f"{line['stage']} {line['phase']}" + (f" alpha {line['alpha']:.2f}" if line["phase"] == "fade" else "")
        done = f"{line['clips']:,} of {self.total:,} clips ({line['clips'] / self.total:.0%})"
        rate = f"{line['clips_per_second']:.3g} clips/s"
        self.say(", ".join([f"{done}: {where}", rate, *losses_in_words(line), self._left(line["clips"])]))

    def _left(self, clips_shown: int) -> str:
        return "" if self.forecast is None else f"about {in_words(self.forecast.seconds_left(clips_shown, self.total))} left"


def losses_in_words(values: Mapping[str, float]) -> list[str]:
    """The losses and penalties among the values, in words."""
    names = {"loss_discriminator": "loss D", "loss_generator": "loss G", "gradient_penalty": "penalty"}
    return [f"{short} {values[name]:.3g}" for name, short in names.items() if name in values]
