"""Weights of the metrics' networks: where they come from, where they lie, which file it is. None is shipped or fetched unasked."""

from __future__ import annotations

import functools
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from growreel.data.store import file_checksum
from growreel.errors import GrowreelError
from growreel.evaluation.extractors import c3d, i3d, inception
from growreel.runtime.cache import cache_folder
from growreel.runtime.durable import replacing, writing

TIMEOUT_SECONDS = 60
"""What `torch.hub.download_url_to_file` has none of; it also moves a file into place that was not brought to the disk."""


@dataclass(frozen=True)
class KnownFile:
    """A published weights file.

    Attributes:
        file: its name in the weights folder.
        role: what it is used as; several files may serve one role.
        sha256: None where no checksum was found published; such a file is not downloaded.
        source: address of the file or of the page that offers it.
        license: as stated there.
        direct: whether `source` is the file itself.
        torchscript: code, so never loaded unless the user names the file.
        remark: what tells it from other files of the role.
    """

    file: str
    role: str
    sha256: str | None
    source: str
    license: str
    direct: bool = False
    torchscript: bool = False
    remark: str = ""


KNOWN = (
    KnownFile(
        "pt_inception-2015-12-05-6726825d.pth",
        "inception-2048",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "Apache-2.0",
        direct=True,
        remark="serves inception-768 too",
    ),
    KnownFile(
        "inception_v3_2015_up_to_mixed_7.npz",
        "inception-768",
        "6895a8f7ebc87f4fbe874f77a3e2d364279a1302dcd81f8296fd0dc685370267",
        "convolutions of Apple's MetalImageRecognition sample, up to mixed_7",
        "Apple sample code licence",
    ),
    KnownFile(
        "i3d_pretrained_400.pt",
        "i3d-kinetics400",
        None,
        "https://github.com/wilson1yan/VideoGPT",
        "MIT",
        remark="TF-Hub's i3d-kinetics-400, as FVD is defined",
    ),
    KnownFile(
        "i3d_torchscript.pt",
        "i3d-kinetics400",
        "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
        "https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1",
        "StyleGAN-V's, non-commercial",
        torchscript=True,
        remark="the same network as TorchScript: name it with --torchscript",
    ),
    KnownFile(
        "conv3d_deepnetA_ucf.npz",
        "c3d-ucf101",
        None,
        "https://github.com/rezoo/tgan2/releases/download/v1.0/conv3d_deepnetA_ucf.npz",
        "MIT (repository)",
    ),
    KnownFile("mean2.npz", "c3d-ucf101-mean", None, "https://github.com/rezoo/tgan2/releases/download/v1.0/mean2.npz", "MIT (repository)"),
)
ROLES: dict[str, Callable[[Path], object]] = {
    "inception-2048": lambda path: inception.load(path, 2048),
    "inception-768": lambda path: inception.load(path, 768),
    "i3d-kinetics400": i3d.load,
    "c3d-ucf101": c3d.load,
    "c3d-ucf101-mean": c3d.load_mean,
}
"""How a file of each role is read, which is also how `add` finds out whether it is one."""
ALSO = {"inception-768": ("inception-2048",)}
"""Roles whose files serve another one too."""


@dataclass(frozen=True)
class WeightsFile:
    """A file that is here. `known` is its entry in the table, by checksum; None for a file that nobody has published under it."""

    path: Path
    sha256: str
    known: KnownFile | None = None

    def describe(self) -> dict[str, str]:
        """Return name and checksum for the metric card."""
        return {"weights": self.path.name, "sha256": self.sha256} | ({} if self.known else {"note": "the checksum is not of a known file"})


def folder() -> Path:
    """GROWREEL_WEIGHTS, or growreel/weights in the user's cache folder."""
    if named := os.environ.get("GROWREEL_WEIGHTS"):
        return Path(named)
    return cache_folder() / "weights"


