"""Weights checked against the network that they are for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from conformance.errors import CheckpointError, SpecError
from conformance.export.network import build_network, import_torchvision
from conformance.export.safe_load import load_tensors, resave_step
from conformance.spec import Architecture, ModelSpec

if TYPE_CHECKING:
    import torch

_NAMES_SHOWN = 5


def load_state_dict(path: Path, spec: ModelSpec) -> dict[str, torch.Tensor]:
    """Return the weights of a file: every name, shape and dtype as the spec's network has it.

    Values are finite, on the CPU, contiguous and free of gradients, in the network's order. Nothing
    in the file is executed. Counters of batch normalisation (``num_batches_tracked``), which older
    files lack and inference never reads, are filled with 0.

    Raises:
        CheckpointError: The file is not a plain state dict of that network, or holds
            NaN or infinity.
        SpecError: The spec's network cannot be built.
        ConfigError: torch or torchvision is missing.
    """
    import_torchvision("models")  # a missing extra is an error of its own, not of the file
    state = load_tensors(path)
    expected = _expected_tensors(spec.architecture)
    for name in expected.keys() - state.keys():
        if name.endswith(".num_batches_tracked"):
            state[name] = expected[name].new_zeros((), device="cpu")
    _check_names(path, state, expected, spec.architecture)
    _check_shapes(path, state, expected, spec.architecture)
    _check_dtypes(path, state, expected)
    _check_finite(path, state)
    return {name: state[name].detach().contiguous() for name in expected}


def _expected_tensors(architecture: Architecture) -> Mapping[str, torch.Tensor]:
    """Return the network's own state dict, without values wherever that is possible."""
    try:
        return _valueless_tensors(architecture)
    except SpecError:
        # A few networks, such as RegNet, read values while they are built, which the meta device
        # cannot give. A network that is truly wrong raises here again.
        return dict(build_network(architecture).state_dict())


def _valueless_tensors(architecture: Architecture) -> Mapping[str, torch.Tensor]:
    """Return the network's state dict on the meta device, which takes milliseconds."""
    import torch

    with torch.device("meta"):
        return dict(build_network(architecture).state_dict())


def _check_names(
    path: Path,
    state: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    architecture: Architecture,
) -> None:
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    if not missing and not unexpected:
        return
    step = _looks_like(state, architecture)
    if unexpected and all(name.startswith("module.") for name in state):
        plain = "{name.removeprefix('module.'): value for name, value in state.items()}"
        step = "the names come from DataParallel; " + resave_step(plain)
    raise CheckpointError(
        f"the weights are not those of {architecture.constructor}",
        got=f"{len(missing)} names missing: {_some(missing)};"
        f" {len(unexpected)} unexpected: {_some(unexpected)}",
        expected=f"the {len(expected)} names of torchvision's {architecture.constructor}",
        where={"file": path},
        next_step=step,
    )


def _check_shapes(
    path: Path,
    state: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    architecture: Architecture,
) -> None:
    _check_each(
        path,
        _shapes(state),
        _shapes(expected),
        what=f"weights have other shapes than {architecture.constructor}'s",
        next_step=lambda: _looks_like(state, architecture),
    )


def _check_dtypes(
    path: Path, state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> None:
    # Converting here would hide that the file was rounded, and every later error would be blamed
    # on the export or the chip.
    convert = "{k: v.float() if v.is_floating_point() else v for k, v in state.items()}"
    _check_each(
        path,
        {name: tensor.dtype for name, tensor in state.items()},
        {name: tensor.dtype for name, tensor in expected.items()},
        what="weights have another number format than the network's",
        next_step=lambda: f"pass the float32 file they were made of, or {resave_step(convert)}",
    )


def _check_each(
    path: Path,
    got: Mapping[str, object],
    expected: Mapping[str, object],
    *,
    what: str,
    next_step: Callable[[], str],
) -> None:
    wrong = [name for name in expected if got[name] != expected[name]]
    if not wrong:
        return
    raise CheckpointError(
        what,
        got=_some([f"{name} {got[name]}" for name in wrong]),
        expected=_some([f"{name} {expected[name]}" for name in wrong]),
        where={"file": path, "tensors": f"{len(wrong)} of {len(expected)}"},
        next_step=next_step(),
    )


def _check_finite(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    counts = {name: int((~tensor.isfinite()).sum()) for name, tensor in state.items()}
    broken = [name for name, count in counts.items() if count]
    if not broken:
        return
    first = broken[0]
    raise CheckpointError(
        "weights hold NaN or infinity",
        got=f"{counts[first]} of {state[first].numel()} values of {first};"
        f" {sum(counts.values())} in {len(broken)} tensors",
        expected="finite numbers",
        where={"file": path, "tensor": first},
        next_step="take a checkpoint from before the training diverged, or copy the file again",
    )


def _looks_like(state: Mapping[str, torch.Tensor], architecture: Architecture) -> str:
    """Return what to do, naming the sibling of the architecture that the weights fit."""
    for sibling in _siblings(architecture):
        try:
            tensors = _valueless_tensors(sibling)
        except SpecError:
            continue  # this sibling does not take the arguments of the spec's own network
        if _shapes(tensors) == _shapes(state):
            return f"these are weights of {sibling.constructor}: pass others, or choose that model"
    return "pass weights of this network, or correct [architecture] in the model's TOML"


def _siblings(architecture: Architecture) -> list[Architecture]:
    """Return the networks whose name begins with the same letters, such as resnet18 and resnet34.

    These are what gets mixed up; to build all of torchvision's takes seconds.
    """
    models = import_torchvision("models")
    family = "".join(itertools.takewhile(str.isalpha, architecture.constructor))
    names = models.list_models(module=models, include=f"{family}*")
    return [msgspec.structs.replace(architecture, constructor=name) for name in names]


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return (", ".join(names[:_NAMES_SHOWN]) or "none") + (f" and {more} more" if more > 0 else "")
