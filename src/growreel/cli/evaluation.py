"""The commands `growreel evaluate` and `growreel weights`."""

from __future__ import annotations

import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.console import add_json, print_json, print_table
from growreel.cli.parser import CommandParser
from growreel.errors import GrowreelError
from growreel.runtime.durable import markdown_beside


def evaluate_parser() -> ArgumentParser:
    """Build the parser of `growreel evaluate`."""
    parser = CommandParser(
        usage="growreel evaluate FAKE --real STORE [--metrics NAMES] [--clips N] [--repeats R] [--card FILE.json] [options]",
        description="Measure FAKE (model file, run folder, clip store, folder of videos, or .npy of clips) against the clips of a store. "
        "Exit code 0: all asked for was measured; 1: some was left out (the card says why); 2: bad input.",
    )
    parser.add_argument(
        "fake", type=Path, help="model file, run folder, clip store, folder of videos, or .npy of uint8 clips [n, t, h, w, c]"
    )
    parser.add_argument("--real", type=Path, required=True, help="clip store to measure against")
    parser.add_argument("--training", type=Path | None, default=None, help="store of the clips that were learnt, if --real holds others")
    parser.add_argument(
        "--metrics", default=None, help="names with commas: fvd,is,fid,fid768,kid,prdc,swd,swd3d,motion,memory; default: all"
    )
    parser.add_argument(
        "--protocol", default="growreel", help="growreel, stylegan-v, videogpt, tgan or tganv2: how published numbers are made"
    )
    parser.add_argument("--clips", type=int | None, default=None, help="generated clips per repeat, and at most as many real ones")
    parser.add_argument("--clip-frames", type=int | None, default=None, help="use the first N frames of every clip")
    parser.add_argument("--repeats", type=int | None, default=None, help="independent sets of generated clips")
    parser.add_argument("--features", default=None, help="space of kid, prdc and memory: i3d, inception-2048, inception-768 or pixels")
    parser.add_argument("--torchscript", default=None, help="an I3D as TorchScript; it is code, so name only a file that you trust")
    parser.add_argument("--resamples", type=int, default=25, help="of the bootstrap; 0 leaves the intervals out")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn")
    parser.add_argument(
        "--split",
        choices=["all", "training", "held-out"],
        default="training",
        help="which real clips, if the store holds some out (prepare --holdout)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument(
        "--precision",
        choices=["float32", "tf32", "bfloat16"],
        default="float32",
        help="arithmetic of a model's clips and of the networks; bfloat16: of the clips alone",
    )
    parser.add_argument("--classes", default=None, help="of a conditional model: compare clips of these classes, names with commas, alone")
    parser.add_argument("--reference", type=Path | None, default=None, help="folder that keeps features of real clips for the next time")
    parser.add_argument("--pairs", type=Path | None, default=None, help=".png of generated clips, each with its nearest training clip")
    parser.add_argument("--card", type=Path | None, default=None, help=".json to write the card to; a .md is written beside it")
    add_json(parser)
    return parser


def run_evaluate(options: Namespace) -> int:
    """Measure, print the table, write the card. Returns the exit code."""
    from growreel.evaluation.evaluate import evaluate
    from growreel.evaluation.options import EvaluationOptions

    if options.card is not None:
        markdown_beside(options.card, "--card")  # a wrong name is found now, not after an hour
    names = None if options.metrics is None else tuple(name.strip() for name in options.metrics.split(",") if name.strip())
    shared = {name: options[name] for name in EvaluationOptions.__dataclass_fields__ if name != "metrics"}
    card = evaluate(
        options.fake,
        options.real,
        EvaluationOptions(metrics=names, **shared),
        training=options.training,
        reference=options.reference,
        pairs=options.pairs,
        progress=sys.stderr.isatty(),
    )
    written = [] if options.card is None else card.save(options.card)
    if options.json:
        print(card.to_json(), end="")
    else:
        print_table(card.table())
        print(f"precision {card.settings['precision']}, device {card.settings['device']}")
        if written:
            print("card: " + " ".join(map(str, written)))
    asked_for = names is not None or bool(EvaluationOptions(**shared).published().metrics)
    return 1 if card.left_out and (asked_for or not card.results) else 0


def weights_parser() -> ArgumentParser:
    """Build the parser of `growreel weights`."""
    parser = CommandParser(
        usage="growreel weights list | path | add FILE [--role ROLE] | download NAME",
        description="Weights of the metrics' networks. They are never fetched unasked; their folder is GROWREEL_WEIGHTS, or in your cache.",
    )
    parser.add_argument("action", choices=["list", "path", "add", "download"], help="what to do")
    parser.add_argument("file", nargs="?", default=None, help="file to add, or name of a known file to download")
    parser.add_argument("--role", default=None, help="what an unknown file is to be used as; see growreel weights list")
    add_json(parser)
    return parser


def run_weights(options: Namespace) -> int:
    """Do what was asked with the weights folder. Returns the exit code."""
    from growreel.evaluation.extractors import weights

    if options.json and options.action != "list":
        raise GrowreelError(f"weights {options.action}: prints no table; leave --json out")
    if (options.file is None) != (options.action in ("list", "path")):
        raise GrowreelError(f"weights {options.action}: takes {'no' if options.file else 'a'} file")
    match options.action:
        case "list":
            if options.json:
                print_json(weights.facts())
            else:
                print_table(weights.table())
        case "path":
            print(weights.folder())
        case action:
            ready = weights.add(Path(options.file), options.role) if action == "add" else weights.download(options.file)
            print(f"{ready.path}  sha256 {ready.sha256}{'' if ready.known else '  (not a known file)'}")
    return 0
