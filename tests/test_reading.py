"""The readers of headers, one rule each: what they refuse, in which words, and that they take no time or memory over it."""

from __future__ import annotations

import io
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from growreel.config import load_config
from growreel.errors import GrowreelError
from growreel.evaluation.extractors.arrays import read_arrays
from growreel.reading.files import read_file
from growreel.reading.json_tree import parse_json
from growreel.reading.npy import open_array, read_header
from growreel.reading.words import shown
from growreel.reading.yaml_tree import parse_yaml
from growreel.runtime.torch_archive import load_archive

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(f"{n}: &{n} [{', '.join(['*' + p] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi"))  # noqa: B905


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"training: {{}}\n{BOMB}", "line 2: aliases and anchors are not read"),
        ("training:\n  seed: *a\n", "line 2: aliases and anchors are not read"),
        ("training:\n  <<: {seed: 1}\n", "line 2: merge keys"),
        ("training:\n  seed: 1\n  seed: 2\n", "line 3: key 'seed' is there twice"),
        ("training: !!python/name:os.system x\n", "line 1: the tag 'tag:yaml.org,2002:python/name:os.system' is not read"),
        ("training:\n  seed: " + "[" * 20_000, "line 2: nested more than 12 levels deep"),
        ("? [a]\n: 1\n", "a key is no plain word"),
        ("seed: 0b_\n", "invalid literal"),
        ("x: y\n" * 20_000, "it has 100,000 bytes; a configuration has at most 65,536"),
        ("a: \x07\n", "is not YAML"),
    ],
)
def test_yaml_that_is_more_than_values_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    started = time.perf_counter()
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(GrowreelError) as caught:
        load_config(tmp_path / "c.yaml")
    assert message.replace("it has 100,000 bytes; a configuration has", "has 100,000 bytes;") in str(caught.value)
    assert "c.yaml: " in str(caught.value) and len(str(caught.value)) < 600
    assert time.perf_counter() - started < 2


def test_what_yaml_may_say() -> None:
    assert parse_yaml("a: [1, 2.5, on, null, text]\nb: {c: '2001-01-01', d: 2001-01-01}\n") == {
        "a": [1, 2.5, True, None, "text"],
        "b": {"c": "2001-01-01", "d": "2001-01-01"},
    }
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "key 'a' is there twice"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": 99999999999999999999}', "too many digits"),
        ('{"a": ' + "9" * 5000 + "}", "too many digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a"', "Expecting"),
        (b"\xff\xfe\xff", "codec"),
    ],
)
def test_json_that_readers_would_take_in_several_ways(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def npy(header: str, values: bytes = b"\0" * 16) -> bytes:
    packed = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(packed).to_bytes(2, "little") + packed + values


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387903, 9), }"), "it should have"),
        (npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 9), }"), "it should have 18 bytes of values, has 16"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }"), "'|O', not plain numbers"),
        (npy("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (2,), }"), "not plain numbers"),
        (npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-2,), }"), r"its shape is \(-2,\)"),
        (npy("{'descr': '|u1', 'fortran_order': False, 'shape': " + "(" * 2000), "its header is"),
        (npy("__import__('os').system('true')"), "its header is"),
        (npy("{'descr': '|S0', 'fortran_order': False, 'shape': (2,), }"), "which has no bytes"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "a header|its header has 4,294,967,295 bytes"),
        (b"\x93NUMPY\x09\x00", "version 9.0"),
        (b"", "it is no .npy file"),
    ],
)
def test_array_headers_are_data(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(GrowreelError, match=rf"x.npy: cannot be read as an array \(.*({message}).*\); give clips"):
        open_array(tmp_path / "x.npy", "give clips")


def test_arrays_of_numpy_and_of_others_are_read(tmp_path: Path) -> None:
    for array in (np.arange(6, dtype="<u2").reshape(2, 3), np.asfortranarray(np.ones((3, 2), ">f8")), np.zeros((0, 3)), np.array(1.5)):
        np.save(tmp_path / "x.npy", array)
        read = open_array(tmp_path / "x.npy", "")
        assert read.dtype == array.dtype and np.array_equal(read, array)
    other = io.BytesIO(npy("{'shape':(2L, 3L),'fortran_order':False,'descr':'<f4'}"))  # order, spaces and longs of other writers
    assert read_header(other).shape == (2, 3)


def test_a_weights_archive_holds_no_more_than_it_says(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000), }"))
    with pytest.raises(GrowreelError, match=r"w.npz: .*'a.npy' claims 80,000,000,000 bytes"):
        read_arrays(tmp_path / "w.npz")


class Asks:
    """Asks for memory while it is unpickled, which `weights_only=True` allows."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return bytearray, (10**9,)


def test_a_pickle_names_nothing_but_tensors() -> None:
    for value, message in ((Asks(), "it names '__builtin__ bytearray', which is neither"), ({1: os.system}, "system")):
        packed = io.BytesIO()
        torch.save({"x": value}, packed)
        with pytest.raises(ValueError, match=message):
            load_archive(packed.getvalue())
    packed = io.BytesIO()
    torch.save({"x": torch.ones(2), "y": torch.nn.Parameter(torch.ones(1, dtype=torch.float64)), "z": [1, "a", None, 2.5]}, packed)
    assert torch.equal(load_archive(packed.getvalue())["x"], torch.ones(2))


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "socket-like").symlink_to("/dev/null")
    (tmp_path / "large").write_bytes(b"x" * 11)
    for name, message in (("pipe", "is a pipe"), ("socket-like", "is a device"), (".", "is a folder"), ("none", "No such file")):
        with pytest.raises(GrowreelError, match=message):
            read_file(tmp_path / name)
    with pytest.raises(GrowreelError, match="has 11 bytes; at most 10"):
        read_file(tmp_path / "large", 10)
    with pytest.raises(GrowreelError, match="is no name of a file"):
        read_file(Path("a\0b"))


def test_values_are_shown_short_and_harmless() -> None:
    assert shown("x" * 10**6).startswith("'xxx") and len(shown("x" * 10**6)) < 100
    assert shown("\x1b[2J\u202e") == r"'\x1b[2J\u202e'"
    assert shown(10**5000) == "an integer of 16,610 bits"
    assert len(shown([[["y" * 99] * 99] * 99] * 99)) <= 300
