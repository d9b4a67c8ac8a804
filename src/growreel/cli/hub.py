"""The command `growreel push`."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from growreel.cli.parser import CommandParser
from growreel.errors import GrowreelError


def push_parser() -> ArgumentParser:
    """Build the parser of `growreel push`."""
    parser = CommandParser(
        usage="growreel push MODEL OWNER/NAME [options] | growreel push MODEL --folder FOLDER",
        description="Put a model on the Hugging Face hub with a model card, samples, configuration and figures; `hf://OWNER/NAME` is then "
        "a MODEL for sample, walk and export. --folder writes all that and sends nothing: look at it first. New repositories are "
        "private.",
    )
    parser.add_argument("model", type=Path, help="model file, run folder, or name of a model that comes with growreel")
    parser.add_argument("repo", type=str | None, nargs="?", default=None, help="OWNER/NAME")
    parser.add_argument("--folder", type=Path | None, default=None, help="write a new folder instead, and send nothing")
    parser.add_argument("--license", default=None, help="terms of the weights, such as apache-2.0; default: what the model file says")
    parser.add_argument("--about", default=None, help="a sentence on what the clips show")
    parser.add_argument("--data-license", default=None, help="terms of the clips that were learnt")
    parser.add_argument("--public", action="store_true", help="everybody may see a repository that is made")
    return parser


def run_push(options: Namespace) -> int:
    """Push, or write the folder, and print where it is. Returns the exit code."""
    from growreel.hub import push, write_repository

    words = {"license": options.license, "about": options.about, "data_license": options.data_license}
    if options.folder is not None:
        if options.public:
            raise GrowreelError(f"--public: sends nothing with --folder {options.folder}; leave one of them out")
        print(write_repository(options.model, options.folder, repo=options.repo, **words))
        return 0
    if options.repo is None:
        raise GrowreelError("push: give OWNER/NAME, or --folder FOLDER to write what would be sent")
    print(push(options.model, options.repo, public=options.public, **words))
    return 0
