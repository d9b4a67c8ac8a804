"""The command line: parse, call the function that Python users call, print. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from growreel.cli.bench import bench_parser, run_bench
from growreel.cli.demo import demo_parser, run_demo_command
from growreel.cli.evaluation import evaluate_parser, run_evaluate, run_weights, weights_parser
from growreel.cli.preparation import inspect_parser, prepare_parser, run_inspect, run_prepare
from growreel.cli.report import report_parser, run_report, run_tensorboard, tensorboard_parser
from growreel.cli.sampling import run_sample, run_walk, sample_parser, walk_parser
from growreel.cli.training import plan_parser, run_plan, run_train, train_parser
from growreel.errors import GrowreelError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 done in part, 2 bad input, 128 + n stopped by signal n."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parsed = build_parser(arguments).parse_args(arguments)
        code: int = COMMANDS[parsed.command](parsed[parsed.command])
        return code
    except GrowreelError as error:
        print(f"growreel: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("growreel: interrupted; the same command starts again (prepare goes on where it was)", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        sys.stderr.close()
        return 0


def build_parser(arguments: Sequence[str]) -> ArgumentParser:
    """The parser of all commands; `arguments` decide which preset's values are the defaults shown."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog="growreel", description="Grow a video generator from your own clips.")
    commands = parser.add_subcommands(dest="command")
    commands.add_subcommand("prepare", prepare_parser(), help="cut videos into a clip store")
    commands.add_subcommand("inspect", inspect_parser(), help="show what a clip store holds")
    commands.add_subcommand("plan", plan_parser(arguments), help="print the growth plan of a configuration")
    commands.add_subcommand("train", train_parser(arguments), help="train on a clip store, or resume")
    commands.add_subcommand("sample", sample_parser(), help="make clips with a trained model")
    commands.add_subcommand("walk", walk_parser(), help="make a looping walk through the latent space")
    commands.add_subcommand("evaluate", evaluate_parser(), help="measure generated clips against real ones: the metric card")
    commands.add_subcommand("report", report_parser(), help="one page that shows a run, or several beside each other")
    commands.add_subcommand("tensorboard", tensorboard_parser(), help="write runs for TensorBoard, once or live")
    commands.add_subcommand("weights", weights_parser(), help="list, add or download the weights that some metrics need")
    commands.add_subcommand("bench", bench_parser(arguments), help="measure this machine, stage by stage")
    commands.add_subcommand("demo", demo_parser(), help="the whole way on procedural clips, in a few minutes")
    return parser


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "prepare": run_prepare,
    "inspect": run_inspect,
    "plan": run_plan,
    "train": run_train,
    "sample": run_sample,
    "walk": run_walk,
    "evaluate": run_evaluate,
    "report": run_report,
    "tensorboard": run_tensorboard,
    "weights": run_weights,
    "bench": run_bench,
    "demo": run_demo_command,
}
