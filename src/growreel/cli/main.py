"""The command line: parse, call the function that Python users call, print. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from growreel.cli.bench import bench_parser, run_bench
from growreel.cli.completion import completion_parser, run_completion
from growreel.cli.console import escape_the_unprintable, messages_on_console, styled
from growreel.cli.demo import demo_parser, run_demo_command
from growreel.cli.doctor import doctor_parser, run_doctor
from growreel.cli.evaluation import evaluate_parser, run_evaluate, run_weights, weights_parser
from growreel.cli.export import export_parser, run_export
from growreel.cli.hub import push_parser, run_push
from growreel.cli.inspection import inspect_parser, run_inspect
from growreel.cli.parser import CommandParser
from growreel.cli.preparation import merge_parser, prepare_parser, run_merge, run_prepare
from growreel.cli.report import report_parser, run_report, run_tensorboard, tensorboard_parser
from growreel.cli.sampling import run_sample, run_walk, sample_parser, walk_parser
from growreel.cli.training import plan_parser, run_plan, run_tell, run_train, tell_parser, train_parser
from growreel.cli.viewing import run_view, view_parser
from growreel.errors import GrowreelError
from growreel.reading.faults import EXIT_CODE, fault_of
from growreel.runtime.version import installed_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; docs/commands.md has the table of codes."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    escape_the_unprintable()
    try:
        parsed = build_parser(arguments).parse_args(arguments)
        command = COMMANDS[parsed.command]
        with messages_on_console(sys.stdout if command.is_told else sys.stderr):
            return command.run(parsed[parsed.command])
    except GrowreelError as error:
        print(f"{styled('growreel:', 'red', sys.stderr)} {error}", file=sys.stderr)
        return 2 if fault_of(error) is None else EXIT_CODE
    except KeyboardInterrupt:
        print("growreel: interrupted; the same command starts again (prepare goes on where it was)", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        sys.stderr.close()
        return 0
    except (OSError, MemoryError, RuntimeError) as error:
        fault = fault_of(error)
        if fault is None:
            raise
        print(f"{styled('growreel:', 'red', sys.stderr)} {fault}", file=sys.stderr)
        return EXIT_CODE


def build_parser(arguments: Sequence[str]) -> ArgumentParser:
    """Build the parser of all commands; `arguments` decide which preset's values are the defaults shown."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = CommandParser(
        prog="growreel",
        usage="growreel COMMAND ...",
        description="Grow a video generator from your own clips.",
        version=installed_version("growreel"),
    )
    commands = parser.add_subcommands(dest="command")
    for name, command in COMMANDS.items():
        child = command.parser(arguments if name in arguments[:1] else ())  # presets and models are read for the one that runs
        commands.add_subcommand(name, child, help=command.help)
        child.prog = f"growreel {name}"
    return parser


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        help: a line.
        parser: of its arguments; which flags there are may depend on all of them.
        run: does it and returns the exit code.
        is_told: what it prints is the telling of what happens, so messages belong among it; of other commands the standard output is the
            result, and messages go to the error output.
    """

    help: str
    parser: Callable[[Sequence[str]], ArgumentParser]
    run: Callable[[Namespace], int]
    is_told: bool = False


COMMANDS: dict[str, Command] = {
    "prepare": Command("cut videos into a clip store", prepare_parser, run_prepare),
    "merge": Command("join the parts that prepare --shard wrote into a clip store", lambda _: merge_parser(), run_merge),
    "inspect": Command("show what a clip store, a run folder or a model file holds", lambda _: inspect_parser(), run_inspect),
    "plan": Command("print the growth plan of a configuration", plan_parser, run_plan),
    "train": Command("train on a clip store, or resume", train_parser, run_train, is_told=True),
    "tell": Command("ask a running training for samples, a checkpoint, a pause or an end", lambda _: tell_parser(), run_tell),
    "sample": Command("make clips with a trained model", lambda _: sample_parser(), run_sample),
    "walk": Command("make a looping walk through the latent space", lambda _: walk_parser(), run_walk),
    "evaluate": Command("measure generated clips against real ones: the metric card", lambda _: evaluate_parser(), run_evaluate),
    "report": Command("one page that shows a run, or several beside each other", lambda _: report_parser(), run_report),
    "view": Command("watch, steer, play and compare runs in a browser", lambda _: view_parser(), run_view),
    "tensorboard": Command("write runs for TensorBoard, once or live", lambda _: tensorboard_parser(), run_tensorboard),
    "weights": Command("list, add or download the weights that some metrics need", lambda _: weights_parser(), run_weights),
    "bench": Command("measure this machine, stage by stage", bench_parser, run_bench),
    "export": Command("write a model for other programs: ONNX, or PyTorch's export", lambda _: export_parser(), run_export),
    "push": Command("put a model on the Hugging Face hub, with a model card", lambda _: push_parser(), run_push),
    "doctor": Command("look at this machine, with advice; for bug reports", lambda _: doctor_parser(), run_doctor),
    "demo": Command("the whole way on procedural clips, in a few minutes", lambda _: demo_parser(), run_demo_command, is_told=True),
    "completion": Command("print what lets a shell complete these commands", lambda _: completion_parser(), run_completion),
}
