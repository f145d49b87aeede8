"""Headroom: how much of each bound a run left unused, and which tighter bound it proposes.

The rule: an upper bound of which at most half is used may come down to twice the worst value, a
lower bound may rise to the least value less twice its noise (the spread that the run states, and at
least ``baseline.noise_pct``). Both are rounded to two digits, away from the values. One run only
proposes; who accepts a bound has looked at several.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from conformance.bounds import suite_bound
from conformance.check import Check, Direction, Status

# A bound of which more than this is used has no room worth a proposal.
USED_PCT = 50.0
TIMES_WORST = 2.0
SPREADS = 2.0
NOISE = "baseline.noise_pct"
SPREAD = "spread"
LAST_BIT = 1e-9
# Checks whose bound is computed from what the run itself measured, by a fixed share or factor.
DERIVED = frozenset(
    (
        *("throughput.pure", "accuracy.classes", "accuracy.labels"),
        *("export.parity.rms", "export.parity.largest"),
    )
)


@dataclass(frozen=True)
class Headroom:
    """What one check, at all its places, left of its bound.

    Attributes:
        id: The check.
        place: Where the worst value was.
        worst: The value nearest to its bound.
        bound: Its bound.
        direction: How the value has to lie to it.
        unit: Unit of both.
        proposed: The tighter bound; None if there is no reason for one.
    """

    id: str
    place: str
    worst: float
    bound: float
    direction: Direction
    unit: str
    proposed: float | None

    @property
    def line(self) -> str:
        """The headroom in one line."""
        text = (
            f"{self.id}: must be {self.direction} {self.bound:.6g}, worst {self.worst:.6g} "
            f"{self.unit}".rstrip()
        )
        return text if self.proposed is None else f"{text}: proposed {self.proposed:.6g}"


def headroom_of(checks: Iterable[Check], decided: Collection[str]) -> tuple[Headroom, ...]:
    """Return the headroom of every check that is held to a fixed bound and held wherever it was.

    A check that failed, or that could not be decided or measured somewhere, has none to offer.
    Where it does not apply, or only records, it is held to no bound and says nothing about one.

    Args:
        checks: The run's.
        decided: Ids of the checks that fixed bounds decide.
    """
    made = [check for check in checks if check.id in decided or check.id.endswith(f".{SPREAD}")]
    spreads = [check for check in made if check.id.endswith(f".{SPREAD}")]
    found = []
    for check_id in dict.fromkeys(check.id for check in made if check.id not in DERIVED):
        group = [check for check in made if check.id == check_id and not _says_nothing(check)]
        if group and _fixed(group) and all(check.status is Status.PASS for check in group):
            found.append(_headroom(min(group, key=_room), spreads))
    return tuple(found)


def _says_nothing(check: Check) -> bool:
    """Whether it was skipped, or recorded without a bound."""
    recorded = check.status is Status.PASS and check.bound is None
    return check.status is Status.SKIP or recorded


def _fixed(group: Sequence[Check]) -> bool:
    """Whether all are held to a bound that was fixed beforehand; derived ones differ by place."""
    upper = {check.bound for check in group if check.direction is Direction.AT_MOST}
    return len(upper) <= 1 and all(check.margin is not None for check in group)


def _numbers(check: Check) -> tuple[float, float]:
    return float(check.value or 0), float(check.bound or 0)


def _room(check: Check) -> float:
    """Share of the bound that is unused; for equal bounds this orders by the value."""
    value, bound = _numbers(check)
    return abs(bound - value) / abs(bound) if bound else math.inf


def _headroom(check: Check, spreads: Iterable[Check]) -> Headroom:
    value, bound = _numbers(check)
    if check.direction is Direction.AT_MOST:
        proposed = _rounded(TIMES_WORST * value, up=True)
        tighter = 0 < proposed < bound and 100 * value <= USED_PCT * bound
    else:
        noise = SPREADS * _noise_pct(check, spreads) / 100
        proposed = _rounded(value * (1 - noise), up=False)
        tighter = proposed > bound > 0
    return Headroom(
        id=check.id,
        place=" ".join(f"{name}={where}" for name, where in check.coordinates.items()),
        worst=value,
        bound=bound,
        direction=check.direction,
        unit=check.unit,
        proposed=proposed if tighter else None,
    )


def _noise_pct(check: Check, spreads: Iterable[Check]) -> float:
    """Return the noise of a figure in percent: its stated spread, at least the accepted noise."""
    group = check.id.partition(".")[0]
    stated = [
        float(spread.value)
        for spread in spreads
        if spread.id == f"{group}.{SPREAD}"
        and isinstance(spread.value, int | float)
        and all(check.coordinates.get(n, v) == v for n, v in spread.coordinates.items())
    ]
    return max([suite_bound(NOISE), *stated])


def _rounded(value: float, *, up: bool) -> float:
    """Round to two digits, away from the values that were seen."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    steps = math.ceil(value / unit - LAST_BIT) if up else math.floor(value / unit + LAST_BIT)
    return round(steps * unit, 12)
