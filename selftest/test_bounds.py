"""Bounds: their origin, the record of accepted ones, waivers, and the headroom that runs leave."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conformance.__main__ import main
from conformance.bounds import BOUNDS_FILE, Bound, decided_ids, read_suite_bounds, suite_source
from conformance.check import (
    Check,
    SkipReason,
    Status,
    at_least,
    at_most,
    equal,
    recorded,
    skipped,
)
from conformance.errors import EvidenceError, SpecError
from conformance.evidence import accepted_bounds as accepted
from conformance.evidence.bundle import Waiver
from conformance.evidence.gate import read_gates
from conformance.evidence.headroom import headroom_of
from conformance.evidence.verify import verify
from conformance.spec import load_spec
from selftest.made_bundles import (
    MODEL,
    SPECS,
    checks_of,
    decide_again,
    edit,
    load_gates,
    make_bundle,
)

SPEC = load_spec(MODEL)
TODAY = dt.date(2026, 12, 1)
FLIPS = "suite/agreement.flips.limit_pct"


def changed(name: str, value: float) -> list[Bound]:
    """All bounds in force, one of them with another number."""
    found = accepted.bounds_in_force([SPEC])
    assert name in {bound.name for bound in found}
    return [dataclasses.replace(b, value=value) if b.name == name else b for b in found]


def waiver(name: str = FLIPS, expires: str = "2026-12-01") -> Waiver:
    return Waiver(
        id=name, reason="new chip", owner="release team", expires=dt.date.fromisoformat(expires)
    )


def test_every_fixed_bound_has_its_origin_and_is_accepted() -> None:
    """What is shipped: nothing looser than the record, nothing that it lacks."""
    record = accepted.read_record()
    found = accepted.compare(accepted.bounds_in_force(SPECS.values()), record, (), TODAY)
    assert found == accepted.Comparison()
    for bound in accepted.bounds_in_force(SPECS.values()):
        origin = bound.origin
        assert all((origin.unit, origin.source, origin.method, origin.soc, origin.date))
    assert "2026-11" in suite_source("agreement.flips.limit_pct")
    known = {check_id for row in read_gates().checks for check_id in row.ids}
    decided = {i for i in decided_ids(SPECS.values()) if not i.startswith("regression.")}
    assert decided <= known


@pytest.mark.parametrize("field", ["unit", "source", "method", "soc", "date", "checks", "value"])
def test_a_bound_without_its_origin_is_refused(tmp_path: Path, field: str) -> None:
    lines = BOUNDS_FILE.read_text("utf-8").splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{field} ="))
    path = tmp_path / "bounds.toml"
    path.write_text("".join([*lines[:first], *lines[first + 1 :]]), "utf-8")
    with pytest.raises(SpecError, match=field):
        read_suite_bounds(path)


@pytest.mark.parametrize(
    ("name", "looser", "stricter"),
    [
        (FLIPS, 3.5, 2.0),
        ("suite/accuracy.distinct_share", 0.2, 0.5),
        (f"{MODEL}/accuracy.max_drop_points", 1.5, 0.5),
        (f"{MODEL}/accuracy.top1_pct", 57.0, 59.0),
        (f"{MODEL}/float16.epsilon", 0.7, 0.5),
        (f"{MODEL}/throughput.Ascend310.bs16.tuned", 2300.0, 2400.0),
    ],
)
def test_only_a_looser_bound_needs_a_waiver(name: str, looser: float, stricter: float) -> None:
    record = accepted.read_record()
    found = accepted.compare(changed(name, looser), record, (), TODAY)
    assert [text.partition(":")[0] for text in found.loosened] == [name]
    assert accepted.accepted_check(found).status is Status.FAIL
    tight = accepted.compare(changed(name, stricter), record, (), TODAY)
    assert tight.loosened == []
    assert [text.partition(":")[0] for text in tight.tighter] == [name]
    assert accepted.accepted_check(tight).status is Status.PASS


def test_a_bound_that_is_gone_or_turned_round_is_looser() -> None:
    record, bounds = accepted.read_record(), accepted.bounds_in_force([SPEC])
    gone = [bound for bound in bounds if bound.name != FLIPS]
    assert accepted.compare(gone, record, (), TODAY).loosened == [
        f"{FLIPS}: 3 % of the images accepted, now gone"
    ]
    turned = [dataclasses.replace(b, looser="lower") if b.name == FLIPS else b for b in bounds]
    assert len(accepted.compare(turned, record, (), TODAY).loosened) == 1


def test_a_waiver_holds_to_its_last_day_and_for_its_bound_alone() -> None:
    record, bounds = accepted.read_record(), changed(FLIPS, 3.5)
    held = accepted.compare(bounds, record, [waiver()], TODAY)
    assert (held.loosened, held.waivers) == ([], [waiver()])
    check = accepted.accepted_check(held)
    assert check.status is Status.PASS
    assert "release team" in check.detail
    assert "until 2026-12-01" in check.detail
    over = accepted.compare(bounds, record, [waiver()], TODAY + dt.timedelta(days=1))
    assert len(over.loosened) == 1
    assert over.unused[0].startswith("expired: ")
    other = accepted.compare(bounds, record, [waiver("suite/parity.ratio")], TODAY)
    assert len(other.loosened) == 1
    assert other.unused[0].startswith("not needed: ")


def test_the_record_takes_only_what_is_stricter(tmp_path: Path) -> None:
    record = accepted.read_record()
    with pytest.raises(EvidenceError, match="looser than accepted"):
        accepted.tightened(changed(FLIPS, 3.5), record, [MODEL], TODAY)
    path = tmp_path / "bounds.json"
    accepted.write_record(path, accepted.tightened(changed(FLIPS, 2.0), record, [MODEL], TODAY))
    kept = {bound.name: bound for bound in accepted.read_record(path).bounds}
    assert (kept[FLIPS].value, kept[FLIPS].accepted) == (2.0, TODAY)
    assert sum(bound.accepted == TODAY for bound in kept.values()) == 1
    assert main(["bounds", f"--record={path}"]) == 1
    assert main(["bounds", "--accept", f"--record={path}"]) == 2


def test_a_record_edited_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bounds.json"
    data = json.loads(accepted.RECORD_FILE.read_bytes())
    data["bounds"][0]["value"] *= 2
    path.write_text(json.dumps(data), "utf-8")
    with pytest.raises(EvidenceError, match="edited by hand"):
        accepted.read_record(path)
    with pytest.raises(EvidenceError, match="cannot be read"):
        accepted.read_record(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"reason": " "}, "the waivers cannot be read"),
        ({"owner": ""}, "the waivers cannot be read"),
        ({"expires": dt.date(9999, 12, 31)}, "a waiver would last too long"),
    ],
)
def test_a_waiver_of_a_bound_says_why_and_ends_within_a_year(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    rows: dict[str, Any] = {
        "id": FLIPS,
        "reason": "a new driver",
        "owner": "release team",
        "expires": dt.datetime.now(dt.UTC).date(),
    }
    path = tmp_path / accepted.WAIVERS_NAME

    def write(rows: dict[str, Any]) -> None:
        lines = (f"{k} = {v if k == 'expires' else json.dumps(v)}" for k, v in rows.items())
        path.write_text("\n".join(["[[waivers]]", *lines]), "utf-8")

    write(rows)
    assert accepted.waivers_of(tmp_path)
    write(rows | change)
    with pytest.raises(EvidenceError, match=told):
        accepted.waivers_of(tmp_path)


def test_a_record_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(EvidenceError, match="record of accepted bounds cannot be written"):
        accepted.write_record(path / "bounds.json", ())


def test_a_waiver_stands_in_verdict_and_verification(tmp_path: Path) -> None:
    """A waiver is among the verdict's reasons; a check that was edited is found."""
    gates = load_gates(tmp_path)
    bundle = make_bundle(tmp_path / "run", gates)
    assert verify(bundle, gates, SPECS).problems == ()
    told = {"id": FLIPS, "reason": "x", "owner": "y", "expires": "2999-01-01"}
    edit(bundle, lambda data: data.update(waivers=[told]))
    decision = decide_again(bundle, gates).decision
    assert decision
    assert decision.reasons == (f"waived until 2999-01-01: {FLIPS}, x (y)",)
    assert decision.verdict == "CONFORMANT"

    def loosen(data: dict[str, Any]) -> None:
        for check in checks_of(data, accepted.CHECK):
            check["value"] = 1

    edit(bundle, loosen)
    assert any(
        "states 1, the record of this checkout gives 0" in problem
        for problem in verify(bundle, gates, SPECS).problems
    )


