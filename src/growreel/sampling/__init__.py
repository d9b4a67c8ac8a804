"""New clips from a model: by seeds, along a walk, by a recipe; and the files they are written to."""

from growreel.sampling.clips import CARD_QUEUE, class_of_seed, classes_of_seeds, clips_of_latents, clips_of_seeds, generate, stream
from growreel.sampling.files import make_place_for, write_samples
from growreel.sampling.recipes import clips_of_recipe
from growreel.sampling.walking import between, walk

__all__ = [
    "CARD_QUEUE",
    "between",
    "class_of_seed",
    "classes_of_seeds",
    "clips_of_latents",
    "clips_of_recipe",
    "clips_of_seeds",
    "generate",
    "make_place_for",
    "stream",
    "walk",
    "write_samples",
]
