"""Predictions of a PyTorch network on the CPU, batch by batch."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from conformance.imagenet.batches import InputBatch
from conformance.predictions import Labels, Predictions, ScoreCollector

if TYPE_CHECKING:
    import torch


def infer_with_torch(
    network: torch.nn.Module,
    batches: Iterable[InputBatch],
    names: tuple[str, ...],
    labels: Labels,
    *,
    dtype: Literal["float32", "float64"] = "float32",
    threads: int = 1,
) -> Predictions:
    """Return the network's scores of every image, in ``dtype``.

    The batches are taken one at a time, so that only the scores stay in memory. Their channels lie
    last in it, and so do those of every layer behind: on a CPU this halves a convolution's time.

    Args:
        network: Takes N x 3 x H x W and gives N x classes; it is left as it is.
        batches: The inputs, float32, in the order of ``names``.
        names: Every image that must be inferred, in order.
        labels: int64, the class of each.
        dtype: ``float64`` computes in float64 throughout: the reference for rounding errors.
        threads: Threads that compute.

    Raises:
        DumpError: The batches do not hold exactly ``names``, the output has the wrong shape, or a
            score is not finite.
    """
    import torch

    kind = torch.float32 if dtype == "float32" else torch.float64
    ready = copy.deepcopy(network).eval().to(kind)
    collector = ScoreCollector(names, labels, dtype)
    with torch_threads(threads), torch.inference_mode():
        for batch in batches:
            images = torch.from_numpy(batch.tensors)
            scores = ready(images.to(kind, memory_format=torch.channels_last))
            collector.add(batch.names, scores.numpy())
    return collector.finish()


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let PyTorch compute on so many threads for a while."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
