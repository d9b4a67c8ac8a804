"""An object in a process of its own, so that two things can be measured in turns and each has a memory of its own."""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from subprocess import TimeoutExpired
from types import TracebackType
from typing import Any, BinaryIO

from growreel.errors import GrowreelError
from growreel.runtime.child import answer_stream, start_child

FAREWELL = 10  # seconds for a process to end by itself


class Remote:
    """Build `build(*arguments)` in a new process and call its methods there; use it in a `with` statement.

    `build`, arguments and results must be picklable, and `build` from a module that can be imported (not the main program).
    Raises GrowreelError if the process dies or the method raises.
    """

    def __init__(self, build: Callable[..., Any], *arguments: Any) -> None:
        self._child = start_child("growreel.bench.process")
        assert self._child.stdin is not None and self._child.stdout is not None
        self._calls, self._answers = self._child.stdin, self._child.stdout
        try:
            self._ask((build, arguments))
        except GrowreelError:
            self.close()
            raise

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object in its process and return what it returns. Raises GrowreelError as the class says."""
        return self._ask((method, arguments))

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process; a second call does nothing more."""
        for stream in (self._calls, self._answers):
            with suppress(OSError):
                stream.close()
        with suppress(TimeoutExpired):
            self._child.wait(FAREWELL)
        self._child.kill()
        self._child.wait()

    def _ask(self, question: tuple[Any, tuple[Any, ...]]) -> Any:
        try:
            pickle.dump(question, self._calls, protocol=pickle.HIGHEST_PROTOCOL)
            self._calls.flush()
            done, value = pickle.load(self._answers)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            self.close()
            code = self._child.returncode
            reason = "it was killed, most likely because memory ran out" if code == -9 else f"exit code {code}"
            raise GrowreelError(f"bench: a measuring process died ({reason}); leave large stages out with --sizes") from None
        if not done:
            raise GrowreelError(f"bench: a measuring process failed:\n{value}")
        return value


def serve(calls: BinaryIO, answers: BinaryIO) -> None:
    """Build what the first call names, then call its methods until there are no more calls."""
    measured: Any = None
    while True:
        try:
            named, given = pickle.load(calls)
            if isinstance(named, str):
                result = getattr(measured, named)(*given)
            else:
                measured, result = named(*given), None
            answer = (True, result)
        except EOFError:
            return
        except Exception:
            answer = (False, traceback.format_exc())
        pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


def main() -> None:
    """What the new process does."""
    answers = answer_stream()
    with suppress(BrokenPipeError):  # the parent is gone
        serve(sys.stdin.buffer, answers)
