"""How a conversion goes wrong: effects on what ATC has read and on what it built."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, numpy_helper

from emulator.faults import ActiveFaults
from emulator.om import OfflineModel

Weights = npt.NDArray[np.float32]
Random = np.random.Generator


def spoil_model(model: ModelProto, faults: ActiveFaults, batch: int) -> None:
    """Apply the faults that strike the weights, in place."""
    for fault in faults.at("model", batch):
        random = faults.random(fault)
        for tensor in model.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
                changed = EFFECTS[fault.do](numpy_helper.to_array(tensor), random, **fault.options)
                tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))


def spoil_shapes(shapes: dict[str, list[int]], faults: ActiveFaults) -> dict[str, list[int]]:
    """Apply the faults that bind another batch than was asked for."""
    for fault in faults.at("shape"):
        other = int(fault.options["batch"])
        shapes = {name: [other, *shape[1:]] for name, shape in shapes.items()}
    return shapes


def spoil_built(model: OfflineModel, faults: ActiveFaults) -> OfflineModel:
    """Apply the faults that strike what is written beside the weights."""
    for fault in faults.at("built", model.batch):
        model = BUILT_EFFECTS[fault.do](model, **fault.options)
    return model


def drift(weights: Weights, random: Random, *, share: float = 0.02) -> Weights:
    """Weights of another training run: each a little different."""
    noise = random.normal(1, share, weights.shape)
    return (weights * noise).astype(np.float32)


def coarsen(weights: Weights, _: Random, *, levels: int = 15) -> Weights:
    """Weights kept in a few levels, as a careless choice of precision does."""
    step = np.abs(weights).max() * 2 / levels
    return (np.round(weights / step) * step).astype(np.float32) if step else weights


def swap_input_channels(weights: Weights, _: Random) -> Weights:
    """The first layer sees red and blue exchanged."""
    return weights[:, ::-1].copy() if weights.ndim == 4 and weights.shape[1] == 3 else weights


def rename_soc(model: OfflineModel, *, soc: str) -> OfflineModel:
    """Built for another system on chip."""
    return model._replace(soc=soc)


def forget_tuning(model: OfflineModel) -> OfflineModel:
    """Tuning ran, but its result was not used."""
    return model._replace(tuned=False)


def forget_mean(model: OfflineModel) -> OfflineModel:
    """Preprocessing in the chip divides but subtracts nothing."""
    return _with_aipp(model, mean=(0.0, 0.0, 0.0))


def swap_aipp_channels(model: OfflineModel) -> OfflineModel:
    """Preprocessing in the chip exchanges red and blue."""
    return _with_aipp(model, swap_red_blue=True)


def _with_aipp(model: OfflineModel, **changes: object) -> OfflineModel:
    if model.aipp is None:
        return model
    aipp = model.aipp._replace(**changes)  # type: ignore[arg-type]  # two callers above
    return model._replace(aipp=aipp)


EFFECTS: dict[str, Callable[..., Weights]] = {
    "drift": drift,
    "coarsen": coarsen,
    "swap_input_channels": swap_input_channels,
}
BUILT_EFFECTS: dict[str, Callable[..., OfflineModel]] = {
    "rename_soc": rename_soc,
    "forget_tuning": forget_tuning,
    "forget_mean": forget_mean,
    "swap_aipp_channels": swap_aipp_channels,
}
