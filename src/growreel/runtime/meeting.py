"""Processes meet in the key-value store that torchrun offers, and only those of the same start.

`torchrun --max-restarts` starts all processes again when one has died, and gives them the store of the dead ones, in which the addresses
of the dead still stand: PyTorch's own start then waits for a connection that nobody opens. Nor does anything in the environment tell the
starts apart on all nodes: TORCHELASTIC_RESTART_COUNT counts the failures of a node's own processes only. So the processes of a start find
each other by what no earlier one can have written: each draws a random name for itself, the first one writes a list of the names that it
has read, and each process waits for a list with its own name in it.
"""

from __future__ import annotations

import json
import secrets
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from growreel.errors import GrowreelError

if TYPE_CHECKING:  # no build of PyTorch without processes has it
    from torch._C._distributed_c10d import Store

POLL_SECONDS = 0.02


def store_of_this_start(patience: timedelta) -> tuple[Store, int, int]:
    """The store that the environment names (MASTER_ADDR, MASTER_PORT), as nobody but the processes of this start see it; rank; world size.

    Raises GrowreelError if they have not all come within `patience`.
    """
    from torch.distributed.rendezvous import rendezvous

    store, rank, world_size = next(rendezvous("env://", timeout=patience))
    meeting = agree(store, rank, world_size, patience)
    return part_of(store, f"growreel/{meeting}"), rank, world_size


def agree(store: Store, rank: int, world_size: int, patience: timedelta) -> str:
    """A name that is the same in all processes of this start, and another one in every start.

    Raises GrowreelError, naming the ranks that were not heard of, if that takes longer than `patience`.
    """
    own, until = secrets.token_hex(8), time.monotonic() + patience.total_seconds()
    store.set(f"growreel/name/{rank}", own)
    if rank > 0:
        return _wait_for_list(store, rank, own, until)
    while True:
        names = [_read(store, f"growreel/name/{each}") for each in range(world_size)]
        if None not in names:
            store.set("growreel/list", json.dumps(names))
            if all(_read(store, f"growreel/seen/{own}/{each}") == names[each] for each in range(1, world_size)):
                return own
        if time.monotonic() > until:
            absent = [
                each for each in range(1, world_size) if names[each] is None or _read(store, f"growreel/seen/{own}/{each}") != names[each]
            ]
            raise GrowreelError(
                f"of {world_size} processes, those of rank {', '.join(map(str, absent))} did not come within "
                f"{patience.total_seconds():.0f} s; look for their messages, and whether their nodes reach MASTER_ADDR, MASTER_PORT"
            )
        time.sleep(POLL_SECONDS)


def part_of(store: Store, name: str) -> Store:
    """The part of a store whose keys begin with a name."""
    from torch._C._distributed_c10d import PrefixStore

    return PrefixStore(name, store)


def _wait_for_list(store: Store, rank: int, own: str, until: float) -> str:
    while time.monotonic() <= until:
        names = json.loads(_read(store, "growreel/list") or "[]")
        if rank < len(names) and names[rank] == own:
            meeting = str(names[0])
            store.set(f"growreel/seen/{meeting}/{rank}", own)
            if _read(store, "growreel/name/0") == meeting:
                return meeting
        time.sleep(POLL_SECONDS)
    raise GrowreelError(f"process {rank}: the first process did not answer; look for its message")


def _read(store: Store, key: str) -> str | None:
    """What stands at a key, without waiting for it."""
    return store.get(key).decode() if store.check([key]) else None
