"""Convolution, leaky ReLU and pixel norm with derivatives written by hand, where PyTorch's own waste time or memory.

- PyTorch differentiates the gradient of a convolution with respect to its weight as a convolution with a kernel as large as the clip.
  Here it is the same call as in any backward pass (a third of the time of that layer; Karras et al. patched StyleGAN2 likewise).
- PyTorch keeps input and output of every activation. Here leaky ReLU, and leaky ReLU with pixel norm, work in place and keep nothing but
  their output, which the next convolution keeps anyway.
- A gradient penalty may be taken with `product_dtype=torch.bfloat16`: values, and with them the side on which every leaky ReLU
  is, stay float32; only the products of the two backward passes are rounded, and rounding is linear in what passes through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

LEAKY_SLOPE = 0.2
_weight_gradients = True


class Geometry(NamedTuple):
    """How a convolution passes over its input; the output size follows from it without output padding."""

    stride: tuple[int, int, int] = (1, 1, 1)
    padding: tuple[int, int, int] = (1, 1, 1)
    transposed: bool = False

    def adjoint(self) -> Geometry:
        """Return the geometry of the convolution that takes gradients of the output to gradients of the input."""
        return self._replace(transposed=not self.transposed)


@contextmanager
def input_gradients_only() -> Iterator[None]:
    """Leave out gradients of weights in the backward passes inside: a penalty's first pass asks for those of its clips alone.

    (A function written in Python is not told which of its gradients are asked for.)
    """
    global _weight_gradients
    before, _weight_gradients = _weight_gradients, False
    try:
        yield
    finally:
        _weight_gradients = before


def convolution(
    x_NCTHW: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, product_dtype: torch.dtype | None = None
) -> Tensor:
    """3-D convolution, differentiable any number of times.

    Args:
        x_NCTHW: [n, i, t, h, w]; decides the precision of the forward pass.
        weight: [o, i, kt, kh, kw], or [i, o, kt, kh, kw] if transposed; converted to the precision of x.
        bias: [o].
        geometry: stride, padding, and whether it is transposed.
        product_dtype: precision of the products in backward passes; None is that of x.
    """
    result: Tensor = _Convolution.apply(x_NCTHW, weight, bias, geometry, product_dtype, False)
    return result


def leaky_relu(x: Tensor, product_dtype: torch.dtype | None = None) -> Tensor:
    """Leaky ReLU of slope 0.2, differentiable any number of times; `product_dtype` as in `convolution`."""
    result: Tensor = _LeakyReLU.apply(x, product_dtype, False)
    return result


def leaky_relu_(x: Tensor, product_dtype: torch.dtype | None = None) -> Tensor:
    """The same in place. x must not be a view: the backward pass would copy gradients of the whole twice, and PyTorch's compiler gets that
    wrong (2.13, CPU)."""
    result: Tensor = _LeakyReLU.apply(x, product_dtype, True)
    return result


def leaky_pixel_norm_(x_NCTHW: Tensor, eps: float = 1e-8) -> Tensor:
    """Leaky ReLU, then division of every voxel's channel vector by its root mean square; in place, differentiable once."""
    result: Tensor = _LeakyPixelNorm.apply(x_NCTHW, eps)
    return result


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """From and to channels-last, as everything here.

    PyTorch leaves oneDNN alone where a small float32 clip comes alone, which takes up to 2.6 times as long: 128 channels of 8x16x16.
    """
    layout, padding = torch.channels_last_3d, geometry.padding
    x = x.contiguous(memory_format=layout)
    alone = len(x) == 1 and x.device.type == "cpu" and x.dtype == torch.float32
    if alone and not geometry.transposed and torch.backends.mkldnn.is_available():
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, padding, geometry.stride, (1, 1, 1), 1, "none", [], "")
    else:
        y = torch.convolution(x, weight, bias, geometry.stride, padding, (1, 1, 1), geometry.transposed, (0, 0, 0), 1)
    return y.contiguous(memory_format=layout)


