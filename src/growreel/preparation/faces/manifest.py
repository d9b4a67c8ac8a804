"""What became of every face: a line for each clip and each refusal beside the clips, a summary, and sheets to look at."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from growreel.preparation.faces.candidates import Candidate
from growreel.runtime.durable import replace_text, replacing
from growreel.video.media import Frame
from growreel.video.pixels import resize, to_image

MANIFEST = "faces.jsonl"
KEPT_SHEET, REFUSED_SHEET = "faces-kept.png", "faces-refused.png"
SIDE = 96  # pixels of a frame in a thumbnail
SHOWN = 3  # frames of a clip in a thumbnail
QUALITY = 80
COLUMNS = 6  # of a sheet
KEPT, OF_A_RULE = 48, 8  # thumbnails in the sheets, at most
LINE = 14  # pixels of a line of text


def entry_of(candidate: Candidate) -> dict[str, Any]:
    """The line of a clip or a refusal, as plain values. `box`: its window in the middle; left, top, right, bottom, as shares."""
    top, left, bottom, right = candidate.boxes[len(candidate.boxes) // 2].tolist()
    return {
        "kind": "clip" if candidate.rule is None else "refused",
        **({} if candidate.rule is None else {"rule": candidate.rule}),
        "frame": int(candidate.frames[0]),
        "last": int(candidate.frames[-1]),
        "shot": candidate.shot,
        "track": candidate.track,
        "box": [round(each, 4) for each in (left, top, right, bottom)],
        "scores": {name: float(f"{value:.4g}") for name, value in candidate.scores.items()},
    }


def thumbnail(frames: Sequence[Frame]) -> str:
    """First, middle and last of some frames [h, w, c], small and side by side, as JPEG in base 64."""
    chosen = [frames[place] for place in sorted({0, len(frames) // 2, len(frames) - 1})]
    strip = np.concatenate([resize(each, SIDE, SIDE) for each in chosen], axis=1)
    stream = io.BytesIO()
    to_image(strip).convert("RGB").save(stream, "JPEG", quality=QUALITY)
    return base64.b64encode(stream.getvalue()).decode()


def summary(found: Sequence[dict[str, Any]]) -> str:
    """One line about all films, from what `SourceRow.faces` has of each."""
    totals, rules = Counter[str](), Counter[str]()
    for facts in found:
        totals.update({name: facts[name] for name in ("shots", "tracks", "clips")})
        rules.update(facts["refused"])
    counts = ", ".join(f"{rule} {count:,}" for rule, count in rules.most_common()) or "nothing"
    return f"faces: {totals['shots']:,} shots, {totals['tracks']:,} tracks, {totals['clips']:,} clips; refused: {counts}"


def write_findings(folder: Path, found: Sequence[dict[str, Any]]) -> None:
    """Write manifest and sheets into the folder of a store. OSErrors of the disk are passed on."""
    lines, kept, refused = list[dict[str, Any]](), list[dict[str, Any]](), dict[str, list[dict[str, Any]]]()
    for facts in found:
        source = facts["source"]
        counts = {name: value for name, value in facts.items() if name not in ("source", "entries", "thumbnails")}
        lines.append({"kind": "source", "source": source, **counts})
        lines += [{"kind": each["kind"], "source": source, **each} for each in facts["entries"]]
        for each in facts["thumbnails"]:
            (kept if each["rule"] is None else refused.setdefault(each["rule"], [])).append({**each, "source": source})
    replace_text(folder / MANIFEST, "".join(json.dumps(line) + "\n" for line in lines))
    _write_sheet(folder / KEPT_SHEET, _spread(kept, KEPT))
    _write_sheet(folder / REFUSED_SHEET, [each for rule in sorted(refused) for each in _spread(refused[rule], OF_A_RULE)])


def _spread(thumbnails: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many, evenly from the first to the last."""
    if len(thumbnails) <= most:
        return thumbnails
    return [thumbnails[round(place)] for place in np.linspace(0, len(thumbnails) - 1, most)]


def _write_sheet(path: Path, thumbnails: Sequence[dict[str, Any]]) -> None:
    """A PNG of thumbnails in rows; under each the rule that refused it and where it is from. Without any, no file."""
    from PIL import Image, ImageDraw

    if not thumbnails:
        path.unlink(missing_ok=True)
        return
    width, height = SIDE * SHOWN + 8, SIDE + 2 * LINE + 8
    sheet = Image.new("RGB", (COLUMNS * width, -(-len(thumbnails) // COLUMNS) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for place, each in enumerate(thumbnails):
        left, top = place % COLUMNS * width + 4, place // COLUMNS * height + 4
        with Image.open(io.BytesIO(base64.b64decode(each["jpeg"]))) as strip:
            sheet.paste(strip, (left, top))
        where = f"{each['source'][-32:]} #{each['frame']}".encode("ascii", "replace").decode()
        for line, text in enumerate((each["rule"] or "kept", where)):
            draw.text((left, top + SIDE + line * LINE), text, "darkred" if each["rule"] and not line else "black")
    with replacing(path) as file:
        sheet.save(file, "PNG")
