"""Top-N against its definition, ties included, and the guide's result file byte for byte."""

from __future__ import annotations

import itertools
import json

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.errors import DumpError
from conformance.metrics.topn import TopN, count_topn, result_json
from conformance.predictions import Predictions, ScoreCollector


def made(scores: list[list[float]], labels: list[int]) -> Predictions:
    names = tuple(f"i{n}" for n in range(len(scores)))
    return Predictions(names, np.array(scores, np.float32), np.array(labels, np.int64))


def first_n(row: list[float], order: tuple[int, ...], n: int) -> list[int]:
    """Return the n best classes if equal scores come in the given order of classes."""
    return sorted(order, key=lambda c: -row[c])[:n]


@st.composite
def tied_tables(draw: st.DrawFn) -> tuple[list[list[float]], list[int]]:
    classes = draw(st.integers(1, 5))
    row = st.lists(st.sampled_from([-1.0, -0.0, 0.0, 2.5]), min_size=classes, max_size=classes)
    rows = draw(st.lists(row, min_size=1, max_size=4))
    return rows, [draw(st.integers(0, classes - 1)) for _ in rows]


@given(table=tied_tables())
def test_counts_equal_the_definition_over_every_order_of_ties(
    table: tuple[list[list[float]], list[int]],
) -> None:
    rows, labels = table
    classes = len(rows[0])
    found = count_topn(made(rows, labels))
    for n in range(1, classes + 1):
        hits = [
            [label in first_n(row, order, n) for order in itertools.permutations(range(classes))]
            for row, label in zip(rows, labels, strict=True)
        ]
        assert found.hits[n - 1] == sum(image[0] for image in hits)  # orders begin with 0, 1, 2...
        assert found.worst[n - 1] == sum(all(image) for image in hits)
        assert found.best[n - 1] == sum(any(image) for image in hits)


@given(seed=st.integers(0, 99))
def test_counts_equal_a_stable_sort_over_many_rows(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, 40, (30, 100)).astype(np.float32)
    labels = random.integers(0, 100, 30)
    order = np.argsort(-scores, axis=1, kind="stable")
    found = count_topn(Predictions(tuple(map(str, range(30))), scores, labels))
    expected = [int((order[:, :n] == labels[:, None]).any(axis=1).sum()) for n in range(1, 6)]
    assert list(found.hits) == expected
    for lower, middle, upper in zip(found.worst, found.hits, found.best, strict=True):
        assert lower <= middle <= upper


def test_more_rows_than_are_ranked_at_a_time() -> None:
    rows = [[0.0, 1.0], [1.0, 0.0]] * 1500
    assert count_topn(made(rows, [1] * 3000)).hits == (1500, 3000)


def test_the_guides_result_file_byte_for_byte() -> None:
    # The published result of the guide's section 6.1.
    counts = (29_095, 34_835, 37_540, 39_140, 40_305)
    assert result_json(TopN(50_000, 1000, counts, counts, counts)) == (
        '{"title": "Overall statistical evaluation", "value": ['
        '{"key": "Number of images", "value": "50000"}, '
        '{"key": "Number of classes", "value": "1000"}, '
        '{"key": "Top1 accuracy", "value": "58.19%"}, '
        '{"key": "Top2 accuracy", "value": "69.67%"}, '
        '{"key": "Top3 accuracy", "value": "75.08%"}, '
        '{"key": "Top4 accuracy", "value": "78.28%"}, '
        '{"key": "Top5 accuracy", "value": "80.61%"}]}'
    )


@pytest.mark.parametrize(
    ("hits", "images", "text"),
    [
        (871, 1000, "87.1%"),
        (0, 3, "0.0%"),
        (3, 3, "100.0%"),
        (2, 3, "66.67%"),
        (1, 800, "0.12%"),
        (1, 4000, "0.02%"),
    ],
)
def test_percentages_as_the_guide_prints_them(hits: int, images: int, text: str) -> None:
    found = json.loads(result_json(TopN(images, 1000, (hits,), (hits,), (hits,))))
    assert found["value"][2]["value"] == text


