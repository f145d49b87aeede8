"""What scores beyond their bound look like: each known mistake is told, and no other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from conformance.metrics.causes import likely_cause, told_lines
from emulator import fault_scores
from emulator.fault_scores import Values

EPSILON = 0.1
RANDOM = np.random.default_rng(0)
SOUND = np.random.default_rng(1).normal(0, 3, (40, 200)).astype(np.float32)
WRONG: dict[str, tuple[Callable[[Values], Values], str]] = {
    "softmax": (lambda s: fault_scores.normalise(s, 1, RANDOM), "every row adds up to 1"),
    "one class on": (
        lambda s: fault_scores.shift_classes(s, 1, RANDOM),
        "every class has the score of the one before it",
    ),
    "one class back": (
        lambda s: np.roll(s, -1, axis=1),
        "every class has the score of the one behind it",
    ),
    "a background class": (
        lambda s: fault_scores.add_class(s, 1, RANDOM)[:, :-1],
        "every class has the score of the one before it",
    ),
    "two classes": (
        lambda s: fault_scores.swap_classes(s, 1, RANDOM, first=3, second=170),
        "classes 3 and 170 have each other's scores",
    ),
    "a few classes": (
        lambda s: np.where(np.arange(200) < 7, s - 1, s),
        "only the scores of 7 classes are beyond: 0, 1, 2, 3, 4 ...",
    ),
    "scale": (lambda s: s * np.float32(1.03), "every score is 1.03 times the reference's within"),
    "bias": (lambda s: s + np.float32(0.5), "every score is 1 times the reference's +0.5 within"),
    "noise": (
        lambda s: fault_scores.add_noise(s, 1, RANDOM, deviation=0.3),
        "differences are noise of standard deviation 0.3",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_known_mistake_is_told(name: str) -> None:
    spoil, says = WRONG[name]
    assert says in likely_cause(SOUND, spoil(SOUND.copy()), EPSILON)
    lines = list(told_lines(SOUND, spoil(SOUND.copy()), EPSILON, lambda: "asked in vain"))
    assert len(lines) == 1
    assert says in lines[0]


def mixed(scores: Values) -> Values:
    """What no mistake in scores alone explains: other weights in the last layer."""
    return (scores @ (np.eye(200) + RANDOM.normal(0, 0.05, (200, 200)))).astype(np.float32)


def test_what_is_not_known_is_told_in_numbers() -> None:
    asked = list(told_lines(SOUND, mixed(SOUND), EPSILON, lambda: ""))
    assert asked[0].startswith("no known mistake explains it: differences of mean ")
    assert "correlation 0.8" in asked[0] or "correlation 0.7" in asked[0]
    assert asked[1].startswith("look at: the weights that the .om was converted from")
    assert list(told_lines(SOUND, mixed(SOUND), EPSILON)) == asked or len(asked) == 2


def test_who_can_explain_it_is_asked() -> None:
    told = list(told_lines(SOUND, mixed(SOUND), EPSILON, lambda: "blue first (BGR)"))
    assert told == ["looks like this: blue first (BGR)"]


def test_one_row_of_another_image_is_none_of_these() -> None:
    scores = SOUND.copy()
    scores[4] = SOUND[9]
    assert likely_cause(SOUND, scores, EPSILON) == ""


def test_noise_whose_peaks_alone_are_beyond_is_not_blamed_on_their_classes() -> None:
    noisy = fault_scores.add_noise(SOUND.copy(), 1, np.random.default_rng(2), deviation=0.3)
    beyond = np.abs(noisy - SOUND).max(axis=0) > 1
    assert 0 < beyond.sum() < 20
    assert likely_cause(SOUND, noisy, 1).startswith("differences are noise")
