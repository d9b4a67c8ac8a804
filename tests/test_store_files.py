"""A store from anybody: its index is checked before it is used, its shards when they are first read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from growreel.data import verified
from growreel.data.index import sign_index
from growreel.data.shapes import shape_clips
from growreel.data.store import ClipStore
from growreel.data.writer import StoreWriter
from growreel.errors import GrowreelError
from growreel.growth import Size

SIZE = Size(2, 4, 4)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Five clips in shards of two."""
    with StoreWriter(tmp_path / "store", SIZE, 3, options={}, shard_bytes=2 * SIZE.voxels * 3) as writer:
        for number, clip in enumerate(shape_clips(5, SIZE)):
            writer.append(clip, source="a.mp4", frame=2 * number, label="walk" if number else None)
        writer.finish_source("a.mp4")
        writer.finish(fps=8.0)
    return tmp_path / "store"


def read_index(store: Path) -> dict[str, Any]:
    index: dict[str, Any] = json.loads((store / "index.json").read_text())
    index.pop("sha256")
    return index


def all_clips(path: Path) -> bytes:
    with ClipStore.open(path) as store:
        return store.read(range(len(store)), store.size).tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.update(fps="fast"), "fps: 'fast' is not of type float"),
        (lambda i: i.update(fps=-1.0), "fps: -1.0 is not from"),
        (lambda i: i.update(count=True), "count: True is not of type int"),
        (lambda i: i["shape"].update(c=2), "shape.c: 2 is not one of 1, 3"),
        (lambda i: i["shape"].update(t=2**40), "shape.t: 1099511627776 is not from 1 to"),
        (lambda i: i["clips"].__setitem__(3, ["a", 0, 7]), r"clips\[3\]: \['a', 0, 7\] is not"),
        (lambda i: i["clips"].__setitem__(3, ["a", -1, None]), r"clips\[3\]"),
        (lambda i: i["levels"]["2x4x4"][0].update(file="../../x.npy"), "'../../x.npy' is no .npy file inside the store"),
        (lambda i: i["levels"]["2x4x4"][0].update(file="/etc/passwd"), "'/etc/passwd' is no .npy file inside the store"),
        (lambda i: i["levels"]["2x4x4"][0].update(file="levels/\x1b[2J.npy"), "is no .npy file inside the store"),
        (lambda i: i["levels"]["2x4x4"][0].update(sha256="0"), "'0' is no sha256"),
        (lambda i: [shard.update(clips=n) for shard, n in zip(i["levels"]["2x4x4"], (1, 2, 2), strict=True)], "must hold the same"),
        (lambda i: [shard.update(clips=n) for shard, n in zip(i["levels"]["2x4x4"], (1, 1, 3), strict=True)], "must hold the same"),
    ],
)
def test_an_index_is_checked_before_it_is_used(change: Any, message: str, store: Path) -> None:
    index = read_index(store)
    change(index)
    for written in (index, sign_index(index)):  # a checksum makes nothing right
        (store / "index.json").write_text(json.dumps(written))
        with pytest.raises(GrowreelError, match=rf"index.json: damaged index \(.*{message}.*\); restore it or run prepare again"):
            ClipStore.open(store)


def test_any_change_of_the_index_is_found_and_old_ones_are_read(store: Path) -> None:
    before = all_clips(store)
    index = json.loads((store / "index.json").read_text())
    (store / "index.json").write_text(json.dumps({**index, "fps": 9.0}))
    with pytest.raises(GrowreelError, match="its checksum is not that of its contents"):
        ClipStore.open(store)
    (store / "index.json").write_text(json.dumps(read_index_without_checksum(index)))  # as growreel 0.1 wrote it
    assert all_clips(store) == before
    (store / "index.json").write_text(json.dumps(index, indent=1)[:-2] + ', "fps": 9}')
    with pytest.raises(GrowreelError, match="key 'fps' is there twice"):
        ClipStore.open(store)


def read_index_without_checksum(index: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in index.items() if name != "sha256"}


def test_a_shard_is_compared_at_its_first_use_and_again_only_when_it_changed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []
    original = verified._checksum

    def counted(descriptor: int) -> str:
        hashed.append(descriptor)
        return original(descriptor)

    monkeypatch.setattr(verified, "_checksum", counted)
    first = all_clips(store)
    assert len(hashed) == 3 and all_clips(store) == first and len(hashed) == 6  # so new that it could change within one tick of the clock
    for shard in store.rglob("*.npy"):
        os.utime(shard, ns=(0, 10**18))
    hashed.clear()
    assert all_clips(store) == first and len(hashed) == 3
    assert all_clips(store) == first and len(hashed) == 3  # another process would not look again either
    shard = store / "levels/2x4x4/00001.npy"
    status = shard.stat()
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(GrowreelError, match=r"00001.npy: is damaged: its checksum is not that in index.json"):
        all_clips(store)
    assert len(hashed) == 4
    with ClipStore.open(store) as opened:  # clips of other shards can still be read
        assert np.array_equal(opened.read([0], SIZE).tobytes(), first[: SIZE.voxels * 3])


def test_a_shard_that_is_a_pipe_or_a_folder_is_refused(store: Path) -> None:
    shard = store / "levels/2x4x4/00001.npy"
    shard.unlink()
    os.mkfifo(shard)
    with pytest.raises(GrowreelError, match=r"00001.npy: is a pipe, not a file"):
        ClipStore.open(store)
    shard.unlink()
    shard.mkdir()
    with pytest.raises(GrowreelError, match=r"00001.npy: is a folder, not a file"):
        ClipStore.open(store)
