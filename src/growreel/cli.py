"""The command line: parse, call the function that Python users call, print. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from growreel.cli_bench import bench_parser, run_bench
from growreel.cli_config import add_config, resolve_config
from growreel.cli_evaluation import evaluate_parser, run_evaluate, run_weights, weights_parser
from growreel.errors import GrowreelError
from growreel.growth import Size

if TYPE_CHECKING:
    from growreel.models.files import LoadedGenerator


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 done in part, 2 bad input, 128 + n stopped by signal n."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parsed = _parser(arguments).parse_args(arguments)
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


def _parser(arguments: Sequence[str]) -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog="growreel", description="Grow a video generator from your own clips.")
    commands = parser.add_subcommands(dest="command")
    commands.add_subcommand("prepare", _prepare_parser(), help="cut videos into a clip store")
    commands.add_subcommand("inspect", _inspect_parser(), help="show what a clip store holds")
    commands.add_subcommand("plan", _plan_parser(arguments), help="print the growth plan of a configuration")
    commands.add_subcommand("train", _train_parser(arguments), help="train on a clip store, or resume")
    commands.add_subcommand("sample", _sample_parser(), help="make clips with a trained model")
    commands.add_subcommand("walk", _walk_parser(), help="make a looping walk through the latent space")
    commands.add_subcommand("evaluate", evaluate_parser(), help="measure generated clips against real ones: the metric card")
    commands.add_subcommand("weights", weights_parser(), help="list, add or download the weights that some metrics need")
    commands.add_subcommand("bench", bench_parser(arguments), help="measure this machine, stage by stage")
    commands.add_subcommand("demo", _demo_parser(), help="the whole way on procedural clips, in a few minutes")
    return parser


def _prepare_parser() -> ArgumentParser:
    parser = ArgumentParser(
        usage="growreel prepare SOURCE STORE --size TxHxW [options]",
        description="Read every video, folder of frames and strip image under SOURCE and write clips of one size to STORE. "
        "Exit code 0: all read; 1: some skipped (they are listed); 2: nothing written. The same command goes on after an interruption.",
    )
    parser.add_argument("source", type=Path, help="a file or a folder")
    parser.add_argument("store", type=Path, help="folder to write")
    parser.add_argument("--size", required=True, help="frames, rows and columns of a clip, TxHxW")
    parser.add_argument("--frame-stride", type=int, default=1, help="take every N-th frame of a video")
    parser.add_argument("--clip-stride", type=int | None, default=None, help="frames between starts of clips; default: no overlap")
    parser.add_argument("--fit", choices=["crop", "pad"], default="crop", help="cut the longer side, or add borders")
    parser.add_argument("--fps", type=float | None, default=None, help="resample to so many frames a second first")
    parser.add_argument("--max-clips-per-video", type=int | None, default=None, help="take at most so many clips of a video")
    parser.add_argument("--colors", type=int, choices=[1, 3], default=3, help="colour channels to keep")
    parser.add_argument("--tiles", default=None, help="ROWSxCOLUMNS: every frame is a grid of so many separate videos")
    parser.add_argument("--labels", action="store_true", help="use the names of first-level sub-folders as labels")
    parser.add_argument("--overwrite", action="store_true", help="replace a store that is already there")
    return parser


def _prepare(options: Namespace) -> int:
    from growreel.data.prepare import prepare

    report = prepare(
        options.source,
        options.store,
        Size.parse(options.size, "--size"),
        frame_stride=options.frame_stride,
        clip_stride=options.clip_stride,
        fit=options.fit,
        fps=options.fps,
        max_clips_per_video=options.max_clips_per_video,
        colors=options.colors,
        tiles=_parse_tiles(options.tiles),
        labels=options.labels,
        overwrite=options.overwrite,
    )
    print(report.table())
    return report.exit_code


def _parse_tiles(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text, flags=re.ASCII)
    if match is None:
        raise GrowreelError(f"--tiles: {text!r} is not ROWSxCOLUMNS, e.g. 7x4")
    return int(match[1]), int(match[2])


def _inspect_parser() -> ArgumentParser:
    parser = ArgumentParser(usage="growreel inspect STORE [options]", description="Print counts and shape; draw a contact sheet.")
    parser.add_argument("store", type=Path, help="folder that prepare wrote")
    parser.add_argument("--sheet", type=Path | None, default=None, help="where to write the sheet; default: STORE/contact_sheet.png")
    parser.add_argument("--count", type=int, default=16, help="clips on the sheet")
    parser.add_argument("--seed", type=int, default=0, help="which clips")
    parser.add_argument("--verify", action="store_true", help="also compare every file with its checksum")
    return parser


def _inspect(options: Namespace) -> int:
    from growreel.data.contact import contact_sheet, describe
    from growreel.data.store import ClipStore

    sheet = options.sheet or options.store / "contact_sheet.png"
    with ClipStore.open(options.store) as store:
        print(describe(store))
        if options.verify:
            store.verify()
            print("checksums: all files are as written")
        contact_sheet(store, sheet, count=options.count, seed=options.seed)
    print(f"contact sheet: {sheet}")
    return 0


def _plan_parser(arguments: Sequence[str]) -> ArgumentParser:
    parser = ArgumentParser(usage="growreel plan [--preset NAME] [--target TxHxW] [options]", description="Print the growth plan.")
    add_config(parser, arguments)
    return parser


def _plan(options: Namespace) -> int:
    from growreel.training.summary import plan_table

    print(plan_table(resolve_config(options)))
    return 0


def _train_parser(arguments: Sequence[str]) -> ArgumentParser:
    parser = ArgumentParser(
        usage="growreel train STORE --out RUN [--preset NAME] [--target TxHxW] [options]",
        description="Train on a clip store. The same command on the same run folder resumes. Ctrl-C and SIGTERM save and leave.",
    )
    parser.add_argument("store", type=Path, help="folder that prepare wrote")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--clips", type=int | None, default=None, help="short for --training.clips")
    parser.add_argument("--eval-every", type=int | None, default=None, help="short for --training.eval_interval")
    parser.add_argument("--compile", default=None, choices=["auto", "on", "off"], help="short for --training.compile")
    parser.add_argument("--allow-config-change", action="store_true", help="resume although settings differ from the run's")
    add_config(parser, arguments)
    return parser


def _train(options: Namespace) -> int:
    config = resolve_config(options)
    short = {"clips": options.clips, "eval_interval": options.eval_every, "compile": options.compile}
    given = {name: value for name, value in short.items() if value is not None}
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, **given))
    from growreel.training.loop import train

    result = train(options.store, options.out, config, allow_config_change=options.allow_config_change)
    how = f"stopped by {result.signal.name}; the same command resumes" if result.signal else "done"
    if result.is_first_process:
        peak = result.peak_memory / 1e9
        print(f"{how}: {result.clips_shown} clips shown, at most {peak:.2f} GB of memory; models and samples are in {options.out}")
    return 128 + result.signal if result.signal else 0


def _add_sampling(parser: ArgumentParser) -> None:
    parser.add_argument(
        "model", type=Path, help="a .safetensors file, a run folder for its newest, or shapes-16x32x32, which comes with growreel"
    )
    parser.add_argument("--out", type=Path, required=True, help=".mp4, .gif, .webp, .png or .npy")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first clip; the others follow")
    parser.add_argument("--truncation", type=float, default=1.0, help="below 1: fewer surprises, less variety")
    parser.add_argument("--fps", type=float | None, default=None, help="frames a second; default: the model's")
    parser.add_argument("--scale", type=int | None, default=None, help="enlarge pixels N times; default: to a height of 64")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto", help="arithmetic; auto: the fast one here")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")


def _load_model(options: Namespace) -> LoadedGenerator:
    """The model on the device that was asked for."""
    from growreel.distributed import pick_device
    from growreel.memory import keep_freed_memory
    from growreel.models.files import load_generator

    device = pick_device(options.device, "--device")
    if device.type == "cpu":
        keep_freed_memory()
    model = load_generator(options.model)
    model.generator.to(device)
    return model


def _sample_parser() -> ArgumentParser:
    parser = ArgumentParser(
        usage="growreel sample MODEL --out FILE [--count N] [--seed S] [options]",
        description="Make clips. Clip k depends on seed + k alone. A .npy file is uint8 [n, t, h, w, c]; the others show a grid.",
    )
    _add_sampling(parser)
    parser.add_argument("--count", type=int, default=16, help="how many clips")
    parser.add_argument("--separate", action="store_true", help="one file per clip, FILE-<seed>, instead of a grid")
    return parser


def _sample(options: Namespace) -> int:
    from growreel.sampling import stream, write_samples

    if options.count < 1:
        raise GrowreelError(f"--count {options.count}: must be at least 1")
    model = _load_model(options)
    seeds = range(options.seed, options.seed + options.count)
    fps = model.fps if options.fps is None else options.fps
    clips = stream(model, seeds, truncation=options.truncation, precision=options.precision)
    for path in write_samples(options.out, clips, seeds, fps=fps, separate=options.separate, scale=options.scale):
        print(path)
    return 0


def _walk_parser() -> ArgumentParser:
    parser = ArgumentParser(
        usage="growreel walk MODEL --out FILE [options]", description="A smooth walk through the latent space that loops without a jump."
    )
    _add_sampling(parser)
    parser.add_argument("--frames", type=int, default=240, help="length of the loop")
    parser.add_argument("--turns", type=int, default=2, help="how far the walk wanders; more turns move faster")
    parser.add_argument("--count", type=int, default=1, help="walks side by side")
    return parser


def _walk(options: Namespace) -> int:
    import numpy as np

    from growreel.sampling import walk, write_samples

    model = _load_model(options)
    fps = model.fps if options.fps is None else options.fps
    shared = {name: options[name] for name in ("turns", "count", "seed", "truncation", "precision")}
    frames = walk(model, options.frames, **shared)
    write_samples(options.out, np.stack(list(frames), axis=1), [options.seed], fps=fps, scale=options.scale)
    print(options.out)
    return 0


def _demo_parser() -> ArgumentParser:
    parser = ArgumentParser(
        usage="growreel demo [--out RUN]", description="Make procedural clips, grow a model on them, sample it, judge the samples."
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="run folder")
    return parser


def _demo(options: Namespace) -> int:
    from growreel.demo import run_demo

    return run_demo(options.out)


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "prepare": _prepare,
    "inspect": _inspect,
    "plan": _plan,
    "train": _train,
    "sample": _sample,
    "walk": _walk,
    "evaluate": run_evaluate,
    "weights": run_weights,
    "bench": run_bench,
    "demo": _demo,
}
