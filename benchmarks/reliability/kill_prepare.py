"""Kill `growreel prepare` by SIGKILL at random moments, run the same command again, and compare with a store that nobody disturbed.

    python benchmarks/reliability/kill_prepare.py                  # 5 kills
    python benchmarks/reliability/kill_prepare.py --kills 60 --out kill_prepare.json
    python benchmarks/reliability/kill_prepare.py --kills 40 --engine ray

Each store is begun, killed after a random part of the time that an undisturbed call takes, and continued until a call ends by itself. Every
second store is made in two parts that are merged, and `merge` is killed too. With `--engine ray` each call starts a Ray of its own. What
counts: all files are those of the store that one process makes, to the byte, nothing is left beside it, and no process of Ray lives on.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

SIZE = "8x32x32"


def make_films(folder: Path, count: int) -> None:
    """Short films of moving noise, and one file that is none."""
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


def contents(store: Path) -> dict[str, bytes]:
    return {file.relative_to(store).as_posix(): file.read_bytes() for file in store.rglob("*") if file.is_file()}


def left_of_ray() -> int:
    """Processes of Ray on this machine, after the time that they take to notice that their master is gone."""
    time.sleep(5)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return sum("raylet" in line or line.startswith("ray::") for line in listed.splitlines())


class Killer:
    """Starts commands and kills them, as long as there are kills left."""

    def __init__(self, kills: int, seed: int) -> None:
        self.left, self.made = kills, 0
        self.longest = 1.0  # seconds that a call has taken
        self._random = random.Random(seed)

    def run(self, arguments: Sequence[str | Path], killed: bool = True) -> None:
        """Run `growreel` with these arguments, again and again, until it ends by itself."""
        command = [sys.executable, "-m", "growreel", *map(str, arguments)]
        while True:
            began = time.monotonic()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                limit = self._random.uniform(0, self.longest) if killed and self.left else 120
                _, error = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                if not (killed and self.left):
                    raise
                self.left, self.made = self.left - 1, self.made + 1
                continue
            self.longest = max(self.longest, time.monotonic() - began)
            was_done = b"a clip store is there already" in error  # killed when the store was in place
            if process.returncode not in (0, 1) and not was_done:  # 1: a source was skipped, as it should
                raise SystemExit(f"{' '.join(command[2:])}: exit code {process.returncode}: {error.decode()}")
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    killer = Killer(options.kills, options.seed)
    stores = different = leftovers = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_films(folder / "films", options.films)
        prepare: list[str | Path] = ["prepare", folder / "films"]
        cutting = ["--size", SIZE, "--workers", "2", "--engine", options.engine]
        killer.run([*prepare, folder / "undisturbed", "--size", SIZE, "--workers", "0"], killed=False)
        killer.run([*prepare, folder / "measured", *cutting], killed=False)
        right = contents(folder / "undisturbed")
        here = folder / "here"
        while killer.left:
            here.mkdir()
            parts = [here / "part1", here / "part2"] if stores % 2 else []
            for number, part in enumerate(parts, start=1):
                killer.run([*prepare, part, *cutting, "--shard", f"{number}/2"])
            killer.run(["merge", *parts, here / "store"] if parts else [*prepare, here / "store", *cutting])
            stores += 1
            different += contents(here / "store") != right
            leftovers += {entry.name for entry in here.iterdir()} != {"store", *(part.name for part in parts)}
            shutil.rmtree(here)
    figures = {"kills": killer.made, "stores": stores, "different": different, "with_leftovers": leftovers, "of_ray": left_of_ray()}
    print(", ".join(f"{name} {value}" for name, value in figures.items()))
    if options.out:
        options.out.write_text(json.dumps(figures) + "\n")
    return 1 if different or leftovers or figures["of_ray"] else 0


if __name__ == "__main__":
    sys.exit(main())
