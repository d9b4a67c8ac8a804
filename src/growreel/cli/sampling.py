"""The commands `growreel sample` and `growreel walk`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.parser import CommandParser
from growreel.errors import GrowreelError
from growreel.ranges import check_range

if TYPE_CHECKING:
    from growreel.models.files import LoadedGenerator
    from growreel.recipe import Recipe, Walk
    from growreel.runtime.latents import Place

MODEL = "a .safetensors file, a run folder for its newest, shapes-16x32x32, shapes-16x64x64 or asl-16x32x32, which come with growreel, or hf://OWNER/NAME"


def _add_sampling(parser: ArgumentParser) -> None:
    """Add the flags that both commands have."""
    parser.add_argument("--out", type=Path, required=True, help=".mp4, .gif, .webp, .png or .npy")
    parser.add_argument("--seed", type=int | None, default=None, help="seed of the first clip, default 0; the others follow")
    parser.add_argument("--truncation", type=float | None, default=None, help="below 1: fewer surprises, less variety; default: 1")
    parser.add_argument("--classes", default=None, help="of a conditional model: names with commas, taken in turn; default: all")
    parser.add_argument("--fps", type=float | None, default=None, help="frames a second; default: the model's")
    parser.add_argument("--scale", type=int | None, default=None, help="enlarge pixels N times; default: to a height of 64")
    parser.add_argument(
        "--precision",
        choices=["float32", "tf32", "bfloat16"],
        default=None,
        help="arithmetic, default float32; tf32 (on a card) and bfloat16 may be faster",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")


def _load_model(path: Path, device_name: str) -> LoadedGenerator:
    """Load the model onto the device that was asked for."""
    from growreel.models.files import load_generator
    from growreel.runtime.distributed import pick_device
    from growreel.runtime.memory import keep_freed_memory

    device = pick_device(device_name, "--device")
    if device.type == "cpu":
        keep_freed_memory()
    return load_generator(path, device)


def sample_parser() -> ArgumentParser:
    """Build the parser of `growreel sample`."""
    parser = CommandParser(
        usage="growreel sample MODEL --out FILE [--count N] [--seed S] [options] | growreel sample [MODEL] --like CLIP --out FILE",
        description="Make clips. Clip k depends on seed + k alone. A .npy file is uint8 [n, t, h, w, c]; the others show a grid. "
        "Every file carries its recipe, and --like makes the clips of a file again, walks too.",
    )
    parser.add_argument("model", type=Path | None, nargs="?", default=None, help=MODEL + "; with --like, default: the recipe's")
    _add_sampling(parser)
    parser.add_argument("--like", type=Path | None, default=None, help="a file that growreel made; flags given beside it change its recipe")
    parser.add_argument("--count", type=int | None, default=None, help="how many clips; default: 16")
    parser.add_argument(
        "--frames", type=int | None, default=None, help="length of each clip; beyond the model's, clips are searched that go on"
    )
    parser.add_argument("--separate", action="store_true", help="one file per clip, FILE-<seed>, instead of a grid")
    return parser


def run_sample(options: Namespace) -> int:
    """Make clips, write them and print the names of the files. Returns the exit code."""
    from growreel.recipe import at_stage, check_model, find_model, read_recipe

    check_range("--count", options.count, least=1)
    check_range("--frames", options.frames, least=1)
    if options.like is None:
        if options.model is None:
            raise GrowreelError("sample: give a MODEL, or --like CLIP to make the clips of a file again")
        model = _load_model(options.model, options.device)
        return _write(model, _recipe(model, options, range(_seed(options), _seed(options) + (options.count or 16))), options)
    like = read_recipe(options.like)
    if like.walk and options.frames:
        raise GrowreelError(f"--frames {options.frames}: {options.like} is a walk, whose length is part of its way; make another with walk")
    model = _load_model(options.model or find_model(like, options.like), options.device)
    check_model(like, model, options.like)
    model = at_stage(model, like)
    return _write(model, _recipe(model, options, _seeds_like(like, options), like), options)


def walk_parser() -> ArgumentParser:
    """Build the parser of `growreel walk`."""
    parser = CommandParser(
        usage="growreel walk MODEL --out FILE [options]", description="A smooth walk through the latent space that loops without a jump."
    )
    parser.add_argument("model", type=Path, help=MODEL)
    _add_sampling(parser)
    parser.add_argument("--frames", type=int, default=240, help="length of the loop")
    parser.add_argument("--turns", type=int, default=2, help="how far the walk wanders; more turns move faster")
    parser.add_argument("--to", type=int | None, default=None, help="walk to this seed and back instead")
    parser.add_argument("--every", type=int, default=1, help="a clip for every N-th frame only, blended between: N times as fast")
    parser.add_argument("--count", type=int, default=1, help="walks side by side")
    return parser


def run_walk(options: Namespace) -> int:
    """Make a walk, write it and print the name of the file. Returns the exit code."""
    from growreel.recipe import Walk

    check_range("--count", options.count, least=1)
    model = _load_model(options.model, options.device)
    seeds = range(_seed(options), _seed(options) + options.count)
    walk = Walk(options.frames, options.turns, options.to, options.every)
    return _write(model, _recipe(model, options, seeds, walk=walk), options)


def _seeds_like(like: Recipe, options: Namespace) -> Sequence[Place]:
    """The recipe's seeds; as many of them as asked for, or those from another seed on. Raises GrowreelError where none follow a mix."""
    count = options.count or len(like.seeds)
    if options.seed is None and count <= len(like.seeds):
        return like.seeds[:count]
    first = like.seeds[0] if options.seed is None else options.seed
    if not isinstance(first, int):
        raise GrowreelError(f"--count {count}: {options.like} has {len(like.seeds)} clips between seeds, and none follows; give --seed")
    return range(first, first + count)


def _seed(options: Namespace) -> int:
    return options.seed or 0


def _recipe(
    model: LoadedGenerator, options: Namespace, seeds: Sequence[Place], like: Recipe | None = None, walk: Walk | None = None
) -> Recipe:
    """What the flags say; what they leave open is as in `like`, or as usual."""
    from growreel.recipe import recipe_of
    from growreel.runtime.precision import named_arithmetic

    def setting(name: str, usual: Any) -> Any:
        if options[name] is not None:
            return options[name]
        return getattr(like, name) if like else usual

    return recipe_of(
        model,
        seeds,
        fps=setting("fps", model.fps),
        truncation=setting("truncation", 1.0),
        precision=named_arithmetic(setting("precision", "float32"), "--precision", next(model.generator.parameters()).device),
        scale=setting("scale", None),
        walk=like.walk if like else walk,
        frames=None if walk else setting("frames", None),
        classes=setting("classes", None),
    )


def _write(model: LoadedGenerator, recipe: Recipe, options: Namespace) -> int:
    """Make the clips that the recipe says, write them and print where."""
    from growreel.sampling import clips_of_recipe, make_place_for, write_samples

    make_place_for(options.out)
    clips = clips_of_recipe(model, recipe)
    separate = options.get("separate", False)
    for path in write_samples(options.out, clips, recipe.seeds, fps=recipe.fps, separate=separate, scale=recipe.scale, recipe=recipe):
        print(path)
    return 0
