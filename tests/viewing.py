"""What the tests of the viewer share: runs to look at, a viewer that serves them, and requests as raw as an attacker's."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import tiny_config
from growreel.data.shapes import shape_clips
from growreel.data.writer import write_store
from growreel.growth import Size
from growreel.training.loop import train
from growreel.view.application import Application
from growreel.view.serve import open_viewer
from growreel.view.server import ViewServer


class Viewer:
    """A viewer in a thread of this process.

    Attributes:
        server, address, port: of it; `token` is what pages send back.
    """

    def __init__(self, server: ViewServer, address: str) -> None:
        self.server, self.address, self.port = server, address, server.server_port
        self.token = server.door.token

    @property
    def application(self) -> Application:
        assert isinstance(self.server.answer, Application)
        return self.server.answer

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """The JSON at an address that must be there."""
        status, body, _ = self.ask("GET", f"/api/{path}")
        assert status == 200, body
        return json.loads(body)

    def post(self, path: str, **values: Any) -> tuple[int, Any]:
        """Status and JSON of a request as the page sends it."""
        headers = {"Content-Type": "application/json", "X-Growreel-Token": self.token, "Origin": f"http://127.0.0.1:{self.port}"}
        status, body, _ = self.ask("POST", f"/api/{path}", headers, json.dumps(values).encode())
        return status, json.loads(body)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


@contextmanager
def viewing(path: Path | str, **options: Any) -> Iterator[Viewer]:
    server, address = open_viewer(path, port=0, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Viewer(server, address)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_runs(folder: Path) -> Path:
    """A store of 43 clips with labels, three of them copies, and two runs on it, one with metrics; returns the folder of runs."""
    clips = list(shape_clips(40, Size(4, 8, 8)))
    write_store(folder / "store", [*clips, *clips[:2], clips[2][:, :, ::-1].copy()], fps=8.0, labels=["disc", "square"] * 20 + ["disc"] * 3)
    runs = folder / "runs"
    train(folder / "store", runs / "first", tiny_config(eval_interval=60, eval_clips=8, eval_metrics=["swd"]), progress=False)
    train(folder / "store", runs / "second", tiny_config(seed=1), progress=False)
    return runs
