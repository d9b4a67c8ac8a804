"""The page *Run*: how far it is, its curves, its newest samples, what the figures say, and what it can be told."""

from __future__ import annotations

import json
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from growreel.report.curves import metric_charts, speed_charts, training_charts
from growreel.report.folder import Run, read_run
from growreel.report.remarks import remarks
from growreel.report.single import changed_settings, facts, plan_bar
from growreel.report.words import count, duration
from growreel.training.requests import RequestFolder, What, ask
from growreel.view.helps import config_helps
from growreel.view.server import Asked, Refused, Reply
from growreel.view.subject import Subject, inside

SHOWN_SAMPLES = 24


class Watching:
    """Answers for the page of runs. What a run's files say is read again only when one of them has changed."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._seen: dict[Path, tuple[object, dict[str, Any]]] = {}

    def state(self, asked: Asked) -> dict[str, Any]:
        """Everything that the page shows but pictures."""
        path = self._subject.run_path(asked.values.get("run", ""))
        signature = _signature(path)
        known = self._seen.get(path)
        if known is None or known[0] != signature:
            if len(self._seen) > 8:
                self._seen.clear()
            known = self._seen[path] = (signature, _describe(read_run(path)))
        box = RequestFolder(path)
        listener = box.listener()
        left = None if listener is None or listener.seconds_left is None else duration(listener.seconds_left)
        return {
            **known[1],
            "listening": listener and {"state": listener.state, "clips": listener.clips},
            "left": left or ("finished" if known[1]["finished"] else "not known" if listener else "not training"),
            "answers": [answer.sentence() for answer in box.latest_answers(6)],
            "waiting": len(box.waiting()),
        }

    def sample(self, asked: Asked) -> Reply:
        """A sample grid that training wrote."""
        name = asked.values.get("name", "")
        path = self._subject.run_path(asked.values.get("run", ""))
        if name not in _samples(path):
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such sample")
        file = inside(path / "samples" / f"{name}.webp", path)
        try:
            return Reply(file.read_bytes(), "image/webp", tag=f"{name}-{file.stat().st_mtime_ns}")
        except FileNotFoundError as error:
            raise Refused(HTTPStatus.NOT_FOUND, "this sample has gone") from error

    def tell(self, asked: Asked) -> dict[str, Any]:
        """Put a request into the run folder; the answer comes with the state."""
        body = asked.body or {}
        request = ask(self._subject.run_path(str(body.get("run", ""))), cast(What, str(body.get("what"))[:20]), raw=body.get("raw") is True)
        return {"asked": request.what}


def _describe(run: Run) -> dict[str, Any]:
    helps = config_helps()
    position = run.position
    return {
        "name": run.name,
        "stage": str(run.size),
        "phase": position.phase,
        "alpha": position.alpha,
        "clips": run.clips_shown,
        "total": run.total,
        "finished": run.finished,
        "trained": duration(run.seconds),
        "facts": facts(run),
        "plan": [{"size": size, "share": share, "fade": fade, "state": state} for size, share, fade, state in plan_bar(run)],
        "charts": [asdict(chart) for chart in (*training_charts([run]), *metric_charts([run]), *speed_charts([run]))],
        "remarks": [asdict(remark) for remark in remarks(run, None)],
        "samples": _samples(run.path)[:SHOWN_SAMPLES],
        "settings": [
            {"name": name, "value": str(value), "default": str(default), "help": helps.get(name, "")}
            for name, value, default in changed_settings(run.config)
        ],
        "seeds": f"seeds 0 to {count(run.config.training.sample_count - 1)}",
    }


def _samples(run: Path) -> list[str]:
    """Names of sample grids without suffix, the newest first; `000000120-raw` is of the generator without its moving average."""
    names = [path.stem for path in (run / "samples").glob("*.webp") if path.stem.removesuffix("-raw").isdecimal()]
    return sorted(names, key=lambda name: (int(name.removesuffix("-raw")), name), reverse=True)


def _signature(run: Path) -> str:
    """Changes whenever the page would."""
    parts = list[object]()
    for name in ("stats.jsonl", "config.yaml", "environment.json", "card.json", "samples", "models"):
        path = run / name
        try:
            status = path.stat()
            parts += [status.st_mtime_ns, status.st_size]
        except OSError:
            parts.append(None)
    return json.dumps(parts)
