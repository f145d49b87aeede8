"""Bounds: is everything that follows held to what was accepted?"""

from __future__ import annotations

import pytest

from conformance.evidence.accepted_bounds import Comparison, accepted_check
from fixtures.claims import Claim


@pytest.mark.states("bounds.accepted")
def test_no_bound_is_looser_than_accepted(bounds_compared: Comparison, claim: Claim) -> None:
    """A looser bound needs a waiver with an owner and a last day, which the report shows."""
    claim(accepted_check(bounds_compared))
