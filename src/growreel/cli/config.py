"""Flags of the commands that take a whole configuration: `plan`, `train`, `bench`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.lists import plain
from growreel.config import Config, GrowthConfig, check_effects, from_dict, load_config, load_preset, preset_names, to_dict
from growreel.errors import GrowreelError
from growreel.growth import Size, ladder

INIT_FROM = (
    "start from a model: a file, a run folder, or a name; with its settings, unless --preset or --config is given, and train begins with "
    "its weights"
)


def add_config(parser: ArgumentParser, arguments: Sequence[str]) -> None:
    """Flags for every field of Config, with the preset's or file's values as defaults, and short names for the usual ones."""
    preset = _named(arguments).preset
    parser.add_argument("--preset", default=preset, help=f"start from one of {', '.join(preset_names())}")
    parser.add_argument("--config", type=Path | None, default=None, help="start from a YAML file (a run's config.yaml, say)")
    parser.add_argument("--init-from", default=None, metavar="MODEL", help=INIT_FROM)
    parser.add_argument("--target", default=None, help="size of the finished clips, TxHxW; stages that the preset has keep its schedule")
    parser.add_argument("--order", default=None, choices=["space", "time", "joint", "paper"], help="what grows first: makes a new plan")
    parser.add_argument("--stages", default=None, help="sizes of a plan written out, 4x4x4,8x8x8,...")
    parser.add_argument("--conditional", action="store_true", help="short for --network.conditional true: learn the store's labels apart")
    parser.add_class_arguments(Config)
    parser.set_defaults(to_dict(_base_config(_named(arguments))))


@dataclass(frozen=True)
class _Base:
    """What names the settings that a command starts from."""

    preset: str | None
    config: str | None
    init_from: str | None
    out: str | None = None

    @property
    def is_model(self) -> bool:
        return self.init_from is not None and not self.preset and not self.config

    def __str__(self) -> str:
        return str(self.preset or self.config or self.init_from)


def _named(arguments: Sequence[str]) -> _Base:
    """What --preset, --config and --init-from name; that gives the other flags their defaults, so it is looked up first."""
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scan.add_argument("--preset")
    scan.add_argument("--config")
    scan.add_argument("--init-from")
    scan.add_argument("--out")
    try:
        known, _ = scan.parse_known_args(arguments)
    except argparse.ArgumentError:  # a flag without its value: the real parser says so
        return _Base(None, None, None)
    return _Base(known.preset, known.config, known.init_from, known.out)


def _base_config(base: _Base) -> Config:
    if base.preset and base.config:
        raise GrowreelError("--preset and --config: give only one of the two to start from")
    if base.preset:
        return load_preset(base.preset)
    if base.config:
        return load_config(Path(base.config))
    if base.init_from is not None:
        config = _of_model(base.init_from, base.out)
        return dataclasses.replace(config, training=dataclasses.replace(config.training, clips=None))
    return Config()


def _of_model(model: str, out: str | None) -> Config:
    """The settings of a model, or of the run in `out` that has begun with it: that one needs the model no more."""
    from growreel.models.files import model_config
    from growreel.training.checkpoint import list_checkpoints

    if out is not None and list_checkpoints(Path(out)):
        return load_config(Path(out) / "config.yaml")
    return model_config(model)


def resolve_config(options: Namespace) -> Config:
    """The configuration that all flags together give, with those of `train` that are short for fields of others.

    Raises GrowreelError if flags contradict one another or one of them cannot take effect.
    """
    file, out = (None if options.get(name) is None else str(options[name]) for name in ("config", "out"))
    named = _Base(options.preset, file, options.init_from, out)
    base = _base_config(named)
    names = [field.name for field in dataclasses.fields(Config)]
    tree: dict[str, Any] = {name: plain(value) for name, value in options.as_dict().items() if name in names}
    short = {"clips": options.get("clips"), "eval_interval": options.get("eval_every"), "compile": options.get("compile")}
    tree["training"] = _one_average({**tree["training"], **{name: value for name, value in short.items() if value is not None}}, base)
    if options.get("conditional"):
        tree["network"]["conditional"] = True
    config = from_dict(tree, "command line")
    config = dataclasses.replace(config, growth=_growth(options, config.growth, named))
    laid_out = {name: getattr(config.growth, name) for name in ("order", "base")} if options.target or options.order else {}
    check_effects(config, dataclasses.replace(base, growth=dataclasses.replace(base.growth, **laid_out)))
    return config


def _one_average(training: dict[str, Any], base: Config) -> dict[str, Any]:
    """A half-life given as a flag takes the place of a preset's decay per step, and the other way round."""
    for given, other in (("ema_halflife_clips", "ema_decay"), ("ema_decay", "ema_halflife_clips")):
        if training[given] != getattr(base.training, given) and training[other] == getattr(base.training, other):
            return {**training, other: None}
    return training


def _growth(options: Namespace, growth: GrowthConfig, base: _Base) -> GrowthConfig:
    """The plan that --stages, or --target and --order, ask for; what stages of a preset are in it keep their schedule."""
    if options.stages is not None:
        if options.target or options.order:
            raise GrowreelError(f"--stages {options.stages}: says all about the plan; leave --target and --order out")
        if not options.stages.strip(" ,"):
            raise GrowreelError(f"--stages {options.stages!r}: has no sizes; write 4x4x4,8x8x8,...")
        sizes = [Size.parse(size, "--stages") for size in options.stages.replace(",", " ").split()]
    elif options.target or options.order:
        target = Size.parse(options.target, "--target") if options.target else growth.plan().sizes[-1]
        aimed = dataclasses.replace(growth, target=str(target), order=options.order or growth.order)
        if base.is_model and not options.order:
            sizes = _grown_on(growth, target)
        elif growth.stages:
            sizes = list(ladder(target, aimed.order, Size.parse(growth.base, "--growth.base")))
        else:
            return aimed
        growth = aimed
    else:
        return growth
    planned, taken = growth.along(sizes)
    if taken:
        what = ", ".join(f"{size} that of {source}" for size, source in taken.items())
        _say(f"stages that {base} does not have take the schedule of the one nearest in size: {what}")
    return planned


def _grown_on(growth: GrowthConfig, target: Size) -> list[Size]:
    """The sizes of a model's own plan up to the target, or all of them and then those that lead from the last one to it."""
    own = list(growth.plan().sizes)
    if target in own:
        return own[: own.index(target) + 1]
    if any(wanted < there for wanted, there in zip(target, own[-1], strict=True)):
        raise GrowreelError(f"--target {target}: the model's plan is {' '.join(map(str, own))}; give one of these, or a larger one")
    return [*own[:-1], *ladder(target, growth.order, own[-1])]


def _say(message: str) -> None:
    """Once, also where torchrun has started several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(f"growreel: {message}", file=sys.stderr)