def lines(*checks: Check) -> list[str]:
    ids = {"a.most", "a.least", "a.equal", "throughput.card"}
    return [row.line for row in headroom_of(checks, ids)]


def test_headroom_is_proposed_from_the_worst_value() -> None:
    assert lines(at_most("a.most", 0.05, 1.0), at_most("a.most", 0.12, 1.0, unit="points")) == [
        "a.most: must be at most 1, worst 0.12 points: proposed 0.24"
    ]
    assert lines(at_most("a.most", 0.123, 1.0))[0].endswith("proposed 0.25")
    assert lines(at_most("a.most", 0.6, 1.0)) == ["a.most: must be at most 1, worst 0.6"]
    assert lines(at_most("a.most", 0.0, 1.0)) == ["a.most: must be at most 1, worst 0"]
    assert lines(at_most("a.most", 0.1, 1.0), at_most("a.most", 0.1, 2.0)) == []  # derived
    assert lines(at_most("other", 0.1, 1.0), equal("a.equal", 0, 0)) == []
    assert lines(at_most("a.most", 0.1, 1.0), at_most("a.most", 2.0, 1.0)) == []


def test_headroom_is_told_beside_places_that_are_held_to_no_bound() -> None:
    """An ordinary run: a variant that the model lacks is skipped, a figure that gates none kept."""
    held = at_least("a.least", 130.0, 100.0, coordinates={"batch": 1})
    left_out = skipped("a.least", SkipReason.NO_PUBLISHED_FIGURE, "none", batch=2)
    told = lines(held, left_out, recorded("a.least", 90.0, coordinates={"batch": 4}))
    assert told == ["a.least: must be at least 100, worst 130: proposed 120"]
    undecided = msgspec.structs.replace(held, status=Status.INCONCLUSIVE)
    for other in (undecided, msgspec.structs.replace(left_out, status=Status.BLOCKED)):
        assert lines(held, other) == []
    assert lines(left_out) == []


def test_a_bound_of_the_runs_own_figures_is_not_proposed_anew() -> None:
    made = at_least("throughput.pure", 1150.0, 970.0)
    assert headroom_of([made], ["throughput.pure"]) == ()


def test_headroom_never_enters_the_noise() -> None:
    card = at_least("throughput.card", 1000.0, 950.0, coordinates={"batch": 1})
    assert lines(card)[0].endswith("proposed 970")  # twice the least noise of 1.5 %
    noisy = recorded("throughput.spread", 2.0, coordinates={"batch": 1})
    assert lines(card, noisy)[0].endswith("proposed 960")
    noisier = recorded("throughput.spread", 3.0, coordinates={"batch": 1})
    assert "proposed" not in lines(card, noisier)[0]
    elsewhere = recorded("throughput.spread", 3.0, coordinates={"batch": 16})
    assert lines(card, elsewhere)[0].endswith("proposed 970")
