"""Clips made again from the recipe that a file of samples carries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from growreel.models.files import LoadedGenerator
from growreel.recipe import Recipe, at_stage
from growreel.runtime.precision import named_arithmetic
from growreel.sampling.clips import class_of_seed, stream
from growreel.sampling.continuation import check_length, lengthened
from growreel.sampling.walking import walk


def clips_of_recipe(
    model: LoadedGenerator, recipe: Recipe, while_wanted: Callable[[Iterator[NDArray[np.uint8]]], Iterator[NDArray[np.uint8]]] = iter
) -> Iterable[NDArray[np.uint8]]:
    """The clips, uint8 [t, h, w, c] each, that a recipe says, made with its model; errors as of `at_stage`, `generate` and `walk`.

    `while_wanted` passes on what is made, clips or frames of a walk, and may end it by raising.
    """
    model = at_stage(model, recipe)
    precision = named_arithmetic(recipe.precision, "the recipe's precision", next(model.generator.parameters()).device)
    if recipe.frames is not None:
        check_length(model, recipe.frames)
        return while_wanted(
            lengthened(model, seed, recipe.frames, recipe.truncation, precision, class_of_seed(model, seed, recipe.classes))
            for seed in recipe.seeds
        )
    if recipe.walk is None:
        return while_wanted(stream(model, recipe.seeds, recipe.truncation, precision, recipe.classes))
    path, seeds = recipe.walk, recipe.seeds
    first = seeds[0]
    assert isinstance(first, int)  # no recipe with a walk is read that says otherwise
    frames = walk(
        model,
        path.frames,
        turns=path.turns,
        count=len(seeds),
        seed=first,
        to=path.to,
        every=path.every,
        truncation=recipe.truncation,
        precision=precision,
        classes=recipe.classes,
    )
    return np.stack(list(while_wanted(frames)), axis=1)
