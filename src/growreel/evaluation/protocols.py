"""How the field's published numbers were made, by name. A number under a protocol means the same for everyone who names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from growreel.errors import GrowreelError


@dataclass(frozen=True)
class Protocol:
    """What a protocol fixes.

    Attributes:
        name, source: what it is called and where it was published.
        metrics: those it is for; empty: all.
        clips: generated and real ones, as many of each.
        frames: the first of every clip; None takes all that a clip has.
        repeats: independent sets of generated clips.
        fvd_resize: how frames become 224x224 for I3D: `stretch` both sides, or `crop` the centre after scaling the shorter side.
        is_frames: how frames become 112x112 for C3D, see `evaluation.extractors.c3d`.
    """

    name: str
    source: str
    metrics: tuple[str, ...] = ()
    clips: int = 2048
    frames: int | None = None
    repeats: int = 1
    fvd_resize: Literal["stretch", "crop"] = "stretch"
    is_frames: Literal["tgan", "tganv2"] = "tganv2"


PROTOCOLS = {
    each.name: each
    for each in (
        Protocol("growreel", "this project: all frames of a clip, everything else as in the protocol stylegan-v"),
        Protocol("stylegan-v", "fvd2048_16f of StyleGAN-V, Skorokhodov et al. 2022 (arXiv 2112.14683)", ("fvd",), frames=16),
        Protocol("videogpt", "FVD of VideoGPT, Yan et al. 2021 (arXiv 2104.10157)", ("fvd",), frames=16, fvd_resize="crop"),
        Protocol("tgan", "Inception Score of TGAN, Saito et al. 2017 (arXiv 1611.06624)", ("is",), 10_000, 16, 4, is_frames="tgan"),
        Protocol("tganv2", "Inception Score of TGANv2, Saito et al. 2020 (arXiv 1811.09245)", ("is",), 2048, 16, 10),
    )
}


def protocol_named(name: str) -> Protocol:
    """Raises GrowreelError listing the names there are."""
    if name not in PROTOCOLS:
        raise GrowreelError(f"--protocol {name}: there is no such protocol; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
