"""The commands `growreel plan` and `growreel train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.config import add_config, resolve_config
from growreel.cli.console import add_json, print_json, print_table
from growreel.cli.parser import CommandParser
from growreel.training.requests import ABOUT, WORDS


def plan_parser(arguments: Sequence[str]) -> ArgumentParser:
    """Build the parser of `growreel plan`."""
    parser = CommandParser(usage="growreel plan [--preset NAME] [--target TxHxW] [options]", description="Print the growth plan.")
    add_json(parser)
    add_config(parser, arguments)
    return parser


def run_plan(options: Namespace) -> int:
    """Print the plan that the flags give, as a table or as JSON. Returns the exit code."""
    from growreel.training.summary import PlanSummary

    summary = PlanSummary(resolve_config(options))
    if options.json:
        print_json(summary.as_dict())
    else:
        print_table(summary.table())
    return 0


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
    advise = options.preset is None and options.config is None and options.hours is None and config.training.clips is None
    from growreel.training.loop import train

    allowed = {name: options[name] for name in ("allow_config_change", "allow_data_change")}
    result = train(options.store, options.out, config, hours=options.hours, advise=advise, **allowed)
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
