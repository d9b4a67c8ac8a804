"""Feed `growreel prepare` broken and hostile files, and count what must never happen.

    python benchmarks/reliability/corrupted_sources.py                                         # 26 variants of files that it makes itself
    python benchmarks/reliability/corrupted_sources.py --count 200 --alone --from VIDEOS --out corrupted.json

Variants are made by `hostile.py`: flipped bits, cut ends, wrong endings, huge declared sizes, and archives with names that lead out, links
and bombs. All of them lie in one folder that is prepared once; with `--alone` each is prepared by itself too, with a clock. Counted are:

* crashes: an exit code other than 0, 1, 2, a traceback, or a variant that killed the process that decoded it;
* hangs: more than 30 seconds for a variant alone;
* outside: a file that was made or changed anywhere but in the store, of all that a process can write without leaving its folders;
* unlisted: a variant of which the report says nothing.

The processes' peak memory is told, too. The same seed makes the same variants.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from hostile import KINDS, Variant, make_seeds, make_variant

HANG = 30.0  # seconds
LARGEST = 4 * 2**20  # bytes of a real file that is taken
CRASHED = ("decoder crashed", "Traceback", "MemoryError")


class Place:
    """A folder in which commands run and may write what they like: it is known afterwards what they did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("sources", "work", "home", "temporary"):
            (folder / name).mkdir()
        self.secret = folder / "secret.mp4"  # links in archives lead here
        self.escaped = Path(tempfile.gettempdir()) / f"growreel-escaped-{os.getpid()}"  # absolute names lead there

    def prepare(self, source: Path, limit: float, workers: int) -> dict[str, Any]:
        """Run `growreel prepare` on a file or folder: exit code, seconds, peak memory, the rows of its report, files made elsewhere."""
        before = self._files()
        environment = {**os.environ, "HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "temporary")}
        store = self.folder / "store"
        command = [sys.executable, "-m", "growreel", "prepare", str(source), str(store), "--size", "4x16x16", "--json"]
        began = time.monotonic()
        with (self.folder / "said").open("w+") as said, (self.folder / "told").open("w+") as told:
            process = subprocess.Popen(
                [*command, "--workers", str(workers), "--time-limit", "20", "--channel", "0"],
                cwd=self.folder / "work",
                env=environment,
                stdout=told,
                stderr=said,
            )
            code, peak = _wait(process, limit)
        seconds = time.monotonic() - began
        text = (self.folder / "told").read_text()
        said_text = (self.folder / "said").read_text()
        rows = json.loads(text)["sources"] if text.strip().startswith("{") else []
        shutil.rmtree(store, ignore_errors=True)
        outside = sorted(name for name, state in self._files().items() if before.get(name) != state)
        outside += [str(self.escaped)] if self.escaped.exists() else []
        return {"code": code, "seconds": seconds, "peak": peak, "rows": rows, "said": said_text, "outside": outside}

    def _files(self) -> dict[str, tuple[int, int]]:
        """Size and time of everything that is not the store or what the command says."""
        apart = {"store", "said", "told"}
        return {
            path.relative_to(self.folder).as_posix(): (path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in self.folder.rglob("*")
            if path.relative_to(self.folder).parts[0] not in apart and not path.is_dir()
        }


def _wait(process: subprocess.Popen[bytes], limit: float) -> tuple[int, int]:
    """Exit code (-9 if it had to be killed), and bytes of the largest process of those that it waited for."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_maxrss * 1024
        time.sleep(0.02)
    process.kill()
    process.wait()
    return -9, 0


def survey(place: Place, seeds: Sequence[Path], count: int, seed: int, alone: bool, workers: int) -> dict[str, Any]:
    """Make the variants, prepare them, and count."""
    shutil.copyfile(seeds[0], place.secret)
    variants = [
        make_variant(place.folder / "sources", number, KINDS[number % len(KINDS)], seeds, Random(f"{seed} {number}"), place.escaped)
        for number in range(count)
    ]
    figures: dict[str, Any] = {"variants": dict(Counter(each.kind for each in variants)), "faults": []}
    peak, slowest = 0, (0.0, "")
    results: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    if alone:
        for each in variants:
            result = place.prepare(each.path, HANG + 10, workers)
            peak, slowest = max(peak, result["peak"]), max(slowest, (result["seconds"], str(each)))
            figures["faults"] += [f"{each}: {fault}" for fault in _faults(result, [each], HANG)]
    together = place.prepare(place.folder / "sources", HANG * count, workers)
    figures["faults"] += _faults(together, variants, HANG * count)
    for each in variants:
        results[each.kind][_became(each, together["rows"])] += 1
    peak = max(peak, together["peak"])
    figures |= {
        "became": {kind: dict(counts) for kind, counts in results.items() if counts},
        "together_seconds": round(together["seconds"], 1),
        "slowest_alone": f"{slowest[0]:.1f} s {slowest[1]}",
        "peak_mib": peak // 2**20,
    }
    return figures


def _faults(result: dict[str, Any], variants: Sequence[Variant], limit: float) -> list[str]:
    """What must never happen, in words."""
    text = result["said"] + " ".join(row["note"] for row in result["rows"])
    faults = [f"crash: {result['code']}: {text[-500:]}"] if result["code"] not in (0, 1, 2) else []
    faults += [f"crash: {word}: {text[:500]}" for word in CRASHED if word in text]
    faults += [f"hang: {result['seconds']:.1f} s"] if result["seconds"] > limit else []
    faults += [f"outside: {name}" for name in result["outside"]]
    if result["rows"] or len(variants) > 1:
        faults += [f"unlisted: {each}" for each in variants if not _rows_of(each, result["rows"])]
    elif not any(each.path.name in result["said"] for each in variants):
        faults.append(f"unlisted: {variants[0]}: {result['said'][:300]}")
    if any("secret" in row["name"] and row["status"] == "used" for row in result["rows"]):
        faults.append("outside: a link was followed out of an archive")
    return faults


def _rows_of(variant: Variant, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The report's rows about a variant: of its folder, and of what lies in there, or of its file where that was all of SOURCE."""
    folder, file = variant.path.parent.name, variant.path.name
    return [row for row in rows if row["name"].split("#")[0].split("/")[0] in (folder, file)]


def _became(variant: Variant, rows: Sequence[dict[str, Any]]) -> str:
    """One word for what prepare made of it."""
    mine = _rows_of(variant, rows)
    statuses = {row["status"] for row in mine}
    if "used" in statuses:
        return "used, damage told" if any(row["damaged"] or row["status"] == "skipped" for row in mine) else "used"
    return "skipped" if "skipped" in statuses else "ignored" if statuses else "unlisted"


def table(figures: dict[str, Any]) -> str:
    """The counts in Markdown."""
    columns = ("used", "used, damage told", "skipped", "ignored")
    rows = [f"| kind | variants | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for kind, counts in figures["became"].items():
        rows.append(f"| {kind} | {figures['variants'][kind]} | " + " | ".join(str(counts.get(each, 0)) for each in columns) + " |")
    return "\n".join(rows)


def real_files(folders: Sequence[Path]) -> list[Path]:
    """Files to make variants of: the first four of each ending in each folder that are not too large."""
    found: dict[tuple[Path, str], list[Path]] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.suffix not in (".md", ".txt", "") and file.stat().st_size <= LARGEST:
                found.setdefault((folder, file.suffix), []).append(file)
    return [file for files in found.values() for file in files[:4]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2 * len(KINDS), help="variants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--alone", action="store_true", help="prepare each by itself, too")
    parser.add_argument("--from", dest="folders", type=Path, action="append", default=[], help="folder of real files; may be repeated")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="growreel-corrupted-") as name:
        folder = Path(name).resolve()
        (folder / "seeds").mkdir()
        seeds = make_seeds(folder / "seeds") + real_files(options.folders)
        (folder / "place").mkdir()
        figures = survey(Place(folder / "place"), seeds, options.count, options.seed, options.alone, options.workers)
    figures["seeds"] = len(seeds)
    print(table(figures))
    print(
        f"{options.count} variants of {figures['seeds']} files; together {figures['together_seconds']} s; slowest alone "
        f"{figures['slowest_alone']}; largest process {figures['peak_mib']} MiB; faults: {len(figures['faults'])}"
    )
    print(*figures["faults"], sep="\n")
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if figures["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
