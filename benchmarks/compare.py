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
import importlib.util
import json
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import plain
import torch

from growreel.bench.machine import describe_machine, seconds_each
from growreel.bench.process import Remote
from growreel.bench.report import markdown_rows, spread
from growreel.bench.workload import StageWorkload
from growreel.config import Config, from_dict, load_preset, to_dict
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.runtime.memory import peak_memory, resident_memory
from growreel.training.state import TrainingState

CPU = torch.device("cpu")


class Timed:
    """What `Remote` calls, for anything with a step and a sample."""

    def __init__(self, size: Size) -> None:
        self.at_start, self.clips = resident_memory(CPU), 4 if size.voxels <= 16 * 64 * 64 else 1  # small ones do not fill a CPU alone

    def step(self) -> None:
        raise NotImplementedError

    def make(self) -> None:
        raise NotImplementedError

    def train(self, fading: bool, steps: int) -> float:
        return seconds_each(self.step, steps, CPU)

    def sample(self, batches: int) -> float:
        return seconds_each(self.make, batches, CPU)

    def batch(self) -> int:
        return self.clips

    def memory(self) -> dict[str, int]:
        return {"peak": peak_memory(CPU), "at_start": self.at_start}


class PlainWorkload(Timed):
    """plain.py with the weights that growreel starts from."""

    def __init__(self, tree: dict[str, Any], stage: int) -> None:
        config = from_dict(tree, "compare")
        sizes = config.growth.plan().sizes
        super().__init__(sizes[stage])
        state = TrainingState(config, CPU)
        self.trainer = plain.PlainTrainer(state.generator.state_dict(), state.discriminator.state_dict(), state.loss.state_dict(), sizes)
        self.stage, self.real = stage, torch.rand(state.plan.stages[stage].minibatch, 3, *sizes[stage]) * 2 - 1

    def step(self) -> None:
        self.trainer.step(self.stage, 1.0, self.real)

    def make(self) -> None:
        latents = torch.randn(self.clips, self.trainer.g["dense.weight"].shape[1])
        with torch.no_grad():
            made = plain.generator(self.trainer.average, self.trainer.sizes, self.stage, 1.0, latents)
            ((made.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(1, -1).contiguous()


class PeerWorkload(Timed):
    """Another project, through the file that wraps it."""

    def __init__(self, path: str, size: Size, minibatch: int) -> None:
        super().__init__(size)
        spec = importlib.util.spec_from_file_location("peer", path)
        assert spec is not None and spec.loader is not None
        sys.path.insert(0, str(Path(path).parent))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.peer, self.real = module.Peer(0), torch.rand(minibatch, 3, *size) * 2 - 1

    def step(self) -> None:
        self.peer.step(self.real)

    def make(self) -> None:
        self.peer.sample(self.clips, 0)


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
