"""Throughput as checks: the published factor and method, what spoils a timing, what explains it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from conformance.check import Check, SkipReason, Status
from conformance.errors import ToolError
from conformance.metrics.throughput_checks import card_checks, pure_check
from conformance.om_key import OmKey
from conformance.runners.om_facts import OmFacts
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
    )
    return msgspec.structs.replace(made, **changed)


def card(
    found: OmFacts, key: OmKey, soc: str = "Ascend310", profiling: Path | None = None
) -> Check:
    chip, spread, made = card_checks(found, SPEC, key, soc, profiling)
    assert chip.id == "throughput.chip"
    assert spread.id == "throughput.spread"
    assert chip.status is Status.PASS, "what was measured is always recorded"
    assert made.id == "throughput.card"
    return made


@pytest.mark.parametrize(
    ("share", "status"),
    [(1.0, Status.PASS), (0.98, Status.PASS), (0.95, Status.INCONCLUSIVE), (0.9, Status.FAIL)],
)
def test_one_round_decides_only_where_it_is_clear(share: float, status: Status) -> None:
    assert card(facts(share * BS1_CARD / 4), OmKey(1)).status is status


@pytest.mark.parametrize(("share", "status"), [(0.97, Status.PASS), (0.93, Status.FAIL)])
def test_many_steady_rounds_decide_closer_to_the_bound(share: float, status: Status) -> None:
    rates = [share * BS1_CARD / 4 * (1 + 0.0005 * (-1) ** number) for number in range(25)]
    assert card(facts(*rates), OmKey(1)).status is status


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
    for fps in (10.0, BS1_CARD / 4):
        made = card(facts(fps, spoiled=why), OmKey(1))
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
    assert {check.id: check.coordinates["variant"] for check in found} == dict.fromkeys(
        ("throughput.chip", "throughput.spread", "throughput.card"), variant
    )


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
