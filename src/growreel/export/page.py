"""A folder that makes new clips in any browser: a page, the model, and onnxruntime-web, all files, no server of ours."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from growreel.errors import GrowreelError
from growreel.export.files import facts_of, onnx_model
from growreel.models.files import LoadedGenerator, load_generator
from growreel.reading.words import plain
from growreel.runtime.cache import cache_folder
from growreel.runtime.durable import replacing, replacing_folder, writing
from growreel.runtime.randomness import latents_of_seeds

RUNTIME = "onnxruntime-web-1.30.0.tgz"
RUNTIME_NAME = "onnxruntime-web@1.30.0"
RUNTIME_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""As the npm registry states it (`integrity`)."""
PROCESSOR_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
CARD_FILES = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
TIMEOUT_SECONDS = 120
SEEDS = 256
"""Seeds whose latents are in the folder, so that they are the same clips as `growreel sample` makes; a browser has no such generator."""
PAGE = ("index.html", "style.css", "play.js", "worker.js")


def export_page(
    model: str | Path, out: str | Path, *, runtime: str | Path | None = None, webgpu: bool = True, title: str | None = None
) -> dict[str, str]:
    """Write a folder that any web server can serve as it is, and that asks nothing of any other.

    Weights are stored in half precision and computed with in single precision. That rounding moves sharp edges a little (docs/export.md).

    Args:
        model: model file, run folder, or name of a model that comes with growreel.
        out: folder to write; must not exist.
        runtime: the npm package onnxruntime-web 1.30.0 as a .tgz; None takes it from the cache, or has npm fetch it (33 MB).
        webgpu: also put in what a graphics card needs (27 MB).
        title: of the page's model; None is the file's name.

    Returns:
        The facts that the page shows.

    Raises:
        GrowreelError: the folder exists, the package cannot be had or has another checksum, the extra `onnx` is missing, or the clips
            differ from those of the rounded weights.
    """
    out = Path(out)
    if out.exists():
        raise GrowreelError(f"--out {out}: exists; give a new folder, or move it away")
    loaded = load_generator(model)
    facts = facts_of(loaded) | {"title": title or (loaded.path.stem if loaded.path else str(model)), "webgpu": "yes" if webgpu else "no"}
    packed = onnx_model(loaded, facts, half=True)
    with tarfile.open(fileobj=io.BytesIO(_package(runtime)), mode="r:gz") as package, writing(out), replacing_folder(out) as folder:
        (folder / "runtime").mkdir()
        for name in (*PROCESSOR_FILES, *(CARD_FILES if webgpu else ())):
            member = package.extractfile(f"package/dist/{name}")
            assert member is not None
            with (folder / "runtime" / name).open("wb") as file:
                shutil.copyfileobj(member, file)
        for name in PAGE:
            (folder / name).write_bytes(resources.files("growreel.export").joinpath("web", name).read_bytes())
        (folder / "model.onnx").write_bytes(packed)
        (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        (folder / "seeds.bin").write_bytes(latents_of_seeds(range(SEEDS), loaded.generator.latent_dim).astype("<f4").tobytes())
        (folder / "README.txt").write_text(_readme(loaded, facts), encoding="utf-8")
    return facts


def _package(given: str | Path | None) -> bytes:
    """The npm package, its checksum verified."""
    kept = cache_folder() / RUNTIME
    if given is not None:
        path = Path(given)
        try:
            packed = path.read_bytes()
        except OSError as error:
            raise GrowreelError(f"--runtime {path}: cannot be read ({error.strerror})") from error
        if not _is_whole(packed):
            raise GrowreelError(
                f"--runtime {path}: is not {RUNTIME} of the npm registry (its checksum is another); npm pack {RUNTIME_NAME}"
            )
        return packed
    if kept.is_file() and _is_whole(packed := kept.read_bytes()):
        return packed
    packed = _fetched()
    kept.parent.mkdir(parents=True, exist_ok=True)
    with replacing(kept) as file:
        file.write(packed)
    return packed


def _fetched() -> bytes:
    """The package by way of npm, which knows the registry that is meant here, with its checksum verified."""
    otherwise = f"where it works, `npm pack {RUNTIME_NAME}` writes {RUNTIME}; give that with --runtime {RUNTIME}"
    with tempfile.TemporaryDirectory(prefix="growreel-npm-") as place:
        try:
            npm = shutil.which("npm") or "npm"
            subprocess.run([npm, "pack", "--silent", RUNTIME_NAME], cwd=place, capture_output=True, check=True, timeout=TIMEOUT_SECONDS)
            packed = (Path(place) / RUNTIME).read_bytes()
        except FileNotFoundError as error:
            raise GrowreelError(f"export: {RUNTIME_NAME} is fetched with npm, which is not here; {otherwise}") from error
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or str(error).encode()
            raise GrowreelError(
                f"export: npm could not fetch {RUNTIME_NAME} ({plain(said.decode(errors='replace'))}); {otherwise}"
            ) from error
    if not _is_whole(packed):
        raise GrowreelError(f"export: what npm gave as {RUNTIME_NAME} has another checksum than the one known here; nothing was written")
    return packed


def _is_whole(packed: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(packed).digest()).decode() == RUNTIME_SHA512


def _readme(loaded: LoadedGenerator, facts: dict[str, Any]) -> str:
    return (
        f"{facts['title']}: new clips in a browser.\n\n"
        "Put this folder on any web server, or run `python -m http.server` in it and open http://localhost:8000 (a browser does not load\n"
        "WebAssembly from file:// addresses). Nothing is asked of any other server.\n\n"
        f"Model: sha256 {facts['model_sha256']}, licence {loaded.license}, made with growreel {facts['growreel']}.\n"
        "runtime/: onnxruntime-web 1.30.0 of the npm registry, Copyright Microsoft Corporation, MIT licence.\n"
    )
