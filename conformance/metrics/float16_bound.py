"""The error that a float16 chip may make, derived once and before any chip is looked at.

The bound is four times the worst error of two simulations on calibration images. A decision may
differ only inside a margin that is derived from the same errors with a factor of two: with the
larger factor the decision rule would follow from the score rule and could never fail by itself.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conformance.bounds import suite_bound
from conformance.errors import ConformanceError
from conformance.metrics.flip_rate import count_flips
from conformance.metrics.float16_simulation import simulate

if TYPE_CHECKING:
    from torch.nn import Module

SCORE_FACTOR = suite_bound("float16.score_factor")
DECISION_FACTOR = suite_bound("float16.decision_factor")
# Below a quarter of the distance of two images, even two runs that are both off by epsilon in
# opposite directions stay nearer to their own reference than to another image's.
CAP_FRACTION = suite_bound("float16.cap_fraction")


@dataclass(frozen=True)
class Float16Bound:
    """A derived bound with everything needed to derive it again.

    Attributes:
        epsilon: Largest allowed difference of any score of any image.
        decision_epsilon: A decision may differ only where the reference's gap is at most twice it;
            never above ``epsilon``.
        storage_error: Worst error with every result stored in float16.
        pool_error: Worst error with average pools also added up in float16.
        cap: What neither may exceed.
        nearest_distance: Smallest largest-score difference between two calibration images.
        exempt_pct: Share of calibration images whose decision may differ.
        storage_flips: Decisions that differ under the first simulation.
        pool_flips: Decisions that differ under the second simulation.
        images: Number of calibration images.
        inputs_sha256: Digest of names and input tensors, in order.
        provenance: Versions and digests of everything that took part.
    """

    epsilon: float
    decision_epsilon: float
    storage_error: float
    pool_error: float
    cap: float
    nearest_distance: float
    exempt_pct: float
    storage_flips: int
    pool_flips: int
    images: int
    inputs_sha256: str
    provenance: Mapping[str, str]

    def as_toml(self) -> str:
        """Render the record as the TOML table ``[float16]``."""
        fields = asdict(self)
        provenance = fields.pop("provenance")
        rows = [f"{name} = {_toml(value)}" for name, value in fields.items()]
        rows += ["", "[float16.provenance]"]
        rows += [f"{name} = {_toml(value)}" for name, value in sorted(provenance.items())]
        return "\n".join(["[float16]", *rows, ""])


def _toml(value: float | str) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def derive_epsilon(
    network: Module,
    inputs: NDArray[np.float32],
    names: Sequence[str],
    *,
    weights_sha256: str,
    batch: int = 20,
) -> Float16Bound:
    """Simulate float16 on calibration images and return the bound with its provenance.

    Args:
        network: Any torchvision classifier, in evaluation mode.
        inputs: Input tensors (N, channels, height, width), at least two images.
        names: The images' names, one per input.
        weights_sha256: Digest of the weights file that the network was loaded from.
        batch: Images computed together; only speed depends on it.

    Raises:
        ConformanceError: Too few images, names that do not match, a network that overflows
            float16, or an error so large that it could not be told from a different image.
    """
    _require_images(inputs, names)
    reference = _scores(network, inputs, batch)
    stored = simulate(network, inputs, pool_in_float16=False, batch=batch)
    pooled = simulate(network, inputs, pool_in_float16=True, batch=batch)
    worst = max(_largest(stored, reference), _largest(pooled, reference))
    nearest = nearest_distance(reference)
    ranked = np.sort(reference, axis=1)
    decision_epsilon = _capped(DECISION_FACTOR * worst, worst, CAP_FRACTION * nearest)
    exempt = ranked[:, -1] - ranked[:, -2] <= 2 * decision_epsilon
    return Float16Bound(
        epsilon=_capped(SCORE_FACTOR * worst, worst, CAP_FRACTION * nearest),
        decision_epsilon=decision_epsilon,
        storage_error=_largest(stored, reference),
        pool_error=_largest(pooled, reference),
        cap=CAP_FRACTION * nearest,
        nearest_distance=nearest,
        exempt_pct=100 * float(exempt.mean()),
        storage_flips=count_flips(reference, stored, names),
        pool_flips=count_flips(reference, pooled, names),
        images=len(names),
        inputs_sha256=_digest(inputs, names),
        provenance={"weights_sha256": weights_sha256, **_versions()},
    )


def nearest_distance(reference: NDArray[np.float32]) -> float:
    """Return the smallest max|difference| between the scores (N, classes) of two images."""
    nearest = np.inf
    for row in range(len(reference) - 1):
        distances = np.abs(reference[row + 1 :] - reference[row]).max(axis=1)
        nearest = min(nearest, float(distances.min()))
    return nearest


def _scores(network: Module, inputs: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        batches = torch.split(torch.from_numpy(inputs), batch)
        return np.concatenate([network(tensor).numpy() for tensor in batches])


def _largest(candidate: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    return float(np.abs(candidate - reference).max())


def _capped(wanted: float, worst: float, cap: float) -> float:
    if worst > cap:
        raise ConformanceError(
            "float16 errors of this network are as large as the distance of two images",
            got=f"worst simulated error {worst:.4g}",
            expected=f"at most {cap:.4g}, a quarter of the smallest distance",
            next_step="leave out images that are nearly equal, or convert in float32",
        )
    return min(wanted, cap)


def _require_images(inputs: NDArray[np.float32], names: Sequence[str]) -> None:
    if len(inputs) != len(names) or len(set(names)) != len(names) or len(names) < 2:
        raise ConformanceError(
            "calibration images do not match their names",
            got=f"{len(inputs)} tensors, {len(names)} names, {len(set(names))} distinct",
            expected="one distinct name per tensor, at least two images",
            next_step="give each calibration image once",
        )


def _digest(inputs: NDArray[np.float32], names: Sequence[str]) -> str:
    digest = hashlib.sha256("\n".join(names).encode())
    for tensor in inputs:
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    import torch

    return {
        "machine": platform.machine(),
        "method": f"{SCORE_FACTOR:g} times the worst of two float16 simulations; decisions "
        f"{DECISION_FACTOR:g} times; cap {CAP_FRACTION:g} of the nearest distance",
        "numpy": np.__version__,
        "torch": str(torch.__version__),
    }
