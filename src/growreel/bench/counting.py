"""Operations and bytes of a piece of PyTorch code, counted while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import conv_flop_count, flop_registry


def count(work: Callable[[], Any]) -> dict[str, int]:
    """Run `work` once and count what it does.

    Returns `flops`, the multiplications and additions of convolutions and matrix products, and `bytes`, the sizes of every operator's
    tensors, in and out, added up.

    The bytes are what goes through memory if no operator finds its input in a cache, so a fraction of the copy rate above 1 is possible.
    """
    counter = _Counter()
    with counter:
        work()
    return {"flops": counter.flops, "bytes": counter.bytes}


class _Counter(TorchDispatchMode):
    """Counts while it is entered. (PyTorch's FlopCounterMode hooks into the autograd graph, which the inner backward pass of a gradient
    penalty does not survive.)"""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not func.is_view:
            tensors = (leaf for leaf in tree_iter((args, kwargs, result)) if isinstance(leaf, Tensor))
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **kwargs, out_val=result)
        elif func.name() == "mkldnn::_convolution_pointwise":  # `models.functions` calls it for a small clip alone
            self.flops += conv_flop_count(args[0].shape, args[1].shape, result.shape)
        return result
