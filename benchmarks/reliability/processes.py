"""Training in several forked processes of this machine, as torchrun would start them, without its seconds of start."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

SECONDS = 600.0


def in_processes(count: int, work: Callable[[], object], said: Path) -> None:
    """Run `work` in so many processes that can form a process group; what they say on stderr goes to the file `said`.

    One process alone runs without a group. Raises RuntimeError, with what was said, unless all end well.
    """
    port = _free_port()
    children = [_forked(rank, count, port, work, said) for rank in range(count)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        raise RuntimeError(f"of {count} processes, exit codes {codes}: {said.read_text()}")


def _forked(rank: int, count: int, port: int, work: Callable[[], object], said: Path) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        log = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 2)
        if count > 1:
            names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR="127.0.0.1")
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
