"""Which address gives what. Nothing is served by its path: files of the page by their names here, everything else through `Subject`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from http import HTTPStatus
from importlib import resources
from typing import Any

from growreel.runtime.version import installed_version
from growreel.training.requests import ABOUT
from growreel.view.browsing import Browsing
from growreel.view.comparing import Comparing
from growreel.view.helps import control_helps
from growreel.view.playing import clip_reply, export_reply, model_facts
from growreel.view.server import Asked, Refused, Reply
from growreel.view.studio import Studio
from growreel.view.subject import Subject
from growreel.view.walking import Walks
from growreel.view.watching import Watching

PAGE = {"": "index.html"}
KINDS = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
OWN_FILES = ("index.html", "view.css", "main.js", "tools.js", "charts.js", "run.js", "play.js", "walk.js", "data.js", "compare.js")


class Application:
    """What the server asks for every request that has come through the door.

    Args:
        subject: what is viewed.
        token: that a page must send back with what changes something.
    """

    def __init__(self, subject: Subject, token: str) -> None:
        self.subject, self.token, self.studio = subject, token, Studio()
        watching, browsing, comparing = Watching(subject), Browsing(subject), Comparing(subject)
        walks = Walks(subject, self.studio)
        self._files = _page_files()
        self._get: dict[str, Callable[[Asked], Reply | dict[str, Any]]] = {
            "api/hello": self._hello,
            "api/run": watching.state,
            "api/sample": watching.sample,
            "api/model": lambda asked: model_facts(subject, self.studio, asked),
            "api/clip": lambda asked: clip_reply(subject, self.studio, asked),
            "api/export": lambda asked: export_reply(subject, self.studio, asked),
            "api/walk": walks.reply,
            "api/data": browsing.page,
            "api/data/clip": browsing.picture,
            "api/compare": comparing.table,
            "api/compare/beside": comparing.beside,
        }
        self._post: dict[str, Callable[[Asked], dict[str, Any]]] = {"api/tell": watching.tell, "api/drop": browsing.drop}

    def __call__(self, asked: Asked) -> Reply:
        """Answer a request. Raises Refused or GrowreelError where there is no answer."""
        name = asked.path.removeprefix("/")
        if asked.body is not None:
            if name not in self._post:
                raise Refused(HTTPStatus.NOT_FOUND, "there is nothing to change here")
            return _as_json(self._post[name](asked))
        if name in self._files:
            return self._files[name]
        if name not in self._get:
            raise Refused(HTTPStatus.NOT_FOUND, "there is nothing here")
        found = self._get[name](asked)
        return found if isinstance(found, Reply) else _as_json(found)

    def _hello(self, asked: Asked) -> dict[str, Any]:
        runs = list(self.subject.runs())
        return {
            "version": installed_version("growreel"),
            "kind": self.subject.kind,
            "name": self.subject.path.resolve().name,
            "runs": runs,
            "token": self.token,
            "helps": control_helps(),
            "tell": ABOUT,
        }


def _page_files() -> dict[str, Reply]:
    """The files of the page by name; the report's style sheet is shared."""
    own = resources.files("growreel.view") / "static"
    texts = {name: (own / name).read_bytes() for name in OWN_FILES}
    texts["report.css"] = (resources.files("growreel.report") / "templates" / "style.css").read_bytes()
    files = {name: Reply(text, KINDS[name.rsplit(".", 1)[1]], hashlib.sha256(text).hexdigest()[:16]) for name, text in texts.items()}
    return {**files, **{address: files[name] for address, name in PAGE.items()}}


def _as_json(tree: dict[str, Any]) -> Reply:
    """Numbers that JSON lacks become null; the tag is of the text, so that a page that has it is sent nothing."""
    text = json.dumps(_finite(tree)).encode()
    return Reply(text, tag=hashlib.sha256(text).hexdigest()[:16])


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
