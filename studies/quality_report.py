"""Tables and pictures of studies/quality.py: from its runs to docs/study.md and docs/study/.

    python studies/quality_report.py RUNS STORE

Keeps configuration, metric cards and a strip of samples of every run in docs/study/runs. Makes from all that is kept there the tables
between the markers of docs/study.md and, for each group of variants, `samples-GROUP.png` (a row per variant, real clips last); and, of the
variants in RUNS, `curves-GROUP.svg` (how far the critic tells real from generated).
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from quality import FROM_SHAPES, LARGER, LOSSES, OPTIONS, ORDERS, RATES

from growreel.bench.report import markdown_rows
from growreel.config import load_config
from growreel.data.store import ClipStore
from growreel.models.files import load_generator
from growreel.sampling import generate
from growreel.training.stats import read_lines
from growreel.video import enlarge, write_clip

DOCS = Path(__file__).parents[1] / "docs"
KEPT = DOCS / "study" / "runs"
GROUPS = {
    "losses": (*LOSSES, *RATES),
    "orders": ("swgan-released", *ORDERS),
    "options": ("wgan-gp", *OPTIONS),
    "larger": tuple(LARGER),
    "from-shapes": tuple(FROM_SHAPES),
}
REFERENCES = {
    "losses": "wgan-gp",
    "orders": "swgan-released",
    "options": "wgan-gp",
    "larger": "16x32x32-wgan-gp",
    "from-shapes": "16x32x32-best",
}
STRIP = "samples.png"
FIGURES = {
    "swd": ("swd", "mean"),
    "swd3d": ("swd3d", "mean"),
    "motion, dB": ("motion", "spectrum_shape_distance"),
    "kid x 1000": ("kid", "value"),
    "precision": ("prdc", "precision"),
    "recall": ("prdc", "recall"),
    "coverage": ("prdc", "coverage"),
    "memorised": ("memory (pixels)", "memorised"),
}
T_95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Of Student's distribution, by number of values."""


def value(card: dict[str, Any], figure: str, what: str = "value") -> float | None:
    metric, name = FIGURES[figure]
    for result in card["results"]:
        if result["name"] == metric:
            found = result["figures"][name]
            number = found["mean"] if what == "value" and found["mean"] is not None else found[what]
            return None if number is None else number * (1000 if figure.startswith("kid") else 1)
    return None


def cell(values: list[float]) -> str:
    """Mean and 95 % interval over seeds."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3g}"
    half = T_95[len(values)] * float(np.std(np.round(values, 12), ddof=1)) / math.sqrt(len(values))  # equal but for the last bit is equal
    return f"{mean:.3g} +- {half:.2g}"


def cards_of(variant: str, name: str) -> dict[int, dict[str, Any]]:
    """The kept cards of a variant, by seed."""
    found = {
        int(path.parent.name.rpartition("-")[2]): path
        for path in KEPT.glob(f"{variant}-*/{name}")
        if path.parent.name.rpartition("-")[0] == variant
    }
    return {seed: json.loads(found[seed].read_text(encoding="utf-8")) for seed in sorted(found)}


def results_table(variants: Sequence[str], card: str) -> list[str]:
    rows: list[tuple[str, ...]] = [("", "seeds", *FIGURES)]
    floor: dict[str, float | None] = {}
    for variant in variants:
        if cards := list(cards_of(variant, card).values()):
            floor = {figure: value(cards[0], figure, "real") for figure in FIGURES}
            columns = [cell([number for each in cards if (number := value(each, figure)) is not None]) for figure in FIGURES]
            rows.append((variant, str(len(cards)), *columns))
    rows.append(("real / real", "", *("" if floor[figure] is None else f"{floor[figure]:.3g}" for figure in FIGURES)))
    return markdown_rows(rows)


def differences_table(variants: Sequence[str], reference: str) -> list[str]:
    """Seed by seed against one variant: the same seed starts from the same weights and sees the same clips."""
    rows: list[tuple[str, ...]] = [(f"minus {reference}", "seeds", "swd", "swd3d", "motion, dB", "precision", "recall", "coverage")]
    theirs = cards_of(reference, "card.json")
    for variant in variants:
        ours = {seed: card for seed, card in cards_of(variant, "card.json").items() if seed in theirs}
        if variant == reference or not ours:
            continue
        cells = []
        for figure in rows[0][2:]:
            numbers = [(value(card, figure), value(theirs[seed], figure)) for seed, card in ours.items()]
            cells.append(cell([a - b for a, b in numbers if a is not None and b is not None]))
        rows.append((variant, str(len(ours)), *cells))
    return markdown_rows(rows)


def strip(clips_NTHWC: np.ndarray[Any, Any], frames: int = 8) -> np.ndarray[Any, Any]:
    """Every second frame of clips, up to `frames` of each, side by side in one row [h, w, c]."""
    return np.concatenate(list(np.concatenate(list(clips_NTHWC[:, ::2][:, :frames]), axis=0)), axis=1)


def samples(variants: Sequence[str], store: Path, path: Path) -> None:
    """A picture of the kept strips: two clips of each variant's first seed that has one; then real clips."""
    kept = {variant: files[0] for variant in variants if (files := sorted(KEPT.glob(f"{variant}-[0-9]/{STRIP}")))}
    if not kept:
        print(f"{path.name}: no samples of these variants are kept, so there is no picture")
        return
    print(f"{path.name}, rows from above: {', '.join(kept)}, real")
    with ClipStore.open(store) as opened:
        size = load_config(next(iter(kept.values())).with_name("config.yaml")).growth.plan().sizes[-1]
        real = strip(opened.read(np.random.default_rng(0).integers(0, len(opened), 2).tolist(), size))
    rows = [np.pad(row, ((0, 1), (0, 0), (0, 0))) for row in (*(np.asarray(Image.open(file)) for file in kept.values()), real)]
    write_clip(path, enlarge(np.concatenate(rows, axis=0)[None, None], 3)[0], fps=1)


