"""Files on the disk and files inside archives (zip, tar), read where they lie: nothing is ever unpacked into a folder."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Literal

from growreel.errors import GrowreelError
from growreel.reading.faults import why
from growreel.reading.files import open_file
from growreel.reading.words import plain

IN_MEMORY = 64 * 2**20  # a compressed member up to this size is held in memory while it is read, a larger one in a temporary file
MAX_RATIO = 200  # a member that unpacks to more times its size is refused, if it is
BOMB_BYTES = 100 * 2**20  # larger than this
MAX_MEMBERS = 1_000_000
MAX_PACKED_TAR = 2**30  # bytes that a compressed tar may unpack to: to reach a member, all before it is unpacked
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
TAR_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
UNPACKING_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """A file inside an archive.

    Attributes:
        name: as the archive spells it.
        kind: of the archive.
        offset: where its bytes begin, in the archive file or, for a compressed tar, in what it unpacks to.
        size: bytes, unpacked.
        stored: its bytes lie in the archive as they are.
    """

    name: str
    kind: Literal["zip", "tar"]
    offset: int
    size: int
    stored: bool


@dataclass(frozen=True)
class MediaFile:
    """A file to be read: `path` itself, or a member of the archive at `path`."""

    path: Path
    member: Member | None = None

    def __str__(self) -> str:
        return f"{self.path}/{self.member.name}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The last part of its name."""
        return PurePosixPath(self.member.name).name if self.member else self.path.name

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix.lower()

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """A seekable binary stream. Raises GrowreelError if it cannot be read or unpacked."""
        try:
            stream = open_file(self.path) if self.member is None else _open_member(self.path, self.member)
        except GrowreelError:
            raise
        except OSError as error:
            if error.errno is None:  # gzip and bz2 report damage so
                raise GrowreelError(f"{self}: cannot be unpacked ({plain(error)})") from error
            raise GrowreelError(f"{self}: cannot be read ({why(error)})") from error
        except UNPACKING_ERRORS as error:
            raise GrowreelError(f"{self}: cannot be unpacked ({error})") from error
        with stream:
            yield stream

    @contextmanager
    def opened_for_ffmpeg(self) -> Iterator[str | BinaryIO]:
        """What `av.open` takes: FFmpeg opens files of the disk itself."""
        if self.member is None:
            yield os.fspath(self.path)
            return
        with self.opened() as stream:
            yield stream

    def stat_key(self) -> str:
        """Size, time and place: another key means other content."""
        status = self.path.stat()
        inside = f":{self.member.name}:{self.member.offset}:{self.member.size}" if self.member else ""
        return f"{status.st_size}:{status.st_mtime_ns}{inside}"


def as_file(path: str | os.PathLike[str] | MediaFile) -> MediaFile:
    return path if isinstance(path, MediaFile) else MediaFile(Path(path))


class _Slice(io.RawIOBase):
    """A part of an open file, as a file of its own."""

    def __init__(self, stream: BinaryIO, offset: int, size: int) -> None:
        self._stream, self._offset, self._size, self._at = stream, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(0, self._size - self._at))
        self._stream.seek(self._offset + self._at)
        data = self._stream.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _open_member(path: Path, member: Member) -> BinaryIO:
    if member.stored:
        return io.BufferedReader(_Slice(open(path, "rb"), member.offset, member.size), 2**18)
    whole: IO[bytes] = io.BytesIO() if member.size <= IN_MEMORY else tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    if member.kind == "zip":
        with zipfile.ZipFile(path) as archive, archive.open(member.name) as packed:
            _copy(packed, whole, member.size)
    else:
        packed = _unpacked_tar(path, path.stat().st_mtime_ns)
        packed.seek(member.offset)
        _copy(packed, whole, member.size)
    whole.seek(0)
    return whole  # type: ignore[return-value]


def _copy(packed: IO[bytes], whole: IO[bytes], size: int) -> None:
    """Copy `size` bytes and no more, whatever the archive would still give."""
    while size > 0:
        chunk = packed.read(min(size, 2**20))
        if not chunk:
            raise EOFError("it ends too early")
        whole.write(chunk)
        size -= len(chunk)


