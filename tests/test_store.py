from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from growreel.data import store as store_module
from growreel.data.pyramid import pyramid, pyramid_sizes
from growreel.data.store import ClipStore
from growreel.data.writer import StoreWriter, write_store
from growreel.errors import GrowreelError
from growreel.growth import Size

SIZE = Size(4, 8, 12)


def random_clips(count: int, size: Size = SIZE, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, *size, channels), dtype=np.uint8)


def slow_box_average(clip: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Mean of every box in float64, rounded half up; written for clarity."""
    out = np.empty((*size, clip.shape[3]), np.uint8)
    ft, fh, fw = (full // small for full, small in zip(clip.shape[:3], size, strict=True))
    for t, h, w in np.ndindex(*size):
        box = clip[t * ft : (t + 1) * ft, h * fh : (h + 1) * fh, w * fw : (w + 1) * fw].astype(np.float64)
        out[t, h, w] = np.floor(box.mean(axis=(0, 1, 2)) + 0.5)
    return out


def write_in_small_shards(path: Path, clips: NDArray[np.uint8], **options: object) -> ClipStore:
    with StoreWriter(path, Size(*clips.shape[1:4]), clips.shape[4], options={}, shard_bytes=3 * clips[0].size, **options) as writer:  # type: ignore[arg-type]
        for number, clip in enumerate(clips):
            writer.append(clip, source="video", frame=number)
        writer.finish_source("video")
        writer.finish(fps=25)
    return ClipStore.open(path)


def test_pyramid_sizes_leave_out_fewer_frames_at_full_resolution() -> None:
    assert pyramid_sizes(Size(4, 8, 12)) == ((4, 8, 12), (4, 4, 6), (2, 4, 6), (1, 4, 6), (4, 2, 3), (2, 2, 3), (1, 2, 3))
    assert pyramid_sizes(Size(3, 6, 6)) == ((3, 6, 6), (3, 3, 3))
    assert pyramid_sizes(Size(2, 5, 4)) == ((2, 5, 4),)


@settings(max_examples=25, deadline=None)
@given(
    t=st.sampled_from([1, 2, 3, 4, 6]),
    h=st.sampled_from([2, 4, 5, 6, 8]),
    w=st.sampled_from([2, 4, 8]),
    c=st.sampled_from([1, 3]),
    seed=st.integers(0, 999),
)
def test_every_level_is_the_box_average_of_the_full_clip(t: int, h: int, w: int, c: int, seed: int) -> None:
    clip = np.random.default_rng(seed).integers(0, 256, (t, h, w, c), dtype=np.uint8)
    sizes = pyramid_sizes(Size(t, h, w))
    for size, level in zip(sizes, pyramid(clip), strict=True):
        assert level.dtype == np.uint8
        assert np.array_equal(level, slow_box_average(clip, size))


def test_read_gives_what_was_written_at_every_level(tmp_path: Path) -> None:
    clips = random_clips(8)
    with write_in_small_shards(tmp_path / "s", clips) as store:
        assert (store.size, store.channels, store.fps, len(store)) == (SIZE, 3, 25, 8)
        assert len(list((tmp_path / "s/levels/4x8x12").iterdir())) == 3
        order = [7, 0, 3, 3, 5]
        for level in store.levels():
            wanted = np.stack([slow_box_average(clip, level) for clip in clips])[order]
            assert np.array_equal(store.read(order, level), wanted)
            out = np.zeros_like(wanted)
            assert store.read(order, level, out=out) is out
            assert np.array_equal(out, wanted)
        assert np.array_equal(np.load(tmp_path / "s/levels/4x8x12/00002.npy"), clips[6:])
        store.verify()


def test_read_from_many_threads_with_more_shards_than_cached_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_CACHED_FILES", 2)
    clips = random_clips(12, Size(2, 2, 2))
    store = write_in_small_shards(tmp_path / "s", clips)
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    picks = np.random.default_rng(1).integers(0, 12, (60, 5))
    with ThreadPoolExecutor(4) as pool:
        for pick, got in zip(picks, pool.map(lambda pick: store.read(pick, store.size), picks), strict=True):
            assert np.array_equal(got, clips[pick])
    if before:
        assert len(list(descriptors.iterdir())) <= before + 2
    store.close()
    assert np.array_equal(store.read([4], store.size)[0], clips[4])


def test_read_refuses(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", random_clips(2), fps=10)
    with pytest.raises(GrowreelError, match="no level 2x8x12; stored are 4x8x12, 4x4x6"):
        store.read([0], Size(2, 8, 12))
    with pytest.raises(GrowreelError, match="no clip 2; the store holds 2"):
        store.read([2], SIZE)
    with pytest.raises(GrowreelError, match="no clip -1"):
        store.read([-1], SIZE)
    for out in (
        np.empty((1, *SIZE, 3), np.float32),
        np.empty((2, *SIZE, 3), np.uint8),
        np.empty((1, 3, *SIZE), np.uint8).transpose(0, 2, 3, 4, 1),
    ):
        with pytest.raises(GrowreelError, match="C-contiguous uint8"):
            store.read([0], SIZE, out=out)  # type: ignore[arg-type]


def test_level_for(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", np.zeros((1, 8, 48, 24, 1), np.uint8), fps=10)
    assert store.level_for(Size(8, 48, 24)) == (8, 48, 24)
    assert store.level_for(Size(4, 24, 12)) == (4, 24, 12)
    assert store.level_for(Size(4, 48, 24)) == (8, 48, 24)  # fewer frames at full resolution are not stored
    assert store.level_for(Size(4, 24, 3)) == (4, 24, 12)
    assert store.level_for(Size(8, 16, 8)) == (8, 48, 24)
    assert store.level_for(Size(1, 3, 3)) == (1, 6, 3)
    with pytest.raises(GrowreelError, match=r"8x48x24, are smaller than 16x48x24; .*--target 8x48x24.*--size 16x48x24"):
        store.level_for(Size(16, 48, 24))
    with pytest.raises(GrowreelError, match=r"not a whole multiple of 8x32x16.*--target 8x24x12"):
        store.level_for(Size(8, 32, 16))


def test_write_store_keeps_labels_and_rate(tmp_path: Path) -> None:
    clips = random_clips(3, channels=1)
    store = write_store(tmp_path / "deep" / "s", iter(clips), fps=12.5, labels=["wave", None, "bend"], source="shapes")
    assert store.labels == ("bend", "wave")
    assert [(clip.source, clip.frame, clip.label) for clip in store.clips] == [("shapes", 0, 1), ("shapes", 4, None), ("shapes", 8, 0)]
    assert (store.fps, store.channels) == (12.5, 1)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["s"]
    assert sorted(path.name for path in (tmp_path / "deep/s").iterdir()) == ["index.json", "levels"]


@pytest.mark.parametrize(
    ("clips", "labels", "message"),
    [
        ([], None, "no clips to store"),
        ([np.zeros((4, 8, 8), np.uint8)], None, "must be"),
        ([np.zeros((4, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.uint8)], None, r"clip is uint8 \[2, 8, 8, 3\]"),
        ([np.zeros((4, 8, 8, 3), np.float32)], None, "float32"),
        ([np.zeros((4, 8, 8, 3), np.uint8)], ["a", "b"], "2 for 1 clips"),
        ([np.zeros((4, 8, 8, 3), np.uint8)] * 2, ["a"], "1 for more clips"),
    ],
)
def test_write_store_refuses(tmp_path: Path, clips: list[NDArray[np.uint8]], labels: list[str] | None, message: str) -> None:
    with pytest.raises(GrowreelError, match=message):
        write_store(tmp_path / "s", clips, fps=10, labels=labels)
    assert not (tmp_path / "s").exists()


def test_an_interrupted_write_store_starts_again(tmp_path: Path) -> None:
    clips = random_clips(5)

    def breaking() -> Iterator[NDArray[np.uint8]]:
        yield clips[4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "s", breaking(), fps=10)
    assert np.array_equal(write_store(tmp_path / "s", clips[:2], fps=10).read([0, 1], SIZE), clips[:2])


def test_an_old_store_is_replaced_only_when_asked_and_only_at_the_end(tmp_path: Path) -> None:
    path, old, new = tmp_path / "s", random_clips(1), random_clips(3)
    write_store(path, old, fps=10)
    taken = list[int]()

    def noting() -> Iterator[NDArray[np.uint8]]:
        for clip in new:
            taken.append(len(ClipStore.open(path)))
            yield clip

    with pytest.raises(GrowreelError, match="--overwrite"):
        write_store(path, noting(), fps=10)
    assert taken == []
    assert len(write_store(path, noting(), fps=10, overwrite=True)) == 3
    assert taken == [1, 1, 1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]


def test_a_folder_that_is_no_store_is_never_replaced(tmp_path: Path) -> None:
    for name in ("photo.jpg", "index.json"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text("{}")
        with pytest.raises(GrowreelError, match="is not a clip store; choose another path"):
            write_store(folder, random_clips(1), fps=10, overwrite=True)
        assert (folder / name).read_text() == "{}"


def test_a_crash_while_replacing_leaves_the_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    write_store(path, random_clips(1), fps=10)
    real = Path.rename

    def crash(self: Path, target: Path) -> Path:
        if self.name == "s.partial":
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", crash)
        write_store(path, random_clips(2), fps=10, overwrite=True)
    with pytest.raises(GrowreelError, match="--overwrite"):
        write_store(path, random_clips(2), fps=10)
    assert len(ClipStore.open(path)) == 1


def test_open_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(GrowreelError, match="no such clip store"):
        ClipStore.open(path)
    path.mkdir()
    with pytest.raises(GrowreelError, match=r"not a clip store \(it has no index.json\)"):
        ClipStore.open(path)
    (path / "index.json").write_text('{"name": "a web page"}')
    with pytest.raises(GrowreelError, match="something else's"):
        ClipStore.open(path)
    (path / "index.json").unlink()
    store = write_in_small_shards(path, random_clips(4))
    index = json.loads((path / "index.json").read_text())

    def with_index(**changes: object) -> None:
        (path / "index.json").write_text(json.dumps({**index, **changes}))

    with_index(version=99)
    with pytest.raises(GrowreelError, match="format version 99, this growreel reads version 1; run prepare again"):
        ClipStore.open(path)
    damages: list[dict[str, object]] = [
        {"count": 5},
        {"clips": index["clips"][:3]},
        {"levels": {}},
        {"shape": {"t": 4}},
        {"clips": [1, 2, 3, 4]},
    ]
    for damage in damages:
        with_index(**damage)
        with pytest.raises(GrowreelError, match=r"damaged index.*run prepare again"):
            ClipStore.open(path)
    (path / "index.json").write_text(json.dumps(index)[:-40])
    with pytest.raises(GrowreelError, match=r"damaged index.*run prepare again"):
        ClipStore.open(path)
    with_index()

    shard = path / "levels/4x8x12/00001.npy"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(GrowreelError, match=r"00001.npy: shard has 1,279 bytes, should have 1,280"):
        ClipStore.open(path)
    with pytest.raises(GrowreelError, match=r"00001.npy: is damaged"):
        store.read([3], SIZE)
    shard.write_bytes(b"x" * 128 + whole[128:])
    with pytest.raises(GrowreelError, match=r"00001.npy: shard has a damaged header"):
        ClipStore.open(path)
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(GrowreelError, match=r"damaged shards: levels/4x8x12/00001.npy"):
        ClipStore.open(path).verify()
    shard.unlink()
    with pytest.raises(GrowreelError, match=r"00001.npy: shard cannot be read"):
        ClipStore.open(path)


def test_a_full_disk_loses_nothing_and_the_same_call_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips, path = random_clips(6), tmp_path / "s"
    room = [40]
    real = os.pwrite

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[: max(1, len(data) // 2)], offset)  # a disk may also take a part only

    monkeypatch.setattr(os, "pwrite", pwrite)
    safe = list[int]()
    for _attempt in range(200):
        try:
            with StoreWriter(path, SIZE, 3, options={"a": 1}) as writer:
                safe.append(len(writer.finished))
                for source in range(3):
                    if f"v{source}" in writer.finished:
                        continue
                    for number in (2 * source, 2 * source + 1):
                        writer.append(clips[number], source=f"v{source}", frame=number)
                    writer.finish_source(f"v{source}", report=source)
                assert writer.finished == {"v0": 0, "v1": 1, "v2": 2}
                writer.finish(fps=10)
            break
        except GrowreelError as error:
            assert "the disk is full" in str(error)
            assert "clips of" in str(error)
            room[0] = 150 + 20 * len(safe)
    assert len(safe) > 2
    assert safe == sorted(safe)
    store = ClipStore.open(path)
    store.verify()
    assert np.array_equal(store.read(range(6), SIZE), clips)
    assert [clip.source for clip in store.clips] == ["v0", "v0", "v1", "v1", "v2", "v2"]


def test_unfinished_store_of_other_options_or_another_process(tmp_path: Path) -> None:
    def crop() -> StoreWriter:
        return StoreWriter(tmp_path / "s", SIZE, 3, options={"fit": "crop"})

    with crop(), pytest.raises(GrowreelError, match="another process is writing there"):
        crop()
    with pytest.raises(GrowreelError, match=r"other options \(fit crop, now pad\)"):
        StoreWriter(tmp_path / "s", SIZE, 3, options={"fit": "pad"})
    with pytest.raises(GrowreelError, match=r"an unfinished one is at .*s.partial"):
        ClipStore.open(tmp_path / "s")


def test_sources_whose_clips_did_not_reach_the_disk_are_done_again(tmp_path: Path) -> None:
    clips = random_clips(2)
    with StoreWriter(tmp_path / "s", SIZE, 3, options={}) as writer:
        for number, clip in enumerate(clips):
            writer.append(clip, source=f"v{number}")
            writer.finish_source(f"v{number}")
    shard = tmp_path / "s.partial/levels/2x4x6/00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    journal = tmp_path / "s.partial/journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"source": "v2", "cl')
    with StoreWriter(tmp_path / "s", SIZE, 3, options={}) as writer:
        assert list(writer.finished) == ["v0"]
        writer.append(clips[1], source="v1")
        writer.finish_source("v1")
        writer.finish(fps=10)
    assert np.array_equal(ClipStore.open(tmp_path / "s").read([0, 1], SIZE), clips)


def test_a_store_is_read_where_there_are_no_codecs() -> None:
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['av', 'PIL', 'torch'])); "
        "import growreel.data.store, growreel.data.writer, growreel.preparation.prepare, growreel.data.contact, growreel.video"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
