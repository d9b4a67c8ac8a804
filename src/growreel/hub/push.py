"""A model as a repository: the folder that goes to the hub, and its way there."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from growreel.config import to_yaml
from growreel.data.store import file_checksum
from growreel.errors import GrowreelError
from growreel.hub.card import model_card
from growreel.hub.measured import measured_card
from growreel.models.files import LoadedGenerator, load_generator, write_model
from growreel.models.header import CHECKSUM, discriminator_file, read_header
from growreel.models.hub import MODEL_FILE, hub_is_missing, hub_refused
from growreel.recipe import recipe_of
from growreel.runtime.durable import replace_text, replacing_folder, writing
from growreel.sampling import generate, write_samples
from growreel.training.initial import save_discriminator

logger = logging.getLogger("growreel")
SEEDS = range(16)
NAME = re.compile(r"[A-Za-z0-9._-]{1,96}/[A-Za-z0-9._-]{1,96}")


def push(
    model: str | Path,
    repo: str,
    *,
    license: str | None = None,
    about: str | None = None,
    data_license: str | None = None,
    public: bool = False,
) -> str:
    """Put a model on the hub, with its card, samples, configuration and figures; returns the address of the commit.

    What is in the repository and not among these files stays, but for the discriminator of an earlier model. Who is not logged in
    (`hf auth login`, or HF_TOKEN) is refused by the hub.

    Args:
        model: as of `write_repository`, and so are `license`, `about` and `data_license`.
        repo: `owner/name`; made if it is not there.
        license: terms of the weights.
        about: what the clips show.
        data_license: terms of the clips.
        public: for a repository that is made: everybody may see it. One that is there stays as it is.

    Raises GrowreelError as `write_repository` does, without huggingface_hub, and for what the hub or the network refuses.
    """
    if not NAME.fullmatch(repo):
        raise GrowreelError(f"{repo}: is no name of a repository; write owner/name")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise hub_is_missing(f"push {repo}") from error
    with tempfile.TemporaryDirectory(prefix="growreel-push-") as place:
        folder = Path(place) / "repository"
        write_repository(model, folder, repo=repo, license=license, about=about, data_license=data_license)
        api = HfApi(library_name="growreel")
        try:
            api.create_repo(repo, private=not public, exist_ok=True)
            return str(
                api.upload_folder(
                    repo_id=repo,
                    folder_path=folder,
                    commit_message="Model, card and samples, by growreel",
                    delete_patterns=[discriminator_file(Path(MODEL_FILE)).name],  # that of an earlier model, if this one has none
                )
            )
        except Exception as error:
            raise hub_refused(f"{repo}: the hub did not take it", error) from error


def write_repository(
    model: str | Path,
    folder: str | Path,
    *,
    repo: str | None = None,
    license: str | None = None,
    about: str | None = None,
    data_license: str | None = None,
) -> Path:
    """Write the folder that `push` uploads, whole or not at all; nothing of this machine's paths is in it. Returns the folder.

    Args:
        model: model file, run folder for its newest, or name of a model that comes with growreel.
        folder: must not exist.
        repo: how the card's example calls the model; None is the folder's name.
        license: terms of the weights, such as `apache-2.0`. The copy of the model file carries them. None keeps what the file says.
        about: a sentence on what the clips show, that only the author knows.
        data_license: terms of the clips that were learnt.

    Raises:
        GrowreelError: the model cannot be read, no terms are known of it, the folder exists or the disk does not take it.
    """
    folder = Path(folder)
    if folder.exists():
        raise GrowreelError(f"--folder {folder}: exists; give a new folder, or move it away")
    loaded = load_generator(model)
    assert loaded.path is not None
    if license is None and loaded.license == "unstated":
        raise GrowreelError(
            f"{loaded.path}: states no licence, and whoever gets it must know what may be done with it; add --license, such as --license "
            "apache-2.0, or your own terms in a few words. Weights depend on the clips that were learnt: may you give them away?"
        )
    measured = measured_card(loaded.path)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(folder) as made:
            words = {"about": about, "data_license": data_license}
            _fill(made, loaded, license or loaded.license, measured, repo or folder.name, words)
            _add_discriminator(loaded.path, made / MODEL_FILE)
    return folder


def _add_discriminator(source: Path, copy: Path) -> None:
    """Put the model's discriminator beside the copy. Without it the model is whole for all but training, so a damaged one is left out."""
    try:
        save_discriminator(source, copy)
    except GrowreelError as error:
        logger.warning("the discriminator is left out: %s", error)


def _fill(
    folder: Path, model: LoadedGenerator, license: str, measured: dict[str, Any] | None, repo: str, words: dict[str, str | None]
) -> None:
    assert model.path is not None
    header = {name: text for name, text in read_header(model.path).metadata.items() if name != CHECKSUM}
    target = folder / MODEL_FILE
    write_model(target, model.generator.state_dict(), {**header, "license": license})
    copy = load_generator(target)
    recipe = replace(recipe_of(copy, SEEDS, fps=model.fps), model=MODEL_FILE)
    write_samples(folder / "samples.webp", generate(copy, SEEDS), SEEDS, fps=model.fps, recipe=recipe)
    replace_text(folder / "config.yaml", to_yaml(model.config))
    if measured is not None:
        replace_text(folder / "card.json", json.dumps(measured, indent=2) + "\n")
    replace_text(folder / "README.md", model_card(copy, file_checksum(target), measured, repo=repo, **words))
