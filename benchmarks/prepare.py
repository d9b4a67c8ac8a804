"""How near `prepare` comes to bare PyAV that decodes, cuts out and shrinks the same frames.

    python benchmarks/prepare.py [--source FOLDER] [--size 16x64x64] [--rounds 5] [--out prepare.json]

Without --source it makes 200 videos of 640x360 (H.264, 90 frames each). Bare PyAV decodes with one thread and lets FFmpeg's own scaler
shrink the frame (area) to the height of the clips: no clips are cut, nothing is written. Everything is measured in processes that are
started, and have imported what they need, outside of the time for bare PyAV, but inside of it for `prepare`. Rounds are interleaved;
printed are medians of frames a second of wall time and of processor time, and the ratios. Writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import Interpolation

from growreel.growth import Size
from growreel.preparation.crew import usable_cores
from growreel.preparation.prepare import prepare


class Speed(NamedTuple):
    """Frames a second: of wall time, and of processor time of all processes."""

    wall: float
    cpu: float


def make_videos(folder: Path, count: int, frames: int) -> None:
    """Videos of a drifting picture with detail at every scale, so that the decoder has what it has in films: motion and residuals."""
    rng = np.random.default_rng(0)
    scene = np.full((768, 1280, 3), 128.0)
    for step in (2, 8, 32, 128):
        scene += np.kron(rng.normal(0, 12, (768 // step, 1280 // step, 3)), np.ones((step, step, 1)))
    picture = np.clip(scene, 0, 255).astype(np.uint8)
    for number in range(count):
        x, y = rng.integers(0, 500, 2), rng.integers(0, 300, 2)
        with av.open(str(folder / f"{number:04d}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": "23", "preset": "veryfast"})
            stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
            for place in np.linspace(0, 1, frames):
                left, top = (int(axis[0] + (axis[1] - axis[0]) * place) for axis in (x, y))
                pixels = np.ascontiguousarray(picture[top : top + 360, left : left + 640])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())


def bare(files: list[Path], height: int, shrink: bool) -> int:
    """Decode files with one thread, and shrink every frame where asked to; the number of frames."""
    count = 0
    for file in files:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                if shrink:
                    width = max(1, round(frame.width * height / frame.height))
                    frame.reformat(width, height, "rgb24", interpolation=Interpolation.AREA, threads=1).to_ndarray()
                count += 1
    return count


def bare_in_processes(files: list[Path], height: int, shrink: bool, processes: int) -> Speed:
    """`bare` in so many processes at once, each with its share of the files; their start is not counted."""
    shares = [files[first::processes] for first in range(processes)]
    command = [sys.executable, __file__, "--bare", "--height", str(height), *(["--shrink"] if shrink else [])]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([*command, *map(str, share)], **pipes) for share in shares]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    begin = time.perf_counter()
    for child in children:  # all at once: `communicate` waits for the end of one
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = [json.loads(child.communicate()[0]) for child in children]
    wall = time.perf_counter() - begin
    count = sum(answer["frames"] for answer in answers)
    return Speed(count / wall, count / sum(answer["cpu"] for answer in answers))


def bare_child(files: list[Path], height: int, shrink: bool) -> None:
    """What a child of `bare_in_processes` does."""
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.process_time()
    count = bare(files, height, shrink)
    print(json.dumps({"frames": count, "cpu": time.process_time() - begin}))


def prepared(source: Path, size: Size, workers: int) -> Speed:
    """All of `prepare`, from starting its processes to the store in its place."""
    with tempfile.TemporaryDirectory() as folder:
        before = _cpu_seconds()
        begin = time.perf_counter()
        report = prepare(source, Path(folder) / "store", size, workers=workers, progress=False)
        wall, cpu = time.perf_counter() - begin, _cpu_seconds() - before
    frames = sum(row.frames for row in report.rows)
    return Speed(frames / wall, frames / cpu)


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, default=None, help="a folder of videos; default: 200 are made")
    parser.add_argument("--size", default="16x64x64")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="where to write JSON")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--shrink", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--height", type=int, default=64, help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        bare_child(options.files, options.height, options.shrink)
        return
    size, cores = Size.parse(options.size), usable_cores()
    with tempfile.TemporaryDirectory() as folder:
        source = options.source or Path(folder)
        if options.source is None:
            make_videos(source, 200, 90)
        files = sorted(path for path in source.rglob("*") if path.suffix in {".mp4", ".mkv", ".avi", ".mpg", ".webm", ".mov"})
        ways: dict[str, Callable[[], Speed]] = {
            "PyAV decodes, 1 process": lambda: bare_in_processes(files, size.h, False, 1),
            "PyAV decodes and shrinks, 1 process": lambda: bare_in_processes(files, size.h, True, 1),
            "prepare, 1 worker": lambda: prepared(source, size, 1),
            f"PyAV decodes and shrinks, {cores} processes": lambda: bare_in_processes(files, size.h, True, cores),
            f"prepare, {cores} workers": lambda: prepared(source, size, cores),
        }
        speeds: dict[str, list[Speed]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                speeds[name].append(way())
    medians = {name: Speed(*(statistics.median(each) for each in zip(*rounds, strict=True))) for name, rounds in speeds.items()}
    _, one, prepare_one, all_bare, prepare_all = medians.values()
    ratios = {
        "prepare / PyAV, 1 process, processor time": prepare_one.cpu / one.cpu,
        "prepare / PyAV, 1 process, wall time": prepare_one.wall / one.wall,
        "prepare / PyAV, all cores, processor time": prepare_all.cpu / all_bare.cpu,
        "prepare / PyAV, all cores, wall time": prepare_all.wall / all_bare.wall,
    }
    print(f"{len(files)} videos to {size}, {cores} cores, load {os.getloadavg()[0]:.1f}")
    for name, speed in medians.items():
        print(f"{name:<45} {speed.wall:>8,.0f} frames/s {speed.cpu:>8,.0f} frames/s of processor time")
    for name, ratio in ratios.items():
        print(f"{name:<45} {ratio:>8.2f}")
    if options.out:
        everything = {name: [speed._asdict() for speed in rounds] for name, rounds in speeds.items()}
        options.out.write_text(json.dumps({"cores": cores, "videos": len(files), "rounds": everything, "ratios": ratios}, indent=1) + "\n")


if __name__ == "__main__":
    main()
