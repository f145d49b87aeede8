"""Agreement: flip rates, errors, decisions, swapped rows, batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from conformance.check import Status
from conformance.errors import ConformanceError, DumpError
from conformance.metrics import agreement, batching, flip_rate, scores

EPSILON = 0.1
IMAGES = 40
NAMES = [f"{i:02}.JPEG" for i in range(IMAGES)]
Scores = NDArray[np.float32]


@pytest.fixture
def reference() -> Scores:
    """Scores of 40 images and 10 classes; every margin is at least 1."""
    made = np.random.default_rng(2).normal(0, 5, size=(IMAGES, 10)).astype(np.float32)
    made[np.arange(IMAGES), made.argmax(axis=1)] += 1
    return made


def _near(reference: Scores, size: float = EPSILON, seed: int = 3) -> Scores:
    noise = np.random.default_rng(seed).uniform(-size, size, reference.shape)
    return (reference + noise).astype(np.float32)


# ---- flip rate


@pytest.mark.parametrize(
    ("flips", "images", "status"),
    [
        (3, 500, Status.PASS),
        (7, 500, Status.PASS),
        (8, 500, Status.INCONCLUSIVE),
        (23, 500, Status.INCONCLUSIVE),
        (24, 500, Status.FAIL),
        (33, 500, Status.FAIL),
        (49, 500, Status.FAIL),
        (0, 100, Status.INCONCLUSIVE),
        (0, 122, Status.PASS),
    ],
)
def test_flip_rate_decides_by_clopper_pearson(flips: int, images: int, status: Status) -> None:
    """3 flips are float16, 33 bicubic resizing and 49 a crop one pixel off, of 500 photographs."""
    got = flip_rate.decide_flip_rate(flips, images)
    exact = stats.binomtest(flips, images).proportion_ci(0.95, "exact")
    assert got.status is status
    assert got.interval_pct.upper == pytest.approx(100 * exact.high, rel=1e-9)


def test_flip_rate_says_what_would_settle_it() -> None:
    got = flip_rate.decide_flip_rate(8, 500)
    assert got.images_needed is not None
    assert f"{got.images_needed:,}" in got.explanation
    later = stats.binom(got.images_needed, 8 / 500).rvs(300, random_state=1)
    decided = [
        flip_rate.decide_flip_rate(int(k), got.images_needed).status is Status.PASS for k in later
    ]
    assert np.mean(decided) > 0.85


def test_at_the_bound_only_the_full_set_can_settle_the_flip_rate() -> None:
    got = flip_rate.decide_flip_rate(30, 1000)
    assert got.images_needed is None
    assert "only the full set" in got.explanation


@pytest.mark.parametrize(("flips", "status"), [(1500, Status.PASS), (1501, Status.FAIL)])
def test_flips_of_the_full_set_are_counted(flips: int, status: Status) -> None:
    assert flip_rate.decide_flip_rate(flips, 50_000).status is status


def test_no_images_have_no_flip_rate() -> None:
    with pytest.raises(ConformanceError, match="nothing was compared"):
        flip_rate.decide_flip_rate(0, 0)


def test_flips_are_counted(reference: Scores) -> None:
    candidate = reference.copy()
    candidate[[3, 9]] = np.roll(reference[[3, 9]], 1, axis=1)
    assert flip_rate.count_flips(reference, candidate, NAMES) == 2


# ---- scores


def test_scores_within_epsilon_pass(reference: Scores) -> None:
    got = agreement.decide_scores(reference, _near(reference), NAMES, epsilon=EPSILON * 1.001)
    assert got.status is Status.PASS
    assert got.beyond == ()
    assert 0 < got.largest_error <= EPSILON * 1.001


def test_one_score_beyond_epsilon_fails_and_is_named(reference: Scores) -> None:
    candidate = reference.copy()
    candidate[7, 4] += 2 * EPSILON
    candidate[5, 4] += 3 * EPSILON
    got = agreement.decide_scores(reference, candidate, NAMES, epsilon=EPSILON)
    assert got.status is Status.FAIL
    assert got.beyond == ("05.JPEG", "07.JPEG")
    assert got.worst_image == "05.JPEG"
    assert got.swapped == ()


def test_swapped_rows_name_the_image_they_belong_to(reference: Scores) -> None:
    candidate = _near(reference)
    candidate[[4, 11]] = candidate[[11, 4]]
    got = agreement.decide_scores(reference, candidate, NAMES, epsilon=EPSILON * 1.001)
    assert {(s.image, s.belongs_to) for s in got.swapped} == {
        ("04.JPEG", "11.JPEG"),
        ("11.JPEG", "04.JPEG"),
    }
    assert all(s.distance < EPSILON * 1.001 < s.error for s in got.swapped)


def test_shifted_rows_name_their_neighbours(reference: Scores) -> None:
    got = agreement.decide_scores(reference, np.roll(reference, 1, axis=0), NAMES, epsilon=EPSILON)
    assert len(got.beyond) == IMAGES
    for swapped in got.swapped:
        assert int(swapped.belongs_to[:2]) == (int(swapped.image[:2]) - 1) % IMAGES


# ---- decisions


def _tied(reference: Scores, row: int, margin: float) -> tuple[Scores, Scores]:
    """Bring the second class of a row to the given margin and let the candidate choose it."""
    made, candidate = reference.copy(), reference.copy()
    first, second = scores.top_classes(reference[row], 2)
    made[row, second] = made[row, first] - margin
    candidate[row, second] = candidate[row, first] + 0.01
    return made, candidate


@pytest.mark.parametrize(
    ("margin", "status"), [(1.9 * EPSILON, Status.PASS), (2.1 * EPSILON, Status.FAIL)]
)
def test_decisions_may_differ_only_inside_twice_epsilon(
    reference: Scores, margin: float, status: Status
) -> None:
    made, candidate = _tied(reference, 6, margin)
    got = agreement.decide_decisions(made, candidate, NAMES, epsilon=EPSILON)
    assert got.status is status
    assert got.differing == ("06.JPEG",)
    assert got.confident == (("06.JPEG",) if status is Status.FAIL else ())


def test_a_flip_to_a_far_class_is_confident_even_in_a_near_tie(reference: Scores) -> None:
    made, candidate = _tied(reference, 6, 0.01)
    candidate[6, scores.top_classes(made[6])[4]] += 50
    got = agreement.decide_decisions(made, candidate, NAMES, epsilon=EPSILON)
    assert got.confident == ("06.JPEG",)


def test_too_many_exempt_images_say_too_little(reference: Scores) -> None:
    wide = float(np.sort(scores.margins(reference))[16]) / 2
    got = agreement.decide_decisions(reference, reference, NAMES, epsilon=wide * 1.001)
    assert got.exempt_pct == pytest.approx(100 * 17 / IMAGES)
    assert got.status is Status.INCONCLUSIVE
    assert (
        agreement.decide_decisions(reference, reference, NAMES, epsilon=wide * 0.999).status
        is Status.PASS
    )


def test_a_confident_flip_fails_however_many_are_exempt(reference: Scores) -> None:
    wide = float(np.sort(scores.margins(reference))[20]) / 2
    candidate = reference.copy()
    row = int(scores.margins(reference).argmax())
    candidate[row] = -reference[row]
    got = agreement.decide_decisions(reference, candidate, NAMES, epsilon=wide)
    assert got.exempt_pct > 40
    assert got.status is Status.FAIL


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 3))
def test_errors_within_epsilon_never_make_a_confident_flip(seed: int, size: float) -> None:
    made = np.random.default_rng(seed).normal(0, 2, size=(IMAGES, 10)).astype(np.float32)
    candidate = _near(made, size, seed + 1)
    actual = float(np.abs(candidate - made).max())
    got = agreement.decide_decisions(made, candidate, NAMES, epsilon=actual * 1.00001)
    assert got.confident == ()


# ---- what cannot be compared


@pytest.mark.parametrize(
    ("names", "shape"),
    [([], (0, 10)), (["a"], (2, 10)), (["a", "a"], (2, 10)), (["a"], (1, 9)), (["a"], (10,))],
)
def test_incomparable_sides_are_errors(names: list[str], shape: tuple[int, ...]) -> None:
    reference = np.zeros((len(names), 10), np.float32)
    with pytest.raises(DumpError, match="cannot be compared"):
        agreement.decide_scores(reference, np.zeros(shape, np.float32), names, epsilon=EPSILON)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_name_the_image(reference: Scores, bad: float) -> None:
    candidate = reference.copy()
    candidate[8, 0] = bad
    with pytest.raises(DumpError, match=r"08\.JPEG"):
        agreement.decide_decisions(reference, candidate, NAMES, epsilon=EPSILON)


# ---- batches


def _batches(
    reference: Scores, first: Scores, second: Scores, hits: tuple[int, int] = (30, 30)
) -> batching.BatchAgreement:
    return batching.decide_batches(reference, first, second, NAMES, hits=hits, epsilon=EPSILON)


def test_batches_within_twice_epsilon_agree(reference: Scores) -> None:
    got = _batches(reference, _near(reference, 0.09), _near(reference, 0.09, seed=4))
    assert got.status is Status.PASS
    assert got.largest_error > EPSILON


def test_batches_beyond_twice_epsilon_are_named(reference: Scores) -> None:
    second = reference.copy()
    second[3, 0] += 2.1 * EPSILON
    got = _batches(reference, reference, second)
    assert got.status is Status.FAIL
    assert got.beyond == ("03.JPEG",)


def test_batches_may_decide_differently_only_in_a_near_tie(reference: Scores) -> None:
    made, second = _tied(reference, 6, 0.5 * EPSILON)
    near = _batches(made, made, second, hits=(30, 31))
    assert near.status is Status.PASS
    assert near.differing == ("06.JPEG",)
    far = _batches(reference, made, second)
    assert far.confident == ("06.JPEG",)
    assert far.status is Status.FAIL


def test_hits_that_differ_by_more_than_the_decisions_are_a_wrong_count(reference: Scores) -> None:
    got = _batches(reference, reference, reference, hits=(30, 31))
    assert got.status is Status.FAIL
    assert "count is wrong" in got.explanation


def test_identical_rows_must_give_one_result(reference: Scores) -> None:
    same = np.repeat(reference[:1], 16, axis=0)
    assert batching.decide_identical_rows(same, epsilon=0.0).status is Status.PASS
    same[9, 1] += 1
    got = batching.decide_identical_rows(same, epsilon=EPSILON)
    assert (got.status, got.row) == (Status.FAIL, 9)
    with pytest.raises(DumpError, match="one row"):
        batching.decide_identical_rows(same[:1], epsilon=EPSILON)


def test_permuted_rows_must_permute_outputs(reference: Scores) -> None:
    order = [*range(1, IMAGES), 0]
    good = batching.decide_permuted_rows(reference, reference[order], order, epsilon=0.0)
    stuck = batching.decide_permuted_rows(reference, reference, order, epsilon=EPSILON)
    assert (good.status, stuck.status) == (Status.PASS, Status.FAIL)


@pytest.mark.parametrize("order", [list(range(IMAGES)), [0] * IMAGES])
def test_an_order_that_moves_nothing_is_refused(reference: Scores, order: list[int]) -> None:
    with pytest.raises(DumpError, match="not permuted"):
        batching.decide_permuted_rows(reference, reference, order, epsilon=EPSILON)


def test_rows_that_depend_on_their_neighbours_are_found(reference: Scores) -> None:
    together = reference.copy()
    together[-1] += 3 * EPSILON
    got = batching.decide_rows(reference, together, epsilon=EPSILON)
    assert (got.status, got.row) == (Status.FAIL, IMAGES - 1)
    assert batching.decide_rows(reference, reference, epsilon=0.0).status is Status.PASS
