"""Inception-v3 of 2015-12-05, the network of the Frechet Inception distance (Szegedy et al. 2015, arXiv 1512.00567; Heusel et al. 2017).

It differs from later Inception-v3: average pools of branches leave padding out of the mean, the last block pools by maximum, and the
input is (x - 128) / 128. Modules have the names that PyTorch ports gave them; batch norm is folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growreel.errors import GrowreelError
from growreel.evaluation.extractors.arrays import load_state, read_arrays

SIDE = 299
BATCH_NORM_EPS = 0.001
Kernel = int | tuple[int, int]


class ConvReLU(nn.Conv2d):
    """Convolution and ReLU. `same` padding unless told otherwise."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Kernel, stride: int = 1, padding: Kernel | None = None) -> None:
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        super().__init__(in_channels, out_channels, kernel, stride, (height // 2, width // 2) if padding is None else padding)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.relu(super().forward(x_NCHW), inplace=True)


def _average(x_NCHW: Tensor) -> Tensor:
    return F.avg_pool2d(x_NCHW, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """35x35: 1x1, 5x5, two 3x3, pool."""

    def __init__(self, in_channels: int, pool_channels: int) -> None:
        super().__init__()
        self.branch1x1 = ConvReLU(in_channels, 64, 1)
        self.branch5x5_1 = ConvReLU(in_channels, 48, 1)
        self.branch5x5_2 = ConvReLU(48, 64, 5)
        self.branch3x3dbl_1 = ConvReLU(in_channels, 64, 1)
        self.branch3x3dbl_2 = ConvReLU(64, 96, 3)
        self.branch3x3dbl_3 = ConvReLU(96, 96, 3)
        self.branch_pool = ConvReLU(in_channels, pool_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, threes, self.branch_pool(_average(x))], dim=1)


class BlockB(nn.Module):
    """35x35 to 17x17."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = ConvReLU(in_channels, 384, 3, stride=2, padding=0)
        self.branch3x3dbl_1 = ConvReLU(in_channels, 64, 1)
        self.branch3x3dbl_2 = ConvReLU(64, 96, 3)
        self.branch3x3dbl_3 = ConvReLU(96, 96, 3, stride=2, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), threes, F.max_pool2d(x, 3, stride=2)], dim=1)


class BlockC(nn.Module):
    """17x17: 1x1, 7x7 in two steps, twice 7x7 in four, pool."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvReLU(in_channels, 192, 1)
        self.branch7x7_1 = ConvReLU(in_channels, width, 1)
        self.branch7x7_2 = ConvReLU(width, width, (1, 7))
        self.branch7x7_3 = ConvReLU(width, 192, (7, 1))
        self.branch7x7dbl_1 = ConvReLU(in_channels, width, 1)
        self.branch7x7dbl_2 = ConvReLU(width, width, (7, 1))
        self.branch7x7dbl_3 = ConvReLU(width, width, (1, 7))
        self.branch7x7dbl_4 = ConvReLU(width, width, (7, 1))
        self.branch7x7dbl_5 = ConvReLU(width, 192, (1, 7))
        self.branch_pool = ConvReLU(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), seven, twice, self.branch_pool(_average(x))], dim=1)


