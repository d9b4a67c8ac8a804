"""Names of sources that say nothing: for stores that are passed on."""

from __future__ import annotations

import hashlib

from growreel.errors import GrowreelError
from growreel.preparation.sources import Source
from growreel.video.archives import MediaFile

SAMPLE = 2**16  # bytes at each end of a file that its new name is made of


class StoredNames:
    """The names under which the clips of a source are stored: its own, or one made of its content.

    A made name is 16 hexadecimal digits, the same for the same film, so that splits by source hold across stores. It is no digest of
    the old name: whoever guesses that could tell.
    """

    def __init__(self, source: Source, anonymous: bool) -> None:
        self._source, self._made = source, anonymous_name(source) if anonymous else source.name

    def of(self, name: str) -> str:
        """The stored form of the source's name or of one of its tiles (`name#r1c2`)."""
        return self._made + name.removeprefix(self._source.name)


def anonymous_name(source: Source) -> str:
    """A name made of sizes, beginnings and ends of a source's files."""
    digest = hashlib.sha256(f"{source.kind}|{source.part}".encode())
    for file in source.files:
        try:
            digest.update(_sample(file))
        except (GrowreelError, OSError):
            digest.update(b"unreadable")
    return digest.hexdigest()[:16]


def _sample(file: MediaFile) -> bytes:
    with file.opened() as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        start = stream.read(SAMPLE)
        stream.seek(max(0, size - SAMPLE))
        return f"{size}|".encode() + start + stream.read(SAMPLE)
