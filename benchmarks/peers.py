"""Train another project's video GAN on a clip store for so many processor seconds, and write clips for `growreel evaluate`.

    python benchmarks/peers.py mocogan --source MOCOGAN --store STORE --out FOLDER [--seconds 7200] [--noise 0.1]
    python benchmarks/peers.py g3an --source G3AN --store STORE --out FOLDER [--seconds 7200]

MOCOGAN and G3AN are checkouts of sergeytulyakov/mocogan at 937a99d (CC BY-NC-ND: private use) and wyhsirius/g3an-project at 74764fd (MIT).
Nothing of them is here: their networks, losses and steps are loaded from there, with the few words changed in memory that keep them from
running today (`MoCoGAN.EDITS`). Here are the loop around their steps, with their optimisers, and the clips: shuffled, mirrored half of the
time, eight at a time. The clips must be 16x64x64, in colour.

Every `--sample-every` seconds, and at the end, FOLDER/samples-SECONDS.npy gets clips of the same latents, made as the project makes them
(in evaluation mode), and FOLDER/samples-SECONDS.json how many steps and clips that was. Making them is not counted. Interrupted, the same
command goes on from FOLDER/checkpoint.pt.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn, optim

from growreel.data.store import ClipStore
from growreel.growth import Size
from growreel.runtime.durable import replace_text, replacing
from growreel.runtime.signals import catch_signals

MINIBATCH, SIZE = 8, Size(16, 64, 64)
LATENT_SEED = 20240
SAVE_SECONDS = 300.0


class Shuffled:
    """Endless minibatches of clips or frames, uint8 [m, ..., h, w, 3], as float32 [n, 3, ..., h, w] in -1 to 1; half are mirrored."""

    def __init__(self, items: NDArray[np.uint8], seed: int) -> None:
        self.items, self.random = items, np.random.default_rng(seed)
        self.order: NDArray[np.int64] = np.empty(0, np.int64)

    def __next__(self) -> Tensor:
        if len(self.order) < MINIBATCH:
            self.order = self.random.permutation(len(self.items))
        now, self.order = self.order[:MINIBATCH], self.order[MINIBATCH:]
        mirrored = self.random.random(MINIBATCH) < 0.5
        picked = np.stack([self.items[k][..., ::-1, :] if flip else self.items[k] for k, flip in zip(now, mirrored, strict=True)])
        return torch.from_numpy(np.moveaxis(picked, -1, 1).copy()).float().div_(255).sub_(0.5).div_(0.5)

    def state_dict(self) -> dict[str, Any]:
        return {"random": self.random.bit_generator.state, "order": self.order.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.random.bit_generator.state, self.order = state["random"], np.array(state["order"], np.int64)


class Peer(Protocol):
    """A project's networks, its optimisers, and its step.

    `step` trains all networks once and returns the losses; `generate` yields clips, uint8 [n, t, h, w, 3], until there are `count`.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, optim.Optimizer]
    streams: dict[str, Shuffled]

    def step(self) -> dict[str, float]: ...

    def generate(self, count: int) -> Iterator[NDArray[np.uint8]]: ...


