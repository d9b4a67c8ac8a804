"""What is passed on - stores, runs, samples, cards, reports, models - says nothing of whose machine it was."""

from __future__ import annotations

import base64
import io
import json
import platform
import socket
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from conftest import tiny_config
from growreel.cli import main
from growreel.config import to_yaml
from media import block_frames
from telltale import telling

SECRET = b"telltale"
PRIVATE = {"run/local.json"}  # of docs/sharing.md


def films(folder: Path) -> None:
    """Videos with a title, an artist and a place; photos with EXIF and GPS; one file that cannot be read."""
    folder.mkdir(parents=True)
    for number in range(4):
        with av.open(str(folder / f"film{number}.mp4"), "w") as container:
            container.metadata.update({"artist": "telltale-user", "title": "telltale-title", "location": "+48.0000+011.0000/"})
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
            for frame in block_frames(16, 32, 32, seed=number):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    (folder / "photos").mkdir()
    for number, frame in enumerate(block_frames(4, 32, 32, seed=9)):
        exif = Image.Exif()
        exif[0x013B] = "telltale-user"
        exif.get_ifd(0x8825)[29] = "telltale-day"
        Image.fromarray(frame).save(folder / "photos" / f"{number}.jpg", exif=exif)
    (folder / "broken.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(80))
    (folder / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(80))


def test_nothing_that_is_passed_on_tells_whose_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From films to a report, in a folder whose name tells and on a machine whose name does."""
    monkeypatch.setattr(socket, "gethostname", lambda: "telltale-host")
    monkeypatch.setattr(platform, "node", lambda: "telltale-host")
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, "telltale-user")
    home = tmp_path / "telltale-home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GROWREEL_WEIGHTS", str(home / "weights"))
    source, out = home / "films", home / "out"
    films(source)
    out.mkdir()
    monkeypatch.chdir(out)

    def growreel(*arguments: object, code: int = 0) -> None:
        monkeypatch.setattr("sys.argv", [str(home / "bin" / "growreel"), *map(str, arguments)])
        assert main([str(each) for each in arguments]) == code

    growreel("prepare", source, out / "store", "--size", "4x8x8", "--workers", "1", code=1)
    growreel("prepare", source, out / "hidden", "--size", "4x8x8", "--workers", "0", "--anonymous", code=1)
    growreel("prepare", source, out / "part", "--size", "4x8x8", "--workers", "0", "--shard", "1/2", code=1)
    for store in ("store", "hidden"):
        growreel("inspect", out / store)
    (home / "config.yaml").write_text(to_yaml(tiny_config(clips=44)))
    growreel("train", out / "store", "--out", out / "run", "--config", home / "config.yaml")
    for suffix in ("mp4", "webp", "gif", "png", "npy"):
        growreel("sample", out / "run", "--count", 2, "--out", out / f"clips.{suffix}")
    growreel("report", out / "run")  # without a card it says how to make one
    assert telling(out / "run", SECRET) == {"local.json"}
    card = ["--metrics", "motion,fvd", "--clips", 8, "--resamples", 0, "--card"]
    growreel("evaluate", out / "run", "--real", out / "store", *card, out / "run" / "card.json", code=1)
    growreel(
        "evaluate", out / "clips.npy", "--real", out / "store", "--split", "all", *card[:3], 2, *card[4:], out / "clips.card.json", code=1
    )
    growreel("report", out / "run")
    growreel("push", out / "run", "--folder", out / "pushed", "--license", "mit")

    assert telling(out, SECRET, b"+48.0000", str(tmp_path).lower().encode()) == PRIVATE
    assert telling(out / "hidden", b"film", b"photos", b"broken") == set()
    assert json.loads((out / "run" / "card.json").read_text())["real"]["path"] == "store"
    assert "growreel train store --out run-again" in (out / "run" / "report.html").read_text()


def test_what_is_packed_is_found(tmp_path: Path) -> None:
    """The test above would see it: in archives, in PNGs, in addresses that hold data, in names of files."""
    np.savez_compressed(tmp_path / "a.npz", telltale=np.arange(9))
    picture = io.BytesIO()
    info = PngInfo()
    info.add_text("Comment", "telltale " * 40, zip=True)
    Image.new("L", (8, 8)).save(picture, "PNG", pnginfo=info)
    (tmp_path / "b.png").write_bytes(picture.getvalue())
    (tmp_path / "c.html").write_bytes(b"data:image/png;base64," + base64.b64encode(picture.getvalue()))
    (tmp_path / "d-telltale").write_bytes(b"")
    (tmp_path / "e").write_bytes(b"nothing")
    assert telling(tmp_path, SECRET) == {"a.npz", "b.png", "c.html", "d-telltale"}
