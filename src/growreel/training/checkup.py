"""The look at a run's health, once per statistics interval: vital signs into the line, findings into the line and to the person."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from growreel.config import Config
from growreel.data.batches import ClipBatches
from growreel.training.diagnosis import diagnose
from growreel.training.state import TrainingState
from growreel.training.step import fade_real
from growreel.training.vitals import Vitals


class Checkup:
    """Remembers the lines of a run and what was said of them.

    Args:
        config: settled.
        state: that is trained; it is looked at, never changed.
        batches: where real clips come from.
        warn: tells a person something.
    """

    def __init__(self, config: Config, state: TrainingState, batches: ClipBatches, warn: Callable[[str], None]) -> None:
        self.config, self.state, self.warn = config, state, warn
        self._vitals = Vitals(config, batches, lambda clips: fade_real(clips, state, state.position))
        self._lines: list[dict[str, Any]] = []
        self._said: set[tuple[str, str]] = set()

    def go_on_from(self, lines: Iterable[dict[str, Any]]) -> None:
        """Take the lines of a run that is resumed, or has gone back, as those so far."""
        self._lines = [line for line in lines if "loss_discriminator" in line]

    def __call__(self, line: dict[str, Any]) -> dict[str, Any]:
        """Return the line with vital signs, and under `health` the names of what the run suffers from. Each is told once for a stage."""
        line = line | self._vitals(self.state)
        self._lines.append(line)
        findings = diagnose(self._lines, self.config)
        if findings:
            line["health"] = [finding.sickness for finding in findings]
        for finding in findings:
            if (finding.sickness, line["stage"]) not in self._said:
                self._said.add((finding.sickness, line["stage"]))
                self.warn(finding.text)
        return line