class MoCoGAN:
    """Without categories: then its default video discriminator, whose features are split after a squeeze, cannot run, and the plain one,
    which is the same network with one output, takes its place. Sizes, minibatch apart, and optimisers are the defaults of its train.py.
    """

    EDITS: ClassVar = {"/ video_len": "// video_len", ".iteritems()": ".items()", "print log_string": "print(log_string)"}
    """True divisions, Python 2."""

    def __init__(self, source: Path, clips: NDArray[np.uint8], seed: int, noise: float) -> None:
        sys.modules["logger"] = types.ModuleType("logger")
        sys.modules["logger"].Logger = None  # type: ignore[attr-defined]  # it writes TensorFlow's summaries
        models, trainers = (_module(name, source / "src" / f"{name}.py", self.EDITS) for name in ("models", "trainers"))
        self.to_pixels = trainers.videos_to_numpy
        told = {"n_channels": 3, "use_noise": noise > 0, "noise_sigma": noise}
        self.generator = models.VideoGenerator(3, 50, 0, 10, SIZE.t)
        self.image_critic, self.video_critic = models.PatchImageDiscriminator(**told), models.VideoDiscriminator(**told)
        self.networks: dict[str, nn.Module] = {"generator": self.generator, "images": self.image_critic, "videos": self.video_critic}
        rates: dict[str, Any] = {"lr": 0.0002, "betas": (0.5, 0.999), "weight_decay": 0.00001}
        self.optimizers: dict[str, optim.Optimizer] = {
            name: optim.Adam(network.parameters(), **rates) for name, network in self.networks.items()
        }
        frames = clips.reshape(-1, *clips.shape[2:])
        self.streams = {"images": Shuffled(frames, seed + 1000), "videos": Shuffled(clips, seed + 2000)}
        of_size = types.SimpleNamespace(batch_size=MINIBATCH)
        switches = dict.fromkeys(("use_cuda", "use_infogan", "use_categories"), False)
        self.trainer = trainers.Trainer(of_size, of_size, 1, 1, None, **switches)

    def step(self) -> dict[str, float]:
        teach, make = self.trainer.train_discriminator, {"images": self.generator.sample_images, "videos": self.generator.sample_videos}
        for network in self.networks.values():
            network.train()
        self.optimizers["generator"].zero_grad()
        self.optimizers["videos"].zero_grad()
        losses = {}
        for name in ("images", "videos"):
            real = lambda name=name: {"images": next(self.streams[name])}  # noqa: E731 - so is it called in the project
            loss = teach(self.networks[name], real, make[name], self.optimizers[name], MINIBATCH, use_categories=False)
            losses[name] = loss.item()
        critics = (self.image_critic, self.video_critic)
        loss = self.trainer.train_generator(*critics, make["images"], make["videos"], self.optimizers["generator"])
        return {**losses, "generator": loss.item()}

    def generate(self, count: int) -> Iterator[NDArray[np.uint8]]:
        for _ in range(count):
            clip, _ = self.generator.sample_videos(1, SIZE.t)
            yield self.to_pixels(clip).transpose(0, 2, 3, 4, 1)