class _Convolution(Function):
    """`reduced`: also the forward pass of this call is a product of a backward pass, so it takes `product_dtype`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, product_dtype: torch.dtype | None, reduced: bool
    ) -> Tensor:
        saved_input = x if product_dtype is None else x.to(product_dtype)
        ctx.save_for_backward(saved_input, weight)
        ctx.geometry, ctx.product_dtype = geometry, product_dtype
        operand = saved_input if reduced else x
        y = _convolve(operand, weight.to(operand.dtype), None if bias is None else bias.to(operand.dtype), geometry)
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gx = gw = gb = None
        if ctx.needs_input_grad[0]:
            gx = _Convolution.apply(g, weight, None, ctx.geometry.adjoint(), ctx.product_dtype, True)
        if ctx.needs_input_grad[1] and _weight_gradients:
            gw = _WeightGradient.apply(x, g, weight.shape, weight.dtype, ctx.geometry)
        if ctx.needs_input_grad[2] and _weight_gradients:
            gb = g.sum(dim=(0, 2, 3, 4), dtype=weight.dtype)
        return gx, gw, gb, None, None, None


def _breaks_in_bfloat16(x: Tensor, g: Tensor, kernel: torch.Size) -> bool:
    """Whether a CPU's weight gradient could be wrong: at two frames, or where a height of 2 is halved, oneDNN's bfloat16 one reads and
    writes outside of its memory (torch 2.13, avx512_bf16). Seen only where the kernel is larger than the smaller of the two clips."""
    if x.dtype != torch.bfloat16 or x.device.type != "cpu":
        return False
    return any(min(sizes) < extent for *sizes, extent in zip(x.shape[2:], g.shape[2:], kernel[2:], strict=True))


def _with_frames_that_were_cut(g: Tensor, kernel: torch.Size, geometry: Geometry) -> tuple[Tensor, Geometry]:
    """Gradients [n, c, t, h, w] of a transposed convolution's output, with zeros for the frames that its padding cuts off beyond those
    which keep the size, and the geometry that cuts no more than these: the same mathematics.

    On a CPU with AVX-512, oneDNN's weight gradient reads and writes outside of its memory where a kernel of 4 frames is padded by 3 and
    2 or 4 frames come out, in float32 and bfloat16 (torch 2.13, oneDNN 3.12, EPYC 9005; not with ONEDNN_MAX_CPU_ISA=AVX2).
    """
    frames, rows, columns = geometry.padding
    cut = frames - (kernel[2] - geometry.stride[0]) // 2 if geometry.transposed and g.device.type == "cpu" else 0
    if cut <= 0:
        return g, geometry
    nothing = g.new_zeros(()).expand(*g.shape[:2], cut, *g.shape[3:])
    return torch.cat([nothing, g, nothing], dim=2), geometry._replace(padding=(frames - cut, rows, columns))


class _WeightGradient(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, shape: torch.Size, dtype: torch.dtype, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, g)
        ctx.geometry = geometry
        g, geometry = _with_frames_that_were_cut(g, shape, geometry)
        product_dtype = torch.float32 if _breaks_in_bfloat16(x, g, shape) else x.dtype
        x, g = x.to(product_dtype), g.to(product_dtype)
        weight = x.new_empty(1).expand(shape)  # only its shape matters
        gw: Tensor = torch.ops.aten.convolution_backward(
            g, x, weight, None, geometry.stride, geometry.padding, (1, 1, 1), geometry.transposed, (0, 0, 0), 1, [False, True, False]
        )[1]
        return gw.to(dtype)

    @staticmethod
    def backward(ctx: Any, gg: Tensor) -> tuple[Tensor | None, ...]:
        x, g = ctx.saved_tensors
        gx = _Convolution.apply(g, gg, None, ctx.geometry.adjoint(), None, False) if ctx.needs_input_grad[0] else None
        gg_out = _Convolution.apply(x, gg, None, ctx.geometry, None, False).to(g.dtype) if ctx.needs_input_grad[1] else None
        return gx, gg_out, None, None, None


class _LeakyReLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, product_dtype: torch.dtype | None, in_place: bool) -> Tensor:
        if in_place:
            ctx.mark_dirty(x)
        y = F.leaky_relu(x, LEAKY_SLOPE, inplace=in_place)
        ctx.save_for_backward(y if product_dtype is None else y.to(product_dtype))
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        return _Slope.apply(g, *ctx.saved_tensors), None, None


class _Slope(Function):
    """g where y is positive, else 0.2 g: linear in g and its own adjoint."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        result: Tensor = torch.ops.aten.leaky_relu_backward(g.to(y.dtype), y, LEAKY_SLOPE, True)
        return result.to(g.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return _Slope.apply(g, *ctx.saved_tensors), None


class _LeakyPixelNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        ctx.mark_dirty(x)
        x = F.leaky_relu_(x, LEAKY_SLOPE)
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        scale = (norm.square() / x.shape[1] + eps).rsqrt().to(x.dtype)
        x.mul_(scale)
        ctx.save_for_backward(x, scale)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        y, scale = ctx.saved_tensors
        g = (g - y * (g * y).mean(dim=1, keepdim=True)) * scale
        return torch.ops.aten.leaky_relu_backward(g, y, LEAKY_SLOPE, True), None
