"""Weights checked against their network: names, shapes, number formats and values."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from conformance.errors import SpecError
from conformance.export.network import build_network
from conformance.export.state_dict import load_state_dict
from selftest.weights_files import SPEC, refusal, saved, spec_for, untrained

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def plain() -> State:
    return untrained(SPEC)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_right_file_loads_bit_for_bit_in_the_networks_order(
    tmp_path: Path, plain: State, legacy: bool
) -> None:
    shuffled = OrderedDict(sorted(plain.items(), reverse=True))
    shuffled["classifier.1.bias"] = torch.nn.Parameter(plain["classifier.1.bias"])
    shuffled["features.0.bias"] = torch.zeros(1).expand(64)
    loaded = load_state_dict(saved(tmp_path / "w.pth", shuffled, legacy=legacy), SPEC)
    assert list(loaded) == list(plain)
    assert all(torch.equal(loaded[name], shuffled[name]) for name in plain)
    assert not any(tensor.requires_grad for tensor in loaded.values())
    assert all(tensor.is_contiguous() for tensor in loaded.values())


def test_weights_of_a_sibling_are_recognised(tmp_path: Path) -> None:
    other = untrained(spec_for("squeezenet1_0"))
    path = saved(tmp_path / "w.pth", other)
    message = refusal(lambda: load_state_dict(path, SPEC))
    assert "these are weights of squeezenet1_0" in message
    assert "names missing: features.6.squeeze.weight" in message


def test_weights_of_a_stranger_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"fc.weight": torch.zeros(2, 2)})
    message = refusal(lambda: load_state_dict(path, SPEC))
    assert "52 names missing" in message
    assert "1 unexpected: fc.weight" in message


@pytest.mark.parametrize("name", ["features.0.weight", "classifier.1.bias"])
def test_a_missing_and_an_unexpected_name(tmp_path: Path, plain: State, name: str) -> None:
    rest = {key: value for key, value in plain.items() if key != name}
    message = refusal(lambda: load_state_dict(saved(tmp_path / "w.pth", rest), SPEC))
    assert f"1 names missing: {name}; 0 unexpected: none" in message
    more = {**plain, "extra": torch.zeros(1)}
    message = refusal(lambda: load_state_dict(saved(tmp_path / "w.pth", more), SPEC))
    assert "0 names missing: none; 1 unexpected: extra" in message


def test_prefix_of_data_parallel_is_explained(tmp_path: Path, plain: State) -> None:
    path = saved(tmp_path / "w.pth", {f"module.{name}": value for name, value in plain.items()})
    message = refusal(lambda: load_state_dict(path, SPEC))
    assert "DataParallel" in message
    assert "removeprefix('module.')" in message


def test_other_number_of_classes(tmp_path: Path) -> None:
    tuned = spec_for("squeezenet1_1", num_classes=10)
    path = saved(tmp_path / "w.pth", untrained(tuned))
    message = refusal(lambda: load_state_dict(path, SPEC))
    assert "got: classifier.1.weight (10, 512, 1, 1), classifier.1.bias (10,)" in message
    assert "expected: classifier.1.weight (1000, 512, 1, 1)" in message
    assert len(load_state_dict(path, tuned)) == 52


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32])
def test_other_number_formats(tmp_path: Path, plain: State, dtype: torch.dtype) -> None:
    changed = {**plain, "features.3.squeeze.bias": plain["features.3.squeeze.bias"].to(dtype)}
    message = refusal(lambda: load_state_dict(saved(tmp_path / "w.pth", changed), SPEC))
    assert f"got: features.3.squeeze.bias {dtype}" in message
    assert "expected: features.3.squeeze.bias torch.float32" in message
    assert "v.float()" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite(tmp_path: Path, plain: State, value: float) -> None:
    state = {name: tensor.clone() for name, tensor in plain.items()}
    state["features.3.squeeze.weight"].view(-1)[[5, 7]] = value
    state["classifier.1.bias"][999] = value
    message = refusal(lambda: load_state_dict(saved(tmp_path / "w.pth", state), SPEC))
    assert "2 of 1024 values of features.3.squeeze.weight; 3 in 2 tensors" in message


def test_counters_of_batch_normalisation_may_be_absent(tmp_path: Path) -> None:
    spec = spec_for("resnet18")
    full = untrained(spec)
    old = {name: value for name, value in full.items() if "num_batches_tracked" not in name}
    loaded = load_state_dict(saved(tmp_path / "w.pth", old), spec)
    assert list(loaded) == list(full)
    assert loaded["bn1.num_batches_tracked"].dtype == torch.int64
    assert loaded["bn1.num_batches_tracked"].device.type == "cpu"
    build_network(spec.architecture).load_state_dict(loaded, strict=True)


def test_a_network_that_cannot_be_built_without_values(tmp_path: Path) -> None:
    spec = spec_for("regnet_y_400mf")
    state = untrained(spec)
    assert len(load_state_dict(saved(tmp_path / "w.pth", state), spec)) == len(state)


def test_a_wrong_spec_is_not_blamed_on_the_file(tmp_path: Path, plain: State) -> None:
    path = saved(tmp_path / "w.pth", plain)
    with pytest.raises(SpecError, match="refuses its arguments"):
        load_state_dict(path, spec_for("squeezenet1_1", colour=True))
