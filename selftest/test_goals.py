"""The goals of the decision rules, computed exactly, and the page that states what they rest on."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks import goals
from benchmarks.goals import Goal
from benchmarks.real_input import BEGIN, END, PAGE, bound_table
from conformance.metrics.agreement import MAX_EXEMPT_PCT
from conformance.spec import load_spec

# Around the count at which a loss on the bound fails most often, and some of each size.
COUNTS = (200, 253, *range(320, 350), 400, 413, 1_000, 2_000, 5_000, 10_000, 20_000)


@pytest.mark.parametrize("goal", [*goals.accuracy_goals(COUNTS), *goals.exact_look_goals()])
def test_every_goal_that_is_computed_exactly_is_reached(goal: Goal) -> None:
    assert goal.reached, goal.row()


def test_a_goal_that_is_missed_is_told() -> None:
    assert not Goal("made", 94.9, 95, at_least=True).reached
    assert "**missed**" in Goal("made", 1.1, 1, at_least=False).row()


def test_the_worst_is_taken_of_every_small_count_and_in_small_steps() -> None:
    assert set(range(200, 2_000)) <= set(goals.SUBSETS)
    assert max(goals.SUBSETS) > 19_500
    assert all(later <= 1.021 * count + 1 for count, later in pairwise(goals.SUBSETS))


def test_the_page_states_the_bounds_of_the_spec() -> None:
    bound = load_spec("squeezenet1_1").float16
    assert bound
    stated = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].splitlines()
    # The spec does not hold the share of a bound that is not in force: any above the limit.
    own = [row for row in bound_table(bound, MAX_EXEMPT_PCT + 1) if "exempt if" not in row]
    assert [row for row in stated if row in own] == own
    (other,) = (row for row in stated if "exempt if" in row)
    assert "above the 40 % at which a decision check says nothing" in other


def test_no_goal_on_the_page_is_missed_except_those_of_the_strict_control() -> None:
    missed = [row for row in PAGE.read_text("utf-8").splitlines() if "**missed**" in row]
    assert missed
    assert all(row.startswith("| strict control") for row in missed)
