"""From the host to a device and back: at once on a CPU; on a card in one copy, looked at a step later and never before it has arrived."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from growreel.runtime.transfer import DelayedValues, to_device

NAMES = ("a", "b")


def test_on_a_cpu_every_row_comes_at_once() -> None:
    values = DelayedValues()
    assert values.put(NAMES, torch.tensor([1.0, 2.0])) == [[("a", 1.0), ("b", 2.0)]]
    assert values.put(("a", "a"), torch.tensor([3.0, 4.0])) == [[("a", 3.0), ("a", 4.0)]], "a name may repeat"
    assert values.take_all() == []


class OnCard(Tensor):
    """A tensor of the CPU that says that it is on a card."""

    device = property(lambda self: torch.device("cuda", 0))


class Pinned(Tensor):
    """Host memory for which a copy arrives when the event after it has been waited for."""

    underway: ClassVar[list[tuple[Tensor, Tensor]]] = []
    sent: ClassVar[list[tuple[Any, Any]]] = []

    def copy_(self, source: Tensor, non_blocking: bool = False) -> Tensor:
        assert non_blocking, "the host must not wait"
        Pinned.underway.append((self.as_subclass(Tensor), source.as_subclass(Tensor).clone()))
        return self

    def to(self, *arguments: Any, **named: Any) -> Tensor:
        Pinned.sent.append((arguments, named))
        return self.as_subclass(Tensor)


class Event:
    def record(self) -> None:
        self.copies, Pinned.underway = Pinned.underway, []

    def synchronize(self) -> None:
        for host, source in self.copies:
            host.copy_(source)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinned memory, events and copies of a card, in the memory of the host."""
    empty = torch.empty

    def pinned(*arguments: Any, pin_memory: bool, **named: Any) -> Tensor:
        assert pin_memory
        return empty(*arguments, **named).fill_(-99.0).as_subclass(Pinned)

    monkeypatch.setattr(torch, "empty", pinned)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    Pinned.underway, Pinned.sent = [], []


def row(*values: float) -> Tensor:
    return torch.tensor(values).as_subclass(OnCard)


@pytest.mark.usefixtures("card")
def test_on_a_card_a_row_comes_with_the_next_and_in_order() -> None:
    values = DelayedValues()
    assert values.put(NAMES, row(1, 2)) == []
    assert values.put(NAMES, row(3, 4)) == [[("a", 1.0), ("b", 2.0)]]
    assert values.put(("c",), row(5)) == [[("a", 3.0), ("b", 4.0)]]
    assert values.take_all() == [[("c", 5.0)]]
    assert values.take_all() == []
    assert values.put(NAMES, row(6, 7)) == [], "after taking all it is late again"


@pytest.mark.usefixtures("card")
def test_a_row_that_is_overwritten_on_the_card_comes_as_it_was() -> None:
    """A recorded step writes its results to the same place again."""
    values, results = DelayedValues(), row(1, 2)
    values.put(NAMES, results)
    results.fill_(8)
    assert values.put(NAMES, results) == [[("a", 1.0), ("b", 2.0)]]


@pytest.mark.usefixtures("card")
def test_what_is_underway_can_be_forgotten() -> None:
    values = DelayedValues()
    values.put(NAMES, row(1, 2))
    values.clear()
    assert values.take_all() == []
    assert values.put(NAMES, row(3, 4)) == []
    assert values.take_all() == [[("a", 3.0), ("b", 4.0)]]


def arrays() -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Of several shapes, one of them not contiguous and one empty."""
    rng = np.random.default_rng(0)
    return [
        rng.standard_normal((4, 3), dtype=np.float32),
        rng.standard_normal((6, 2), dtype=np.float32)[::2],
        rng.standard_normal(5, dtype=np.float32),
        np.zeros((0, 2), np.float32),
    ]


def test_arrays_become_tensors_on_a_cpu() -> None:
    for tensor, array in zip(to_device(arrays(), torch.device("cpu")), arrays(), strict=True):
        assert tensor.dtype == torch.float32 and np.array_equal(tensor.numpy(), array)


@pytest.mark.usefixtures("card")
def test_arrays_travel_to_a_card_together() -> None:
    device = torch.device("cuda", 0)
    for tensor, array in zip(to_device(arrays(), device), arrays(), strict=True):
        assert np.array_equal(tensor.numpy(), array) and tensor.shape == array.shape
    assert Pinned.sent == [((device,), {"non_blocking": True})], "one copy, which the host does not wait for"
