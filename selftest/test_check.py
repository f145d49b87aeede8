"""Checks: what a value and its bound make of each other, and how that is told."""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.check import (
    Check,
    Direction,
    NotApplicable,
    Scalar,
    SkipReason,
    Status,
    at_least,
    at_most,
    builtin,
    equal,
    recorded,
    skipped,
    worst,
)

Maker = Callable[..., Check]


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("make", "value", "bound", "expected"),
    [
        (at_most, 1, 1, "PASS"),
        (at_most, 1.0000001, 1, "FAIL"),
        (at_most, -math.inf, 1, "PASS"),
        (at_most, math.inf, 1, "FAIL"),
        (at_least, 1, 1, "PASS"),
        (at_least, 0.9999999, 1, "FAIL"),
        (equal, 11, 11, "PASS"),
        (equal, "11", "11", "PASS"),
        (equal, 11, 13, "FAIL"),
        (equal, 11, "11", "FAIL"),
        (equal, 1, 1.0, "FAIL"),
        (equal, 1, True, "FAIL"),
        (at_most, math.nan, 1, "ERROR"),
        (at_most, 1, math.nan, "ERROR"),
        (at_least, math.nan, 1, "ERROR"),
        (equal, math.nan, math.nan, "ERROR"),
        (recorded, math.nan, None, "ERROR"),
        (at_most, None, 1, "ERROR"),
        (at_least, 1, None, "ERROR"),
        (equal, None, None, "ERROR"),
        (recorded, None, None, "ERROR"),
        (at_most, "3", 4, "ERROR"),
        (at_least, 4, "3", "ERROR"),
        (recorded, 1e9, None, "PASS"),
    ],
)
def test_status(make: Maker, value: Any, bound: Any, expected: str) -> None:
    made = make("a", value) if make is recorded else make("a", value, bound)
    assert made.status is Status(expected)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_at_most_and_at_least_are_mirrored(value: float, bound: float) -> None:
    assert at_most("a", value, bound).status is at_least("a", -value, -bound).status
    both = {at_most("a", value, bound).status, at_least("a", value, bound).status}
    assert both == ({Status.PASS} if value == bound else {Status.PASS, Status.FAIL})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.float64(0.25), 0.25),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array(3), 3),
        (np.str_("a"), "a"),
        (Colour.RED, 1),
        (Status.PASS, "PASS"),
        (Fraction(1, 2), 0.5),
        (Path("a/b"), "a/b"),
        (None, None),
        (True, True),
    ],
)
def test_values_become_builtin(value: Any, expected: Scalar) -> None:
    assert builtin(value) == expected
    assert type(builtin(value)) is type(expected)
    made = equal("a", value, value)
    assert type(made.value) is type(expected)
    assert type(made.bound) is type(expected)


def test_an_array_is_no_value() -> None:
    with pytest.raises(ValueError, match="size 1"):
        at_most("a", np.zeros(2), 1)


def test_coordinates_are_one_place_whatever_their_type() -> None:
    made = equal("a", 1, 1, coordinates={"batch": np.int64(16), "file": Path("x")})
    assert made.coordinates == {"batch": 16, "file": "x"}
    assert type(made.coordinates["batch"]) is int


@given(
    st.sampled_from([at_most, at_least, equal]),
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(), st.text()),
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(), st.text()),
)
def test_every_check_survives_json(make: Maker, value: Scalar, bound: Scalar) -> None:
    made = make("a", value, bound, unit="s", detail="é\n", coordinates={"batch": 1})
    again = msgspec.json.decode(msgspec.json.encode(made), type=Check)
    assert again == made
    assert type(again.value) is type(made.value)
    assert again.describe() == made.describe()


def test_infinity_is_told_and_not_lost() -> None:
    made = at_most("a", math.inf, 1.0)
    assert (made.value, made.bound, made.margin) == ("inf", 1.0, None)
    assert "got: inf" in made.describe()
    assert "null" not in msgspec.json.encode(made).decode()


@pytest.mark.parametrize(
    ("made", "margin"),
    [
        (at_most("a", 3, 5), 2),
        (at_most("a", 7, 5), -2),
        (at_least("a", 7, 5), 2),
        (at_least("a", 3, 5), -2),
        (equal("a", 3, 5), None),
        (recorded("a", 3), None),
        (at_most("a", True, 5), None),
    ],
)
def test_margin_is_positive_where_the_check_holds(made: Check, margin: float | None) -> None:
    assert made.margin == margin


def test_a_recorded_value_has_no_bound() -> None:
    made = recorded("a", 3, unit="fps")
    assert (made.value, made.bound, made.direction) == (3, None, Direction.RECORDED)
    assert "must be" not in made.describe()


def test_description_says_everything() -> None:
    made = at_most(
        "accuracy.drop", 2.28, 1.0, unit="points", source="the guide", detail="x\ny", hint="look",
        coordinates={"model": "squeezenet1_1", "batch": 16}, classes={"weights": "custom"},
    )  # fmt: skip
    assert made.describe().splitlines() == [
        "FAIL: accuracy.drop [squeezenet1_1 batch=16 weights=custom]",
        "  got: 2.28 points",
        "  must be: at most 1 points",
        "  margin: -1.28 points",
        "  source: the guide",
        "  detail: x",
        "    y",
        "  hint: look",
    ]


def test_skipped_keeps_its_reason() -> None:
    made = skipped("a.b", SkipReason.NO_ATC, "no atc on PATH", soc="Ascend310")
    assert made.status is Status.SKIP
    assert "reason: no-atc" in made.describe()
    assert made.coordinates == {"soc": "Ascend310"}
    assert str(NotApplicable(SkipReason.NO_ATC, "none")) == "[no-atc] none"


def test_the_worst_wins_and_nothing_is_an_error() -> None:
    order = ["PASS", "SKIP", "INCONCLUSIVE", "BLOCKED", "FAIL", "ERROR"]
    for better, worse in itertools.combinations(map(Status, order), 2):
        assert worst([better, worse, better]) is worse
        assert worst([worse, better]) is worse
    assert worst([]) is Status.ERROR
