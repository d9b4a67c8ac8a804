"""The header of a model file: read and checked before a byte of weights is.

A model file is a safetensors file, https://github.com/huggingface/safetensors: eight bytes of length, a JSON header, the values. In the
header's metadata are the configuration, the place in the plan, and a sha256 of everything else in the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from growreel.errors import GrowreelError
from growreel.reading.faults import why
from growreel.reading.files import open_file
from growreel.reading.json_tree import parse_json
from growreel.reading.structure import StructureError, Within, convert
from growreel.reading.words import plain, shown

FORMAT = "growreel-generator-2"
FORMAT_WITHOUT_CHECKSUM = "growreel-generator-1"
DISCRIMINATOR_FORMAT = "growreel-discriminator-1"
DISCRIMINATOR = ".discriminator.safetensors"
CHECKSUM = "sha256"
METADATA = "__metadata__"
MOST_HEADER_BYTES = 2**20
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
Whole = Annotated[int, Within(0, 2**62)]


@dataclass(frozen=True)
class TensorEntry:
    """What the header says of a tensor: its type, its shape, and where its values begin and end, counted from the end of the header."""

    dtype: Literal["F64", "F32", "F16", "BF16"]
    shape: Annotated[tuple[Whole, ...], Within(0, 8)]
    data_offsets: tuple[Whole, Whole]


@dataclass(frozen=True)
class ModelHeader:
    """The header of a model file: `metadata`, its texts by name, and `tensors`, its entries by name."""

    metadata: dict[str, str]
    tensors: dict[str, TensorEntry]


def read_header(path: Path, formats: Sequence[str] = (FORMAT, FORMAT_WITHOUT_CHECKSUM)) -> ModelHeader:
    """Read the header of a model file of one of these formats, once its checksum has been compared with the contents of the whole file.

    The tensors that it lists have the bytes of the file, all of them and each once.

    Raises GrowreelError if the file cannot be read, is no model file of growreel, or its contents have another checksum. Files that
    growreel 0.1 wrote have none.
    """
    try:
        with open_file(path) as file:
            return _read(path, file, formats)
    except OSError as error:
        raise GrowreelError(f"{path}: cannot be read ({why(error)})") from error
    except (StructureError, ValueError) as error:
        if isinstance(error, GrowreelError) and not isinstance(error, StructureError):
            raise
        raise GrowreelError(f"{path}: is not a growreel model file ({plain(error)}); give a .safetensors file from RUN/models") from error


def discriminator_file(model: Path) -> Path:
    """Where the discriminator of a model file lies, if it is passed on with it (`growreel.training.initial`)."""
    return model.with_name(model.name.removesuffix(".safetensors") + DISCRIMINATOR)


def packed_header(tree: Mapping[str, Any]) -> bytes:
    """The beginning of a safetensors file: length and JSON, in one order, padded so that the weights begin at a multiple of 8."""
    ordered = {
        METADATA: dict(sorted(tree[METADATA].items())),
        **{name: tree[name] for name in sorted(tree) if name != METADATA},
    }
    text = json.dumps(ordered, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _read(path: Path, file: BinaryIO, formats: Sequence[str]) -> ModelHeader:
    whole = os.fstat(file.fileno()).st_size
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= min(MOST_HEADER_BYTES, whole - 8):
        raise ValueError(f"a file of {whole:,} bytes with a header of {length:,}")
    packed = file.read(length)
    tree = parse_json(packed.decode())
    if not isinstance(tree, dict):
        raise ValueError(f"its header is {shown(tree)}")
    metadata = convert(tree.get(METADATA, {}), dict[str, str], METADATA)
    name = metadata.get("format")
    if name not in formats:
        raise GrowreelError(f"{path}: is a safetensors file of format {shown(name)}, not {formats[0]!r}; give one from RUN/models")
    if name != FORMAT_WITHOUT_CHECKSUM or CHECKSUM in metadata:
        _compare(path, tree, start + packed, file)
    tensors = {key: convert(entry, TensorEntry, shown(key)) for key, entry in tree.items() if key != METADATA}
    _check_places(tensors, whole - 8 - length)
    return ModelHeader(metadata, tensors)


def _check_places(tensors: Mapping[str, TensorEntry], available: int) -> None:
    """Values follow one another without gaps or overlaps, each tensor has as many bytes as its shape needs, and they end with the file."""
    end = 0
    for name, entry in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        first, last = entry.data_offsets
        if first != end or last - first != math.prod(entry.shape) * BYTES[entry.dtype]:
            raise ValueError(f"{shown(name)} of shape {shown(list(entry.shape))} has its values from {first:,} to {last:,}")
        end = last
    if end != available:
        raise ValueError(f"its header speaks of {end:,} bytes of values, it has {available:,}")


def _compare(path: Path, tree: dict[str, Any], packed: bytes, rest: BinaryIO) -> None:
    """Compare a file with the checksum in its header, which is of all but itself."""
    metadata = dict(tree[METADATA])
    expected = metadata.pop(CHECKSUM, None)
    try:
        digest = hashlib.sha256(packed_header({**tree, METADATA: metadata}))
        intact = packed == packed_header(tree)
    except UnicodeEncodeError:  # half of a surrogate pair is JSON, but no text
        intact = False
    if intact:
        while block := rest.read(2**20):
            digest.update(block)
    if not intact or digest.hexdigest() != expected:
        raise GrowreelError(f"{path}: is damaged: its checksum is not that of its contents; restore it from a copy or give another file")
