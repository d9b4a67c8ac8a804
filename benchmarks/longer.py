"""Clips longer than trained (`growreel sample --frames`): are their joints seen, and what do other ways of joining give?

    python benchmarks/longer.py [--model shapes-16x32x32] [--clips 32] [--joints 2] [--search]

Ways: clips of other seeds with a hard cut or with a cross-fade over as many frames; the same clip forwards and backwards; and the
continuation that is searched for. Looked at are windows as long as a trained clip with the joint in their middle, beside clips as they
are made. Step: mean absolute change from one frame to the next, in grey levels, at its largest in the window, as a multiple of what it is
in the clips. For the procedural shapes also the share of windows that the judge by rule accepts. `--search` prints how near the beginnings
come for other numbers of candidates and steps, and the seconds.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from growreel.bench.report import markdown_rows
from growreel.evaluation.shapes_judge import judge
from growreel.models.files import LoadedGenerator, load_generator
from growreel.sampling import class_of_seed, continuation, generate
from growreel.sampling.continuation import lengthened, overlap_of

Clip = NDArray[np.uint8]
SEARCHES = ((64, 1, 0), (256, 1, 0), (16, 2, 40), (64, 1, 40), (64, 2, 40), (64, 4, 40), (64, 2, 80), (64, 4, 80), (64, 2, 160))
"""Candidates, how many are refined, and in how many steps."""


def joined(model: LoadedGenerator, seed: int, joints: int, overlap: int) -> Clip:
    """Clips that have nothing to do with each other but a class, cross-faded over some frames; 0 is a hard cut."""
    apart = 1_000 * max(len(model.classes), 1)
    clips = generate(model, [apart * (part + 1) + seed for part in range(joints + 1)]).astype(np.float32)
    film = clips[0]
    shares = (np.arange(overlap) + 1).reshape(-1, 1, 1, 1) / (overlap + 1)
    for clip in clips[1:]:
        between = film[len(film) - overlap :] * (1 - shares) + clip[:overlap] * shares
        film = np.concatenate([film[: len(film) - overlap], between, clip[overlap:]])
    levels: Clip = np.rint(film).astype(np.uint8)
    return levels


def there_and_back(model: LoadedGenerator, seed: int, joints: int) -> Clip:
    """One clip forwards and backwards in turns."""
    (clip,) = generate(model, [seed])
    film: Clip = np.concatenate([clip, *(part[1:] for part in itertools.islice(itertools.cycle([clip[::-1], clip]), joints))])
    return film


def steps(clips: NDArray[np.uint8]) -> NDArray[np.float64]:
    """[n, t - 1] mean absolute changes from frame to frame."""
    changes: NDArray[np.float64] = np.abs(np.diff(clips.astype(np.float64), axis=1)).mean(axis=(2, 3, 4))
    return changes


def windows(films: list[Clip], length: int, period: int, overlap: int, joints: int) -> NDArray[np.uint8]:
    """Of every film a window of a clip's length around every joint; joint k's frames in common begin at (k + 1) * period."""
    starts = [(joint + 1) * period + overlap // 2 - length // 2 for joint in range(joints)]
    return np.stack([film[start : start + length] for film in films for start in starts])


def search_table(model: LoadedGenerator, clips: int) -> str:
    """How near a continuation's beginning comes to the ending, root mean square in grey levels, and the seconds that it takes."""
    rows: list[tuple[str, ...]] = [("candidates", "refined", "steps", "distance", "seconds each")]
    endings = [
        torch.from_numpy(clip).movedim(-1, 0)[None, :, -overlap_of(model.size.t) :] / 127.5 - 1 for clip in generate(model, range(clips))
    ]
    for candidates, refined, count in [
        (64, 1, 0),
        (256, 1, 0),
        (16, 2, 40),
        (64, 1, 40),
        (64, 2, 40),
        (64, 4, 40),
        (64, 4, 60),
        (64, 4, 120),
    ]:
        continuation.REFINED, continuation.STEPS = refined, max(count, 1)
        searches = [continuation._Search(model, 1.0, torch.float32, class_of_seed(model, seed, None)) for seed in range(clips)]
        draws = torch.randn(candidates, model.generator.latent_dim, generator=torch.Generator().manual_seed(0))
        began, far = time.perf_counter(), []
        for search, ending in zip(searches, endings, strict=True):
            far.append(float(search._distance(search.latent_that_begins_with(ending, draws), ending)))
        each = (time.perf_counter() - began) / clips
        rows.append((str(candidates), str(refined), str(count), f"{127.5 * np.sqrt(np.mean(far)):.2f}", f"{each:.2f}"))
    return "\n".join(markdown_rows(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="shapes-16x32x32")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--joints", type=int, default=2)
    parser.add_argument("--search", action="store_true")
    options = parser.parse_args()
    model = load_generator(options.model)
    if options.search:
        print(search_table(model, options.clips))
        return
    length, joints = model.size.t, options.joints
    overlap = overlap_of(length)
    frames = (joints + 1) * (length - overlap) + overlap
    ways: dict[str, tuple[Callable[[int], Clip], int, int]] = {
        "hard cut": (lambda seed: joined(model, seed, joints, 0), length, 0),
        f"cross-fade over {overlap}": (lambda seed: joined(model, seed, joints, overlap), length - overlap, overlap),
        "forwards and backwards": (lambda seed: there_and_back(model, seed, joints + 1), length - 1, 0),
        "continued": (lambda seed: lengthened(model, seed, frames, of_class=class_of_seed(model, seed, None)), length - overlap, overlap),
    }
    plain = generate(model, range(1_000, 1_000 + options.clips))
    usual = steps(plain).max(axis=1).mean()
    rows: list[tuple[str, ...]] = [
        ("joint", "largest step", "accepted"),
        ("none: clips as made", "1.00", f"{judge(plain).accepted.mean():.3f}"),
    ]
    for name, (way, period, common) in ways.items():
        films = [way(1_000 + number) for number in range(options.clips)]
        around = windows(films, length, period, common, joints)
        rows.append((name, f"{steps(around).max(axis=1).mean() / usual:.2f}", f"{judge(around).accepted.mean():.3f}"))
    print("\n".join(markdown_rows(rows)))


if __name__ == "__main__":
    main()
