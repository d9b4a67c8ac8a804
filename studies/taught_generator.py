"""What can the demo's generator draw at all? It is taught the truth: its latent holds a clip's colour, form and path, and its clips are
compared with the right ones by squared error. No discriminator and no growth, so an answer takes a minute.

    python studies/taught_generator.py [--planes curved] [--time-padding replicate] [--rate 0.02] [--steps 2000] [--seed 0]

Prints, half way and at the end, the share of 256 unseen clips that are clearly the disc or square that they should be (as the demo judges),
that share frame by frame, and the squared error of every frame (levels of 256).
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from growreel.config import load_preset
from growreel.data.shapes import COLORS, ShapeTrack, random_track, render
from growreel.evaluation.shapes_form import FORMS, forms, outlines
from growreel.growth import Size
from growreel.models import build_generator
from growreel.models.levels import to_levels

SIZE, MINIBATCH, UNSEEN, HALFLIFE_CLIPS = Size(8, 16, 16), 8, 256, 552


def described(track: ShapeTrack, length: int) -> NDArray[np.float64]:
    """A latent that says colour, form, and of the path its middle, its way and its bend, all about as large; the rest is 0."""
    centers = track.centers / SIZE.h * 2 - 1
    begin, end, half_way = centers[0], centers[-1], (centers[3] + centers[4]) / 2
    path = [5 * (begin + end + 4 * half_way) / 6, 4 * (end - begin), 12 * ((begin + end) / 2 - half_way)]
    told = np.concatenate([[1.5 if track.color == color else -0.5 for color in COLORS], [1 if track.shape == "disc" else -1], *path])
    return np.pad(told, (0, length - len(told)))


def batch(rng: np.random.Generator, count: int, length: int) -> tuple[Tensor, NDArray[np.uint8], list[ShapeTrack]]:
    """Draw latents [n, length], the clips [n, t, h, w, 3] that they describe, and the tracks of these."""
    tracks = [random_track(rng, SIZE) for _ in range(count)]
    latents = torch.from_numpy(np.stack([described(track, length) for track in tracks])).float()
    return latents, np.stack([render(track, SIZE) for track in tracks]), tracks


class Taught:
    """The demo's generator, told its latents as they are, and its moving average."""

    def __init__(self, options: argparse.Namespace) -> None:
        config = load_preset("demo")
        network = dataclasses.replace(config.network, image_channels=3, planes=options.planes, time_padding=options.time_padding)
        self.stage = len(config.growth.plan().stages) - 1
        self.generator = build_generator(dataclasses.replace(config, network=network))
        self.average = copy.deepcopy(self.generator)
        for each in (self.generator, self.average):
            each.joined = lambda latents, *_: latents  # type: ignore[method-assign]  # a normalised latent would not say how large a number is
        self.optimizer = torch.optim.Adam(self.generator.parameters(), options.rate, betas=(0.0, 0.99))

    def step(self, latents: Tensor, clips: NDArray[np.uint8], rate: float) -> None:
        right = torch.from_numpy(clips).movedim(-1, 1).float() / 127.5 - 1
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        (self.generator(latents, self.stage) - right).square().mean().backward()
        self.optimizer.step()
        with torch.no_grad():
            for average, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                average.lerp_(now, 1 - 0.5 ** (MINIBATCH / HALFLIFE_CLIPS))

    @torch.no_grad()
    def draw(self, latents: Tensor) -> NDArray[np.uint8]:
        """Draw clips [n, t, h, w, 3]."""
        drawn: NDArray[np.uint8] = to_levels(self.average(latents, self.stage)).numpy()
        return drawn


def report(drawn: NDArray[np.uint8], real: NDArray[np.uint8], tracks: Sequence[ShapeTrack]) -> str:
    """Say how clear clips are and how far from the right ones."""
    asked = np.array([FORMS.index(track.shape) for track in tracks])
    n, t = drawn.shape[:2]
    clear = forms(outlines(drawn)) == asked
    frames = forms(outlines(drawn.reshape(n * t, 1, *drawn.shape[2:]))).reshape(n, t) == asked[:, None]
    shares = [f"{FORMS[k]}s' frames {np.round(frames[asked == k].mean(axis=0), 2)}" for k in (0, 1)]
    error = np.square(drawn.astype(float) - real).mean(axis=(0, 2, 3, 4))
    return f"clear {clear.mean():.3f}, {', '.join(shares)}, squared error {np.rint(error)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--planes", choices=["linear", "curved"], default="linear")
    parser.add_argument("--time-padding", choices=["zeros", "replicate"], default="zeros")
    parser.add_argument("--rate", type=float, default=0.02, help="learning rate; it falls to a tenth from 30 %% of the steps on")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    taught = Taught(options)
    length = taught.generator.input_dim
    latents, real, tracks = batch(np.random.default_rng(10**6), UNSEEN, length)
    rng, began = np.random.default_rng(options.seed), time.process_time()
    for step in range(options.steps):
        taught.step(*batch(rng, MINIBATCH, length)[:2], options.rate * min(1.0, 1 - 0.9 * (step / options.steps - 0.3) / 0.7))
        if step + 1 in (options.steps // 2, options.steps):
            print(f"{step + 1} steps, {time.process_time() - began:.0f} s: {report(taught.draw(latents), real, tracks)}", flush=True)


if __name__ == "__main__":
    main()
