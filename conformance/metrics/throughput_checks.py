"""Throughput on a chip against the published figures, as checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from conformance.ascend.profiling import costliest_operators
from conformance.bounds import suite_bound
from conformance.check import Check, SkipReason, Status, at_least, recorded, skipped
from conformance.errors import ToolError
from conformance.metrics.round_checks import (
    control_check,
    method_of,
    possible_check,
    spread_check,
)
from conformance.metrics.round_looks import decide_in_looks, first_look_after
from conformance.metrics.rounds import MIN_ROUNDS
from conformance.metrics.throughput import decide_single
from conformance.om_key import OmKey
from conformance.runners.om_facts import OmFacts
from conformance.spec import Figure, ModelSpec, Throughput

# Generated input gives only a rough figure; a shared chip loses far more than this.
PURE_GAP_PCT = suite_bound("throughput.pure_gap_pct")

# Another version of CANN costs some percent; a second process takes its half.
SHARED_PCT = 75.0


def card_checks(
    facts: OmFacts,
    spec: ModelSpec,
    key: OmKey,
    soc: str,
    *,
    profiling: Path | None = None,
    earlier_fps: Sequence[float] = (),
) -> list[Check]:
    """Throughput of the card reaches its bound, where a figure is published by this method.

    The factor from chip to card is that of the card that the figure is for, never what was found
    in this machine.

    Args:
        facts: What was measured.
        spec: The model.
        key: Which ``.om``.
        soc: ATC's name of the chip.
        profiling: Where the profiler's files lie; names the costliest operators of a shortfall.
        earlier_fps: Rates of one chip that were accepted for this SoC and batch size before.

    Raises:
        ToolError: The figures contradict each other, or are higher than anything known makes
            plausible: then nothing is recorded.
    """
    table = spec.throughput_of(soc)
    # What is timed is the variant of the published figures, whichever the test was made for.
    variant = {"variant": table.variant if table else key.variant}
    possible = possible_check(facts, spec, soc, earlier_fps, batch=key.batch)
    return [
        msgspec.structs.replace(check, coordinates=check.coordinates | variant)
        for check in [possible, *_card_checks(facts, table, key, soc, profiling)]
    ]


def _card_checks(
    facts: OmFacts, table: Throughput | None, key: OmKey, soc: str, profiling: Path | None
) -> list[Check]:
    chip = recorded(
        "throughput.chip",
        facts.fps,
        unit="images/s",
        detail="; ".join(filter(None, [facts.slowest_stage, *dict.fromkeys(facts.notes)])),
        coordinates=method_of(facts, soc),
    )
    measured = [chip, spread_check(facts, soc), control_check(facts, soc)]
    figure = table.figure(key.batch, tuned=key.tuned) if table else None
    if table is None or figure is None:
        return [*measured, _skipped(f"no figure is published for {key} on {soc}", facts, soc)]
    if (facts.tool, facts.method) != (table.tool, table.method):
        what = f"published with {table.tool}, {table.method}"
        what += f"; measured with {facts.tool}, {facts.method}"
        return [*measured, _skipped(what, facts, soc)]
    card = _card_check(facts, table, figure)
    return [*measured, card if card.status is Status.PASS else _explained(card, profiling)]


def _explained(card: Check, profiling: Path | None) -> Check:
    """Add the costliest operators to a check that falls short."""
    if profiling is None:
        return card
    try:
        told = "; ".join(map(str, costliest_operators(profiling)))
    except ToolError as error:  # the shortfall stands, whatever became of its explanation
        told = str(error)
    detail = f"{card.detail}\ncostliest operators: {told}"
    return msgspec.structs.replace(card, detail=detail)


def _skipped(what: str, facts: OmFacts, soc: str) -> Check:
    place = method_of(facts, soc)
    return skipped("throughput.card", SkipReason.NO_PUBLISHED_FIGURE, what, **place)


def _card_check(facts: OmFacts, table: Throughput, figure: Figure) -> Check:
    fps = facts.fps * table.chips_per_card
    common = {
        "unit": f"images/s of {table.card}",
        "source": f"{table.source}; {figure.fps:g} by {table.tool}, {table.method}, CANN "
        f"{table.cann}",
        "coordinates": method_of(facts, table.soc),
    }
    status, words = _decided(facts, table, figure)
    if not table.decides(figure):
        return recorded("throughput.card", fps, detail=words, **common)
    made = at_least("throughput.card", fps, table.bound_pct / 100 * figure.fps, **common)
    share = 100 * fps / figure.fps
    if status is Status.FAIL:
        words += f"\nfalls short of {table.bound_pct:g} % by {table.bound_pct - share:.1f} points"
    limits = f"{facts.slowest_stage} limits the end-to-end rate" if facts.slowest_stage else ""
    return msgspec.structs.replace(
        made,
        status=status,
        detail="\n".join(filter(None, [words, limits])),
        hint=_where_to_look(share) if status is Status.FAIL else "",
    )


def _where_to_look(share_pct: float) -> str:
    if share_pct < SHARED_PCT:
        return "so much is seldom the card's: is the chip shared, throttled or hot? Watch npu-smi"
    return "compare driver, firmware and CANN with those that the figure was published for"


def _decided(facts: OmFacts, table: Throughput, figure: Figure) -> tuple[Status, str]:
    """Decide by rounds if there are enough, else only where one figure is clear by itself."""
    spoiled = f"{facts.spoiled}; measure on an idle, healthy chip" if facts.spoiled else ""
    rates = [rate * table.chips_per_card for rate in facts.rates_fps]
    if len(rates) < MIN_ROUNDS:
        return _decided_by_one(facts.fps * table.chips_per_card, figure, spoiled)
    decision = decide_in_looks(
        rates,
        figure.fps,
        first_look=first_look_after(facts.rounds_before),
        bound_pct=table.bound_pct,
        disturbances=[spoiled] if spoiled else [],
    )
    words = [
        decision.explanation,
        f"a card {decision.detectable_pct:.2f} % slower than published fails in 9 of 10 such runs",
    ]
    return decision.status, "\n".join(words)


def _decided_by_one(fps: float, figure: Figure, spoiled: str) -> tuple[Status, str]:
    share = f"{100 * fps / figure.fps:.2f} % of {figure.fps:g} fps"
    if spoiled:
        return Status.INCONCLUSIVE, f"{share}\n{spoiled}"
    status = decide_single(fps, figure.fps)
    unclear = "between 93 and 97 % a single run does not decide: measure in rounds"
    return status, f"{share}\n{unclear}" if status is Status.INCONCLUSIVE else share


def pure_check(dataset: OmFacts, pure: OmFacts) -> Check:
    """The dataset's rate is about that of generated input; a gap says that the chip was shared."""
    made = at_least(
        "throughput.pure",
        dataset.fps,
        (1 - PURE_GAP_PCT / 100) * pure.fps,
        unit="images/s",
        source=f"{pure.fps:.6g} images/s on generated input, less {PURE_GAP_PCT:g} %",
        detail=dataset.spoiled or pure.spoiled,
        hint="was the chip shared? Measure again on an idle chip",
        coordinates={"tool": dataset.tool},
    )
    spoiled = made.status is Status.FAIL or made.detail
    return msgspec.structs.replace(made, status=Status.INCONCLUSIVE) if spoiled else made
