"""Flags of the commands that take a whole configuration: `plan`, `train`, `bench`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.lists import plain
from growreel.config import Config, GrowthConfig, StageConfig, from_dict, load_config, load_preset, preset_names, to_dict
from growreel.errors import GrowreelError


def add_config(parser: ArgumentParser, arguments: Sequence[str]) -> None:
    """Flags for every field of Config, with the preset's or file's values as defaults, and short names for the usual ones."""
    parser.add_argument("--preset", default=None, help=f"start from one of {', '.join(preset_names())}")
    parser.add_argument("--config", type=Path | None, default=None, help="start from a YAML file (a run's config.yaml, say)")
    parser.add_argument("--target", default=None, help="short for --growth.target; replaces the stages of a preset")
    parser.add_argument("--order", default=None, choices=["space", "time", "joint", "paper"], help="short for --growth.order")
    parser.add_argument("--stages", default=None, help="sizes of a plan written out, 4x4x4,8x8x8,...")
    parser.add_class_arguments(Config)
    parser.set_defaults(to_dict(_base_config(arguments)))


def _base_config(arguments: Sequence[str]) -> Config:
    """The configuration that --preset or --config names; it gives the other flags their defaults, so it is looked up first."""
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scan.add_argument("--preset")
    scan.add_argument("--config")
    try:
        known, _ = scan.parse_known_args(arguments)
    except argparse.ArgumentError:  # a flag without its value: the real parser says so
        return Config()
    if known.preset and known.config:
        raise GrowreelError("--preset and --config: give only one of the two to start from")
    if known.preset:
        return load_preset(known.preset)
    return load_config(Path(known.config)) if known.config else Config()


def resolve_config(options: Namespace) -> Config:
    """The configuration that all flags together give. Raises GrowreelError if they contradict one another."""
    names = [field.name for field in dataclasses.fields(Config)]
    tree: dict[str, Any] = {name: plain(value) for name, value in options.as_dict().items() if name in names}
    config = from_dict(tree, "command line")
    growth: GrowthConfig = config.growth
    if options.stages is not None and (options.target or options.order):
        raise GrowreelError(f"--stages {options.stages}: says all about the plan; leave --target and --order out")
    if options.stages is not None:
        if not options.stages.strip(" ,"):
            raise GrowreelError(f"--stages {options.stages!r}: has no sizes; write 4x4x4,8x8x8,...")
        growth = dataclasses.replace(
            growth, target=None, stages=tuple(StageConfig(size) for size in options.stages.replace(",", " ").split())
        )
    elif options.target or options.order:
        target = options.target or str(growth.plan().sizes[-1])
        growth = dataclasses.replace(growth, stages=(), target=target, order=options.order or growth.order)
    return dataclasses.replace(config, growth=growth)
