"""Copies are found, and what is wrong with a store is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from growreel.cli import main
from growreel.data.duplicates import Pair, find_duplicates, sources_together
from growreel.data.store import ClipStore
from growreel.data.survey import survey
from growreel.data.writer import StoreWriter
from growreel.growth import Size
from media import block_frames, encode

SIZE = Size(4, 32, 32)


def store_of(path: Path, films: dict[str, NDArray[np.uint8]], label: str | None = None) -> ClipStore:
    with StoreWriter(path, SIZE, 3, options={}) as writer:
        for name, frames in films.items():
            for start in range(0, len(frames), 4):
                writer.append(frames[start : start + 4], source=name, frame=start, label=label)
            writer.finish_source(name)
        writer.finish(fps=25)
    return ClipStore.open(path)


def film(seed: int) -> NDArray[np.uint8]:
    """Soft patches, as in pictures of things: uint8 [4, 32, 32, 3]."""
    patches = np.random.default_rng(seed).integers(30, 226, (4, 8, 8, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(each).resize((32, 32), Image.Resampling.BICUBIC)) for each in patches])


def noisy(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).normal(0, 6, frames.shape)
    return np.clip(frames * 0.9 + 8 + noise, 0, 255).astype(np.uint8)


def test_copies_and_mirrored_twins_are_found_and_no_others(tmp_path: Path) -> None:
    films = {"a": film(1), "b": film(2), "copy": noisy(film(1)), "twin": film(2)[:, :, ::-1], **{f"c{n}": film(10 + n) for n in range(30)}}
    with store_of(tmp_path / "s", films) as store:
        pairs = find_duplicates(store)
        assert [(pair.first, pair.second, pair.mirrored) for pair in pairs] == [(0, 2, False), (1, 3, True)]
        groups = sources_together(store, pairs)
    assert (groups["copy"], groups["twin"], groups["c7"]) == ("a", "b", "c7")


def test_a_chain_of_copies_is_one_group(tmp_path: Path) -> None:
    with store_of(tmp_path / "s", {name: film(n) for n, name in enumerate("dcba")}) as store:
        assert set(sources_together(store, [Pair(0, 1, 0, False), Pair(2, 3, 0, False), Pair(1, 2, 0, False)]).values()) == {"a"}


def test_black_films_are_no_copies_and_clips_of_one_film_neither(tmp_path: Path) -> None:
    black = np.zeros((4, 32, 32, 3), np.uint8)
    with store_of(tmp_path / "s", {"a": black, "b": black, "c": np.concatenate([film(1), film(1)])}) as store:
        assert find_duplicates(store) == []


def test_what_a_practitioner_would_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = film(1)[:1].repeat(4, axis=0)
    films = {"still": np.concatenate([still] * 8), "dark": film(3) // 16, "copy": film(1)[:1].repeat(4, axis=0), "moving": film(4)}
    with store_of(tmp_path / "s", films) as store:
        found = survey(store)
        assert found.motion[:8].max() == 0 < found.motion[-1]
        assert np.isclose(found.brightness[-1], film(4).mean(), atol=1)
    said = "\n".join(found.warnings)
    for words in ("only 11 clips", "82% of the clips hardly move", "one video gives 73% of the clips (still)", "2 videos show nearly what"):
        assert words in said
    assert main(["inspect", str(tmp_path / "s")]) == 0
    printed = capsys.readouterr().out
    assert "warning: 82% of the clips hardly move" in printed and "duplicates: copy, still\n" in printed
    assert "still 0, still 4, still 8, still 12, still 16, still 20, still 24, still 28, dark 0, copy 0, moving 0" in " ".join(
        printed.split()
    ), "the rows of the sheet are named"


def test_what_clips_should_not_have(tmp_path: Path) -> None:
    """Each flaw in clips of its own, found there and nowhere else."""
    moving = np.concatenate([film(20)[:1] // 2 + 64 + 8 * k for k in range(4)])  # grows brighter step by step
    barred, grey = moving.copy(), moving.copy()
    barred[:, :4] = barred[:, -4:] = 16
    grey[:] = grey.mean(axis=-1, keepdims=True)
    films = {
        "fine": moving,
        "cut": np.concatenate([film(21)[:1]] * 2 + [film(22)[:1]] * 2),
        "slow": moving[[0, 0, 2, 2]],
        "bars": barred,
        "one edge": np.concatenate([barred[:, :16], moving[:, 16:]], axis=1),
        "grey": grey,
    }
    with store_of(tmp_path / "s", films) as store:
        found, names = survey(store), [clip.source for clip in store.clips]
    flaws = {"cut": found.cuts, "slow": found.repeats, "bars": found.bars, "grey": found.grey}
    assert {flaw: [name for name, has in zip(names, clips, strict=True) if has] for flaw, clips in flaws.items()} == {
        flaw: [flaw] for flaw in flaws
    }
    said = "\n".join(found.warnings)
    for words in ("17% of the clips seem to hold a cut", "17% of the clips repeat frames", "17% of the clips have black bars"):
        assert words in said
    assert "no colours" not in said, "one clip of six may be grey"
    assert found.facts()["with_cuts"] == found.facts()["without_colour"] == 1


def test_rates_that_differ_are_kept_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for number, fps in enumerate((10, 10, 25)):
        encode(tmp_path / "in" / f"{number}.mkv", block_frames(8, 32, 32, seed=number), fps=fps, codec="ffv1", pix_fmt="bgr0")
    for flags, rates in (([], ((10.0, 4), (25.0, 2))), (["--fps", "5"], ((5.0, 2),))):
        arguments = ["prepare", tmp_path / "in", tmp_path / "s", "--size", "4x32x32", "--workers", "0", "--overwrite", *flags]
        assert main(list(map(str, arguments))) == (0 if not flags else 1)
        with ClipStore.open(tmp_path / "s") as store:
            assert store.rates == rates
        assert main(["inspect", str(tmp_path / "s")]) == 0
        printed = capsys.readouterr().out
        assert ("rates differ (10, 25 frames per second): motion will be mixed" in printed) == (not flags)
        assert ("rates     4 clips at 10, 2 clips at 25" in printed) == (not flags)


def test_a_good_store_gets_no_warning(tmp_path: Path) -> None:
    with store_of(tmp_path / "s", {f"{n}": film(n) for n in range(200)}) as store:
        assert survey(store).warnings == ()