def curves(runs: Path, variants: Sequence[str], path: Path) -> None:
    """An SVG with a panel per variant, a line per seed: how far apart the critic's means of real and generated clips are."""
    width, height, gap = 210, 110, 40
    columns = 4
    total = (height + gap) * math.ceil(len(variants) / columns) + gap
    box = f'width="{(width + gap) * columns + gap}" height="{total}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="11">']
    for number, variant in enumerate(variants):
        x0, y0 = gap + number % columns * (width + gap), gap + number // columns * (height + gap)
        files = sorted(runs.glob(f"{variant}-[0-9]/stats.jsonl"))
        series = [[line for line in read_lines(file) if "critic_real" in line] for file in files]
        gaps = [[(line["clips"], abs(line["critic_real"] - line["critic_fake"])) for line in lines] for lines in series]
        most, last = max(v for one in gaps for _, v in one), max(c for one in gaps for c, _ in one)
        parts.append(f'<rect x="{x0}" y="{y0}" width="{width}" height="{height}" fill="none" stroke="#999"/>')
        parts.append(f'<text x="{x0}" y="{y0 - 6}">{variant}, up to {most:.2g}</text>')
        for one, color in zip(gaps, ("#06c", "#c60", "#090", "#909"), strict=False):
            points = " ".join(f"{x0 + width * c / last:.1f},{y0 + height * (1 - v / most):.1f}" for c, v in one)
            parts.append(f'<polyline fill="none" stroke="{color}" points="{points}"/>')
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def without_folders(text: str) -> str:
    """Absolute paths cut down to their last name."""
    return re.sub(r"(?<![\w.:/])/(?:[\w.-]+/)+([\w.-]+)", r"\1", text)


def keep(runs: Path) -> None:
    """Configuration, cards and samples of every finished run; of paths only the last name, the rest is this machine's affair."""
    for card in sorted(runs.glob("*/card.json")):
        place = KEPT / card.parent.name
        place.mkdir(parents=True, exist_ok=True)
        for name in ("config.yaml", "card.json"):
            if (card.parent / name).exists():
                (place / name).write_text(without_folders((card.parent / name).read_text(encoding="utf-8")), encoding="utf-8")
        if (card.parent / "models").is_dir():
            Image.fromarray(strip(generate(load_generator(card.parent), range(100, 102)))).save(place / STRIP)


def replace_between_markers(page: Path, name: str, lines: list[str]) -> None:
    """What stands between `<!-- name -->` and `<!-- / -->`."""
    text = page.read_text(encoding="utf-8")
    start, found, rest = text.partition(f"<!-- {name} -->\n")
    _, ended, end = rest.partition("<!-- / -->")
    if not (found and ended):
        raise SystemExit(f"{page}: has no place marked <!-- {name} --> ... <!-- / --> for the table")
    page.write_text(start + found + "\n".join(["", *lines, ""]) + "\n" + ended + end, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="what quality.py wrote")
    parser.add_argument("store", type=Path, help="the clips that were learnt")
    options = parser.parse_args()
    keep(options.runs)
    page = DOCS / "study.md"
    for group, variants in GROUPS.items():
        replace_between_markers(page, f"{group}: results", results_table(variants, "card.json"))
        replace_between_markers(page, f"{group}: seed by seed", differences_table(variants, REFERENCES[group]))
        samples(variants, options.store, DOCS / "study" / f"samples-{group}.png")
        if drawn := [variant for variant in variants if any(options.runs.glob(f"{variant}-[0-9]/stats.jsonl"))]:
            curves(options.runs, drawn, DOCS / "study" / f"curves-{group}.svg")


if __name__ == "__main__":
    main()
