"""Rows of a batch: each way in which a model can mix them up has the claim that says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conformance.check import Check, Status
from conformance.errors import ConformanceError, DumpError
from conformance.evidence.gate import Requirement, read_gates, required
from conformance.image_names import stems_by_name
from conformance.imagenet.dataset import Dataset, LabelledImage
from conformance.measure_rows import laid_out
from conformance.metrics.row_trial import RowMeasurement, RowTrial
from conformance.spec import load_spec
from emulator import fault_scores
from emulator.fault_scores import Values

EPSILON = 0.01
SIZES = (2, 3, 4, 8, 16, 32, 64)
RANDOM = np.random.default_rng(0)
Model = Callable[[Values, int], Values]


def pictures(count: int) -> tuple[str, ...]:
    return tuple(f"picture_{number:02d}.JPEG" for number in range(count))


def fed(batch: int, count: int) -> tuple[RowTrial, Values]:
    """What a sound model says of each row, on which the picture alone has an influence."""
    trial = RowTrial(batch, pictures(count))
    own = np.random.default_rng(1).normal(0, 3, (count, 50)).astype(np.float32)
    return trial, own[list(trial.rows)]


def claims(batch: int, model: Model, count: int = 37) -> dict[str, Check]:
    trial, sound = fed(batch, count)
    scores = model(sound, batch)
    made = RowMeasurement(trial, scores).checks(EPSILON, "test", "rows")
    return {check.id.partition(".")[2]: check for check in made}


@pytest.mark.parametrize("batch", SIZES)
@pytest.mark.parametrize("count", [2, 5, 64])
def test_a_sound_model_keeps_every_claim(batch: int, count: int) -> None:
    jitter: Model = lambda scores, _: scores + RANDOM.normal(0, 1e-4, scores.shape).astype("f4")  # noqa: E731 - its type is stated
    made = claims(batch, jitter, count)
    assert list(made) == ["identical", "permuted", "neighbours", "partial"]
    assert {check.status for check in made.values()} == {Status.PASS}


def test_neighbours_are_held_to_what_rounding_of_storage_can_do() -> None:
    """At its own place a picture runs through one kernel, whatever lies beside."""
    trial, sound = fed(16, 37)
    mixed = fault_scores.mix_neighbours(sound, 16, RANDOM, share=0.02)
    made = RowMeasurement(trial, mixed).checks(
        1.0, "wide", "rows", same_place=0.06, same_place_source="twice the rounding"
    )
    checks = {check.id.partition(".")[2]: check for check in made}
    assert (checks["neighbours"].status, checks["neighbours"].bound) == (Status.FAIL, 0.06)
    assert checks["neighbours"].source == "twice the rounding"
    assert checks["partial"].bound == 0.06
    for claim in ("identical", "permuted"):
        assert (checks[claim].bound, checks[claim].source) == (1.0, "wide")


FAULTS: dict[str, tuple[Model, str]] = {
    "neighbour": (lambda s, b: fault_scores.mix_neighbours(s, b, RANDOM), "neighbours"),
    "reversed": (lambda s, b: fault_scores.reverse_in_batch(s, b, RANDOM), "partial"),
    "first row": (lambda s, b: fault_scores.repeat_in_batch(s, b, RANDOM), "permuted"),
    "shifted": (lambda s, _: fault_scores.shift_rows(s, 1, RANDOM), "permuted"),
    "place": (lambda s, b: fault_scores.scale_by_place(s.copy(), b, RANDOM), "identical"),
    "stale": (lambda s, b: fault_scores.stale_last_batch(s.copy(), b, RANDOM), "partial"),
}


@pytest.mark.parametrize("batch", SIZES)
@pytest.mark.parametrize("name", FAULTS)
def test_what_mixes_rows_up_breaks_its_claim(batch: int, name: str) -> None:
    model, claim = FAULTS[name]
    assert claims(batch, model)[claim].status is Status.FAIL


@pytest.mark.parametrize("batch", [4, 8, 16, 32])
def test_rows_in_reverse_order_are_told_from_a_permutation(batch: int) -> None:
    model, _ = FAULTS["reversed"]
    assert claims(batch, model)["permuted"].status is Status.FAIL


def test_one_row_among_many_is_found_and_named() -> None:
    def wrong(scores: Values, batch: int) -> Values:
        scores[4 * batch + 7, 0] += 2 * EPSILON  # an odd row beside other neighbours
        return scores

    made = claims(16, wrong)
    assert [name for name, check in made.items() if check.status is Status.FAIL] == ["neighbours"]
    assert "worst: row 7 (from 0), picture picture_07.JPEG" in made["neighbours"].detail
    assert "85 rows in batches of 16, the last of 5" in made["neighbours"].detail


@pytest.mark.parametrize("batch", [4, 8, 16, 32])
def test_the_last_batch_is_never_full(batch: int) -> None:
    rows = len(RowTrial(batch, pictures(37)).rows)
    assert all(rows % size for size in (batch, 16, 32))


@pytest.mark.parametrize(("batch", "count"), [(1, 37), (16, 1)])
def test_one_row_or_one_picture_is_no_trial(batch: int, count: int) -> None:
    with pytest.raises(ConformanceError, match="rows cannot be compared"):
        RowTrial(batch, pictures(count))


def test_a_row_less_is_no_trial() -> None:
    with pytest.raises(DumpError, match="84 rows"):
        claims(16, lambda scores, _: scores[:-1])


def test_the_tools_take_the_rows_in_their_order() -> None:
    images = [LabelledImage(name, Path(name), 7) for name in reversed(pictures(16))]
    trial = RowTrial(16, pictures(16))
    rows = laid_out(trial, Dataset(Path(), tuple(images), 1000))
    stems = list(stems_by_name(rows.names).values())
    assert stems == sorted(stems)
    assert [image.path.name for image in rows.images] == [trial.pictures[n] for n in trial.rows]


@pytest.mark.parametrize(("gate", "sizes"), [("host", {4, 8, 16, 32}), ("rehearsal", {16})])
def test_a_gate_compares_every_batch_size_that_it_names(gate: str, sizes: set[int]) -> None:
    spec = load_spec("squeezenet1_1")

    def at(demands: tuple[Requirement, ...], prefix: str) -> set[object]:
        return {d.coordinates["batch"] for d in demands if d.id.startswith(prefix)}

    demands = required(read_gates(), gate, {spec.name: spec})
    assert at(demands, "accuracy.rows.") == at(demands, "accuracy.batch.") == sizes
    of_board = sizes if gate == "rehearsal" else set()
    assert at(demands, "agreement.rows.") == at(demands, "agreement.batch.") == of_board
