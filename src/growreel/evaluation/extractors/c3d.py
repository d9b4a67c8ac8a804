"""C3D (Tran et al. 2015, arXiv 1412.0767), Sports-1M, fine-tuned on UCF-101: the network of the video Inception Score.

Weights and mean clip are the `.npz` files that TGAN and TGANv2 publish, with Chainer's names (`conv1a/W`, `conv1a/b`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from growreel.errors import GrowreelError
from growreel.evaluation.extractors.arrays import load_state, read_arrays

FRAMES, SIDE, CLASSES = 16, 112, 101
MEAN_SHAPE = (3, 16, 128, 171)
"""Of the mean clip: colour (blue first), time, height, width."""
CONVOLUTIONS = {
    "conv1a": (3, 64),
    "conv2a": (64, 128),
    "conv3a": (128, 256),
    "conv3b": (256, 256),
    "conv4a": (256, 512),
    "conv4b": (512, 512),
    "conv5a": (512, 512),
    "conv5b": (512, 512),
}
LINEAR = {"fc6": (512 * 4 * 4, 4096), "fc7": (4096, 4096), "fc8": (4096, CLASSES)}


class C3D(nn.Module):
    """Class probabilities of clips."""

    def __init__(self) -> None:
        super().__init__()
        for name, (wide, out) in CONVOLUTIONS.items():
            self.add_module(name, nn.Conv3d(wide, out, 3, padding=1))
        for name, (wide, out) in LINEAR.items():
            self.add_module(name, nn.Linear(wide, out))

    def forward(self, clips_NCTHW: Tensor) -> Tensor:
        """Clips [n, 3 (blue, green, red), 16, 112, 112], the mean clip subtracted, to probabilities [n, 101].

        Pools round up, as Chainer's do: the last one makes 4x4 of 7x7.
        """
        x = clips_NCTHW
        for name in CONVOLUTIONS:
            x = F.relu(self.get_submodule(name)(x), inplace=True)
            if name not in ("conv3a", "conv4a", "conv5a"):  # of the pairs only the second is pooled
                x = F.max_pool3d(x, (1, 2, 2) if name == "conv1a" else 2, ceil_mode=True)
        x = x.flatten(1)
        x = F.relu(self.get_submodule("fc6")(x))
        x = F.relu(self.get_submodule("fc7")(x))
        logits: Tensor = self.get_submodule("fc8")(x)
        return logits.softmax(dim=1)


def clips_for_c3d(clips_NTHWC: Tensor, mean: Tensor, protocol: Literal["tgan", "tganv2"]) -> Tensor:
    """Clips of 16 frames, values 0 to 255, 1 or 3 channels (red first), as the published scores prepared them: [n, 3, 16, 112, 112].

    Both scale pixels to 128 x + 128 with x = value / 127.5 - 1, put blue first and subtract the mean clip `mean` [3, 16, 128, 171].

    * `tgan` (`evaluation/calc_inception.py`): bicubic to 128x128 (OpenCV's, without antialiasing), less columns 21 to 149 of the mean,
      then the middle 112x112.
    * `tganv2` (`tgan2/models/c3d/c3d_ucf101.py`): bilinear to 112x112 with corners aligned (Chainer's `resize_images`), less rows and
      columns 8 to 120 of the mean, which is not its middle; kept as published.
    """
    n, t, h, w, c = clips_NTHWC.shape
    frames = clips_NTHWC.reshape(n * t, h, w, c).permute(0, 3, 1, 2).expand(-1, 3, -1, -1).flip(1)
    frames = (frames / 127.5 - 1) * 128 + 128
    if protocol == "tgan":
        frames = F.interpolate(frames, size=(128, 128), mode="bicubic", align_corners=False)[:, :, 8:120, 8:120]
        window = mean[:, :, 8:120, 21 + 8 : 21 + 120]
    else:
        frames = F.interpolate(frames, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
        window = mean[:, :, 8:120, 8:120]
    return frames.reshape(n, t, *frames.shape[1:]).transpose(1, 2) - window


def load(path: Path) -> C3D:
    """The network with the weights of `conv3d_deepnetA_ucf.npz`, in evaluation mode. Raises GrowreelError naming what does not fit."""
    network = C3D()
    names = {name: name.replace(".weight", "/W").replace(".bias", "/b") for name in network.state_dict()}
    return load_state(network, read_arrays(path), path, "conv3d_deepnetA_ucf.npz of TGAN or TGANv2", names)


def load_mean(path: Path) -> Tensor:
    """The mean clip of `mean2.npz`, float32 [3, 16, 128, 171]. Raises GrowreelError for another file."""
    arrays = read_arrays(path)
    mean: NDArray[np.float32] = np.asarray(arrays.get("mean", torch.empty(0)), np.float32)
    if mean.size != np.prod(MEAN_SHAPE):
        raise GrowreelError(f"{path}: has no array `mean` of {' x '.join(map(str, MEAN_SHAPE))}; give mean2.npz of TGAN or TGANv2")
    return torch.from_numpy(mean.reshape(MEAN_SHAPE))
