"""growreel beside the same mathematics written straight down (plain.py), and beside other projects: speed and memory as ratios.

    python benchmarks/compare.py --sizes 8x16x16,16x64x64 --out FOLDER
    python benchmarks/compare.py --sizes 16x64x64 --minibatch 4 --peer mocogan=PEER.py --out FOLDER

Everything of one size runs in turns, each in a process of its own that keeps its memory to itself, and all sample as many clips
together as growreel does. A peer's file, which is not part of this project, defines `Peer(seed)` with `step(clips)` (a whole training
step on float32 clips [n, 3, t, h, w] in -1 to 1) and `sample(n, seed)`. Writes FOLDER/compare.json and .md.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from contenders import CPU, PeerWorkload, PlainWorkload

from growreel.bench.machine import describe_machine
from growreel.bench.process import Remote
from growreel.bench.report import markdown_rows, spread
from growreel.bench.workload import StageWorkload
from growreel.config import Config, load_preset, to_dict
from growreel.errors import GrowreelError
from growreel.growth import Size


def variants(
    config: Config, stage: int, peers: dict[str, str], with_plain: bool, with_compiled: bool
) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """What takes turns at a stage; the first is what the ratios refer to."""
    found: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
    plan = config.growth.plan()
    if with_plain:
        found["plain, float32"] = (PlainWorkload, (to_dict(config), stage))
    saving = "growreel, bfloat16, microbatch 4, recompute_voxels 16384"
    compiled = "growreel, bfloat16, compiled"
    for name in ("growreel, float32", "growreel, bfloat16", *([compiled] if with_compiled else []), saving):
        tree = to_dict(config)
        tree["training"]["precision"] = name.split(", ")[1]
        tree["training"]["compile"] = "on" if name == compiled else "off"
        if name == saving:
            tree["growth"]["microbatch"], tree["training"]["recompute_voxels"] = 4, 16384
        found[name] = (StageWorkload, (tree, stage, "cpu"))
    for name, path in peers.items():
        found[name] = (PeerWorkload, (path, plan.sizes[stage], plan.stages[stage].minibatch))
    return found


def measure(
    config: Config, stage: int, peers: dict[str, str], *, with_plain: bool, with_compiled: bool, repeats: int, alone: bool = False
) -> dict[str, dict[str, Any]]:
    """Rounds in turns. `alone`: a process lives for its own turn only, for sizes at which several together have no room."""
    found = variants(config, stage, peers, with_plain, with_compiled)
    figures: dict[str, dict[str, Any]] = {name: {"train": [], "sample": [], "peak": 0, "at_start": 0} for name in found}

    def turn(name: str, worker: Remote) -> None:
        each = figures[name]
        each["train"].append(worker.call("train", False, 1))
        each["sample"].append(worker.call("sample", 1) / worker.call("batch"))
        memory = worker.call("memory")
        each["peak"], each["at_start"] = max(each["peak"], memory["peak"]), memory["at_start"]
        print(stage, name, each["train"][-1], each["sample"][-1], file=sys.stderr, flush=True)

    with ExitStack() as stack:
        workers: dict[str, Remote] = {}
        for _ in range(repeats):
            for name, (build, arguments) in found.items():
                if "failed" in figures[name]:
                    continue
                try:
                    if alone or name not in workers:
                        workers[name] = worker = Remote(build, *arguments)
                        stack.callback(worker.close)
                        worker.call("train", False, 1)
                        worker.call("sample", 1)
                    turn(name, workers[name])
                    if alone:
                        workers[name].close()
                except GrowreelError as reason:
                    figures[name] = {"failed": str(reason)}
    return figures


def table(figures: dict[str, dict[str, Any]]) -> list[str]:
    """Seconds, and how many times as fast, and how much of the memory, as the first one."""
    rows = [("", "step of both networks, s", "ratio", "peak memory, GB", "share", "a clip sampled, s", "ratio")]
    first: dict[str, Any] | None = None
    for name, each in figures.items():
        if "failed" in each:
            rows.append((name, each["failed"].splitlines()[-1], "", "", "", "", ""))
            continue
        first = first or each
        held, reference = (one["peak"] - one["at_start"] for one in (each, first))
        ratios = [f"{statistics.median([a / b for a, b in zip(first[w], each[w], strict=True)]):.2f}" for w in ("train", "sample")]
        rows.append(
            (name, spread(each["train"]), ratios[0], f"{held / 1e9:.2f}", f"{held / reference:.2f}", spread(each["sample"]), ratios[1])
        )
    return markdown_rows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="trailerfaces-256", help="whose networks and plan")
    parser.add_argument("--sizes", required=True, help="stages, with commas")
    parser.add_argument("--minibatch", type=int, default=None, help="default: the plan's")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FILE", help="another project")
    parser.add_argument("--alone", action="store_true", help="one process at a time, for sizes that fill the memory")
    parser.add_argument("--no-plain", action="store_true", help="leave plain.py out")
    parser.add_argument("--no-compiled", action="store_true", help="leave compiled steps out")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    config = load_preset(options.preset)
    config = dataclasses.replace(
        config,
        growth=dataclasses.replace(config.growth, minibatch=options.minibatch),
        network=dataclasses.replace(config.network, image_channels=3),
    )
    plan = config.growth.plan()
    peers = dict(peer.split("=", 1) for peer in options.peer)
    found, pages = {}, []
    for text in options.sizes.split(","):
        stage = plan.sizes.index(Size.parse(text))
        found[text] = measure(
            config,
            stage,
            peers,
            with_plain=not options.no_plain,
            with_compiled=not options.no_compiled,
            repeats=options.repeats,
            alone=options.alone,
        )
        pages += [f"### {text}, minibatch {plan.stages[stage].minibatch}", "", *table(found[text]), ""]
    facts = {"date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"), **describe_machine(CPU), "repeats": options.repeats}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "compare.json").write_text(json.dumps({"facts": facts, "command": sys.argv[1:], "sizes": found}, indent=2) + "\n")
    pages.insert(0, ", ".join(f"{name} {value}" for name, value in facts.items()) + "\n")
    (options.out / "compare.md").write_text("\n".join(pages))
    print("\n".join(pages))


if __name__ == "__main__":
    main()
