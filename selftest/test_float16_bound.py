"""The float16 simulation against arithmetic done by hand, and the bound that is derived from it."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from conformance.errors import ConformanceError
from conformance.metrics import float16_bound, float16_simulation


class _Classifier(nn.Module):
    """A small network with modules, plain functions, an in-place step and a pool."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.pool = pool
        self.last = nn.LazyLinear(5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = torch.relu_(self.convolution(images))
        values = torch.cat([self.pool(values), self.pool(values * 1.5)], dim=1)
        return torch.as_tensor(self.last(values.flatten(1)))


class _Mean(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.mean([2, 3])


POOLS = {
    "global": nn.AdaptiveAvgPool2d(1),
    "adaptive": nn.AdaptiveAvgPool2d((3, 2)),
    "windows": nn.AvgPool2d(2),
    "padded": nn.AvgPool2d(3, stride=1, padding=1),
    "mean": _Mean(),
}


@pytest.fixture
def images() -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(size=(6, 3, 14, 14)).astype(np.float32)


def _network(pool: str = "global") -> nn.Module:
    torch.manual_seed(3)
    network = _Classifier(POOLS[pool]).eval()
    with torch.inference_mode():
        network(torch.zeros(1, 3, 14, 14))
    return network


def _exact(network: nn.Module, images: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(images)))


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("in_float16", [False, True])
def test_scores_are_near_the_exact_ones_and_representable(
    pool: str, in_float16: bool, images: NDArray[np.float32]
) -> None:
    network = _network(pool)
    got = float16_simulation.simulate(network, images, pool_in_float16=in_float16)
    assert np.array_equal(got, got.astype(np.float16).astype(np.float32))
    assert 0 < np.abs(got - _exact(network, images)).max() < 0.02


def test_every_operator_is_rounded_not_only_the_last(images: NDArray[np.float32]) -> None:
    network = _network()
    got = float16_simulation.simulate(network, images, pool_in_float16=False)
    only_last = _exact(network, images).astype(np.float16).astype(np.float32)
    assert not np.array_equal(got, only_last)


@pytest.mark.parametrize("pool", POOLS)
def test_neither_network_nor_images_are_changed(pool: str, images: NDArray[np.float32]) -> None:
    network = _network(pool)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    before = images.copy()
    float16_simulation.simulate(network, images, pool_in_float16=True)
    assert np.array_equal(images, before)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("pool", "ones", "window"),
    [
        (nn.AdaptiveAvgPool2d(1), 15, 16),
        (_Mean(), 15, 16),
        (nn.AdaptiveAvgPool2d((2, 1)), 7, 8),
        (nn.AvgPool2d(2), 3, 4),
        (nn.AvgPool2d(3, stride=1, padding=1), 3, 9),
    ],
)
def test_a_float16_pool_adds_one_value_after_the_other(
    pool: nn.Module, ones: int, window: int
) -> None:
    """2048 + 1 = 2048 in float16: the ones are lost when they come after the large value."""
    values = np.ones((1, 1, 4, 4), np.float32)
    values[0, 0, 0, 0] = 2048
    stored = float16_simulation.simulate(pool, values, pool_in_float16=False)
    pooled = float16_simulation.simulate(pool, values, pool_in_float16=True)
    assert stored.flat[0] == np.float16((2048 + ones) / window)
    assert pooled.flat[0] == np.float16(2048 / window)


def test_windows_of_different_sizes_are_refused(images: NDArray[np.float32]) -> None:
    network = nn.AvgPool2d(3, padding=1, count_include_pad=False)
    with pytest.raises(ConformanceError, match="different sizes"):
        float16_simulation.simulate(network, images, pool_in_float16=True)


def test_overflow_is_an_error(images: NDArray[np.float32]) -> None:
    last = nn.Linear(588, 2)
    nn.init.constant_(last.weight, 6e4)
    network = nn.Sequential(nn.Flatten(), last)
    with pytest.raises(ConformanceError, match="overflows float16"):
        float16_simulation.simulate(network, np.abs(images), pool_in_float16=False)


def test_the_bound_is_four_times_the_worst_error(images: NDArray[np.float32]) -> None:
    network, names = _network(), [f"{i}.JPEG" for i in range(6)]
    got = float16_bound.derive_epsilon(network, images, names, weights_sha256="ab", batch=4)
    reference = _exact(network, images)
    worst = max(
        np.abs(float16_simulation.simulate(network, images, pool_in_float16=p) - reference).max()
        for p in (False, True)
    )
    assert got.decision_epsilon == pytest.approx(2 * worst)
    assert got.epsilon == pytest.approx(min(4 * worst, got.cap))
    assert got.cap == pytest.approx(got.nearest_distance / 4)
    assert got.images == 6


def test_the_record_is_toml_with_provenance(images: NDArray[np.float32]) -> None:
    names = [f"{i}.JPEG" for i in range(6)]
    got = float16_bound.derive_epsilon(_network(), images, names, weights_sha256="ab")
    table = tomllib.loads(got.as_toml())["float16"]
    assert table["epsilon"] == pytest.approx(got.epsilon, rel=1e-5)
    assert table["inputs_sha256"] == got.inputs_sha256
    assert table["provenance"]["torch"] == torch.__version__
    assert table["provenance"]["weights_sha256"] == "ab"


def test_the_bound_is_capped_below_the_distance_of_two_images(
    images: NDArray[np.float32],
) -> None:
    """Image 1 is made nearly equal to image 0, so that the distance decides."""
    names = [f"{i}.JPEG" for i in range(6)]
    network = _network()
    free = float16_bound.derive_epsilon(network, images, names, weights_sha256="ab")
    images[1] = images[0] * (1 + 10 * free.epsilon)
    near = float16_bound.derive_epsilon(network, images, names, weights_sha256="ab")
    assert near.epsilon == near.cap < free.epsilon
    images[1] = images[0]
    with pytest.raises(ConformanceError, match="as large as the distance"):
        float16_bound.derive_epsilon(network, images, names, weights_sha256="ab")


def test_the_bound_of_decisions_is_capped_like_that_of_scores(images: NDArray[np.float32]) -> None:
    """Two images lie between four and eight times the worst error apart: a quarter caps both."""
    names = [f"{i}.JPEG" for i in range(6)]

    def derived(nearer: float) -> float16_bound.Float16Bound:
        near = images.copy()
        near[1] = images[0] * (1 + nearer)
        return float16_bound.derive_epsilon(_network(), near, names, weights_sha256="ab")

    worst = derived(1.0).decision_epsilon / 2
    # Scores of this network grow with its input, so that the distance is about in proportion.
    moved = _exact(_network(), images[:1] * 1.01) - _exact(_network(), images[:1])
    got = derived(3 * worst * 0.01 / float(np.abs(moved).max()))
    assert max(got.storage_error, got.pool_error) < got.cap
    assert got.cap < 2 * max(got.storage_error, got.pool_error)
    assert got.decision_epsilon == got.epsilon == got.cap


def test_nearest_distance_is_the_smallest_of_all_pairs() -> None:
    scores = np.asarray([[0, 0], [3, 1], [3, 2.5]], np.float32)
    assert float16_bound.nearest_distance(scores) == 1.5


@pytest.mark.parametrize("names", [["a", "b"], ["a"] * 6])
def test_names_must_match_the_images(names: list[str], images: NDArray[np.float32]) -> None:
    with pytest.raises(ConformanceError, match="names"):
        float16_bound.derive_epsilon(_network(), images, names, weights_sha256="ab")