@given(images=st.integers(1, 60_000), data=st.data())
def test_percentages_equal_the_guides_arithmetic(images: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, images))
    guide = str(round((np.cumsum(np.array([hits, 0.0])) / images)[0] * 100, 2)) + "%"
    found = json.loads(result_json(TopN(images, 1000, (hits,), (hits,), (hits,))))
    assert found["value"][2]["value"] == guide


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_named(value: float) -> None:
    scores = np.zeros((3, 4), np.float32)
    scores[1, 2] = value
    with pytest.raises(DumpError, match=r"not finite[\s\S]*1 of 3 images: b"):
        Predictions(("a", "b", "c"), scores, np.zeros(3, np.int64))


def test_large_finite_scores_are_finite() -> None:
    scores = np.full((1, 4), np.finfo(np.float32).max)
    assert len(Predictions(("a",), scores, np.zeros(1, np.int64))) == 1


@pytest.mark.parametrize(
    ("names", "shape", "labels"),
    [
        ((), (0, 4), []),
        (("a",), (2, 4), [0]),
        (("a", "b"), (2, 4), [0]),
        (("a",), (1, 0), [0]),
        (("a",), (4,), [0]),
        (("a", "a"), (2, 4), [0, 0]),
        (("a",), (1, 4), [4]),
        (("a",), (1, 4), [-1]),
    ],
)
def test_what_does_not_fit_together_is_refused(
    names: tuple[str, ...], shape: tuple[int, ...], labels: list[int]
) -> None:
    with pytest.raises(DumpError):
        Predictions(names, np.zeros(shape, np.float32), np.array(labels, np.int64))


def test_half_floats_are_refused_where_scores_are_kept() -> None:
    with pytest.raises(DumpError, match="float16"):
        Predictions(("a",), np.zeros((1, 4), np.float16), np.zeros(1, np.int64))  # type: ignore[arg-type] # the mistake under test


LABELS = np.zeros(3, np.int64)
TWO = np.zeros((2, 4), np.float32)


def test_a_collector_gathers_batches() -> None:
    collector = ScoreCollector(("a", "b", "c"), LABELS, np.float64)
    collector.add(("a", "b"), TWO)
    collector.add(("c",), np.ones((1, 4), np.float32))
    found = collector.finish()
    assert found.scores.dtype == np.float64
    assert found.scores.sum(axis=1).tolist() == [0, 0, 4]


@pytest.mark.parametrize(
    ("names", "scores"),
    [
        (("b", "a"), TWO),
        (("a", "b", "c", "d"), np.zeros((4, 4), np.float32)),
        ((), TWO[:0]),
        (("a", "b"), TWO[:1]),
        (("a", "b"), TWO[0]),
    ],
    ids=["order", "extra", "none", "short", "flat"],
)
def test_a_wrong_batch_is_refused(names: tuple[str, ...], scores: npt.NDArray[np.float32]) -> None:
    with pytest.raises(DumpError):
        ScoreCollector(("a", "b", "c"), LABELS, np.float32).add(names, scores)


def test_a_batch_of_another_width_is_refused() -> None:
    collector = ScoreCollector(("a", "b", "c"), LABELS, np.float32)
    collector.add(("a", "b"), TWO)
    with pytest.raises(DumpError, match="another width"):
        collector.add(("c",), np.zeros((1, 5), np.float32))


@pytest.mark.parametrize("fed", [0, 2])
def test_a_lost_batch_is_noticed(fed: int) -> None:
    collector = ScoreCollector(("a", "b", "c"), LABELS, np.float32)
    if fed:
        collector.add(("a", "b"), TWO)
    with pytest.raises(DumpError, match=f"{fed} of 3"):
        collector.finish()
