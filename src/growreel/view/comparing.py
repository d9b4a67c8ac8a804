"""The page *Compare*: all runs of a folder in a table, and some of them beside each other."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any

from growreel.errors import GrowreelError
from growreel.report.cards import card_rows, protocol_differences
from growreel.report.curves import metric_charts, speed_charts, training_charts
from growreel.report.folder import Run
from growreel.report.single import facts
from growreel.report.words import figure
from growreel.view.server import Asked, Refused
from growreel.view.subject import Subject

MOST_BESIDE = 4


class Comparing:
    """Answers for the page of all runs. A row is made again only when its run has changed."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._rows: dict[Path, tuple[object, dict[str, Any]]] = {}

    def table(self, asked: Asked) -> dict[str, Any]:
        """A row for every run."""
        rows = [self._row(name, path) for name, path in self._subject.runs().items()]
        metrics = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
        return {"rows": rows, "metrics": metrics}

    def beside(self, asked: Asked) -> dict[str, Any]:
        """Curves on top of each other, newest samples and metric cards of several runs."""
        names = [name for name in asked.values.get("runs", "").split("|") if name]
        if not 1 <= len(names) <= MOST_BESIDE:
            raise Refused(HTTPStatus.BAD_REQUEST, f"runs: choose one to {MOST_BESIDE}")
        runs = [self._subject.run(name) for name in names]
        cards = [run.card for run in runs]
        shown = [*training_charts(runs), *metric_charts(runs), *speed_charts(runs)] if any(run.clips_shown for run in runs) else []
        samples = [f"{max(run.samples):09d}" if run.samples else None for run in runs]
        return {
            "runs": [
                {"id": name, "name": run.name, "facts": facts(run), "sample": sample}
                for name, run, sample in zip(names, runs, samples, strict=True)
            ],
            "charts": [asdict(chart) for chart in shown],
            "card": [asdict(row) for row in card_rows(cards)] if any(cards) else [],
            "card_differences": protocol_differences(cards) if sum(card is not None for card in cards) > 1 else [],
        }

    def _row(self, name: str, path: Path) -> dict[str, Any]:
        signature = [(path / part).stat().st_mtime_ns for part in ("stats.jsonl", "card.json", "config.yaml") if (path / part).exists()]
        known = self._rows.get(path)
        if known is None or known[0] != signature:
            try:
                row = _describe(self._subject.run(name))
            except GrowreelError as error:
                row = {"error": str(error), "metrics": {}}
            known = self._rows[path] = (signature, row)
        return {"id": name, **known[1]}


def _describe(run: Run) -> dict[str, Any]:
    measured = run.evaluations[-1]["metrics"] if run.evaluations else {}
    metrics = {name: figure(value) for name, value in measured.items() if isinstance(value, int | float)}
    for row in card_rows([run.card]) if run.card else []:
        cell = row.cells[0]
        if cell is not None:
            metrics[row.name] = cell.value
    return {
        "error": "",
        "size": str(run.size),
        "last_size": str(run.plan.sizes[-1]),
        "loss": run.config.loss.name,
        "clips": run.clips_shown,
        "share": min(1.0, run.clips_shown / run.total),
        "hours": round(run.seconds / 3600, 2),
        "seed": run.config.training.seed,
        "metrics": metrics,
    }
