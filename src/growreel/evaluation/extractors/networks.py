"""The networks as extractors: pixels in, features out, in batches that fit the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from growreel.evaluation.extractors import c3d, i3d, inception
from growreel.evaluation.extractors.weights import WeightsFile
from growreel.runtime.precision import Arithmetic, use_arithmetic

CUDA_SHARE = 0.25
"""Of a card's memory, for activations."""


Network = TypeVar("Network", bound=nn.Module)


class Load(NamedTuple):
    """What a frame costs a network: `bytes` of activations on a card, and how many frames at once go fastest on a CPU (measured)."""

    bytes: int
    cpu_frames: int


class InceptionFeatures:
    """Inception-v3 features of every frame: rows [n, t, 768 or 2048]."""

    LOAD = Load(40 * 2**20, cpu_frames=4)

    def __init__(
        self, weights: WeightsFile, features: Literal[768, 2048], device: torch.device, arithmetic: Arithmetic = "float32"
    ) -> None:
        self.name = f"inception-{features}"
        self._weights, self._device, self._arithmetic = weights, device, arithmetic
        self._network = _placed(inception.load(weights.path, features), device, torch.channels_last)

    @torch.no_grad()
    def __call__(self, clips: NDArray[np.uint8], numbers: Sequence[int]) -> NDArray[np.float32]:
        frames = clips.reshape(-1, *clips.shape[2:])
        images = (inception.resize(_images(part, self._device)) for part in _parts(frames, 1, self.LOAD, self._device))
        with use_arithmetic(self._arithmetic, repeatable=True):
            parts = [self._network(each.contiguous(memory_format=torch.channels_last)) for each in images]
        return _rows(parts).reshape(*clips.shape[:2], -1)

    def describe(self) -> dict[str, Any]:
        resize = f"{inception.SIDE}x{inception.SIDE}, bilinear on TensorFlow 1's grid, no antialiasing"
        return {
            "network": "Inception-v3 2015-12-05",
            **self._weights.describe(),
            "resize": resize,
            "value range": "(x - 128) / 128",
            "precision": self._arithmetic,
        }


class I3DLogits:
    """I3D logits of clips: rows [n, 400]."""

    LEAST_FRAMES = i3d.LEAST_FRAMES
    LOAD = Load(20 * 2**20, cpu_frames=64)

    def __init__(
        self,
        weights: WeightsFile,
        resize: Literal["stretch", "crop"],
        device: torch.device,
        torchscript: bool = False,
        arithmetic: Arithmetic = "float32",
    ) -> None:
        self.name = "i3d"
        self._weights, self._resize, self._device, self._arithmetic = weights, resize, device, arithmetic
        self._network: Callable[[Tensor], Tensor] = (
            i3d.load_torchscript(weights.path, device) if torchscript else _placed(i3d.load(weights.path), device, torch.channels_last_3d)
        )

    @torch.no_grad()
    def __call__(self, clips: NDArray[np.uint8], numbers: Sequence[int]) -> NDArray[np.float32]:
        pixels = (torch.from_numpy(part).to(self._device).float() for part in _parts(clips, clips.shape[1], self.LOAD, self._device))
        prepared = (i3d.frames_for_i3d(part, self._resize) for part in pixels)
        with use_arithmetic(self._arithmetic, repeatable=True):
            return _rows([self._network(each.contiguous(memory_format=torch.channels_last_3d)) for each in prepared])

    def describe(self) -> dict[str, Any]:
        how = "both sides" if self._resize == "stretch" else "shorter side, middle cut out"
        resize = f"{i3d.SIDE}x{i3d.SIDE}, {how}, bilinear with half-pixel centres, no antialiasing"
        return {
            "network": "I3D RGB Kinetics-400",
            **self._weights.describe(),
            "resize": resize,
            "value range": "-1 to 1",
            "precision": self._arithmetic,
        }


class C3DProbabilities:
    """C3D class probabilities of the first 16 frames of clips: rows [n, 101]."""

    FRAMES = c3d.FRAMES
    LOAD = Load(10 * 2**20, cpu_frames=64)

    def __init__(
        self,
        weights: WeightsFile,
        mean: WeightsFile,
        protocol: Literal["tgan", "tganv2"],
        device: torch.device,
        arithmetic: Arithmetic = "float32",
    ) -> None:
        self.name = f"c3d-{protocol}"
        self._weights, self._mean_file, self._protocol, self._device, self._arithmetic = weights, mean, protocol, device, arithmetic
        self._network = _placed(c3d.load(weights.path), device, torch.channels_last_3d)
        self._mean = c3d.load_mean(mean.path).to(device)

    @torch.no_grad()
    def __call__(self, clips: NDArray[np.uint8], numbers: Sequence[int]) -> NDArray[np.float32]:
        first = clips[:, : self.FRAMES]
        pixels = (torch.from_numpy(part).to(self._device).float() for part in _parts(first, self.FRAMES, self.LOAD, self._device))
        prepared = (c3d.clips_for_c3d(part, self._mean, self._protocol) for part in pixels)
        with use_arithmetic(self._arithmetic, repeatable=True):
            return _rows([self._network(each.contiguous(memory_format=torch.channels_last_3d)) for each in prepared])

    def describe(self) -> dict[str, Any]:
        resize = {
            "tgan": "128x128 bicubic without antialiasing, middle 112x112",
            "tganv2": "112x112 bilinear with corners aligned",
        }[self._protocol]
        return {
            "network": "C3D UCF-101",
            **self._weights.describe(),
            "mean sha256": self._mean_file.sha256,
            "resize": resize,
            "value range": "128 (x / 127.5 - 1) + 128, blue first, less the mean clip",
            "frames": self.FRAMES,
            "precision": self._arithmetic,
        }


def _placed(network: Network, device: torch.device, layout: torch.memory_format) -> Network:
    """On the device, weights in the layout in which its convolutions are fastest: 1.3 to 1.7 times on a CPU (docs/evaluation.md)."""
    return network.to(device).to(memory_format=layout)  # type: ignore[call-overload, no-any-return]


def _parts(items: NDArray[np.uint8], frames: int, load: Load, device: torch.device) -> Iterator[NDArray[np.uint8]]:
    """Batches of items of so many frames. Their size depends on the device alone, so that the same machine gives the same rounding."""
    at_once = load.cpu_frames
    if device.type == "cuda":
        at_once = int(CUDA_SHARE * torch.cuda.get_device_properties(device).total_memory / load.bytes)
    size = max(1, at_once // frames)
    for start in range(0, len(items), size):
        yield np.ascontiguousarray(items[start : start + size])


def _images(frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Frames [n, h, w, 1 or 3] as float32 [n, 3, h, w], values 0 to 255."""
    return torch.from_numpy(frames).to(device).permute(0, 3, 1, 2).float().expand(-1, 3, -1, -1)


def _rows(parts: list[Tensor]) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = torch.cat(parts).float().cpu().numpy()
    return rows
