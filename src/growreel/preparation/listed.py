"""Which videos are wanted, and their labels, from a file: CSV, the lists of UCF-101, or a plain list of paths."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from growreel.errors import GrowreelError
from growreel.preparation.sources import Skip, Source

UCF_LIST = re.compile(r"(train|test)(list\d+\.txt)")
UCF_NAME = re.compile(r"v_(\w+)_g(\d+)_c\d+(?:\.\w+)?")
UCF_CLASSES = "classInd.txt"


@dataclass(frozen=True)
class Listed:
    """The videos that a file names, each with its label or None; `sha256` is of the names and labels."""

    path: Path
    labels: dict[str, str | None]
    sha256: str

    def select(self, sources: Sequence[Source]) -> tuple[list[Source], list[Skip]]:
        """The sources that are named, with their labels, and the others as left out; a name's ending may be missing.

        A source without a label in the list keeps the one it has. What is named but not there is a skip that counts. Raises GrowreelError
        if nothing that is named is there.
        """
        chosen, skips, met = list[Source](), list[Skip](), set[str]()
        for source in sources:
            name = next(
                (name for name in (source.name, str(PurePosixPath(source.name or "_").with_suffix(""))) if name in self.labels), None
            )
            if name is None:
                skips.append(Skip(source.name, f"not in {self.path.name}", True))
            else:
                met.add(name)
                chosen.append(replace(source, label=self.labels[name] or source.label))
        missing = [name for name in self.labels if name not in met]
        if sources and not chosen:
            raise GrowreelError(
                f"--list {self.path}: none of its videos is below SOURCE, such as {missing[0]!r}; found is {sources[0].name!r}"
            )
        return chosen, skips + [Skip(name, f"named in {self.path.name}, but not there (or not readable)", False) for name in missing]


def read_list(path: Path) -> Listed:
    """Read a list of videos, paths relative to SOURCE.

    `.csv`: columns video and, if wanted, label. Anything else: a path in each line. The lists of UCF-101 (`trainlist01.txt` with numbers
    of classes, `testlist01.txt` without) are such; labels are names of folders there, compared with `classInd.txt` where it lies beside the
    list, and the other half of the split, where it does, may share no group of videos with it.

    Raises GrowreelError naming the row of what is wrong, or videos of one group in both halves.
    """
    lines = _lines(path)
    labels: dict[str, str | None] = {}
    if path.suffix.lower() == ".csv":
        rows = list(csv.reader(lines))
        header = [cell.strip().lower() for cell in rows[0]] if rows else []
        if "video" not in header:
            raise GrowreelError(f"--list {path}: row 1: has no column video; it needs video, and label if there are labels")
        for number, row in enumerate(rows[1:], start=2):
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise GrowreelError(f"--list {path}: row {number}: has {len(row)} columns, the header {len(header)}")
            label = row[header.index("label")].strip() if "label" in header else ""
            _add(path, number, labels, row[header.index("video")].strip(), label or None)
    else:
        classes = _classes(path)
        for number, line in enumerate(lines, start=1):
            if line.strip():
                _add(path, number, labels, *_ucf_entry(path, number, line.strip(), classes))
        _check_groups(path, labels)
    if not labels:
        raise GrowreelError(f"--list {path}: names no videos")
    facts = "\n".join(f"{name}\0{label}" for name, label in labels.items())
    return Listed(path, labels, hashlib.sha256(facts.encode()).hexdigest())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GrowreelError(f"--list {path}: cannot be read as text in UTF-8 ({error})") from error


def _add(path: Path, row: int, labels: dict[str, str | None], name: str, label: str | None) -> None:
    name = name.removeprefix("./")
    if not name:
        raise GrowreelError(f"--list {path}: row {row}, column video: is empty")
    if labels.get(name, label) != label:
        raise GrowreelError(f"--list {path}: row {row}, column label: {name} is {label!r} here and {labels[name]!r} above")
    labels[name] = label


def _classes(path: Path) -> dict[str, str]:
    """Names by number, of UCF-101's `classInd.txt` beside the list."""
    if not UCF_LIST.fullmatch(path.name) or not (beside := path.with_name(UCF_CLASSES)).is_file():
        return {}
    classes = {}
    for number, line in enumerate(_lines(beside), start=1):
        match line.split():
            case []:
                continue
            case [index, name]:
                classes[index] = name
            case _:
                raise GrowreelError(f"--list {beside}: row {number}: {line!r} is not a number and a class")
    return classes


def _ucf_entry(path: Path, row: int, line: str, classes: dict[str, str]) -> tuple[str, str | None]:
    """Path and label of a line; only the lists of UCF-101 have labels."""
    if not UCF_LIST.fullmatch(path.name):
        return line, None
    name, _, index = line.partition(" ")
    label = name.split("/")[0] if "/" in name else None
    if index and classes and classes.get(index.strip()) != label:
        raise GrowreelError(
            f"--list {path}: row {row}, column 2: class {index} is {classes.get(index.strip())!r}, but the folder is {label!r}"
        )
    return name, label


def _check_groups(path: Path, labels: dict[str, str | None]) -> None:
    """Raise GrowreelError if a group of UCF-101 (videos of one scene and person) is in both halves of a split."""
    match = UCF_LIST.fullmatch(path.name)
    if match is None:
        return
    other = path.with_name(("test" if match[1] == "train" else "train") + match[2])
    if not other.is_file():
        return
    here = {group: name for name in labels if (group := _group(name))}
    for number, line in enumerate(_lines(other), start=1):
        group = _group(line.split(" ")[0])
        if group in here:
            raise GrowreelError(f"--list {path}: {here[group]} is of the same group as row {number} of {other.name}: train and test leak")


def _group(name: str) -> tuple[str, str] | None:
    match = UCF_NAME.fullmatch(PurePosixPath(name).name)
    return (match[1], match[2]) if match else None
