"""The A/A control: one model measured twice, which must not differ from itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from conformance.bounds import suite_bound
from conformance.metrics.intervals import Interval
from conformance.metrics.rounds import ratio_interval

SAME_WITHIN_PCT = suite_bound("throughput.same_within_pct")
SAME_ALPHA_SIDE = suite_bound("throughput.same_error_a_side")


class Control(StrEnum):
    """What two interleaved halves of one model say about the measurement itself."""

    SAME = "same"
    UNDECIDED = "undecided"
    DIFFERENT = "different"


@dataclass(frozen=True)
class ControlDecision:
    """The A/A control: the same model measured twice, interleaved.

    Attributes:
        control: ``same`` when the ratio's interval lies inside ±1 %, ``different`` when it leaves
            out 1, else ``undecided``.
        ratio: Interval of the two halves' ratio.
        explanation: One sentence for the reader.
    """

    control: Control
    ratio: Interval
    explanation: str


def decide_control(
    first_fps: Sequence[float],
    second_fps: Sequence[float],
    *,
    within_pct: float = SAME_WITHIN_PCT,
    alpha_side: float = SAME_ALPHA_SIDE,
) -> ControlDecision:
    """Compare two interleaved halves of the same model, in images per second.

    Raises:
        ToolError: Fewer than two rounds on a side, or a rate that is not positive.
    """
    ratio = ratio_interval(first_fps, second_fps, alpha_side=alpha_side)
    if ratio.inside(1 - within_pct / 100, 1 + within_pct / 100):
        control = Control.SAME
    else:
        control = Control.DIFFERENT if ratio.outside(1, 1) else Control.UNDECIDED
    text = (
        f"the same model measured twice gives a ratio between {ratio.lower:.4f} and "
        f"{ratio.upper:.4f}, allowed is ±{within_pct:g} %: {control}"
    )
    return ControlDecision(control, ratio, text)
