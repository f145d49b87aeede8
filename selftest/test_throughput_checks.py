"""Throughput as checks: the published factor and method, what spoils a timing, what explains it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from conformance.ascend.timed_run import TimedRun
from conformance.check import Check, SkipReason, Status
from conformance.errors import ToolError
from conformance.metrics.round_checks import (
    control_check,
    outputs_check,
    possible_check,
    regression_check,
    spread_check,
)
from conformance.metrics.throughput_checks import card_checks, pure_check
from conformance.om_key import OmKey
from conformance.runners.om_facts import OmFacts, Regression
from conformance.spec import load_spec

SPEC = load_spec("squeezenet1_1")
BS1_CARD = 4589.72
GATING = (OmKey(1), OmKey(16, tuned=True))


def facts(*rates_fps: float, **changed: object) -> OmFacts:
    made = OmFacts(
        tool="benchmark",
        method="dataset",
        chip="NPU 0 chip 0 (310)",
        rates_fps=list(rates_fps),
        spoiled="",
        notes=[],
        slowest_stage="",
        emulated=False,
        om_sha256="0" * 64,
        runs=[
            TimedRun(images=32, interface_fps=rate, batches=32, started_s=0.0, ended_s=3600.0)
            for rate in rates_fps
        ],
    )
    return msgspec.structs.replace(made, **changed)


def card(
    found: OmFacts, key: OmKey, soc: str = "Ascend310", profiling: Path | None = None
) -> Check:
    possible, chip, spread, control, made = card_checks(found, SPEC, key, soc, profiling=profiling)
    assert [possible.id, chip.id] == ["throughput.possible", "throughput.chip"]
    assert [spread.id, control.id] == ["throughput.spread", "throughput.aa"]
    assert chip.status is Status.PASS, "what was measured is always recorded"
    assert made.id == "throughput.card"
    return made


@pytest.mark.parametrize(
    ("share", "status"),
    [(1.0, Status.PASS), (0.98, Status.PASS), (0.95, Status.INCONCLUSIVE), (0.9, Status.FAIL)],
)
def test_one_round_decides_only_where_it_is_clear(share: float, status: Status) -> None:
    assert card(facts(share * BS1_CARD / 4), OmKey(1)).status is status


def rounds(share: float, count: int = 10, amplitude: float = 0.0005) -> list[float]:
    """Rounds of one chip that rise and fall by an amplitude, at a share of the figure."""
    return [share * BS1_CARD / 4 * (1 + amplitude * (-1) ** number) for number in range(count)]


@pytest.mark.parametrize(("share", "status"), [(0.955, Status.PASS), (0.945, Status.FAIL)])
def test_many_steady_rounds_decide_closer_to_the_bound(share: float, status: Status) -> None:
    made = card(facts(*rounds(share)), OmKey(1))
    assert made.status is status
    assert "in 10 rounds of 0.05 % spread" in made.detail, "no round is left out"
    assert "slower than published fails in 9 of 10 such runs" in made.detail


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        ([rate * (1 - 0.004 * n) for n, rate in enumerate(rounds(1.0))], "drifting chip: -"),
        (
            [rate * (1, 0.97, 0.97, 1)[n % 4] for n, rate in enumerate(rounds(1.0, 8))],
            "measured twice",
        ),
        (rounds(0.95, 30, 0.02), "noisy chip: above 1.5 % spread at 30 rounds"),
        (rounds(0.97, 5, 0.006), "about 20 rounds would settle it"),
    ],
)
def test_rounds_that_cannot_say_tell_why(rates: list[float], told: str) -> None:
    made = card(facts(*rates), OmKey(1))
    assert made.status is Status.INCONCLUSIVE
    assert told in made.detail


def test_halves_of_one_model_that_differ_are_recorded_as_inconclusive() -> None:
    pattern = (1.0, 0.97, 0.97, 1.0) * 2
    rates = [rate * factor for rate, factor in zip(rounds(1.0, 8), pattern, strict=True)]
    made = control_check(facts(*rates), "Ascend310")
    assert made.status is Status.INCONCLUSIVE
    assert made.value == pytest.approx(0.97, abs=0.001)
    steady = control_check(facts(*rounds(1.0, 8)), "Ascend310")
    assert steady.status is Status.PASS
    assert steady.detail.endswith("same")


def test_spread_says_what_the_rounds_can_find() -> None:
    made = spread_check(facts(*rounds(1.0, 10, 0.003)), "Ascend310")
    assert made.value == pytest.approx(0.316, abs=0.001)
    assert made.unit == "%"
    assert "10 rounds, correlation of each with the next -0.90" in made.detail
    # Of ten rounds with a least correlation of 0.2 as many as 6.87 count, at the error of the look
    # at ten: t(0.998756, 5.87) = 4.96 and t(0.9, 5.87) = 1.44 times 0.316 / sqrt(6.87).
    assert "a change of 0.77 % is found in 9 of 10" in made.detail


def test_a_rate_that_cannot_be_is_never_recorded() -> None:
    found = facts(*rounds(1.0))
    late = dataclasses.replace(found.runs[3], outputs=32, last_output_s=3700.0)
    with pytest.raises(ToolError, match="newer than the run"):
        card(msgspec.structs.replace(found, runs=[*found.runs, late]), OmKey(1))
    with pytest.raises(ToolError, match="no run"):
        card(msgspec.structs.replace(found, runs=[]), OmKey(1))
    # 1.4 times the best published figure, and then of what was accepted on this SoC before.
    fast = facts(1.4 * 10022.44 / 4)
    assert possible_check(fast, SPEC, "Ascend310").status is Status.PASS
    assert possible_check(facts(9e9), SPEC, "Ascend910B3").detail.endswith("of Ascend910B3")
    assert possible_check(facts(5000.0), SPEC, "Ascend310", [4000.0]).status is Status.PASS
    with pytest.raises(ToolError, match="plausible"):
        possible_check(facts(9000.0), SPEC, "Ascend910B3", [4000.0])


def test_a_rate_is_held_against_its_own_batch_size() -> None:
    """The rate of batch 16 in the file of batch 1: 2.05 times as fast as published."""
    other = facts(9414.68 / 4)
    with pytest.raises(ToolError, match="another batch size"):
        possible_check(other, SPEC, "Ascend310", batch=1)
    assert possible_check(other, SPEC, "Ascend310", batch=16).status is Status.PASS
    assert possible_check(other, SPEC, "Ascend310", batch=2).status is Status.PASS


@pytest.mark.parametrize(
    ("share", "status"),
    [(1.0, Status.PASS), (0.985, Status.INCONCLUSIVE), (0.97, Status.FAIL)],
)
def test_a_model_is_compared_with_the_one_that_it_replaces(share: float, status: Status) -> None:
    before, now = (facts(*rounds(part, 10, 0.003)).runs for part in (1.0, share))
    made = regressed(Regression("benchmark", before, now, "", sampled=32))
    assert made.status is status
    assert "old.om" in made.source
    assert "% in 10 rounds a side" in made.detail
    busy = Regression("benchmark", before, now, "chip busy: 4242", sampled=32)
    assert regressed(busy).status is Status.INCONCLUSIVE


def regressed(found: Regression, *earlier_fps: float) -> Check:
    return regression_check(found, SPEC, "Ascend310", "old.om", 0.5, earlier_fps)


def test_a_model_whose_outputs_are_wrong_replaces_none() -> None:
    same = facts(*rounds(1.0, 10, 0.003)).runs
    made = regressed(Regression("benchmark", same, same, "", 32, {"a.JPEG": 5.0, "b.JPEG": 0.4}))
    assert made.status is Status.FAIL
    assert "outputs of 1 images are not those of the accuracy run: a.JPEG by 5" in made.detail
    with pytest.raises(ToolError, match="no output of a timed round"):
        regressed(Regression("benchmark", same, same, ""))


def test_rates_that_nothing_makes_plausible_are_no_regression() -> None:
    same, fast = (facts(*rounds(part, 10, 0.003)).runs for part in (1.0, 10.0))
    for before, now in ((same, fast), (fast, same)):
        found = Regression("benchmark", before, now, "", sampled=32)
        with pytest.raises(ToolError, match="plausible"):
            regressed(found)
        assert regressed(found, 25_000.0).status is not Status.ERROR


def test_a_drift_under_either_model_decides_no_regression() -> None:
    same = facts(*rounds(1.0, 10, 0.003)).runs
    drifting = facts(*(rate * (1 - 0.01 * n) for n, rate in enumerate(rounds(1.0, 10)))).runs
    for before, now, what in ((drifting, same, "the earlier model"), (same, drifting, "the model")):
        made = regressed(Regression("benchmark", before, now, "", sampled=32))
        assert made.status is Status.INCONCLUSIVE
        assert f"drifting chip under {what}: -" in made.detail


def test_the_rates_that_decide_must_be_plausible() -> None:
    # As printed the chip makes 15,000 fps; the list of times, cut into rounds, says 50 times more.
    found = facts(*[15_000.0] * 5, tool="ais_bench", method="pure")
    faster = msgspec.structs.replace(found, rates_fps=[50 * 15_000.0 + n for n in range(5)])
    assert possible_check(found, SPEC, "Ascend310P3").status is Status.PASS
    with pytest.raises(ToolError, match="plausible"):
        card(faster, OmKey(8, "aipp"), "Ascend310P3")


@pytest.mark.parametrize(
    "fall",
    [
        [1.0] * 5 + [0.7] * 19,
        [1 - 0.2 * n / 23 for n in range(24)],
        [1.0] * 10 + [0.9] * 14,
    ],
)
def test_no_round_is_left_out_however_well_the_first_ones_look(fall: list[float]) -> None:
    ripple = rounds(1.0, 24)
    rates = [rate * share for rate, share in zip(ripple, fall, strict=True)]
    made = card(facts(*rates, rounds_before=23), OmKey(1))
    assert made.status in {Status.FAIL, Status.INCONCLUSIVE}
    assert "in 24 rounds" in made.detail
    assert "drifting chip" in made.detail


def test_outputs_of_timed_rounds_must_be_those_of_the_accuracy_run() -> None:
    found = facts(1000.0, sampled=64, differences={"a.JPEG": 0.4, "b.JPEG": 7.5})
    made = outputs_check(found, "Ascend310", 0.5, "spec")
    assert made.status is Status.FAIL
    assert made.value == 1
    assert "b.JPEG by 7.5" in made.detail
    assert "a.JPEG" not in made.detail
    assert outputs_check(found, "Ascend310", 8.0, "spec").status is Status.PASS
    with pytest.raises(ToolError, match="no output"):
        outputs_check(facts(1000.0), "Ascend310", 0.5, "spec")


def test_card_is_the_published_one_with_four_chips() -> None:
    made = card(facts(BS1_CARD / 4), OmKey(1))
    assert made.value == pytest.approx(BS1_CARD)
    assert made.bound == pytest.approx(0.95 * BS1_CARD)


def test_only_the_guides_figures_gate() -> None:
    for batch in (1, 4, 8, 16, 32):
        for tuned in (False, True):
            key = OmKey(batch, tuned=tuned)
            made = card(facts(900.0), key)
            gates = made.status is Status.FAIL
            assert gates == (key in GATING), key


def test_best_batch_size_gates_on_one_chip_of_the_310p3() -> None:
    slow = {"tool": "ais_bench", "method": "pure"}
    failing = [
        batch
        for batch in (1, 4, 8, 16, 32, 64)
        if card(facts(900.0, **slow), OmKey(batch, "aipp"), "Ascend310P3").status is Status.FAIL
    ]
    assert failing == [8]


@pytest.mark.parametrize(
    ("soc", "key", "tool"),
    [
        ("Ascend910B3", OmKey(1), "benchmark"),
        ("Ascend310", OmKey(2), "benchmark"),
        ("Ascend310", OmKey(1), "ais_bench"),
    ],
)
def test_without_a_figure_of_this_method_nothing_is_judged(soc: str, key: OmKey, tool: str) -> None:
    made = card(facts(1.0, tool=tool), key, soc)
    assert made.status is Status.SKIP
    assert made.reason is SkipReason.NO_PUBLISHED_FIGURE


@pytest.mark.parametrize("why", ["the chip's health is Warning", "chip busy: 4242", "chip unknown"])
def test_spoiled_timing_decides_nothing(why: str) -> None:
    for rates in ([10.0], [BS1_CARD / 4], rounds(0.8), rounds(1.0)):
        made = card(facts(*rates, spoiled=why), OmKey(1))
        assert made.status is Status.INCONCLUSIVE
        assert why in made.detail


def test_implausible_rate_is_an_error() -> None:
    with pytest.raises(ToolError):
        card(facts(100 * BS1_CARD), OmKey(1))


@pytest.mark.parametrize(
    ("soc", "variant"),
    [("Ascend310", "float32"), ("Ascend310P3", "aipp"), ("Ascend910B3", "float32")],
)
def test_the_variant_that_was_timed_is_told(soc: str, variant: str) -> None:
    found = card_checks(facts(900.0), SPEC, OmKey(1), soc)
    assert len(found) == 5
    assert {check.coordinates["variant"] for check in found} == {variant}


def test_slowest_stage_is_named() -> None:
    assert "data read (3 images/s)" in card(
        facts(900.0, slowest_stage="data read (3 images/s)"), OmKey(1)
    ).detail  # fmt: skip


def test_costliest_operators_explain_a_shortfall(tmp_path: Path) -> None:
    (tmp_path / "op_statistic_0_1.csv").write_text(
        "OP Type,Core Type,Count,Total Time(us)\nConv2D,AI Core,26,900\nTransData,AI Core,2,100\n"
    )
    short = card(facts(900.0), OmKey(1), profiling=tmp_path)
    assert "Conv2D 90.0 %" in short.detail
    assert short.status is Status.FAIL
    assert "Conv2D" not in card(facts(BS1_CARD / 4), OmKey(1), profiling=tmp_path).detail


def test_unreadable_profiling_does_not_hide_a_shortfall(tmp_path: Path) -> None:
    made = card(facts(900.0), OmKey(1), profiling=tmp_path)
    assert made.status is Status.FAIL
    assert "no profiling files" in made.detail


def test_pure_and_dataset_rates_are_compared() -> None:
    pure = facts(1000.0, method="pure")
    assert pure_check(facts(990.0), pure).status is Status.PASS
    slow = pure_check(facts(500.0), pure)
    assert slow.status is Status.INCONCLUSIVE
    assert "shared" in slow.hint


def test_spoiled_comparison_is_not_a_pass() -> None:
    pure = facts(1000.0, method="pure", spoiled="chip busy: 4242")
    assert pure_check(facts(1000.0), pure).status is Status.INCONCLUSIVE
