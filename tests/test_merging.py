"""Stores made in parts are those of one undivided call, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from growreel.cli import main
from growreel.data.store import ClipStore
from growreel.data.writer import StoreWriter
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.merging import Shard, merge
from growreel.preparation.prepare import prepare
from media import block_frames, encode

SIZE = Size(4, 16, 16)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(5):
        encode(folder / f"{number}.mkv", block_frames(9 + number, 16, 16, seed=number), fps=10 + number % 2)
    (folder / "2b.mp4").write_bytes(b"no film")
    return folder


def bytes_of(store: Path) -> dict[str, bytes]:
    return {file.relative_to(store).as_posix(): file.read_bytes() for file in store.rglob("*") if file.is_file()}


def parts_of(films: Path, count: int, **options: object) -> list[Path]:
    parts = []
    for number in range(1, count + 1):
        part = films.parent / f"part{number}"
        prepare(films, part, SIZE, shard=Shard(number, count), workers=0, progress=False, **options)  # type: ignore[arg-type]
        parts.append(part)
    return parts


@pytest.mark.parametrize("options", [{}, {"anonymous": True}, {"holdout": 0.2}])
def test_parts_in_any_order_make_the_undivided_store(films: Path, tmp_path: Path, options: dict[str, object]) -> None:
    whole = prepare(films, tmp_path / "whole", SIZE, workers=0, progress=False, **options)  # type: ignore[arg-type]
    parts = parts_of(films, 3, **options)
    merged = merge(parts[::-1], tmp_path / "merged")
    assert bytes_of(tmp_path / "merged") == bytes_of(tmp_path / "whole")
    assert (merged.clips, merged.exit_code, merged.notes) == (whole.clips, whole.exit_code, whole.notes)
    if options.get("anonymous"):
        assert not any(b"mkv" in (part / "index.json").read_bytes() for part in parts)


def test_a_part_may_be_empty(films: Path, tmp_path: Path) -> None:
    prepare(films, tmp_path / "whole", SIZE, workers=0, progress=False)
    merge(parts_of(films, 8), tmp_path / "merged")
    assert bytes_of(tmp_path / "merged") == bytes_of(tmp_path / "whole")


def test_an_interrupted_merge_goes_on(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(films, tmp_path / "whole", SIZE, workers=0, progress=False)
    parts = parts_of(films, 2)
    calls, finish = list[str](), StoreWriter.finish_source

    def interrupted(self: StoreWriter, key: str, report: object = None, content: str = "") -> None:
        calls.append(key)
        if len(calls) == 4:
            raise KeyboardInterrupt
        finish(self, key, report, content)

    monkeypatch.setattr(StoreWriter, "finish_source", interrupted)
    with pytest.raises(KeyboardInterrupt):
        merge(parts, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    merge(parts, tmp_path / "merged")
    assert calls[4] == calls[3]  # what was finished is not done again
    assert bytes_of(tmp_path / "merged") == bytes_of(tmp_path / "whole")


def test_parts_that_do_not_belong_together_are_refused(films: Path, tmp_path: Path) -> None:
    parts = parts_of(films, 3)
    with pytest.raises(GrowreelError, match="missing: part 2/3"):
        merge([parts[0], parts[2]], tmp_path / "merged")
    with pytest.raises(GrowreelError, match=r"is part 1/3, like .*name each part once"):
        merge([parts[0], parts[0]], tmp_path / "merged")
    prepare(films, parts[1], SIZE, shard=Shard(2, 3), workers=0, progress=False, fit="pad", overwrite=True)
    with pytest.raises(GrowreelError, match="other options"):
        merge(parts, tmp_path / "merged")
    encode(films / "9.mkv", block_frames(9, 16, 16))
    prepare(films, parts[1], SIZE, shard=Shard(2, 3), workers=0, progress=False, overwrite=True)
    with pytest.raises(GrowreelError, match="other files or times"):
        merge(parts, tmp_path / "merged")


def test_a_part_is_no_store_yet(films: Path) -> None:
    (part,) = parts_of(films, 2)[:1]
    with pytest.raises(GrowreelError, match=r"part1: a part of a store, made with --shard; join all parts with growreel merge"):
        ClipStore.open(part)


def test_a_damaged_part_is_refused(films: Path, tmp_path: Path) -> None:
    parts = parts_of(films, 2)
    shard = next((parts[1] / "levels").rglob("*.npy"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(GrowreelError, match="missing or damaged; make this part again"):
        merge(parts, tmp_path / "merged")
    assert not (tmp_path / "merged.partial").exists()


@pytest.mark.parametrize("text", ["0/3", "4/3", "2", "a/b", "1/", "-1/3"])
def test_a_shard_is_i_of_n(text: str) -> None:
    with pytest.raises(GrowreelError, match="is not I/N"):
        Shard.parse(text)


def test_commands(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        command = ["prepare", films, tmp_path / f"p{number}", "--size", SIZE, "--shard", f"{number}/2", "--workers", "0"]
        assert main([str(word) for word in command]) in (0, 1)
    assert main(["merge", str(tmp_path / "p2"), str(tmp_path / "p1"), str(tmp_path / "store")]) == 1
    assert "no film" not in capsys.readouterr().out and (tmp_path / "store/index.json").exists()
    assert main(["merge", str(tmp_path / "p1")]) == 2
    assert "name all parts, then the folder to write" in capsys.readouterr().err


def test_a_writer_killed_at_its_very_end_leaves_nothing(films: Path, tmp_path: Path) -> None:
    """When the store is in place, but the journal not yet removed."""
    prepare(films, tmp_path / "store", SIZE, workers=0, progress=False)
    (tmp_path / "store/journal.jsonl").write_text("{}")
    with pytest.raises(GrowreelError, match="is there already"):
        prepare(films, tmp_path / "store", SIZE, workers=0, progress=False)
    assert "journal.jsonl" not in bytes_of(tmp_path / "store")
