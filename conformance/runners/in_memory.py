"""Run a few named inputs through an engine, in batches of one size, on one thread.

One thread, because the order of additions, and with it the last digits, depends on the threads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conformance.runners.onnxruntime_runner import open_session, run_session
from conformance.runners.torch_runner import torch_threads

if TYPE_CHECKING:
    import torch

Inputs = Mapping[str, npt.NDArray[np.float32]]
Outputs = dict[str, npt.NDArray[np.floating]]
Engine = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.floating]]


def run_torch(network: torch.nn.Module, inputs: Inputs, batch: int) -> Outputs:
    """Return PyTorch's float32 scores, shape (classes,), by input name."""
    import torch

    def engine(images: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        return network(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return] # modules are untyped

    with torch_threads(1), torch.inference_mode():
        return _in_batches(engine, inputs, batch)


def run_torch_float64(network: torch.nn.Module, inputs: Inputs) -> Outputs:
    """Return PyTorch's float64 scores, shape (classes,), by input name: the reference."""
    import torch

    exact = copy.deepcopy(network).double()

    def engine(images: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        return exact(torch.from_numpy(images).double()).numpy()  # type: ignore[no-any-return] # as above

    with torch_threads(1), torch.inference_mode():
        return _in_batches(engine, inputs, batch=1)


def run_onnxruntime(model: Path, inputs: Inputs, batch: int) -> Outputs:
    """Return ONNX Runtime's scores, shape (classes,), by input name.

    Raises:
        ExportError: ONNX Runtime cannot load the model, or refuses a batch.
    """
    session = open_session(model)
    return _in_batches(lambda images: run_session(session, model, images), inputs, batch)


def run_rows_with_onnxruntime(
    model: Path, images: Sequence[npt.NDArray[np.float32]], batch: int
) -> npt.NDArray[np.float32]:
    """Return ONNX Runtime's scores of each image, shape (images, classes).

    Args:
        model: An ONNX file with one input and one output.
        images: Input tensors (channels, height, width), in the order of the rows.
        batch: Images that are inferred together; the last batch may be smaller.

    Raises:
        ExportError: ONNX Runtime cannot load the model, or refuses a batch.
    """
    session = open_session(model)
    starts = range(0, len(images), batch)
    parts = (np.stack(images[start : start + batch]) for start in starts)
    return np.concatenate([run_session(session, model, part) for part in parts])


def _in_batches(engine: Engine, inputs: Inputs, batch: int) -> Outputs:
    """Run all inputs; the last batch holds what is left."""
    outputs: Outputs = {}
    for names in _batched(list(inputs), batch):
        scores = engine(np.stack([inputs[name] for name in names]))
        outputs |= dict(zip(names, scores, strict=True))
    return outputs


def _batched(names: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]
