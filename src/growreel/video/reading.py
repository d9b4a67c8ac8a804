"""Reading moving pictures, one upright frame at a time: a long video is never held in memory.

Videos are decoded by FFmpeg (PyAV), pictures and animations by Pillow, scientific TIFF stacks by tifffile; each is imported when first
used. What is wrong with a file costs what is damaged, never what follows.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from growreel.errors import GrowreelError
from growreel.video import arrays, images, tiff
from growreel.video.archives import MediaFile, as_file
from growreel.video.depth import FULL, bits_for
from growreel.video.ffmpeg import decoded, is_still, open_video
from growreel.video.media import Colors, DamagedError, Findings, Frame, MediaInfo, Picture, Shown, StillPicture
from growreel.video.timing import at_constant_rate, with_breaks

PROBED_FRAMES = 32  # whose times say what the rate is


def probe(path: str | os.PathLike[str] | MediaFile) -> MediaInfo:
    """Look at a file by its content, whatever its name.

    Raises:
        NotMediaError: if it is no video or image, or a video without pictures.
        DamagedError: if its first frame cannot be decoded.
        GrowreelError: if it cannot be opened.
    """
    file = as_file(path)
    still = look_at_image(file)
    if still is not None and still.kind == "image":
        with images.open_image(file) as image:
            assert image is not None
            height, width = images.upright_size(image, file)
        return replace(still, height=height, width=width)
    findings = Findings()
    shown = list(itertools.islice(with_breaks(_shown(file, 3, findings), findings), PROBED_FRAMES))
    picture = shown[0].picture
    if findings.holds:
        for each in shown[-1:]:
            findings.count_interval(each.duration)
    kind = "video"
    if still is None:
        with open_video(file) as (container, _):
            kind = "image" if is_still(container, file) else "video"
    if kind == "image":
        return MediaInfo("image", picture.height, picture.width, None)
    return MediaInfo("video", picture.height, picture.width, findings.fps(), picture.pixel_aspect)


def look_at_image(path: str | os.PathLike[str] | MediaFile) -> MediaInfo | None:
    """What an image or animation is, by its head alone where that is enough; None for what is not Pillow's.

    Height and width are as stored, whatever side is up, and an animation's rate is not looked for.

    Raises:
        GrowreelError: if it cannot be opened.
        DamagedError: if its head is damaged.
    """
    file = as_file(path)
    with images.open_image(file) as image:
        if image is None:
            return None
        width, height = image.size
        if image.format == "TIFF":
            with tiff.open_stack(file) as stack:
                if stack is not None:
                    return MediaInfo("video", height, width, None)
        if images.is_animated(image, file):
            return MediaInfo("video", height, width, None)
        return MediaInfo("image", height, width, None, deep=images.is_deep(image))


def read_frames(path: str | os.PathLike[str] | MediaFile, *, colors: Colors = 3, fps: float | None = None) -> Iterator[Frame]:
    """Yield the frames of a video, an animation or a still image, uint8 [h, w, colors] in 0 to 255.

    Rotation stored by phones and cameras is applied; transparent parts become black; pictures of more than 8 bits are scaled to 8.

    Args:
        path: the file.
        colors: 3 for RGB, 1 for grey.
        fps: give that many frames per second of film, repeating or leaving out frames; None gives each decoded frame once.

    Raises:
        NotMediaError, GrowreelError: as `probe`.
        DamagedError: at the end, after every frame that could be decoded, if something of the file was damaged or missing.
    """
    findings = Findings()
    for each in read_pictures(as_file(path), colors=colors, fps=fps, findings=findings, threads=os.cpu_count() or 1):
        yield each.picture.pixels()
    if findings.damaged:
        raise DamagedError("; ".join(findings.notes))


def read_pictures(
    file: MediaFile, *, colors: Colors, findings: Findings, fps: float | None = None, channel: int | None = None, threads: int = 1
) -> Iterator[Shown]:
    """Yield what a file shows, picture by picture; the first of each run that may be cut into clips is marked `begins`.

    Args:
        file: on the disk or in an archive.
        colors: 3 for RGB, 1 for grey.
        findings: takes what is odd or damaged, and the rate.
        fps: as for `read_frames`; stacks without a rate are taken picture by picture.
        channel: which channel of a TIFF stack with several.
        threads: for the decoder; the pictures do not depend on it.

    Raises:
        NotMediaError, GrowreelError: as `probe`.
        DamagedError: if no frame can be decoded; other damage goes into `findings`.
    """
    shown = with_breaks(_shown(file, colors, findings, channel, threads), findings)
    first = next(shown, None)  # from here on it is known whether the file has times at all
    if first is not None:
        whole = itertools.chain([first], shown)
        yield from whole if fps is None or findings.timeless else at_constant_rate(whole, fps, findings)


def read_array(file: MediaFile, part: arrays.ArrayPart, *, colors: Colors, findings: Findings) -> Iterator[Shown]:
    """Yield one film of a `.npy`, `.npz` or HDF5 file. Raises as `arrays.list_arrays`."""
    return with_breaks(arrays.array_frames(file, part, colors, findings), findings)


def read_still(file: MediaFile, *, colors: Colors, bits: int = FULL) -> Picture:
    """One picture, upright. `bits`: how many of 16 are used. Raises as `probe`."""
    with images.open_image(file) as image:
        if image is not None:
            return StillPicture(images.still(image, file, colors, bits))
    findings = Findings()
    picture = next(_shown(file, colors, findings)).picture
    if findings.damaged:
        raise DamagedError(f"{file}: {'; '.join(findings.notes)}")
    return picture


def bits_of(files: Sequence[MediaFile], findings: Findings) -> int:
    """The fewest bits that hold the brightest value of all these deep pictures; those that cannot be decoded are passed over."""
    most = 0
    for file in files:
        findings.alive()
        try:
            with images.open_image(file) as image:
                if image is not None and images.is_deep(image):
                    most = max(most, images.brightest(image, file))
        except GrowreelError:
            continue
    return bits_for(most)


def _shown(file: MediaFile, colors: Colors, findings: Findings, channel: int | None = None, threads: int = 1) -> Iterator[Shown]:
    with images.open_image(file) as image:
        if image is not None:
            if image.format == "TIFF":
                with tiff.open_stack(file) as stack:
                    if stack is not None:
                        yield from tiff.stack_frames(*stack, file, colors, channel, findings)
                        return
            if images.is_animated(image, file):
                yield from images.animation(image, file, colors, findings)
            else:
                bits = bits_of([file], findings) if images.is_deep(image) else FULL
                yield Shown(0.0, images.BROWSER_DELAY, StillPicture(images.still(image, file, colors, bits)))
            return
    yield from decoded(file, colors, findings, threads)
