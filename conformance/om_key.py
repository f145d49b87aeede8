"""Which ``.om`` of a model is meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from conformance.spec import ModelSpec, Variant


@dataclass(frozen=True)
class OmKey:
    """One ``.om`` of a model: per batch size, variant, and tuned or not."""

    batch: int
    variant: Variant = "float32"
    tuned: bool = False

    def __str__(self) -> str:
        variant = "" if self.variant == "float32" else f"-{self.variant}"
        return f"bs{self.batch}{variant}{'-tuned' if self.tuned else ''}"

    @property
    def coordinates(self) -> dict[str, str | int]:
        """What says of a check which ``.om`` it is about."""
        return {
            "batch": self.batch,
            "variant": self.variant,
            "tuned": "yes" if self.tuned else "no",
        }


def om_keys(
    spec: ModelSpec, batches: tuple[int, ...] | None, *, every_variant: bool
) -> Iterator[OmKey]:
    """Yield every ``.om`` that a model has: the same on any machine.

    Args:
        spec: The model.
        batches: Batch sizes to use; None for the spec's.
        every_variant: Whether those with AIPP count, or only the model as exported.
    """
    sizes = batches or spec.batch.sizes
    for variant in spec.variants if every_variant else ("float32",):
        for batch in sizes:
            yield OmKey(batch, variant)
    for batch in spec.tuned_batches:
        if batch in sizes:
            yield OmKey(batch, tuned=True)
