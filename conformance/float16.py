"""The float16 bound of a run: the spec's, or for weights that the spec cannot know, derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from conformance.artifacts import Request
from conformance.bounds import bounds_sha256, suite_bound, suite_source
from conformance.build import Builder
from conformance.makers import LOADING, PREPARING, source_digest, versions
from conformance.progress import step
from conformance.spec import ModelSpec

BOUND_FILE = "bound.json"
CALIBRATION_IMAGES = 40
SAME_PLACE_FACTOR = suite_bound("float16.same_place_factor")


@dataclass(frozen=True)
class AllowedError:
    """What float16 may change.

    Attributes:
        epsilon: Largest allowed difference of any score of any image.
        decision_epsilon: A decision may differ only over a gap of at most twice it.
        source: Where the two come from.
        storage_error: Worst error of a simulation that stores every result in float16.
    """

    epsilon: float
    decision_epsilon: float
    source: str
    storage_error: float

    @property
    def same_place(self) -> float:
        """Largest difference between two results of one picture at one place of its batch."""
        return SAME_PLACE_FACTOR * self.storage_error

    @property
    def same_place_source(self) -> str:
        """Where that comes from."""
        return (
            f"{SAME_PLACE_FACTOR:g} times {self.storage_error:.3g}, what storage in float16 costs; "
            f"{suite_source('float16.same_place_factor')}"
        )


def allowed_error(builder: Builder, spec: ModelSpec) -> AllowedError:
    """Return the bound, fixed before the board is seen.

    The spec's holds for the published weights and what comes close to them. Sample weights have
    scores of a scale of their own; theirs is derived from PyTorch on a few of the run's images.
    """
    if spec.float16 and builder.checkpoint(spec).weights_class != "sample":
        source = f"{spec.name}.toml: 4 and 2 times the worst of two float16 simulations"
        found = spec.float16
        return AllowedError(found.epsilon, found.decision_epsilon, source, found.storage_error)
    return builder.once(f"float16 bound {spec.name}", lambda: _derived(builder, spec))


def _derived(builder: Builder, spec: ModelSpec) -> AllowedError:
    dataset = builder.dataset(spec)
    images = dataset.subset(min(CALIBRATION_IMAGES, len(dataset))).images
    checkpoint = builder.checkpoint(spec)

    def build(folder: Path) -> Mapping[str, str]:
        from conformance.imagenet.preprocess import open_rgb, prepare_image
        from conformance.metrics.float16_bound import derive_epsilon

        prepare = spec.preprocess
        inputs = [prepare_image(open_rgb(image.path, prepare), prepare) for image in images]
        network = builder.network(spec)
        what = f"simulate float16 on the host: {len(images)} images"
        with step(what, lasts="some seconds an image"):
            bound = derive_epsilon(
                network,
                np.stack(inputs),
                [image.name for image in images],
                weights_sha256=checkpoint.sha256,
            )
        kept = {
            "epsilon": bound.epsilon,
            "decision_epsilon": bound.decision_epsilon,
            "storage_error": bound.storage_error,
        }
        (folder / BOUND_FILE).write_bytes(msgspec.json.encode(kept))
        return {"images": str(len(images))}

    request = Request(
        kind="float16_bound",
        inputs={
            "weights": checkpoint.sha256,
            "images": dataset.digest(),
            "spec": spec.digest("architecture", "preprocess"),
            "factors": bounds_sha256(),
            "source": source_digest(
                *("metrics/float16_bound.py", "metrics/float16_simulation.py", "float16.py"),
                *LOADING,
                *PREPARING,
            ),
        },
        makers=versions("torch", "torchvision", "numpy", "pillow"),
    )
    kept = msgspec.json.decode(
        builder.store.get(request, build).path(BOUND_FILE).read_bytes(), type=dict[str, float]
    )
    source = f"derived from PyTorch on {len(images)} images of this run: two float16 simulations"
    return AllowedError(source=source, **kept)