class BlockD(nn.Module):
    """17x17 to 8x8."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvReLU(in_channels, 192, 1)
        self.branch3x3_2 = ConvReLU(192, 320, 3, stride=2, padding=0)
        self.branch7x7x3_1 = ConvReLU(in_channels, 192, 1)
        self.branch7x7x3_2 = ConvReLU(192, 192, (1, 7))
        self.branch7x7x3_3 = ConvReLU(192, 192, (7, 1))
        self.branch7x7x3_4 = ConvReLU(192, 192, 3, stride=2, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, stride=2)], dim=1)


class BlockE(nn.Module):
    """8x8: 1x1, 3x3 split in two, 3x3 and 3x3 split in two, pool."""

    def __init__(self, in_channels: int, pool: Literal["average", "maximum"]) -> None:
        super().__init__()
        self.pool = pool
        self.branch1x1 = ConvReLU(in_channels, 320, 1)
        self.branch3x3_1 = ConvReLU(in_channels, 384, 1)
        self.branch3x3_2a = ConvReLU(384, 384, (1, 3))
        self.branch3x3_2b = ConvReLU(384, 384, (3, 1))
        self.branch3x3dbl_1 = ConvReLU(in_channels, 448, 1)
        self.branch3x3dbl_2 = ConvReLU(448, 384, 3)
        self.branch3x3dbl_3a = ConvReLU(384, 384, (1, 3))
        self.branch3x3dbl_3b = ConvReLU(384, 384, (3, 1))
        self.branch_pool = ConvReLU(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = _average(x) if self.pool == "average" else F.max_pool2d(x, 3, stride=1, padding=1)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(three),
                self.branch3x3_2b(three),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(pooled),
            ],
            dim=1,
        )


class InceptionV3(nn.Module):
    """Features of images: 768 after `Mixed_6e` (TensorFlow's mixed_7), or 2048 after the last block (`pool_3`)."""

    def __init__(self, features: Literal[768, 2048]) -> None:
        super().__init__()
        self.features = features
        self.Conv2d_1a_3x3 = ConvReLU(3, 32, 3, stride=2, padding=0)
        self.Conv2d_2a_3x3 = ConvReLU(32, 32, 3, padding=0)
        self.Conv2d_2b_3x3 = ConvReLU(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = ConvReLU(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvReLU(80, 192, 3, padding=0)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        if features == 2048:
            self.Mixed_7a = BlockD(768)
            self.Mixed_7b = BlockE(1280, "average")
            self.Mixed_7c = BlockE(2048, "maximum")

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Images [n, 3, 299, 299], values 0 to 255, to features [n, 768 or 2048]."""
        x = (images_NCHW - 128) / 128
        for block in self.children():  # in the order of their definition
            x = block(x)
        return x.mean(dim=(2, 3))


def resize(frames_NCHW: Tensor, side: int = SIDE) -> Tensor:
    """Bilinear resize as TensorFlow 1 does it in the original FID: output pixel i is at i * in / out, without antialiasing.

    PyTorch's grid is shifted by half a pixel against it; ports that use that one give other numbers (clean-fid, arXiv 2104.11222).
    """
    rows, columns = (_resize_matrix(extent, side, frames_NCHW) for extent in frames_NCHW.shape[2:])
    return rows @ frames_NCHW @ columns.T


def _resize_matrix(extent: int, side: int, like: Tensor) -> Tensor:
    """[side, extent]: what each output pixel takes of each input pixel along one axis."""
    places = torch.arange(side, dtype=torch.float64) * (extent / side)
    left = places.floor().long().clamp(max=extent - 1)
    right, share = (left + 1).clamp(max=extent - 1), places - left
    matrix = torch.zeros(side, extent, dtype=torch.float64)
    each = torch.arange(side)
    matrix.index_put_((each, left), 1 - share, accumulate=True)
    matrix.index_put_((each, right), share, accumulate=True)
    return matrix.to(like)


def load(path: Path, features: Literal[768, 2048]) -> InceptionV3:
    """The network with the weights of a file, in evaluation mode, without gradients.

    Known layouts: convolutions with batch norm folded in, named by TensorFlow scopes (`mixed_4_tower_conv_1.weight`), up to mixed_7;
    and the PyTorch port's (`Mixed_6b.branch7x7_2.conv.weight`, `.bn.running_mean`, ...), whose batch norm is folded here.

    Raises GrowreelError if the file is neither, or lacks what these features need.
    """
    arrays = read_arrays(path)
    folded = _fold_batch_norm(arrays, path) if "Conv2d_1a_3x3.conv.weight" in arrays else _from_scopes(arrays)
    return load_state(InceptionV3(features), folded, path, f"Inception-v3 of 2015-12-05 up to its {features} features")


def _fold_batch_norm(arrays: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Weights and biases of the convolutions with their batch norms multiplied in, computed in float64."""
    folded = {}
    for key, weight in arrays.items():
        if not key.endswith(".conv.weight"):
            continue
        name = key.removesuffix(".conv.weight")
        try:
            scale, shift, mean, variance = (
                arrays[f"{name}.bn.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
            )
        except KeyError as error:
            raise GrowreelError(f"{path}: has no array {error}; it is damaged, or a checkpoint of another network") from error
        factor = scale / (variance + BATCH_NORM_EPS).sqrt()
        folded[f"{name}.weight"] = (weight.double() * factor.view(-1, 1, 1, 1)).float()
        folded[f"{name}.bias"] = (shift - mean * factor).float()
    return folded


def _from_scopes(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        f"{name}.{part}": arrays[f"{scope}.{part}"]
        for name, scope in _scopes()
        for part in ("weight", "bias")
        if f"{scope}.{part}" in arrays
    }


def _scopes() -> Iterator[tuple[str, str]]:
    """Names of our modules with TensorFlow's scopes, up to mixed_7."""
    stem = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
    yield from ((name, f"conv_{k}" if k else "conv") for k, name in enumerate(stem))
    towers: dict[type[nn.Module], tuple[tuple[str, int], ...]] = {
        BlockA: (("branch1x1", 0), ("branch5x5", 2), ("branch3x3dbl", 3), ("branch_pool", 0)),
        BlockB: (("branch3x3", 0), ("branch3x3dbl", 3)),
        BlockC: (("branch1x1", 0), ("branch7x7", 3), ("branch7x7dbl", 5), ("branch_pool", 0)),
    }
    blocks = [("5b", BlockA), ("5c", BlockA), ("5d", BlockA), ("6a", BlockB), *((f"6{letter}", BlockC) for letter in "bcde")]
    for number, (suffix, kind) in enumerate(blocks):
        block = f"mixed_{number}" if number else "mixed"
        for tower, (branch, length) in enumerate(towers[kind]):
            scope = block if tower == 0 else f"{block}_tower" if tower == 1 else f"{block}_tower_{tower - 1}"
            for k in range(max(length, 1)):
                name = f"{branch}_{k + 1}" if length else branch
                yield f"Mixed_{suffix}.{name}", f"{scope}_conv_{k}" if k else f"{scope}_conv"
