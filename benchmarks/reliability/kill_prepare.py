"""Kill `growreel prepare` by SIGKILL at random moments, run the same command again, and compare with a store that nobody disturbed.

    python benchmarks/reliability/kill_prepare.py                                # 5 kills
    python benchmarks/reliability/kill_prepare.py --kills 60 --out local.json
    python benchmarks/reliability/kill_prepare.py --kills 40 --engine ray        # each call starts a Ray of its own
    python benchmarks/reliability/kill_prepare.py --kills 20 --engine either     # each call of a store with another engine, by lot

Each store is begun, killed one to `MOST` times, and continued until a call ends by itself. Every second kill comes after a random part of
the time that an undisturbed call takes, the others a random moment after a random number of sources were done: starting takes most of the
time and is the least of what can go wrong. Every second store is made in two parts that are merged, and `merge` is killed too. One of the
sources is no film, and one kills its decoder. What counts: all files are those of the store that a single worker makes, to the byte,
nothing is left beside it, and no process of any of the calls lives on.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

SIZE = "8x32x32"
MOST = 5  # kills of one command
HOSTILE = """
import os, signal
import av
plain = av.open
def opened(source, *rest, **options):
    if "crash" in os.path.basename(str(source)):
        os.kill(os.getpid(), signal.SIGSEGV)
    return plain(source, *rest, **options)
