"""The commands `growreel plan` and `growreel train`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.config import add_config, resolve_config
from growreel.cli.console import add_json, print_json, print_table
from growreel.cli.parser import CommandParser
from growreel.config import Config
from growreel.errors import GrowreelError
from growreel.training.requests import ABOUT, WORDS


def plan_parser(arguments: Sequence[str]) -> ArgumentParser:
    """Build the parser of `growreel plan`."""
    parser = CommandParser(
        usage="growreel plan [STORE] [--fit [--memory 12GB] [--hours H] [--save FILE]] [--preset NAME] [options]",
        description="Print the growth plan. With --fit a real step of every stage is made, and settings are found with which each fits "
        "into memory.",
    )
    parser.add_argument("store", nargs="?", type=Path, default=None, help="clip store; its colours and size are those of the plan")
    parser.add_argument("--fit", action="store_true", help="measure memory and time of every stage, and make them fit")
    parser.add_argument("--memory", default=None, help="what training may take, e.g. 12GB; default: what is free now")
    parser.add_argument("--hours", type=float | None, default=None, help="scale the schedule to so many hours on this machine")
    parser.add_argument("--save", type=Path | None, default=None, help="write the settings found to FILE.yaml, for train --config")
    add_json(parser)
    add_config(parser, arguments)
    return parser


def run_plan(options: Namespace) -> int:
    """Print the plan that the flags give, as a table or as JSON. Returns the exit code."""
    config = resolve_config(options)
    if options.store is not None:
        config = _of_store(config, options.store)
    if options.fit:
        return _fit(config, options)
    for flag in ("memory", "hours", "save"):
        if options[flag] is not None:
            raise GrowreelError(f"--{flag} {options[flag]}: is for plan --fit; add --fit, or leave it out")
    from growreel.training.summary import PlanSummary

    summary = PlanSummary(config)
    if options.json:
        print_json(summary.as_dict())
    else:
        print_table(summary.table())
    return 0


def _of_store(config: Config, store: Path) -> Config:
    """The configuration with the store's colours and classes. Raises GrowreelError if its clips do not have the sizes of the plan."""
    from growreel.data.store import ClipStore
    from growreel.training.compatibility import of_store

    with ClipStore.open(store) as opened:
        for size in config.growth.plan().sizes:
            opened.level_for(size, config.growth.time_reduction)
        return dataclasses.replace(config, network=of_store(config.network, opened))


def _fit(config: Config, options: Namespace) -> int:
    from growreel.bench.fit import fit
    from growreel.config import to_yaml
    from growreel.runtime.durable import replace_text
    from growreel.training.initial import InitialWeights

    memory = None if options.memory is None else parse_bytes(options.memory, "--memory")
    begin = {} if options.init_from is None else {"start": InitialWeights.read(options.init_from).start}
    report = fit(config, memory=memory, hours=options.hours, **begin)
    if options.save is not None:
        replace_text(options.save, to_yaml(report.config))
    if options.json:
        print_json(report.as_dict())
        return 0
    print_table(report.table())
    if options.save is not None:
        weights = "" if options.init_from is None else f" --init-from {options.init_from}"
        print(f"settings: {options.save}; growreel train {options.store or 'STORE'} --out RUN --config {options.save}{weights}")
    elif report.changed or options.hours is not None:
        print("--save FILE.yaml writes the settings, for growreel train --config FILE.yaml")
    return 0


def parse_bytes(text: str, flag: str) -> float:
    """Bytes from `12GB`, `12GiB`, `500MB` or a plain number. Raises GrowreelError naming the flag for anything else, and for none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?)B?|B)?", text.strip(), flags=re.IGNORECASE | re.ASCII)
    if match is None or not float(match[1]):
        raise GrowreelError(f"{flag} {text}: is no amount of memory; give one such as 12GB")
    power = " KMGT".index((match[2] or " ").upper())
    return float(match[1]) * float((1024 if match[3] else 1000) ** power)


def train_parser(arguments: Sequence[str]) -> ArgumentParser:
    """Build the parser of `growreel train`."""
    parser = CommandParser(
        usage="growreel train STORE --out RUN [--preset NAME] [--target TxHxW] [--hours H] [options]",
        description="Train on a clip store. The same command on the same run folder resumes. Ctrl-C and SIGTERM save and leave.",
    )
    parser.add_argument("store", type=Path, help="folder that prepare wrote")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--hours", type=float | None, default=None, help="scale the schedule to so many hours on this machine")
    parser.add_argument("--clips", type=int | None, default=None, help="short for --training.clips")
    parser.add_argument("--eval-every", type=int | None, default=None, help="short for --training.eval_interval")
    parser.add_argument("--compile", default=None, choices=["auto", "on", "off"], help="short for --training.compile")
    parser.add_argument("--allow-config-change", action="store_true", help="resume although settings differ from the run's")
    parser.add_argument("--allow-data-change", action="store_true", help="resume although STORE holds other clips than the run's")
    add_config(parser, arguments)
    return parser


def run_train(options: Namespace) -> int:
    """Train as the flags say and tell how it ended. Returns the exit code."""
    config = resolve_config(options)
    advise = not any((options.preset, options.config, options.init_from, options.hours, config.training.clips))
    from growreel.training.loop import train

    allowed = {name: options[name] for name in ("allow_config_change", "allow_data_change")}
    result = train(options.store, options.out, config, hours=options.hours, advise=advise, init_from=options.init_from, **allowed)
    stopper = result.signal.name if result.signal else "growreel tell" if result.told_to_stop else None
    how = f"stopped by {stopper}; the same command resumes" if stopper else "done"
    if result.is_first_process:
        peak = result.peak_memory / 1e9
        print(f"{how}: {result.clips_shown} clips shown, at most {peak:.2f} GB of memory; models and samples are in {options.out}")
    return 128 + result.signal if result.signal else 0


def tell_parser() -> ArgumentParser:
    """Build the parser of `growreel tell`."""
    parser = CommandParser(
        usage=f"growreel tell RUN {'|'.join(WORDS)} [--raw] [--wait SECONDS]",
        description="Ask a training that runs in RUN for something and print what it answers. It looks once a second, between two steps.",
    )
    parser.add_argument("run", type=Path, help="run folder of the training")
    parser.add_argument("what", choices=WORDS, help=" ".join(f"{word}: {ABOUT[word]}" for word in WORDS))
    parser.add_argument("--raw", action="store_true", help="with sample: clips of the generator itself, not of its moving average")
    parser.add_argument("--wait", type=float, default=60.0, help="seconds to wait for the answer")
    return parser


def run_tell(options: Namespace) -> int:
    """Ask, wait and print the answer. Returns the exit code: 1 if the training did not do it, or has not answered yet."""
    from growreel.training.requests import RequestFolder, ask, await_answer

    request = ask(options.run, options.what, raw=options.raw)
    answer = await_answer(options.run, request, options.wait)
    if answer is None:
        print(f"{options.what}: asked, and no answer yet; it will be in {RequestFolder(options.run).answers}")
        return 1
    print(answer.sentence())
    return 0 if answer.done else 1
