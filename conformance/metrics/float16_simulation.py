"""What float16 storage and float16 pooling do to a network, simulated operator by operator.

A chip computes convolutions in float16 with a wide accumulator and stores every result in
float16. torch on a CPU does neither by itself, so each operator's result is rounded here. The
dispatcher sees every operator, modules and plain functions alike: no classifier needs code of
its own.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conformance.errors import ConformanceError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def simulate(
    network: Module, inputs: NDArray[np.float32], *, pool_in_float16: bool, batch: int = 20
) -> NDArray[np.float32]:
    """Return the scores (N, classes) of a network that stores every result in float16.

    Weights and inputs are rounded as well. Neither the network nor the inputs are changed.

    Args:
        network: Any classifier, in evaluation mode.
        inputs: Input tensors (N, channels, height, width).
        pool_in_float16: Average pools also add up in float16, one value after the other, which is
            the worst order a chip may take.
        batch: Images computed together; only speed depends on it.

    Raises:
        ConformanceError: A result does not fit into float16.
    """
    import torch

    rounded = copy.deepcopy(network).half().float()
    # Copies, because rounding works in place and must not reach the caller's arrays.
    batches = torch.split(torch.from_numpy(inputs).half().float(), batch)
    with torch.inference_mode(), _rounding(pool_in_float16=pool_in_float16):
        scores = np.concatenate([rounded(tensor).numpy() for tensor in batches])
    if not np.isfinite(scores).all():
        raise ConformanceError(
            "the network overflows float16",
            got=f"{int((~np.isfinite(scores)).any(axis=1).sum())} images without finite scores",
            expected="finite scores for every image",
            next_step="convert with a precision mode that keeps the original data type",
        )
    return scores


def _rounding(*, pool_in_float16: bool) -> AbstractContextManager[object]:
    """Return a context in which every operator's floating result is rounded to float16."""
    import torch
    from torch.utils._python_dispatch import (
        TorchDispatchMode,
    )

    # torch leaves its mode untyped.
    class Rounding(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self,
            func: Any,
            types: object,
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> object:
            pool = _POOLS.get(func.overloadpacket.__name__) if pool_in_float16 else None
            result = pool(*args, **(kwargs or {})) if pool else func(*args, **(kwargs or {}))
            for tensor in _floating(result):
                stored = tensor.half().float()
                # A view of rounded data needs no write, and an expanded one would refuse it.
                if not torch.equal(stored, tensor):
                    tensor.copy_(stored)
            return result

    return Rounding()  # type: ignore[no-untyped-call] # untyped as above


def _floating(result: object) -> Iterator[Tensor]:
    import torch

    parts = result if isinstance(result, tuple | list) else (result,)
    for part in parts:
        if isinstance(part, torch.Tensor) and part.is_floating_point() and part.numel():
            yield part


def _float16_sum(windows: Tensor) -> Tensor:
    """Add up the last axis one value after the other, each partial sum rounded to float16."""
    values = windows.half()
    total = values[..., 0].clone()
    for index in range(1, values.shape[-1]):
        total += values[..., index]
    return total.float()


def _mean(
    values: Tensor,
    dim: list[int] | None = None,
    keepdim: bool = False,
    **_: object,
) -> Tensor:
    axes = sorted(axis % values.ndim for axis in (dim or range(values.ndim)))
    kept = [axis for axis in range(values.ndim) if axis not in axes]
    windows = values.permute(*kept, *axes).flatten(len(kept))
    mean = _float16_sum(windows) / windows.shape[-1]
    if keepdim:
        mean = mean.reshape([1 if a in axes else s for a, s in enumerate(values.shape)])
    return mean


def _adaptive_average(values: Tensor, output_size: list[int]) -> Tensor:
    import torch

    def spans(size: int, count: int) -> list[slice]:
        return [slice(i * size // count, math.ceil((i + 1) * size / count)) for i in range(count)]

    height, width = values.shape[-2:]
    rows = [
        [_mean(values[..., y, x], [-2, -1]) for x in spans(width, output_size[1])]
        for y in spans(height, output_size[0])
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _average(
    values: Tensor,
    kernel_size: list[int],
    stride: list[int] | None = None,
    padding: int | list[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    from torch.nn import functional

    if ceil_mode or divisor_override or not (count_include_pad or padding in (0, [0], [0, 0])):
        raise ConformanceError(
            "this average pool has windows of different sizes, which are not simulated",
            got=f"{ceil_mode=}, {count_include_pad=}, {divisor_override=}",
            expected="windows of one size",
            next_step="set float16 bounds in the model's TOML by hand and name their source",
        )
    steps = stride or kernel_size
    exact = functional.avg_pool2d(values, kernel_size, steps, padding)
    pads = padding if isinstance(padding, int) else tuple(padding)
    windows = functional.unfold(values, tuple(kernel_size), padding=pads, stride=tuple(steps))
    n, channels, height, width = exact.shape
    windows = windows.reshape(n, channels, -1, height * width).transpose(2, 3)
    return (_float16_sum(windows) / windows.shape[-1]).reshape(exact.shape)


_POOLS: dict[str, Callable[..., Tensor]] = {
    "mean": _mean,
    "avg_pool2d": _average,
    "adaptive_avg_pool2d": _adaptive_average,  # seen whole under inference mode
}