av.open = opened
"""


def make_films(folder: Path, count: int) -> None:
    """Short films of moving noise, one that kills its decoder, and one file that is none."""
    folder.mkdir()
    (folder / "broken.mp4").write_bytes(b"no film")
    for number in range(count):
        frame = np.random.default_rng(number).integers(0, 256, (72, 96, 3), dtype=np.uint8)
        with av.open(str(folder / f"{number:03d}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width, stream.pix_fmt = 72, 96, "yuv420p"
            for step in range(40):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(frame, step, axis=1), format="rgb24")))
            container.mux(stream.encode())
    shutil.copy(folder / "000.mp4", folder / "crash.mp4")


def contents(store: Path) -> dict[str, bytes]:
    return {file.relative_to(store).as_posix(): file.read_bytes() for file in store.rglob("*") if file.is_file()}


class Killer:
    """Starts commands and kills them, as long as there are kills left."""

    def __init__(self, kills: int, engine: str, seed: int, folder: Path) -> None:
        self.left, self.made = kills, 0
        self.moments = Counter[str]()  # how far the calls were that were killed
        self._engine, self._random = engine, random.Random(seed)
        self._token = f"KILL_PREPARE={folder}"
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(HOSTILE)  # read by the processes that decode
        paths = os.pathsep.join([str(site), *(path for path in sys.path if path)])
        self._environment = {**os.environ, "PYTHONPATH": paths, **dict([self._token.split("=", 1)])}
        self._took = dict[tuple[str, str], float]()  # seconds that a call has taken, of a command with an engine

    def run(self, verb: str, arguments: Sequence[str | Path], store: Path, killed: bool = True) -> None:
        """Run `growreel` with these arguments and STORE, again and again, until it ends by itself."""
        wanted = self._random.randint(1, MOST)
        while True:
            engine = self._random.choice(["local", "ray"]) if self._engine == "either" else self._engine
            flags = ["--engine", engine] if verb == "prepare" else []
            command = [sys.executable, "-m", "growreel", verb, *map(str, arguments), *flags]
            began = time.monotonic()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self._environment)
            if killed and self.left and wanted:
                self._wait(process, store, self._took.get((verb, engine), 2.0))
                if process.poll() is None:
                    self.moments[_moment(store)] += 1
                    process.kill()
                    process.communicate()
                    self.left, self.made, wanted = self.left - 1, self.made + 1, wanted - 1
                    continue
            _, error = process.communicate(timeout=300)
            self._took.setdefault((verb, engine), time.monotonic() - began)
            was_done = b"a clip store is there already" in error  # killed when the store was in place
            if process.returncode not in (0, 1) and not was_done:  # 1: a source was skipped, as it should
                raise SystemExit(f"{' '.join(command[2:])}: exit code {process.returncode}: {error.decode()}")
            return

    def _wait(self, process: subprocess.Popen[bytes], store: Path, took: float) -> None:
        """For the moment of the next kill, or the end of the process."""
        if self.made % 2:
            until, wanted = time.monotonic() + self._random.uniform(0, took), -1
        else:
            until, wanted = time.monotonic() + 60, _finished(store) + self._random.randint(1, 4)
        while process.poll() is None and time.monotonic() < until:
            if 0 <= wanted <= _finished(store):
                until, wanted = time.monotonic() + self._random.uniform(0, 0.05), -1
            time.sleep(0.001)

    def survivors(self, patience: float = 120.0) -> list[str]:
        """Commands of processes of all calls that are still there after some seconds."""
        end = time.monotonic() + patience
        while (found := self._alive()) and time.monotonic() < end:
            time.sleep(0.2)
        return found

    def _alive(self) -> list[str]:
        found = []
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdigit() and self._token.encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:  # it has ended, or is another user's
                continue
        return [command for command in found if command]


def _partial(store: Path) -> Path:
    return store.with_name(store.name + ".partial")


def _finished(store: Path) -> int:
    """Sources in the journal of an unfinished store."""
    try:
        return max(0, (_partial(store) / "journal.jsonl").read_bytes().count(b"\n") - 1)
    except OSError:
        return 0


def _moment(store: Path) -> str:
    if store.exists():
        return "in place"
    return "some done" if _finished(store) else "begun" if _partial(store).exists() else "starting"


def survey(folder: Path, kills: int, films: int, engine: str, seed: int) -> dict[str, Any]:
    """Make stores in `folder` until so many calls were killed; return the figures."""
    stores = different = leftovers = 0
    make_films(folder / "films", films)
    killer = Killer(kills, engine, seed, folder)
    source: list[str | Path] = [folder / "films"]
    cutting = ["--size", SIZE, "--workers"]
    undisturbed = folder / "undisturbed"
    single = Killer(0, "local", seed, _made(folder / "single"))
    single.run("prepare", [*source, undisturbed, *cutting, "1"], undisturbed, killed=False)
    right = contents(undisturbed)
    here = folder / "here"
    while killer.left:
        here.mkdir()
        store = here / "store"
        parts = [here / "part1", here / "part2"] if stores % 2 else []
        for number, part in enumerate(parts, start=1):
            killer.run("prepare", [*source, part, *cutting, "2", "--shard", f"{number}/2"], part)
        if parts:
            killer.run("merge", [*parts, store], store)
        else:
            killer.run("prepare", [*source, store, *cutting, "2"], store)
        stores += 1
        if (found := contents(store)) != right:
            different += 1
            print(_difference(found, right), file=sys.stderr)
        leftovers += {entry.name for entry in here.iterdir()} != {"store", *(part.name for part in parts)}
        shutil.rmtree(here)
    figures = {"engine": engine, "kills": killer.made, **{f"while {name}": count for name, count in sorted(killer.moments.items())}}
    return {**figures, "stores": stores, "different": different, "with leftovers": leftovers, "survivors": len(killer.survivors())}


def _difference(found: dict[str, bytes], right: dict[str, bytes]) -> str:
    """Files that are not as they should be, and lines of the index that are not in both."""
    files = sorted(name for name in found.keys() | right.keys() if found.get(name) != right.get(name))
    one, other = (json.dumps(json.loads(each["index.json"]), indent=0).splitlines() for each in (right, found))
    return "\n".join([f"differ: {', '.join(files)}", *difflib.unified_diff(one, other, "undisturbed", "killed", lineterm="", n=1)])


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["local", "ray", "either"], default="local")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = survey(Path(name), options.kills, options.films, options.engine, options.seed)
    print(", ".join(f"{name} {value}" for name, value in figures.items()))
    if options.out:
        options.out.write_text(json.dumps(figures) + "\n")
    return 1 if figures["different"] or figures["with leftovers"] or figures["survivors"] else 0


if __name__ == "__main__":
    sys.exit(main())
