"""Videos and labels by a list."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from growreel.cli import main
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.listed import read_list
from growreel.preparation.prepare import prepare
from media import block_frames, encode, save_strip

SIZE = Size(4, 16, 16)
NAMES = [f"{kind}/v_{kind}_g{group:02d}_c01.avi" for kind in ("Walk", "Run") for group in (1, 8)]


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        encode(tmp_path / "in" / name, block_frames(8, 16, 16, seed=number), codec="mpeg4")
    (tmp_path / "classInd.txt").write_text("1 Walk\n2 Run\n\n")
    (tmp_path / "trainlist01.txt").write_text(f"{NAMES[1]} 1\n{NAMES[3]} 2\n")
    (tmp_path / "testlist01.txt").write_text(f"{NAMES[0]}\r\n{NAMES[2]}\r\n")
    return tmp_path


def labels_of(ucf: Path, file: Path) -> Counter[tuple[str, str | None]]:
    report = prepare(ucf / "in", ucf / "s", SIZE, only=file, workers=0, progress=False, overwrite=True)
    with ClipStore.open(ucf / "s") as store:
        assert report.exit_code == 0
        return Counter((clip.source, None if clip.label is None else store.labels[clip.label]) for clip in store.clips)


@pytest.mark.parametrize(("half", "group"), [("train", 8), ("test", 1)])
def test_the_lists_of_ucf101_as_they_come(ucf: Path, half: str, group: int) -> None:
    found = labels_of(ucf, ucf / f"{half}list01.txt")
    assert found == {(f"{kind}/v_{kind}_g{group:02d}_c01.avi", kind): 2 for kind in ("Walk", "Run")}


def test_labels_from_a_table(ucf: Path) -> None:
    (ucf / "l.csv").write_text(f"label,video\nslow,{NAMES[0]}\n,{NAMES[3].removesuffix('.avi')}\n")
    assert labels_of(ucf, ucf / "l.csv") == {(NAMES[0], "slow"): 2, (NAMES[3], None): 2}


def test_a_plain_list_and_what_is_not_there(ucf: Path) -> None:
    (ucf / "golf.txt").write_text(f"{NAMES[0]}\nmissing 1.jpg\n")
    report = prepare(ucf / "in", ucf / "s", SIZE, only=ucf / "golf.txt", workers=0, progress=False)
    assert (report.clips, report.exit_code, [row.name for row in report.skipped]) == (2, 1, ["missing 1.jpg"])


def test_golf_as_vgan_gives_it(tmp_path: Path) -> None:
    """Vertical strips of square JPEG frames, some of them listed in a text file."""
    for number in range(3):
        path = tmp_path / "golf" / str(number) / "film.mp4" / "0001.jpg"
        path.parent.mkdir(parents=True)
        save_strip(path, block_frames(9, 32, 32, seed=number), vertical=True)
    (tmp_path / "golf.txt").write_text("./2/film.mp4/0001.jpg\n0/film.mp4/0001.jpg\n")
    arguments = ["prepare", tmp_path / "golf", tmp_path / "s", "--size", "4x32x32", "--list", tmp_path / "golf.txt", "--workers", "0"]
    assert main(list(map(str, arguments))) == 0
    with ClipStore.open(tmp_path / "s") as store:
        assert [(clip.source, clip.frame) for clip in store.clips] == [(f"{n}/film.mp4/0001.jpg", k) for n in (0, 2) for k in (0, 4)]
        clips = store.read(range(4), store.size)
    strips = [np.asarray(Image.open(tmp_path / "golf" / f"{n}/film.mp4/0001.jpg")).reshape(9, 32, 32, 3) for n in (0, 2)]
    assert np.array_equal(clips, np.concatenate([strip[:8] for strip in strips]).reshape(clips.shape))


def test_halves_of_a_split_that_leak_are_refused(ucf: Path) -> None:
    (ucf / "testlist01.txt").write_text(NAMES[0] + "\nRun/v_Run_g08_c02.avi\n")
    for half in ("train", "test"):
        with pytest.raises(GrowreelError, match="train and test leak"):
            read_list(ucf / f"{half}list01.txt")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("trainlist01.txt", f"{NAMES[0]} 2\n", "row 1, column 2: class 2 is 'Run', but the folder is 'Walk'"),
        ("x.csv", "path\na\n", "row 1: has no column video"),
        ("x.csv", "video,label\na\n", "row 2: has 1 columns, the header 2"),
        ("x.csv", "video,label\na,b\na,c\n", "row 3, column label: a is 'c' here and 'b' above"),
        ("x.csv", "video,label\n,b\n", "row 2, column video: is empty"),
        ("x.txt", "\n", "names no videos"),
    ],
)
def test_what_is_wrong_with_a_list_is_named(ucf: Path, name: str, text: str, said: str) -> None:
    (ucf / "testlist01.txt").unlink()
    (ucf / name).write_text(text)
    with pytest.raises(GrowreelError) as error:
        read_list(ucf / name)
    assert said in str(error.value)


def test_a_list_of_other_videos_is_refused(ucf: Path) -> None:
    (ucf / "x.txt").write_text("nothing.mp4\n")
    with pytest.raises(GrowreelError, match="none of its videos is below SOURCE"):
        prepare(ucf / "in", ucf / "s", SIZE, only=ucf / "x.txt", workers=0, progress=False)
