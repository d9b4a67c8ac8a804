"""An object in a process of its own, so that two things can be measured in turns and each has a memory of its own."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from growreel.errors import GrowreelError


class Remote:
    """Build `build(*arguments)` in a new process and call its methods there; use it in a `with` statement.

    `build`, arguments and results must be picklable. Raises GrowreelError if the process dies or the method raises.
    """

    def __init__(self, build: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, build, arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._receive()

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object in its process and return what it returns. Raises GrowreelError as the class says."""
        self._connection.send((method, arguments))
        return self._receive()

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process; a second call does nothing more."""
        self._connection.close()
        self._process.join(10)
        self._process.kill()
        self._process.join()

    def _receive(self) -> Any:
        try:
            done, value = self._connection.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            reason = "it was killed, most likely because memory ran out" if code == -9 else f"exit code {code}"
            raise GrowreelError(f"bench: a measuring process died ({reason}); leave large stages out with --sizes") from None
        if not done:
            raise GrowreelError(f"bench: a measuring process failed:\n{value}")
        return value


def _serve(connection: Connection, build: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Run in the new process until the other end closes."""
    try:
        measured = build(*arguments)
        connection.send((True, None))
        while True:
            method, given = connection.recv()
            connection.send((True, getattr(measured, method)(*given)))
    except EOFError:
        return
    except Exception:
        connection.send((False, traceback.format_exc()))
