"""Files of samples: pictures, videos and arrays, with the recipe by which their clips can be made again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from growreel.recipe import Recipe
from growreel.runtime.durable import replacing, writing
from growreel.runtime.latents import Place
from growreel.video import captioned, check_suffix, enlarge, tile_grid, write_clip
from growreel.video.comments import write_beside


def write_samples(
    path: str | Path,
    clips: Iterable[NDArray[np.uint8]],
    seeds: Sequence[Place],
    *,
    fps: float,
    separate: bool = False,
    scale: int | None = None,
    recipe: Recipe | None = None,
) -> list[Path]:
    """Write clips, uint8 [t, h, w, c] each, to one file or to one file for each seed, and return the paths.

    Pictures are enlarged `scale` times by repeating pixels; None makes small clips about 64 pixels high. One picture file is a grid; one
    `.npy` file is the array [n, t, h, w, c], never enlarged. But for the grid, clips are written as they come and not kept. Each file
    carries the recipe of its own seeds; where that names classes, the grid has the name of each clip's above it.
    Raises GrowreelError as `make_place_for` does, before the first clip is taken.
    """
    path = make_place_for(path)
    is_array = path.suffix.lower() == ".npy"
    if separate:
        paths = [path.with_name(f"{path.stem}-{seed}{path.suffix}") for seed in seeds]
        for one, seed, clip in zip(paths, seeds, clips, strict=True):
            comment = None if recipe is None else recipe.of_seeds((seed,)).to_json()
            write_clip(one, clip if is_array else enlarge(clip[None], scale)[0], fps, comment)
        return paths
    comment = None if recipe is None else recipe.to_json()
    if is_array:
        with writing(path):
            _write_array(path, clips, len(seeds))
            write_beside(path, comment)
    else:
        large = enlarge(np.stack(list(clips)), scale)
        if recipe is not None and recipe.classes:
            large = captioned(large, recipe.class_names())
        write_clip(path, tile_grid(large), fps, comment)
    return [path]


def make_place_for(path: str | Path) -> Path:
    """Make the folder of a file of samples, so that no time is spent on clips that could not be written. Returns the path.

    Raises GrowreelError for a suffix that is not known, and for a folder that cannot be made.
    """
    path = Path(path)
    check_suffix(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
    return path


def _write_array(path: Path, clips: Iterable[NDArray[np.uint8]], count: int) -> None:
    """One array file from clips that never are in memory all together; whole or not there at all."""
    with replacing(path) as file:
        for number, clip in enumerate(clips):
            if number == 0:
                header = {"descr": np.lib.format.dtype_to_descr(clip.dtype), "fortran_order": False, "shape": (count, *clip.shape)}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(clip.tobytes())
