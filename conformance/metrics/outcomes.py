"""Which images each side has right: the pairs on which accuracy is compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conformance.errors import DatasetError


@dataclass(frozen=True)
class Outcomes:
    """Which images two sides have right.

    Attributes:
        names: Each image once.
        reference_right: For each image, whether the reference has it right.
        candidate_right: For each image, whether the candidate has it right.
    """

    names: tuple[str, ...]
    reference_right: NDArray[np.bool_]
    candidate_right: NDArray[np.bool_]

    def __post_init__(self) -> None:
        sizes = {len(self.names), len(self.reference_right), len(self.candidate_right)}
        if len(sizes) > 1 or len(set(self.names)) != len(self.names) or not self.names:
            raise DatasetError(
                "paired images do not match",
                got=f"{len(self.names)} names ({len(set(self.names))} distinct), "
                f"{len(self.reference_right)} and {len(self.candidate_right)} outcomes",
                expected="at least one image, each once, with one outcome per side",
                next_step="compare the same images on both sides",
            )

    @property
    def gained(self) -> int:
        """Images that only the candidate has right."""
        return int((self.candidate_right & ~self.reference_right).sum())

    @property
    def lost(self) -> int:
        """Images that only the reference has right."""
        return int((self.reference_right & ~self.candidate_right).sum())

    @property
    def digest(self) -> str:
        """The sha256 of the set of names: the same set run again is no new evidence."""
        return hashlib.sha256("\n".join(sorted(self.names)).encode()).hexdigest()


def join_outcomes(parts: Iterable[Outcomes]) -> Outcomes:
    """Join runs so that each image counts once; on the candidate's side the worst outcome wins.

    Raises:
        DatasetError: No part at all, or the reference contradicts itself about an image.
    """
    joined: dict[str, tuple[bool, bool]] = {}
    for part in parts:
        for name, reference, candidate in zip(
            part.names, part.reference_right.tolist(), part.candidate_right.tolist(), strict=True
        ):
            known = joined.setdefault(name, (reference, candidate))
            if known[0] != reference:
                raise DatasetError(
                    "the reference contradicts itself",
                    got="right in one run and wrong in another",
                    expected="one answer per image",
                    where={"image": name},
                    next_step="use one reference, one set of labels and one preparation",
                )
            joined[name] = (reference, known[1] and candidate)
    return Outcomes(
        names=tuple(joined),
        reference_right=np.asarray([pair[0] for pair in joined.values()], np.bool_),
        candidate_right=np.asarray([pair[1] for pair in joined.values()], np.bool_),
    )
