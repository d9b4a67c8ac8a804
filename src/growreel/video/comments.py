"""A line of text inside a picture or video file: where each format keeps it, and reading it back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from growreel.errors import GrowreelError
from growreel.runtime.durable import replace_text

PNG_KEY = "Comment"
EXIF_DESCRIPTION = 0x010E
"""The Exif tag ImageDescription, which picture viewers show."""


def png_comment(comment: str | None) -> dict[str, Any]:
    """Argument of Pillow's `save` for a PNG."""
    if comment is None:
        return {}
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(PNG_KEY, comment)
    return {"pnginfo": info}


def webp_comment(comment: str | None) -> dict[str, Any]:
    """Argument of Pillow's `save` for a WebP."""
    if comment is None:
        return {}
    from PIL import Image

    exif = Image.Exif()
    exif[EXIF_DESCRIPTION] = comment
    return {"exif": exif.tobytes()}


def gif_comment(comment: str | None) -> dict[str, Any]:
    """Argument of Pillow's `save` for a GIF."""
    return {} if comment is None else {"comment": comment.encode("ascii")}


def mp4_comment(comment: str | None) -> dict[str, str]:
    """Entries of an MP4 container's metadata."""
    return {} if comment is None else {"comment": comment}


def beside(path: Path) -> Path:
    """Where the comment of an array lies, which has no room for one: `clips.npy` has `clips.npy.json`."""
    return path.with_name(f"{path.name}.json")


def write_beside(path: Path, comment: str | None) -> None:
    """Write the comment of an array with the checksum of the array, or remove the one of the array that was there before."""
    if comment is None:
        beside(path).unlink(missing_ok=True)
    else:
        replace_text(beside(path), json.dumps({"sha256": _checksum(path), "comment": comment}, indent=2) + "\n")


def _read_beside(path: Path) -> str | None:
    """The comment of an array; None if there is none or if it belongs to an array that was there before."""
    try:
        found = json.loads(beside(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    comment = found.get("comment") if isinstance(found, dict) and found.get("sha256") == _checksum(path) else None
    return comment if isinstance(comment, str) else None


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_comment(path: Path) -> str | None:
    """The comment of a `.mp4`, `.webp`, `.gif`, `.png` or `.npy` file; None if it has none.

    Raises GrowreelError for a file that is not there, has another suffix, or cannot be read as what its suffix says.
    """
    if not path.is_file():
        raise GrowreelError(f"{path}: there is no such file")
    try:
        match path.suffix.lower():
            case ".npy":
                text = _read_beside(path)
            case ".png" | ".webp" | ".gif":
                text = _of_picture(path)
            case ".mp4":
                import av

                with av.open(path) as container:
                    text = container.metadata.get("comment")
            case _:
                raise GrowreelError(f"{path}: comments are read from .mp4, .webp, .gif, .png and .npy files")
    except (OSError, ValueError) as error:  # Pillow's and PyAV's are among them
        raise GrowreelError(f"{path}: cannot be read ({error}); is it a whole {path.suffix} file?") from error
    return text or None


def _of_picture(path: Path) -> str | None:
    from PIL import Image

    with Image.open(path) as image:
        if image.format == "WEBP":
            found: Any = image.getexif().get(EXIF_DESCRIPTION)
        else:
            found = image.info.get("comment" if image.format == "GIF" else PNG_KEY)
    return found.decode("ascii", "replace") if isinstance(found, bytes) else found
