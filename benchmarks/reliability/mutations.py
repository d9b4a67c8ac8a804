"""Damage files of every format in thousands of ways, read each as growreel does, and count what must never happen.

    python benchmarks/reliability/mutations.py                              # 100 of each format, some seconds
    python benchmarks/reliability/mutations.py --count 10000 --out mutations.json

Half of the mutations damage bytes, as disks and networks do; half are forged: numbers, types, nesting and headers are changed on purpose
and the checksums made right again. Counted per format:

* other exceptions than GrowreelError;
* hangs: more than a second of processor time, or ten seconds of any, for a file of some kilobytes;
* memory: the process grew by more than the file and 50 MB at any time;
* damage not found: damaged bytes were read as other contents than the whole file's. Forged files are what somebody wanted to write, and
  configurations and arrays are written by people and programs that know no checksum: for those it says nothing.

The same seed damages the same bytes.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NoReturn

from damage import damaged_bytes
from formats import FORMATS, Format

from growreel.errors import LONGEST, GrowreelError
from growreel.runtime.durable import replace_text

SECONDS = 1.0
STOPPED = 10.0
ROOM = 50 * 2**20
ADDRESSES = 16 * 2**30
"""Bytes of address space beyond which an allocation fails, so that a bomb is counted and not suffered."""


class Hang(BaseException):
    """A file has been read for `STOPPED` seconds."""


@dataclass
class Counts:
    """What came of one format's mutations; `examples` has the first few of what must not happen, by kind."""

    files: int = 0
    refused: int = 0
    exceptions: int = 0
    hangs: int = 0
    memory: int = 0
    unnoticed: int = 0
    slowest: float = 0.0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def fault(self, kind: str, what: str) -> None:
        """Count a fault of a kind and remember the first ones."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.examples.setdefault(kind, [])
        if len(self.examples[kind]) < 5:
            self.examples[kind].append(what)


def mutate(name: str, count: int, seed: int = 0) -> Counts:
    """Read `count` mutations of a format."""
    counts = Counts()
    with tempfile.TemporaryDirectory(prefix="growreel-mutations-") as folder:
        subject = FORMATS[name](Path(folder))
        whole = {file: file.read_bytes() for file in subject.files}
        fingerprint = subject.read()
        for number in range(count):
            random = Random(f"{seed} {name} {number}")
            file = random.choice((subject.files[0], *subject.files))
            forged = random.random() < 0.5
            changed = subject.forge(file, whole[file], random) if forged else damaged_bytes(whole[file], random)
            if changed == whole[file]:
                continue
            file.write_bytes(changed)
            _look(counts, subject, f"{number} ({file.name}{', forged' if forged else ''})", len(changed), None if forged else fingerprint)
            file.write_bytes(whole[file])
    return counts


def _look(counts: Counts, subject: Format, what: str, size: int, fingerprint: str | None) -> None:
    """Read one mutation. `fingerprint` is what it must give if it is not refused; None where it may give anything."""
    counts.files += 1
    before = _peak_memory()
    started = time.process_time()
    signal.setitimer(signal.ITIMER_REAL, STOPPED)
    try:
        found = subject.read()
    except GrowreelError as error:
        counts.refused += 1
        if len(str(error)) > LONGEST or not all(c.isprintable() for c in str(error)):
            counts.fault("exceptions", f"{what}: a message of {len(str(error)):,} characters, or with control characters")
    except Hang:
        counts.fault("hangs", what)
    except Exception as error:  # what is counted here
        where = traceback.extract_tb(error.__traceback__)[-1]
        counts.fault("exceptions", f"{what}: {type(error).__name__}: {str(error)[:100]} at {Path(where.filename).name}:{where.lineno}")
    else:
        if subject.sealed and fingerprint not in (None, found):
            counts.fault("unnoticed", what)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    seconds = time.process_time() - started
    counts.slowest = max(counts.slowest, seconds)
    if SECONDS < seconds < STOPPED:
        counts.fault("hangs", f"{what}: {seconds:.1f} s")
    if (grown := _peak_memory(reset=False) - before) > size + ROOM:
        counts.fault("memory", f"{what}: {grown / 2**20:.0f} MiB for a file of {size:,} bytes")


def _peak_memory(reset: bool = True) -> int:
    """Bytes resident at most since the last reset, which Linux offers for the process itself."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _stop(*_: Any) -> NoReturn:
    raise Hang


def table(results: dict[str, Counts]) -> str:
    """The counts in Markdown."""
    rows = [
        "| format | mutations | refused | other exceptions | hangs | memory | damage not found | slowest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, c in results.items():
        unnoticed = c.unnoticed if name not in ("config", ".npy and .npz") else "no checksum"
        rows.append(f"| {name} | {c.files:,} | {c.refused:,} | {c.exceptions} | {c.hangs} | {c.memory} | {unnoticed} | {c.slowest:.2f} s |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="mutations of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=FORMATS, default=None, help="one format")
    parser.add_argument("--out", type=Path, default=None, help="write the counts and examples as JSON")
    options = parser.parse_args()
    prepare()
    results: dict[str, Counts] = {}
    for name in [options.only] if options.only else FORMATS:
        results[name] = mutate(name, options.count, options.seed)
        if options.out is not None:
            replace_text(options.out, json.dumps({each: vars(counts) for each, counts in results.items()}, indent=1))
    print(table(results))
    for name, counts in results.items():
        for kind, examples in counts.examples.items():
            print(f"{name}: {kind}: " + "\n    ".join(examples))
    total: Counter[str] = Counter()
    for counts in results.values():
        total.update({kind: getattr(counts, kind) for kind in ("exceptions", "hangs", "memory", "unnoticed")})
    return 1 if any(total.values()) else 0


def prepare() -> None:
    """Let hangs be stopped and bombs fail; keep messages of refused files off the screen."""
    logging.getLogger("growreel").setLevel(logging.CRITICAL)
    warnings.simplefilter("error")
    signal.signal(signal.SIGALRM, _stop)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    sys.exit(main())
