"""The command `growreel inspect`: what a clip store, a run folder, a model file, or a file of generated clips holds."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.console import add_json, print_json, print_table
from growreel.cli.parser import CommandParser
from growreel.errors import GrowreelError
from growreel.runtime.terminal import printable
from growreel.video import CLIP_SUFFIXES


def inspect_parser() -> ArgumentParser:
    """Build the parser of `growreel inspect`."""
    parser = CommandParser(
        usage="growreel inspect STORE|RUN|MODEL|CLIPS [options]",
        description="Print what a clip store, a run folder or a model file holds, or how a file of generated clips was made. Of a store a "
        "contact sheet is drawn, too.",
    )
    parser.add_argument(
        "path",
        type=Path,
        help="folder that prepare wrote, run folder, .safetensors file, hf://OWNER/NAME, or .mp4, .webp, .gif, .png or .npy that sample "
        "wrote",
    )
    parser.add_argument("--sheet", type=Path | None, default=None, help="where to write the sheet; default: STORE/contact_sheet.png")
    parser.add_argument("--count", type=int, default=16, help="clips on the sheet")
    parser.add_argument("--seed", type=int, default=0, help="which clips")
    parser.add_argument("--verify", action="store_true", help="also compare every file of a store with its checksum")
    add_json(parser)
    return parser


def run_inspect(options: Namespace) -> int:
    """Find out what it is and print its facts. Returns the exit code."""
    path: Path = options.path
    if (path / "index.json").exists() or (
        not path.exists() and path.suffix not in (".safetensors", *CLIP_SUFFIXES) and not _names_a_model(path)
    ):
        return _inspect_store(options)
    if options.verify or options.sheet is not None:
        raise GrowreelError(f"{path}: --verify and --sheet are for clip stores, which this is not; leave them out")
    if path.suffix.lower() in CLIP_SUFFIXES and path.is_file():
        return _inspect_clips(options)
    found = _facts(path)
    if options.json:
        print_json(found)
    else:
        print_table(_in_lines(found))
    return 0


def _inspect_store(options: Namespace) -> int:
    from growreel.data.contact import check_sheet, contact_sheet, describe, facts
    from growreel.data.store import ClipStore
    from growreel.data.survey import survey

    sheet = options.sheet or options.path / "contact_sheet.png"
    check_sheet(sheet, options.count, options.seed)
    with ClipStore.open(options.path) as store:
        if options.verify:
            store.verify()
        rows = [store.clips[number] for number in contact_sheet(store, sheet, count=options.count, seed=options.seed)]
        if options.json:
            found = {**facts(store), **survey(store).facts(), "contact_sheet": str(sheet), "verified": options.verify}
            print_json({**found, "contact_sheet_rows": [[clip.source, clip.frame] for clip in rows]})
            return 0
        print_table(describe(store))
        print_table(survey(store).table())
    if options.verify:
        print("checksums: all files are as written")
    print(f"contact sheet: {sheet}; its rows, from above, with first frames:")
    print(textwrap.fill(", ".join(f"{printable(clip.source)} {clip.frame}" for clip in rows), 120, break_long_words=False))
    return 0


def _inspect_clips(options: Namespace) -> int:
    from growreel.recipe import read_recipe

    recipe = read_recipe(options.path)
    if options.json:
        print_json(json.loads(recipe.to_json()))
    else:
        print_table(recipe.table())
    return 0


def _names_a_model(path: Path) -> bool:
    from growreel.models.files import pretrained_names
    from growreel.models.hub import is_hub_address

    return str(path) in pretrained_names() or is_hub_address(path)


def _facts(path: Path) -> dict[str, Any]:
    from growreel.models.facts import model_facts
    from growreel.models.files import load_generator
    from growreel.training.run_facts import is_run, run_facts

    if path.is_dir():
        if not is_run(path):
            raise GrowreelError(f"{path}: is neither a clip store nor a run folder; give what prepare or train wrote, or a model file")
        return run_facts(path)
    return model_facts(load_generator(path))


def _in_lines(found: dict[str, Any]) -> str:
    """Write the facts of a run or a model for people, a line each; what is not there is left out."""
    head = f"{found['path']}: a {'run folder' if found['kind'] == 'run' else 'model file'}"
    rows = {
        name.replace("_", " "): _value(name, value)
        for name, value in found.items()
        if name not in ("kind", "path") and value not in (None, {}, [])
    }
    width = max(map(len, rows))
    return "\n".join([head, *(f"{name:<{width}}  {value}" for name, value in rows.items())])


def _value(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(key, entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return " ".join(f"{entry:,}" if isinstance(entry, int) else str(entry) for entry in value)
    if "bytes" in name:
        return f"{value / 2**20:,.1f} MiB"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
