"""Paired accuracy: decisions, looks and the confidence sequence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.accuracy_curves import paired as paired_chances
from benchmarks.accuracy_curves import summed_over_looks
from conformance.check import Status
from conformance.errors import ConfigError, DatasetError
from conformance.metrics import outcomes, paired, sequential
from conformance.metrics.intervals import tango, tango_score
from conformance.metrics.outcomes import Outcomes


def _outcomes(gained: int, lost: int, images: int, right: float = 0.58) -> Outcomes:
    both = round(right * images)
    reference = np.zeros(images, np.bool_)
    reference[: both + lost] = True
    candidate = reference.copy()
    candidate[:lost] = False
    candidate[both + lost : both + lost + gained] = True
    return Outcomes(tuple(f"{i:05}.JPEG" for i in range(images)), reference, candidate)


def _decide(gained: int, lost: int, images: int, plan: sequential.Plan = "fixed") -> Status:
    return paired.decide_paired(_outcomes(gained, lost, images), plan=plan).status


def test_outcomes_count_gain_and_loss() -> None:
    got = _outcomes(3, 7, 100)
    assert (got.gained, got.lost) == (3, 7)


@pytest.mark.parametrize(
    ("gained", "lost", "images", "status"),
    [
        (10, 10, 5000, Status.PASS),
        (0, 0, 600, Status.PASS),
        (0, 0, 500, Status.INCONCLUSIVE),
        (25, 125, 5000, Status.FAIL),
        (125, 25, 5000, Status.FAIL),
        (50, 100, 5000, Status.INCONCLUSIVE),
    ],
)
def test_three_way_decision(gained: int, lost: int, images: int, status: Status) -> None:
    assert _decide(gained, lost, images) is status


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 80), st.integers(0, 80), st.sampled_from([500, 1200, 3000, 9000]))
def test_decision_is_the_place_of_the_interval(gained: int, lost: int, images: int) -> None:
    interval = tango(gained, lost, images, alpha_side=0.01)
    inside = max(-interval.lower, interval.upper) < 0.01
    outside = interval.upper < -0.01 or interval.lower > 0.01
    expected = Status.PASS if inside else Status.FAIL if outside else Status.INCONCLUSIVE
    assert _decide(gained, lost, images) is expected


def test_a_suspicious_gain_is_named() -> None:
    decision = paired.decide_paired(_outcomes(125, 25, 5000))
    assert "suspicious" in decision.explanation


def test_the_decision_shows_pairing_beside_no_pairing_and_mcnemar() -> None:
    decision = paired.decide_paired(_outcomes(5, 25, 1000))
    assert decision.difference_points == pytest.approx(-2.0)
    assert decision.unpaired_points.half_width > 2 * decision.paired_points.half_width
    assert decision.unpaired_points.lower < -2.0 < decision.unpaired_points.upper
    assert decision.mcnemar_p == pytest.approx(stats.binomtest(5, 30).pvalue)


def test_a_small_allowed_loss_passes_though_mcnemar_rejects() -> None:
    decision = paired.decide_paired(_outcomes(100, 150, 20_000))
    assert decision.mcnemar_p < 0.01
    assert decision.status is Status.PASS


def test_inconclusive_says_how_many_images_settle_it() -> None:
    decision = paired.decide_paired(_outcomes(5, 5, 500))
    assert decision.status is Status.INCONCLUSIVE
    assert decision.images_needed == 3800
    assert "3,800 images" in decision.explanation


def test_the_images_needed_decide_in_nine_runs_of_ten() -> None:
    needed = paired.images_to_settle(15, 15, 1000)
    assert needed is not None
    draws = np.random.default_rng(1).multinomial(needed, [0.015, 0.015, 0.97], size=100)
    passed = sum(
        tango(int(g), int(lo), needed, alpha_side=0.01).inside(-0.01, 0.01) for g, lo, _ in draws
    )
    assert passed / 100 > 0.82


@pytest.mark.parametrize(("gained", "lost", "images"), [(10, 20, 1000), (11, 21, 1000)])
def test_on_the_bound_only_the_full_set_can(gained: int, lost: int, images: int) -> None:
    decision = paired.decide_paired(_outcomes(gained, lost, images))
    assert decision.images_needed is None
    assert "only the full set" in decision.explanation


@pytest.mark.parametrize(
    ("lost", "images", "plan", "needed", "told"),
    [
        (3, 500, "fixed", 9_800, "about 9,800 images would settle it"),
        (3, 500, "looks", None, "by this plan, about 9,800 images looked at once would"),
        (3, 500, "anytime", 20_000, "about 20,000 images would settle it"),
        (4, 500, "anytime", None, "looked at once would: --looks=once --images="),
    ],
)
def test_another_plan_is_named_where_this_one_cannot_settle_it(
    lost: int, images: int, plan: sequential.Plan, needed: int | None, told: str
) -> None:
    decision = paired.decide_paired(_outcomes(0, lost, images), plan=plan)
    assert decision.images_needed == needed
    assert told in decision.explanation
    assert "only the full set" not in decision.explanation


@pytest.mark.parametrize(("lost", "status"), [(500, Status.PASS), (501, Status.FAIL)])
def test_the_full_set_is_counted(lost: int, status: Status) -> None:
    decision = paired.decide_paired(_outcomes(0, lost, 50_000))
    assert decision.status is status
    assert decision.paired_points.half_width == 0
    assert decision.images_needed is None


def test_more_images_than_the_full_set_are_refused() -> None:
    with pytest.raises(DatasetError, match="full set"):
        paired.decide_paired(_outcomes(0, 0, 11), full_set=10)


@pytest.mark.parametrize("discordant", [0.01, 0.02, 0.03, 0.05])
def test_looks_share_the_error(discordant: float) -> None:
    """Over all looks, a loss of exactly one point passes in at most 1 %, and fails in 2 %."""
    chances = summed_over_looks(0.01, discordant)
    assert 0.006 < chances.passes < 0.0096
    assert chances.fails < 0.02


def test_looks_reach_five_thousand_images() -> None:
    alpha = sequential.look_alpha(5_000, 0.01)
    assert paired_chances(5_000, 0.0, 0.03, alpha).passes > 0.90
    assert paired_chances(5_000, 0.02, 0.03, alpha).fails > 0.95


def test_the_next_look_that_settles_is_named() -> None:
    assert paired.images_to_settle(5, 5, 500, plan="looks") == 5_000
    assert paired.images_to_settle(30, 30, 2_000, plan="looks") == 10_000
    assert paired.images_to_settle(50, 100, 5_000, plan="looks") is None
    once = paired.images_to_settle(5, 5, 700)
    often = paired.images_to_settle(5, 5, 700, plan="anytime")
    assert once
    assert often
    assert 1.5 * once < often < 4 * once


def test_a_look_is_stricter_than_a_fixed_number() -> None:
    assert _decide(40, 80, 10_000) is Status.PASS
    assert _decide(29, 68, 5000) is Status.INCONCLUSIVE
    fixed = paired.decide_paired(_outcomes(20, 20, 2000))
    look = paired.decide_paired(_outcomes(20, 20, 2000), plan="looks")
    assert look.paired_points.half_width > fixed.paired_points.half_width
    assert look.alpha_side == pytest.approx(0.001)


def test_another_count_is_not_a_look() -> None:
    with pytest.raises(ConfigError, match="fixed looks"):
        paired.decide_paired(_outcomes(1, 1, 700), plan="looks")


def test_the_confidence_sequence_is_wider_and_still_decides() -> None:
    assert _decide(10, 10, 5000, plan="anytime") is Status.PASS
    assert _decide(25, 175, 5000, plan="anytime") is Status.FAIL
    fixed = paired.decide_paired(_outcomes(10, 10, 2000)).paired_points
    anytime = paired.decide_paired(_outcomes(10, 10, 2000), plan="anytime").paired_points
    assert anytime.lower < fixed.lower < fixed.upper < anytime.upper


def test_the_confidence_sequence_is_where_the_likelihood_ratio_says() -> None:
    """Brute force: average the likelihood over draws of the prior, maximise it under the null."""
    lost, gained, agreeing = 1, 4, 55
    draws = np.random.default_rng(0).dirichlet(sequential.PRIOR, size=400_000)
    mixture = (draws[:, 0] ** lost * draws[:, 1] ** gained * draws[:, 2] ** agreeing).mean()
    got = sequential.anytime_interval(gained, lost, 60, alpha_side=0.05)
    for limit in (got.lower, got.upper):
        p = np.linspace(max(0, -limit) + 1e-9, (1 - limit) / 2 - 1e-9, 100_001)
        best = (p**lost * (p + limit) ** gained * (1 - 2 * p - limit) ** agreeing).max()
        assert mixture / best == pytest.approx(1 / 0.05, rel=0.05)


def test_looking_often_fools_the_interval_but_not_the_sequence() -> None:
    """A true loss of one point, 200 runs of 2,000 images, looked at every 50 images."""
    steps = np.random.default_rng(7).choice([-1, 1, 0], p=[0.03, 0.02, 0.95], size=(200, 2000))
    gained = (steps == 1).cumsum(axis=1)[:, 49::50]
    lost = (steps == -1).cumsum(axis=1)[:, 49::50]
    counts = np.arange(50, 2001, 50)
    scores = tango_score(gained, lost, counts, -0.01)
    evidence = np.asarray(
        [
            [sequential.log_evidence(int(g), int(lo), int(n), -0.01) for g, lo, n in looks]
            for looks in np.stack([gained, lost, np.broadcast_to(counts, gained.shape)], axis=-1)
        ]
    )
    assert (np.abs(scores) > 1.645).any(axis=1).mean() > 0.3
    assert (evidence > math.log(1 / 0.05)).any(axis=1).mean() <= 0.05


def _part(names: str, reference: list[int], candidate: list[int]) -> Outcomes:
    return Outcomes(tuple(names), np.asarray(reference, bool), np.asarray(candidate, bool))


def test_joined_runs_count_each_image_once_and_the_worst_wins() -> None:
    joined = outcomes.join_outcomes(
        [_part("abc", [1, 1, 0], [1, 0, 0]), _part("bcd", [1, 0, 1], [1, 1, 1])]
    )
    assert joined.names == ("a", "b", "c", "d")
    assert joined.candidate_right.tolist() == [True, False, False, True]


def test_the_same_images_again_are_no_new_evidence() -> None:
    once = _outcomes(2, 3, 600)
    twice = outcomes.join_outcomes([once, once])
    assert twice.digest == once.digest
    assert paired.decide_paired(twice) == paired.decide_paired(once)


def test_the_digest_is_of_the_set_not_of_its_order() -> None:
    one = _part("ab", [1, 1], [1, 1])
    other = _part("ba", [1, 1], [0, 1])
    assert one.digest == other.digest != _part("ac", [1, 1], [1, 1]).digest


def test_a_reference_that_contradicts_itself_is_an_error() -> None:
    with pytest.raises(DatasetError, match="contradicts itself"):
        outcomes.join_outcomes([_part("ab", [1, 1], [1, 1]), _part("b", [0], [1])])


@pytest.mark.parametrize(
    ("names", "reference", "candidate"),
    [("", [], []), ("aa", [1, 1], [1, 1]), ("ab", [1], [1, 1]), ("ab", [1, 1], [1])],
)
def test_unequal_sides_are_refused(names: str, reference: list[int], candidate: list[int]) -> None:
    with pytest.raises(DatasetError, match="do not match"):
        _part(names, reference, candidate)
