"""Throughput on a chip against the published figures, as checks."""

from __future__ import annotations

from pathlib import Path

import msgspec

from conformance.ascend.profiling import costliest_operators
from conformance.check import Check, SkipReason, Status, at_least, recorded, skipped
from conformance.errors import ToolError
from conformance.metrics.plausibility import require_plausible_rate
from conformance.metrics.round_checks import spread_check
from conformance.metrics.rounds import MIN_ROUNDS
from conformance.metrics.throughput import decide_single, decide_throughput
from conformance.om_key import OmKey
from conformance.runners.om_facts import OmFacts
from conformance.spec import Figure, ModelSpec, Throughput

# Generated input gives only a rough figure; a shared chip loses far more than this.
PURE_GAP_PCT = 15.0


def card_checks(
    facts: OmFacts, spec: ModelSpec, key: OmKey, soc: str, profiling: Path | None = None
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

    Raises:
        ToolError: The rate is higher than anything published makes plausible.
    """
    table = spec.throughput_of(soc)
    # What is timed is the variant of the published figures, whichever the test was made for.
    variant = {"variant": table.variant if table else key.variant}
    return [
        msgspec.structs.replace(check, coordinates=check.coordinates | variant)
        for check in _card_checks(facts, table, key, soc, profiling)
    ]


def _card_checks(
    facts: OmFacts, table: Throughput | None, key: OmKey, soc: str, profiling: Path | None
) -> list[Check]:
    chip = recorded(
        "throughput.chip",
        facts.fps,
        unit="images/s",
        detail="; ".join(filter(None, [facts.slowest_stage, *facts.notes])),
        coordinates=_method(facts, soc),
    )
    measured = [chip, spread_check(facts, soc)]
    figure = _figure(table, key) if table else None
    if table is None or figure is None:
        what = f"no figure is published for {key} on {soc}"
        return [*measured, _skipped(what, facts, soc)]
    if facts.tool != table.tool:
        what = f"published with {table.tool}, measured with {facts.tool}"
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


def _method(facts: OmFacts, soc: str) -> dict[str, str | int]:
    return {"soc": soc, "tool": facts.tool, "method": facts.method}


def _skipped(what: str, facts: OmFacts, soc: str) -> Check:
    return skipped("throughput.card", SkipReason.NO_PUBLISHED_FIGURE, what, **_method(facts, soc))


def _figure(table: Throughput, key: OmKey) -> Figure | None:
    wanted = (key.batch, key.tuned)
    return next(
        (figure for figure in table.figures if (figure.batch, figure.tuned) == wanted), None
    )


def _card_check(facts: OmFacts, table: Throughput, figure: Figure) -> Check:
    fps = facts.fps * table.chips_per_card
    require_plausible_rate(fps, [published.fps for published in table.figures])
    best = max(table.figures, key=lambda published: published.fps)
    gates = figure.gate or (table.gate_best and figure is best)
    common = {
        "unit": f"images/s of {table.card}",
        "source": f"{table.source}; {figure.fps:g} by {table.tool}, {table.method}, CANN "
        f"{table.cann}",
        "coordinates": _method(facts, table.soc),
    }
    share = f"{100 * fps / figure.fps:.2f} % of the published figure"
    if not gates:
        return recorded("throughput.card", fps, detail=share, **common)
    made = at_least("throughput.card", fps, table.bound_pct / 100 * figure.fps, **common)
    status, words = _decided(facts, table, figure)
    limits = f"{facts.slowest_stage} limits the end-to-end rate" if facts.slowest_stage else ""
    return msgspec.structs.replace(
        made, status=status, detail="\n".join(filter(None, [share, words, limits]))
    )


def _decided(facts: OmFacts, table: Throughput, figure: Figure) -> tuple[Status, str]:
    """Decide by rounds if there are enough, else only where one figure is clear by itself."""
    if facts.spoiled:
        return Status.INCONCLUSIVE, f"{facts.spoiled}; measure on an idle, healthy chip"
    rates = [rate * table.chips_per_card for rate in facts.rates_fps]
    if len(rates) > MIN_ROUNDS:
        decision = decide_throughput(rates, figure.fps, bound_pct=table.bound_pct)
        return decision.status, decision.explanation
    status = decide_single(facts.fps * table.chips_per_card, figure.fps)
    unclear = "between 93 and 97 % a single run does not decide: run more images or again"
    return status, unclear if status is Status.INCONCLUSIVE else ""


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