def find(role: str) -> WeightsFile | None:
    """The file for a role in the weights folder, or None: a known file by its name, else `<role>.npz`, `.pt`, `.pth`, `.safetensors`."""
    roles = (role, *ALSO.get(role, ()))
    names = [known.file for each in roles for known in KNOWN if known.role == each and not known.torchscript]
    names += [f"{each}{suffix}" for each in roles for suffix in (".safetensors", ".npz", ".pt", ".pth")]
    for name in names:
        if (folder() / name).is_file():
            return identify(folder() / name)
    return None


def identify(path: Path) -> WeightsFile:
    """The file with its checksum and, if that is known, its entry. Raises GrowreelError if it cannot be read."""
    try:
        stat = path.stat()
        digest = _checksum(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise GrowreelError(f"{path}: cannot be read ({error.strerror}); give a weights file") from error
    return WeightsFile(path, digest, next((known for known in KNOWN if known.sha256 == digest), None))


@functools.lru_cache
def _checksum(path: Path, modified: int, size: int) -> str:
    """Of a file as it is now: a changed one has another time or size."""
    return file_checksum(path)


def add(file: Path, role: str | None = None) -> WeightsFile:
    """Copy a file into the weights folder, after reading it as what it is to be.

    Args:
        role: one of ROLES; None for a file that is known by its checksum or, failing that, by its name.

    Raises:
        GrowreelError: the file cannot be used in the role, or its role is not known.
    """
    found = identify(file)
    known = found.known or next((each for each in KNOWN if role is None and each.file == file.name), None)
    if known is not None and known.torchscript:
        raise GrowreelError(f"{file}: is TorchScript, which is code and runs only when named: growreel evaluate --torchscript {file}")
    role = role or (known.role if known else None)
    if role not in ROLES:
        raise GrowreelError(
            f"{file}: {'is no known file' if role is None else f'--role {role} is none'}; give --role, one of {', '.join(ROLES)}"
        )
    ROLES[role](file)
    name = known.file if known is not None and known.role == role else f"{role}{file.suffix.lower()}"
    return _put(file, folder() / name)


def download(name: str) -> WeightsFile:
    """Fetch a known file, by its name or its role, and check it. This is the only place that uses the network, and only when asked.

    Raises GrowreelError if the file is not known, has no published checksum or no direct address, cannot be reached, or is another
    file than it should be; nothing is left behind then.
    """
    candidates = [known for known in KNOWN if name in (known.file, known.role)]
    if not candidates:
        raise GrowreelError(f"{name}: is no known weights file; see growreel weights list")
    known = next((each for each in candidates if each.direct and each.sha256), None)
    if known is None:
        raise GrowreelError(
            f"{name}: has no published checksum or no direct address, so it is not fetched; get it from {candidates[0].source} and run "
            "growreel weights add FILE"
        )
    place = folder() / known.file
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with urllib.request.urlopen(known.source, timeout=TIMEOUT_SECONDS) as response, writing(place), replacing(place) as stream:
            shutil.copyfileobj(response, stream)
            stream.flush()
            digest = file_checksum(Path(stream.name))
            if digest != known.sha256:
                raise GrowreelError(f"{known.source}: gave a file with sha256 {digest}, should be {known.sha256}; it was not kept")
    except (urllib.error.URLError, TimeoutError) as error:
        raise GrowreelError(f"{known.source}: cannot be reached ({error}); get it elsewhere and run growreel weights add FILE") from error
    return identify(place)


def _put(file: Path, place: Path) -> WeightsFile:
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "rb") as source, replacing(place) as copy:
            shutil.copyfileobj(source, copy)
    return identify(place)


def facts() -> dict[str, Any]:
    """Return `folder`, where weights are looked for, and `files`: every known one, and whether it is `here`."""
    files = [{**asdict(known), "here": (folder() / known.file).is_file()} for known in KNOWN]
    return {"folder": str(folder()), "files": files}


def table() -> str:
    """Return a table of every known file: role, whether it is here, checksum, licence, source; and where they are looked for."""
    rows = [("role", "here", "file", "sha256", "licence", "source")]
    for known in KNOWN:
        present = "yes" if (folder() / known.file).is_file() else "no"
        remark = f" ({known.remark})" if known.remark else ""
        rows.append((known.role, present, known.file, (known.sha256 or "not published")[:13], known.license, known.source + remark))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, f"folder: {folder()}"])
