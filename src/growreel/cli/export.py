"""The command `growreel export`."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.console import add_json, print_json
from growreel.cli.parser import CommandParser
from growreel.errors import GrowreelError


def export_parser() -> ArgumentParser:
    """Build the parser of `growreel export`."""
    parser = CommandParser(
        usage="growreel export MODEL --format onnx|pt2|web --out FILE [--runtime TGZ] [--no-webgpu] [--title TEXT]",
        description="Write a trained generator for other programs: its inputs are latents [n, d] and a truncation [1], its output clips "
        "[n, c, t, h, w] in -1 to 1. It is compared with the source before the file appears. `web` is a folder with a page that makes "
        "new clips in any browser.",
    )
    parser.add_argument("model", type=Path, help="model file, run folder, name of a model that comes with growreel, or hf://OWNER/NAME")
    parser.add_argument("--format", choices=["onnx", "pt2", "web"], default="onnx", help="ONNX, PyTorch's torch.export, or a page")
    parser.add_argument("--out", type=Path, required=True, help="file to write, ending in .onnx or .pt2; a new folder for web")
    parser.add_argument(
        "--runtime", type=Path | None, default=None, help="web: onnxruntime-web of the npm registry as a .tgz, if there is no network"
    )
    parser.add_argument("--no-webgpu", action="store_true", help="web: leave out what a graphics card needs, 27 MB")
    parser.add_argument("--title", default=None, help="web: name of the model on the page")
    add_json(parser)
    return parser


def run_export(options: Namespace) -> int:
    """Export and say what the file is. Returns the exit code."""
    from growreel.export import export, export_page

    if options.format == "web":
        facts = export_page(options.model, options.out, runtime=options.runtime, webgpu=not options.no_webgpu, title=options.title)
    else:
        for flag in ("runtime", "title"):
            if options[flag] is not None:
                raise GrowreelError(f"--{flag} {options[flag]}: is for --format web; leave it out")
        facts = export(options.model, options.out, options.format)
    if options.json:
        print_json(facts)
    else:
        if options.format == "web":
            print(f"{options.out}: put it on any web server, or try: python -m http.server --directory {options.out}")
        print(f"{options.out}: clips of {facts['stage']}, compared with the source's; latents of {facts['latent_dim']} numbers")
    return 0
