"""Ray itself: a cluster that is there, or one on this machine that ends with the call."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from growreel.errors import GrowreelError

ANSWER_LIMIT = 20.0  # seconds for a cluster to say that it is one; Ray itself tries for minutes
PORT_LIMIT = 5.0  # seconds for anything at all to answer there
OBJECTS = 100 * 2**20  # bytes of shared memory for a Ray of our own: rows of reports are all that goes through it


def connected(workers: int | None, address: str | None) -> tuple[ModuleType, bool]:
    """Ray, and whether it was not connected before and has to be left at the end.

    Args:
        workers: cores of a Ray that has to be started; None for all of this machine.
        address: host:port of a cluster; None for RAY_ADDRESS or, without one, a Ray on this machine.

    Raises:
        GrowreelError: Ray is not installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise GrowreelError("--engine ray: needs the extra `ray`; install it with: pip install 'growreel[ray]'") from error
    if ray.is_initialized():
        return ray, False
    flag = f"--ray-address {address}" if address else f"RAY_ADDRESS {os.environ.get('RAY_ADDRESS')}"
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        with _own_answer_to_sigterm():
            if address and address != "local":
                _check_answers(address)
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            else:
                ray.init(
                    "local",  # else it would join whatever Ray `ray start` has left on this machine
                    num_cpus=workers,
                    object_store_memory=OBJECTS,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
    except (OSError, RuntimeError, ValueError, ImportError, ray.exceptions.RayError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        if address and address != "local":
            raise GrowreelError(f"{flag}: no Ray cluster can be reached there ({said}); see `ray status --address HOST:PORT`") from error
        raise GrowreelError(f"--engine ray: Ray cannot be started on this machine ({said})") from error
    return ray, True


@contextmanager
def _own_answer_to_sigterm() -> Iterator[None]:
    """Ray takes the signal for itself, and would end the process without a word."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and signal.getsignal(signal.SIGTERM) is not before:  # in other threads than the first it leaves it alone
            signal.signal(signal.SIGTERM, before)


def _check_answers(address: str) -> None:
    """Ask in a process of its own, for Ray's client cannot be interrupted. Raises OSError, also of what is no host:port."""
    if address == "auto":
        return
    if address.startswith("ray://"):
        raise OSError("ray:// is for clients outside of the cluster; run this on one of its machines and give HOST:PORT of its head")
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) < 2**16):
        raise OSError("is not HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), timeout=PORT_LIMIT).close()
    try:
        command = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        raise OSError(f"something listens, but does not answer as a Ray in {ANSWER_LIMIT:g} s") from None
    if asked.returncode:
        raise OSError((asked.stderr.strip() or f"exit code {asked.returncode}").splitlines()[-1])