class G3AN:
    """As its train.py trains it, minibatch apart: without attention, which only its demos have."""

    def __init__(self, source: Path, clips: NDArray[np.uint8], seed: int) -> None:
        sys.path.insert(0, str(source))
        from model import networks  # type: ignore[import-not-found]

        self.trainer = _module("trainer", source / "trainer.py", {})
        self.generator = networks.Generator(128, 10, 64, "1p2d", False)
        self.networks: dict[str, nn.Module] = {
            "G": self.generator,
            "VD": networks.VideoDiscriminator(64),
            "ID": networks.ImageDiscriminator(64),
        }
        self.optimizers: dict[str, optim.Optimizer] = {
            name: optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for name, network in self.networks.items()
        }
        self.streams = {"videos": Shuffled(clips, seed + 2000)}

    def step(self) -> dict[str, float]:
        losses: dict[str, float] = {}
        told = types.SimpleNamespace(d_za=128, d_zm=10, print_freq=10**9, max_epoch=0)
        writer = types.SimpleNamespace(add_scalar=lambda name, value, _: losses.update({name: float(value)}), flush=lambda: None)
        clips = [next(self.streams["videos"])]  # an epoch of one minibatch
        parts = (*self.networks.values(), *self.optimizers.values())
        self.trainer.train(told, 1, *parts, nn.BCEWithLogitsLoss(), clips, writer, torch.device("cpu"))
        return losses

    def generate(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """Values of 64 clips together are stretched to 0 to 1, as in its generate_videos.py."""
        for begin in range(0, count, 64):
            many = min(64, count - begin)
            latents = torch.randn(many, 128, 1, 1, 1), torch.randn(many, 10, 1, 1, 1)
            clips = torch.cat([self.generator(*parts) for parts in zip(*(each.split(4) for each in latents), strict=True)])
            clips = (clips - clips.min()) / (clips.max() - clips.min()) * 255
            yield clips.permute(0, 2, 3, 4, 1).numpy().astype(np.uint8)


def train(peer: Peer, out: Path, seconds: float, sample_every: float, count: int, caught: list[signal.Signals]) -> None:
    """Train until the peer has had so many processor seconds of this process and of those that it was begun in, or a signal is `caught`."""
    checkpoint, steps, spent, sampled = out / "checkpoint.pt", 0, 0.0, 0.0
    if checkpoint.exists():
        steps, spent, sampled = _load(peer, checkpoint)
    saved = spent
    while spent < seconds and not caught:
        began = time.process_time()
        losses = peer.step()
        steps, spent = steps + 1, spent + time.process_time() - began
        if steps % 20 == 0:
            told = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
            print(f"{steps} steps, {steps * MINIBATCH:,} clips, {spent:.0f} s: {told}", flush=True)
        if spent // sample_every > sampled // sample_every or spent >= seconds:
            _sample(peer, out, steps, spent, count, name=f"{seconds if spent >= seconds else spent // sample_every * sample_every:.0f}")
            sampled = spent
        if spent - saved >= SAVE_SECONDS or spent >= seconds or caught:
            _save(peer, checkpoint, (steps, spent, sampled))
            saved = spent


def _sample(peer: Peer, out: Path, steps: int, spent: float, count: int, *, name: str) -> None:
    randomness = _randomness()
    for network in peer.networks.values():
        network.eval()
    _seed(LATENT_SEED)
    with torch.no_grad():
        clips = np.concatenate(list(peer.generate(count)))
    for network in peer.networks.values():
        network.train()
    _set_randomness(randomness)
    with replacing(out / f"samples-{name}.npy") as file:
        np.save(file, clips)
    facts = {"steps": steps, "clips_shown": steps * MINIBATCH, "processor_seconds": round(spent, 1)}
    replace_text(out / f"samples-{name}.json", json.dumps(facts) + "\n")


def _save(peer: Peer, checkpoint: Path, progress: tuple[int, float, float]) -> None:
    state = [{name: each.state_dict() for name, each in part.items()} for part in _parts(peer)]
    with replacing(checkpoint) as file:
        torch.save({"progress": progress, "state": state, "randomness": _randomness()}, file)


def _load(peer: Peer, checkpoint: Path) -> tuple[int, float, float]:
    saved = torch.load(checkpoint, weights_only=False)  # written by this very script, with states of random generators
    for part, states in zip(_parts(peer), saved["state"], strict=True):
        for name, state in states.items():
            part[name].load_state_dict(state)
    _set_randomness(saved["randomness"])
    steps, spent, sampled = saved["progress"]
    return steps, spent, sampled


def _parts(peer: Peer) -> tuple[dict[str, Any], ...]:
    return peer.networks, peer.optimizers, peer.streams


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _randomness() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _set_randomness(state: tuple[Any, ...]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])


def _module(name: str, path: Path, edits: dict[str, str]) -> Any:
    """A module of a checkout, with its words changed."""
    text = path.read_text(encoding="utf-8")
    for old, new in edits.items():
        text = text.replace(old, new)
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("peer", choices=["mocogan", "g3an"])
    parser.add_argument("--source", type=Path, required=True, help="checkout of the project")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=7200.0, help="processor seconds of training, sampling not counted")
    parser.add_argument("--sample-every", type=float, default=900.0)
    parser.add_argument("--count", type=int, default=296, help="clips to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--noise", type=float, default=0.1, help="mocogan: deviation of the noise on what discriminators see, as advised there"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    with ClipStore.open(options.store) as store:
        clips = store.read(range(len(store)), SIZE)
    options.out.mkdir(parents=True, exist_ok=True)
    _seed(options.seed)
    peer: Peer = (
        G3AN(options.source, clips, options.seed) if options.peer == "g3an" else MoCoGAN(options.source, clips, options.seed, options.noise)
    )
    with catch_signals() as caught:
        train(peer, options.out, options.seconds, options.sample_every, options.count, caught)


if __name__ == "__main__":
    main()
