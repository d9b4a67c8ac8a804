"""`growreel view`: from what a person gives to a server that runs until it is stopped."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from growreel.view.application import Application
from growreel.view.door import Door
from growreel.view.server import ViewServer
from growreel.view.subject import Subject

NICENESS = 10


def open_viewer(path: str | Path, host: str = "127.0.0.1", port: int = 8377, allow_hosts: Sequence[str] = ()) -> tuple[ViewServer, str]:
    """Return a server that listens and is to be run with `serve_forever`, and the address to open.

    Args:
        path: as of `Subject`.
        host: address to listen at; any but this machine's own needs the token that is in the address returned.
        port: 0 takes one that is free.
        allow_hosts: names under which a proxy makes the viewer reachable.

    Raises GrowreelError if there is nothing to view or nobody can listen there.
    """
    subject, door = Subject(path), Door.at(host, allow_hosts)
    application = Application(subject, door.token)
    server = ViewServer(host, port, door, application)
    shown = f"[{host}]" if ":" in host else host
    query = f"?token={door.token}" if door.wide else ""
    return server, f"http://{shown}:{server.server_port}/{query}"


def view(
    path: str | Path, host: str = "127.0.0.1", port: int = 8377, allow_hosts: Sequence[str] = (), said: Callable[[str], None] = print
) -> None:
    """Serve until interrupted. Arguments and errors as of `open_viewer`; `said` is told the address.

    This process gives way to others, and what makes clips to everything: pages still open while a training has all processors.
    """
    server, address = open_viewer(path, host, port, allow_hosts)
    with contextlib.suppress(OSError, AttributeError):  # not every system has it
        os.nice(NICENESS)
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))  # threads that wait for each other would get in a training's way
    said(address)
    try:
        server.serve_forever()
    finally:
        server.server_close()
