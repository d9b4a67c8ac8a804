"""The command `growreel export`."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.console import add_json, print_json
from growreel.cli.parser import CommandParser


def export_parser() -> ArgumentParser:
    """Build the parser of `growreel export`."""
    parser = CommandParser(
        usage="growreel export MODEL --format onnx|pt2 --out FILE",
        description="Write a trained generator for other programs: its inputs are latents [n, d] and a truncation [1], its output clips "
        "[n, c, t, h, w] in -1 to 1. It is compared with the source, to 1e-4, before the file appears.",
    )
    parser.add_argument("model", type=Path, help="model file, run folder, or name of a model that comes with growreel")
    parser.add_argument("--format", choices=["onnx", "pt2"], default="onnx", help="ONNX, or PyTorch's torch.export")
    parser.add_argument("--out", type=Path, required=True, help="file to write, ending in .onnx or .pt2")
    add_json(parser)
    return parser


def run_export(options: Namespace) -> int:
    """Export and say what the file is. Returns the exit code."""
    from growreel.export import export

    facts = export(options.model, options.out, options.format)
    if options.json:
        print_json(facts)
    else:
        print(f"{options.out}: clips of {facts['stage']}, equal to the source's; latents of {facts['latent_dim']} numbers")
    return 0
