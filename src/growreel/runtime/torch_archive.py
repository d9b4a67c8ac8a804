"""What may be unpickled: archives as `torch.save` writes them, looked at before PyTorch opens them.

`weights_only=True` runs no code, but lets a pickle ask for memory by itself (`bytearray(10**10)`), and PyTorch reports damage by whatever
exception it meets. Here the archive's members must fit its length, and its pickle may name nothing but tensors.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from typing import Any

import torch

from growreel.reading.words import plain, shown

NAMES = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        *(f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")),
    }
)
DAMAGE = (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, LookupError, OverflowError, RuntimeError, AttributeError)


class MoreThanTensorsError(ValueError):
    """An archive that is whole, but would have to run code."""


def load_archive(packed: bytes) -> Any:
    """What was saved: tensors, on the CPU, and plain values.

    Raises ValueError with the reason if it is no such archive, is damaged (by the check sums of its members, which PyTorch does not look
    at), or names anything but tensors (MoreThanTensorsError). MemoryError and PyTorch's RuntimeError for it are passed on.
    """
    checked = _checked(packed)
    try:
        return torch.load(io.BytesIO(checked), map_location="cpu", weights_only=True)
    except (MemoryError, OSError):
        raise
    except RuntimeError as error:
        if "memory" in str(error):
            raise
        raise ValueError(plain(error)) from error
    except Exception as error:
        raise ValueError(plain(error) or type(error).__name__) from error


def _checked(packed: bytes) -> bytes:
    """The archive, written anew from its members as their check sums have them: PyTorch believes a damaged table of contents otherwise."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            members = archive.infolist()
            if any(info.filename.endswith("/constants.pkl") for info in members):
                raise MoreThanTensorsError("it is a TorchScript archive")
            if any(info.compress_type != zipfile.ZIP_STORED for info in members) or sum(info.file_size for info in members) > len(packed):
                raise ValueError("its parts do not fit its length")
            if (bad := archive.testzip()) is not None:
                raise ValueError(f"{shown(bad)} is damaged")
            pickles = [info.filename for info in members if info.filename.endswith("/data.pkl")]
            if len(pickles) != 1 or len({info.filename for info in members}) < len(members):
                raise ValueError("it is no archive of torch.save")
            contents = {info.filename: archive.read(info) for info in members}
    except MoreThanTensorsError:
        raise
    except DAMAGE as error:
        raise ValueError(f"it is cut short or damaged ({plain(error) or type(error).__name__})") from error
    try:
        _check_pickle(contents[pickles[0]])
    except MoreThanTensorsError:
        raise
    except DAMAGE as error:
        raise ValueError(plain(error) or type(error).__name__) from error
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as anew:
        for name, content in contents.items():
            anew.writestr(zipfile.ZipInfo(name), content)
    return written.getvalue()


def _check_pickle(data: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL" and argument not in NAMES:
            raise MoreThanTensorsError(f"it names {shown(argument)}, which is neither a tensor nor a plain value")
        if opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"):
            raise MoreThanTensorsError(f"it has {opcode.name}, which torch.save does not write")