@lru_cache(maxsize=1)
def _unpacked_tar(path: Path, changed: int) -> IO[bytes]:
    """The stream that a compressed tar unpacks to, kept open: members are mostly wanted in the order in which they lie."""
    with open(path, "rb") as stream:
        start = stream.read(6)
    opener = next(opener for magic, opener in TAR_OPENERS.items() if start.startswith(magic))
    opened: IO[bytes] = opener(path, "rb")
    return opened


def is_archive_name(name: str) -> bool:
    """Whether a file is to be looked into. By its name: many formats are zip files inside, and their pictures are no films."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def list_archive(path: Path) -> tuple[list[Member], list[tuple[str, str]]]:
    """The files of an archive that may be read, and the others: name and reason.

    Refused are names that lead out of the archive, links, encrypted files, and members that unpack to `MAX_RATIO` times their size.
    Nothing is written anywhere, so such a name could do no harm; but who made it meant no good, and it is no place for clips.

    Raises:
        GrowreelError: if it is no archive, or damaged, or has more than `MAX_MEMBERS` files.
    """
    try:
        return _list_zip(path) if path.suffix.lower() == ".zip" else _list_tar(path)
    except UNPACKING_ERRORS as error:
        raise GrowreelError(f"{path}: no archive, or a damaged one ({error})") from error


def _list_zip(path: Path) -> tuple[list[Member], list[tuple[str, str]]]:
    members, refused = list[Member](), list[tuple[str, str]]()
    with zipfile.ZipFile(path) as archive, open(path, "rb") as raw:
        infos = archive.infolist()
        _check_count(path, len(infos))
        for info in infos:
            if info.is_dir():
                continue
            link = (info.external_attr >> 16) & 0o170000 == 0o120000
            if reason := _unsafe(info.filename, link=link, size=info.file_size, packed=info.compress_size):
                refused.append((info.filename, reason))
            elif info.flag_bits & 1:
                refused.append((info.filename, "encrypted; unpack it yourself"))
            else:
                stored = info.compress_type == zipfile.ZIP_STORED
                members.append(Member(info.filename, "zip", _data_offset(raw, info) if stored else 0, info.file_size, stored))
    return members, refused


def _data_offset(raw: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: after its local header, whose name and extra field have lengths of their own."""
    raw.seek(info.header_offset + 26)
    lengths = raw.read(4)
    return info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")


def _list_tar(path: Path) -> tuple[list[Member], list[tuple[str, str]]]:
    members, refused = list[Member](), list[tuple[str, str]]()
    with open(path, "rb") as stream:
        plain = not stream.read(6).startswith(tuple(TAR_OPENERS))
    packed = path.stat().st_size
    with tarfile.open(path, "r:" if plain else "r:*") as archive:
        for count, info in enumerate(archive):
            _check_count(path, count)
            if not plain and info.offset_data + info.size > MAX_PACKED_TAR:
                refused.append((info.name, "it and what follows: a compressed tar is read up to 1 GiB; make it a plain .tar"))
                break
            if info.isdir():
                continue
            if reason := _unsafe(info.name, link=not info.isreg(), size=info.size, packed=info.size if plain else packed):
                refused.append((info.name, reason))
            elif plain and info.offset_data + info.size > packed:
                refused.append((info.name, "the archive ends before it does"))
            else:
                members.append(Member(info.name, "tar", info.offset_data, info.size, plain and not info.issparse()))
    return members, refused


def _check_count(path: Path, count: int) -> None:
    if count > MAX_MEMBERS:
        raise GrowreelError(f"{path}: more than {MAX_MEMBERS:,} files in one archive are not read; unpack it")


def _unsafe(name: str, *, link: bool, size: int, packed: int) -> str | None:
    """Why a member is not read, or None."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0] or "\0" in name:
        return "a name that leads out of the archive"
    if link:
        return "a link inside an archive"
    if size > BOMB_BYTES and size > MAX_RATIO * max(packed, 1):
        return f"unpacks to {size / max(packed, 1):,.0f} times its size"
    return None
