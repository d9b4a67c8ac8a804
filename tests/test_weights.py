"""The weights folder: what is known, how a file gets in, what is refused; and reading arrays without running code."""

from __future__ import annotations

import hashlib
import io
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from growreel.errors import GrowreelError
from growreel.evaluation.extractors import weights
from growreel.evaluation.extractors.arrays import read_arrays

MEAN = np.zeros((3, 16, 128, 171), np.float32)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GROWREEL_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def test_the_folder_is_named_or_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> None:
    assert weights.folder() == folder
    monkeypatch.delenv("GROWREEL_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights.folder() == tmp_path / "growreel" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights.folder() == Path.home() / ".cache" / "growreel" / "weights"


def test_every_known_file_says_where_it_is_from() -> None:
    for known in weights.KNOWN:
        assert known.role in weights.ROLES and known.source and known.license
        assert known.sha256 is None or len(known.sha256) == 64
        assert known.file in weights.table()


def test_a_file_is_added_by_its_name_and_found_by_its_role(tmp_path: Path, folder: Path) -> None:
    assert weights.find("c3d-ucf101-mean") is None
    np.savez(tmp_path / "mean2.npz", mean=MEAN)
    added = weights.add(tmp_path / "mean2.npz")
    assert added.path == folder / "mean2.npz" and weights.find("c3d-ucf101-mean") == added
    assert added.sha256 == hashlib.sha256(added.path.read_bytes()).hexdigest()
    assert added.known is None and "not of a known file" in added.describe()["note"]
    assert not list(folder.glob("*.partial"))


def test_a_file_of_another_name_needs_its_role(tmp_path: Path, folder: Path) -> None:
    np.savez(tmp_path / "other.npz", mean=MEAN)
    with pytest.raises(GrowreelError, match="is no known file; give --role, one of inception-2048"):
        weights.add(tmp_path / "other.npz")
    with pytest.raises(GrowreelError, match="--role nonsense is none"):
        weights.add(tmp_path / "other.npz", "nonsense")
    assert weights.add(tmp_path / "other.npz", "c3d-ucf101-mean").path == folder / "c3d-ucf101-mean.npz"


def test_a_file_that_does_not_fit_its_role_is_refused(tmp_path: Path, folder: Path) -> None:
    np.savez(tmp_path / "mean2.npz", mean=MEAN[:, :2])
    with pytest.raises(GrowreelError, match=r"mean2\.npz: has no array `mean`"):
        weights.add(tmp_path / "mean2.npz")
    torch.save({"a": torch.zeros(1)}, tmp_path / "i3d_pretrained_400.pt")
    with pytest.raises(GrowreelError, match=r"i3d_pretrained_400\.pt: has no array Conv3d_1a_7x7\.conv3d\.weight"):
        weights.add(tmp_path / "i3d_pretrained_400.pt")
    assert not folder.exists()


def test_torchscript_is_not_added(tmp_path: Path) -> None:
    (tmp_path / "i3d_torchscript.pt").write_bytes(b"code")
    with pytest.raises(GrowreelError, match="runs only when named: growreel evaluate --torchscript"):
        weights.add(tmp_path / "i3d_torchscript.pt")


def test_a_changed_file_has_a_new_checksum(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    file.write_bytes(b"one")
    before = weights.identify(file).sha256
    file.write_bytes(b"three")
    assert weights.identify(file).sha256 == hashlib.sha256(b"three").hexdigest() != before
    with pytest.raises(GrowreelError, match="cannot be read"):
        weights.identify(tmp_path / "none.npz")


@pytest.mark.parametrize("good", [True, False])
def test_download_checks_what_came(good: bool, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    content = b"weights"
    known = next(each for each in weights.KNOWN if each.direct)
    digest = hashlib.sha256(content if good else b"others").hexdigest()
    monkeypatch.setattr(weights, "KNOWN", (replace(known, sha256=digest),))
    monkeypatch.setattr(urllib.request, "urlopen", lambda address, timeout: io.BytesIO(content))
    if good:
        found = weights.download(known.role)
        assert found.path == folder / known.file and found.path.read_bytes() == content and found.known is not None
    else:
        with pytest.raises(GrowreelError, match=r"should be .*; it was not kept"):
            weights.download(known.role)
    assert [path.name for path in folder.iterdir()] == ([known.file] if good else [])


def test_download_without_network_or_checksum(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def fail(address: str, timeout: float) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    with pytest.raises(GrowreelError, match="cannot be reached"):
        weights.download("inception-2048")
    with pytest.raises(GrowreelError, match=r"has no published checksum .* growreel weights add FILE"):
        weights.download("c3d-ucf101")
    with pytest.raises(GrowreelError, match="is no known weights file"):
        weights.download("anything")
    assert not list(folder.iterdir())


def test_arrays_are_read_from_three_formats(tmp_path: Path) -> None:
    tensor = torch.arange(3.0)
    np.savez(tmp_path / "a.npz", x=tensor.numpy())
    torch.save({"x": tensor}, tmp_path / "a.pt")
    torch.save({"state_dict": {"x": tensor}, "epoch": 3}, tmp_path / "a.pth")
    save_file({"x": tensor}, tmp_path / "a.safetensors")
    for suffix in ("npz", "pt", "pth", "safetensors"):
        assert torch.equal(read_arrays(tmp_path / f"a.{suffix}")["x"], tensor)


class Trap:
    """Unpickling it would leave a mark."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (Path("trap.txt"), "sprung"))


def test_no_code_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"x": Trap()}, "trap.pt")
    np.savez("trap.npz", x=np.array([Trap()], dtype=object))
    with pytest.raises(GrowreelError, match=r"trap\.pt: holds more than tensors, and growreel runs no code"):
        read_arrays(Path("trap.pt"))
    with pytest.raises(GrowreelError, match=r"trap\.npz: cannot be read"):
        read_arrays(Path("trap.npz"))
    assert not Path("trap.txt").exists()


def test_a_flipped_bit_is_not_another_weight(tmp_path: Path) -> None:
    """PyTorch does not look at the check sums of a state dict's members."""
    file = tmp_path / "x.pt"
    torch.save({"x": torch.full((100,), 1.5)}, file)
    value = torch.tensor(1.5).numpy().tobytes()
    file.write_bytes(file.read_bytes().replace(value, torch.tensor(-1.5).numpy().tobytes(), 1))
    with pytest.raises(GrowreelError, match=r"x\.pt: cannot be read as a weights file \(.*is damaged\)\); get it again"):
        read_arrays(file)


@pytest.mark.parametrize("name", ["x.pt", "x.npz", "x.safetensors", "x.bin", "missing.npz"])
def test_files_that_hold_no_weights_are_refused(name: str, tmp_path: Path) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(GrowreelError, match=name):
        read_arrays(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(GrowreelError, match="is no state dict"):
        read_arrays(tmp_path / "list.pt")
