"""Data sets of HDF5 files as films."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from growreel.data.store import ClipStore
from growreel.growth import Size
from growreel.preparation.prepare import prepare
from growreel.preparation.report import PrepareReport

h5py = pytest.importorskip("h5py")

SIZE = Size(4, 16, 16)


def run(source: Path, store: Path, size: Size = SIZE, **options: Any) -> tuple[PrepareReport, dict[str, NDArray[np.uint8]]]:
    """Prepare here; the clips of each source, one after another."""
    report = prepare(source, store, size, progress=False, workers=0, **options)
    clips: dict[str, NDArray[np.uint8]] = {}
    if report.store is not None:
        with ClipStore.open(store) as opened:
            everything = opened.read(range(len(opened)), size)
            for name in dict.fromkeys(clip.source for clip in opened.clips):
                mine = [number for number, clip in enumerate(opened.clips) if clip.source == name]
                clips[name] = everything[mine]
    return report, clips


def film(*shape: int, dtype: Any = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((8, 16, 16, 3), None),
        ((8, 3, 16, 16), (0, 2, 3, 1)),
        ((2, 4, 16, 16, 3), None),
        ((2, 4, 3, 16, 16), (0, 1, 3, 4, 2)),
        ((2, 3, 4, 16, 16), (0, 2, 3, 4, 1)),
        ((8, 16, 16), None),
    ],
)
@pytest.mark.parametrize("chunked", [None, True])
def test_data_sets_of_every_order(tmp_path: Path, shape: tuple[int, ...], order: tuple[int, ...] | None, chunked: bool | None) -> None:
    values = film(*shape)
    wanted = values.transpose(order) if order else values
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("deep/in/it", data=values, chunks=chunked, compression="gzip" if chunked else None)
    report, clips = run(tmp_path / "a.h5", tmp_path / "s", colors=1 if len(shape) == 3 else 3)
    assert report.exit_code == 0
    assert list(clips) == (["a.h5#deep/in/it#0", "a.h5#deep/in/it#1"] if len(shape) == 5 else ["a.h5#deep/in/it"])
    assert np.array_equal(np.concatenate(list(clips.values())).reshape(wanted.shape), wanted)


def test_which_data_sets_are_taken_and_what_is_said_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in/a.hdf5", "w") as file:
        file["train/frames"] = film(4, 16, 16, 3)
        file["test/frames"] = film(4, 16, 16, 3) + 1
        file["train/masks"] = film(4, 16, 16)
        file["features"] = film(4, 16, 16, 3).astype(np.float32)
        file["labels"] = np.arange(4)
        file["again"] = h5py.SoftLink("/train/frames")
        file["away"] = h5py.ExternalLink("other.h5", "/film")
    report, clips = run(tmp_path / "in", tmp_path / "s")
    assert report.exit_code == 0  # nothing was lost: the others are no films
    assert list(clips) == ["a.hdf5#test/frames", "a.hdf5#train/frames"]
    notes = {row.name: row.note for row in report.rows if row.status == "ignored"}
    assert notes["a.hdf5#train/masks"] == "named as masks, depth maps or thumbnails"
    assert "float32 values, which have no known range" in notes["a.hdf5#features"]
    assert set(notes) == {f"a.hdf5#{name}" for name in ("train/masks", "features", "labels")}


def test_sixteen_bits_are_scaled_by_the_whole_data_set(tmp_path: Path) -> None:
    values = film(8, 16, 16, dtype=np.uint16)
    values[7, 0, 0] = 4095
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("film", data=values, chunks=(2, 16, 16))
    report, clips = run(tmp_path / "a.h5", tmp_path / "s", colors=1)
    assert "12 bits are used" in report.rows[0].note
    assert np.array_equal(clips["a.h5#film"].reshape(8, 16, 16), ((values.astype(int) * 255 + 2047) // 4095).astype(np.uint8))


def test_a_file_in_an_archive_is_read_there(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["film"] = film(4, 16, 16, 3)
    with zipfile.ZipFile(tmp_path / "in/a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.h5", "a.h5")
    _, clips = run(tmp_path / "in", tmp_path / "s")
    assert np.array_equal(clips["a.zip/a.h5#film"][0], film(4, 16, 16, 3))


def test_a_long_film_is_never_held(tmp_path: Path) -> None:
    """80 MB of frames within 40."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        values = file.create_dataset("film", (400, 256, 256, 3), np.uint8, chunks=(8, 256, 256, 3), compression="gzip")
        for first in range(0, 400, 8):
            values[first : first + 8] = first // 2
    tracemalloc.start()
    report, _ = run(tmp_path / "a.h5", tmp_path / "s")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.rows[0].frames == 400
    assert peak < 40 * 2**20


def test_what_lies_elsewhere_or_claims_too_much_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(4 * 16 * 16))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["film"] = film(4, 16, 16)
    layout = h5py.VirtualLayout((4, 16, 16), np.uint8)
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "film", (4, 16, 16))
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in/a.h5", "w") as file:
        file.create_dataset("external", (4, 16, 16), np.uint8, external=[(str(tmp_path / "secret.bin"), 0, h5py.h5f.UNLIMITED)])
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("bomb", (2**40, 64, 64), np.uint8, chunks=(8, 64, 64))
        file.create_dataset("chunk", (2, 2**15, 2**15), np.uint8, chunks=(1, 2**15, 2**15))[0, 0, 0] = 1
        file["fine"] = film(4, 16, 16)
    report, clips = run(tmp_path / "in", tmp_path / "s")
    assert list(clips) == ["a.h5#fine"]
    notes = {row.name: row.note for row in report.rows}
    assert notes["a.h5#external"] == notes["a.h5#virtual"] == "its values lie in other files, which are not read"
    assert notes["a.h5#bomb"].startswith("claims 4,503,599,627,370,496 bytes of values and has 0")
    assert "a.h5#chunk" in notes


def test_damage_is_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in/a.h5", "w") as file:
        file.create_dataset("film", data=film(12, 16, 16, 3), chunks=(4, 16, 16, 3), compression="gzip", fletcher32=True)
    data = (tmp_path / "in/a.h5").read_bytes()
    (tmp_path / "in/cut.h5").write_bytes(data[: len(data) // 2])
    spoilt = bytearray(data)
    spoilt[-2000:-1000] = bytes(1000)
    (tmp_path / "in/spoilt.h5").write_bytes(bytes(spoilt))
    with h5py.File(tmp_path / "in/none.h5", "w") as file:
        file["numbers"] = np.arange(3.0)
    report, clips = run(tmp_path / "in", tmp_path / "s")
    assert report.exit_code == 1
    notes = {row.name: row.note for row in report.rows}
    assert len(clips["a.h5#film"]) == 3
    assert notes["cut.h5"].startswith("cannot be read as HDF5 (")
    assert "cannot be read as HDF5" in notes["spoilt.h5#film"]
    assert notes["none.h5"].startswith("no data set of it is a film: numbers holds float64 values")
