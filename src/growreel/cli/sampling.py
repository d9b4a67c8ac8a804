"""The commands `growreel sample` and `growreel walk`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.parser import CommandParser
from growreel.errors import GrowreelError

if TYPE_CHECKING:
    from growreel.models.files import LoadedGenerator


def _add_sampling(parser: ArgumentParser) -> None:
    """Add the flags that both commands have."""
    parser.add_argument(
        "model", type=Path, help="a .safetensors file, a run folder for its newest, or shapes-16x32x32, which comes with growreel"
    )
    parser.add_argument("--out", type=Path, required=True, help=".mp4, .gif, .webp, .png or .npy")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first clip; the others follow")
    parser.add_argument("--truncation", type=float, default=1.0, help="below 1: fewer surprises, less variety")
    parser.add_argument("--fps", type=float | None, default=None, help="frames a second; default: the model's")
    parser.add_argument("--scale", type=int | None, default=None, help="enlarge pixels N times; default: to a height of 64")
    parser.add_argument(
        "--precision",
        choices=["float32", "tf32", "bfloat16"],
        default="float32",
        help="arithmetic; tf32 (on a card) and bfloat16 may be fast",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")


def _load_model(options: Namespace) -> LoadedGenerator:
    """Load the model that the flags name, onto the device that they name."""
    from growreel.models.files import load_generator
    from growreel.runtime.distributed import pick_device
    from growreel.runtime.memory import keep_freed_memory
    from growreel.runtime.precision import named_arithmetic

    device = pick_device(options.device, "--device")
    named_arithmetic(options.precision, "--precision", device)
    if device.type == "cpu":
        keep_freed_memory()
    return load_generator(options.model, device)


def _facts(model: LoadedGenerator, options: Namespace) -> dict[str, Any]:
    """What the files say of how they were made."""
    from growreel.sampling import sample_facts

    return sample_facts(model, options.precision, options.truncation, options.model.name)


def sample_parser() -> ArgumentParser:
    """Build the parser of `growreel sample`."""
    parser = CommandParser(
        usage="growreel sample MODEL --out FILE [--count N] [--seed S] [options]",
        description="Make clips. Clip k depends on seed + k alone. A .npy file is uint8 [n, t, h, w, c]; the others show a grid.",
    )
    _add_sampling(parser)
    parser.add_argument("--count", type=int, default=16, help="how many clips")
    parser.add_argument("--separate", action="store_true", help="one file per clip, FILE-<seed>, instead of a grid")
    return parser


def run_sample(options: Namespace) -> int:
    """Make clips, write them and print the names of the files. Returns the exit code."""
    from growreel.sampling import make_place_for, stream, write_samples

    if options.count < 1:
        raise GrowreelError(f"--count {options.count}: must be at least 1")
    model = _load_model(options)
    make_place_for(options.out)
    seeds = range(options.seed, options.seed + options.count)
    fps = model.fps if options.fps is None else options.fps
    clips = stream(model, seeds, truncation=options.truncation, precision=options.precision)
    facts = _facts(model, options)
    for path in write_samples(options.out, clips, seeds, fps=fps, separate=options.separate, scale=options.scale, facts=facts):
        print(path)
    return 0


def walk_parser() -> ArgumentParser:
    """Build the parser of `growreel walk`."""
    parser = CommandParser(
        usage="growreel walk MODEL --out FILE [options]", description="A smooth walk through the latent space that loops without a jump."
    )
    _add_sampling(parser)
    parser.add_argument("--frames", type=int, default=240, help="length of the loop")
    parser.add_argument("--turns", type=int, default=2, help="how far the walk wanders; more turns move faster")
    parser.add_argument("--count", type=int, default=1, help="walks side by side")
    return parser


def run_walk(options: Namespace) -> int:
    """Make a walk, write it and print the name of the file. Returns the exit code."""
    import numpy as np

    from growreel.sampling import make_place_for, walk, write_samples

    model = _load_model(options)
    make_place_for(options.out)
    fps = model.fps if options.fps is None else options.fps
    shared = {name: options[name] for name in ("turns", "count", "seed", "truncation", "precision")}
    frames = walk(model, options.frames, **shared)
    facts = _facts(model, options)
    clips = np.stack(list(frames), axis=1)
    write_samples(options.out, clips, range(options.seed, options.seed + options.count), fps=fps, scale=options.scale, facts=facts)
    print(options.out)
    return 0
