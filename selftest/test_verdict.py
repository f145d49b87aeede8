"""Verdicts: what a gate makes of checks, classes and several runs on one subject."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from conformance.__main__ import main
from conformance.check import Check, Direction, Status
from conformance.errors import EvidenceError
from conformance.evidence.bundle import Evidence
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.gate import GATES_FILE, Gates, Requirement, read_gates, required
from conformance.evidence.joining import demand_one_subject
from conformance.evidence.verdict import Verdict, decide
from selftest.made_bundles import MODEL, SPECS, load_gates, make_bundle, relaxed_gates

Wanted = Callable[[Requirement], bool]


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return load_gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Evidence:
    return read_evidence(make_bundle(tmp_path_factory.mktemp("good"), gates))


def altered(evidence: Evidence, check_id: str, **fields: object) -> Evidence:
    """The evidence with one check of that id changed."""
    place = next(n for n, made in enumerate(evidence.checks) if made.check.id == check_id)
    checks = list(evidence.checks)
    check = msgspec.structs.replace(checks[place].check, **fields)
    checks[place] = msgspec.structs.replace(checks[place], check=check)
    return msgspec.structs.replace(evidence, checks=tuple(checks))


def reclassed(evidence: Evidence, part: str, value: str) -> Evidence:
    classes = tuple(
        msgspec.structs.replace(found, value=value) if found.part == part else found
        for found in evidence.classes
    )
    checks = tuple(
        msgspec.structs.replace(
            made,
            check=msgspec.structs.replace(
                made.check,
                classes={p: value if p == part else v for p, v in made.check.classes.items()},
            ),
        )
        for made in evidence.checks
    )
    return msgspec.structs.replace(evidence, classes=classes, checks=checks)


@pytest.mark.parametrize(
    ("status", "verdict", "exit_status"),
    [
        (Status.PASS, Verdict.CONFORMANT, 0),
        (Status.FAIL, Verdict.NOT_CONFORMANT, 10),
        (Status.ERROR, Verdict.INSUFFICIENT, 11),
        (Status.BLOCKED, Verdict.INSUFFICIENT, 11),
        (Status.INCONCLUSIVE, Verdict.INSUFFICIENT, 11),
        (Status.SKIP, Verdict.INSUFFICIENT, 11),
    ],
)
def test_each_status(
    good: Evidence, gates: Gates, status: Status, verdict: Verdict, exit_status: int
) -> None:
    decision = decide([altered(good, "agreement.flips", status=status)], gates, "release", SPECS)
    assert decision.verdict == verdict
    assert Verdict(decision.verdict).exit_status == exit_status
    if status is not Status.PASS:
        assert any(f"{status}: agreement.flips [" in reason for reason in decision.reasons)


def test_the_worst_of_repeated_checks_wins(good: Evidence, gates: Gates) -> None:
    failed = altered(good, "agreement.flips", status=Status.FAIL)
    healed = msgspec.structs.replace(failed, checks=failed.checks + good.checks)
    assert decide([healed], gates, "release", SPECS).verdict == Verdict.NOT_CONFORMANT


@pytest.mark.parametrize(
    "check_id", sorted({r.id for r in required(read_gates(), "release", SPECS)})
)
def test_every_required_check_is_missed(good: Evidence, gates: Gates, check_id: str) -> None:
    checks = tuple(made for made in good.checks if made.check.id != check_id)
    left = msgspec.structs.replace(good, checks=checks)
    decision = decide([left], gates, "release", SPECS)
    assert decision.verdict == Verdict.INSUFFICIENT
    assert decision.reasons[0].startswith(f"missing: {check_id} [{MODEL}")


@pytest.mark.parametrize(
    ("of_one_om", "missing"),
    [(False, "[squeezenet1_1]"), (True, "[squeezenet1_1 batch=1 variant=float32 tuned=no]")],
)
def test_a_check_of_one_om_does_not_stand_for_one_of_the_model(
    good: Evidence, gates: Gates, of_one_om: bool, missing: str
) -> None:
    checks = tuple(
        made
        for made in good.checks
        if made.check.id != "input.digest" or ("batch" in made.check.coordinates) != of_one_om
    )
    decision = decide([msgspec.structs.replace(good, checks=checks)], gates, "release", SPECS)
    assert decision.verdict == Verdict.INSUFFICIENT
    assert decision.reasons[0].startswith(f"missing: input.digest {missing}")


def test_two_rows_may_not_ask_for_a_check_at_the_same_places(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    text = GATES_FILE.read_text("utf-8")
    path.write_text(text.replace('ids = ["om.images"]', 'ids = ["om.images", "input.digest"]'))
    with pytest.raises(EvidenceError, match=r"input\.digest in more than one row"):
        read_gates(path)


def test_a_model_left_out_is_missed(good: Evidence, gates: Gates) -> None:
    two = msgspec.structs.replace(gates, models=(MODEL, "other"))
    specs = SPECS | {"other": SPECS[MODEL]}
    decision = decide([good], two, "release", specs)
    assert decision.verdict == Verdict.INSUFFICIENT
    assert all("[other" in r for r in decision.reasons if r.startswith("missing"))


def test_a_batch_size_left_out_is_missed(good: Evidence, gates: Gates) -> None:
    checks = tuple(m for m in good.checks if m.check.coordinates.get("batch") != 16)
    decision = decide([msgspec.structs.replace(good, checks=checks)], gates, "release", SPECS)
    assert decision.verdict == Verdict.INSUFFICIENT
    assert (
        "missing: throughput.card [squeezenet1_1 batch=16 variant=float32 tuned=yes]"
        in decision.reasons
    )


@pytest.mark.parametrize(
    ("part", "value", "gates_that_take_it"),
    [
        ("weights", "published", {"host", "rehearsal", "board", "release"}),
        ("weights", "custom", {"host", "rehearsal", "board"}),
        ("weights", "sample", {"host", "rehearsal"}),
        ("weights", "made up", set()),
        ("images", "full", {"host", "rehearsal", "board", "release"}),
        ("images", "sample", {"host", "rehearsal"}),
        ("board", "device", {"host", "rehearsal", "board", "release"}),
        ("board", "unverified", {"host"}),
        ("board", "emulated", {"host", "rehearsal"}),
    ],
)
def test_classes(
    good: Evidence, gates: Gates, part: str, value: str, gates_that_take_it: set[str]
) -> None:
    evidence = reclassed(good, part, value)
    for gate in gates.gates:
        decision = decide([evidence], gates, gate, SPECS)
        taken = decision.verdict == Verdict.CONFORMANT
        assert taken == (gate in gates_that_take_it), (gate, decision.reasons)
        assert f"{part}={value}" in decision.line


def test_only_a_release_is_release_evidence(good: Evidence, gates: Gates) -> None:
    lines = {gate: decide([good], gates, gate, SPECS).line for gate in gates.gates}
    assert lines["release"] == "CONFORMANT release [weights=published images=subset board=device]"
    assert lines["rehearsal"].endswith("board=device] NOT RELEASE EVIDENCE")
    emulated = reclassed(good, "board", "emulated")
    assert decide([emulated], gates, "rehearsal", SPECS).line == (
        "CONFORMANT rehearsal [weights=published images=subset board=emulated] NOT RELEASE EVIDENCE"
    )


def test_a_subset_is_no_release(good: Evidence) -> None:
    decision = decide([good], read_gates(), "release", SPECS)
    assert decision.verdict == Verdict.INSUFFICIENT
    assert any(
        reason.startswith("wrong class: images=subset under ") for reason in decision.reasons
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"value": 5}, "PASS against its own bound: export.weights"),
        ({"value": 5, "bound": 5}, "compared with another bound than 0: export.weights"),
        ({"direction": Direction.RECORDED}, "recorded without a bound: export.weights"),
        ({"coordinates": {"model": "other"}}, "missing: export.weights"),
    ],
)
def test_a_pass_that_proves_nothing(
    good: Evidence, gates: Gates, fields: dict[str, object], reason: str
) -> None:
    decision = decide([altered(good, "export.weights", **fields)], gates, "release", SPECS)
    assert decision.verdict == Verdict.INSUFFICIENT
    assert any(found.startswith(reason) for found in decision.reasons)


def test_interruptions_and_contradictions_are_reasons(good: Evidence, gates: Gates) -> None:
    for change in ({"interrupted": "SIGTERM"}, {"conflicts": ("digest of om changed",)}):
        evidence = msgspec.structs.replace(good, **change)
        assert decide([evidence], gates, "release", SPECS).verdict == Verdict.INSUFFICIENT


def test_a_check_that_no_gate_requires_can_fail_it(good: Evidence, gates: Gates) -> None:
    extra = msgspec.structs.replace(
        good.checks[0], check=Check(id="regression.throughput.card", status=Status.FAIL)
    )
    evidence = msgspec.structs.replace(good, checks=(*good.checks, extra))
    assert decide([evidence], gates, "release", SPECS).verdict == Verdict.NOT_CONFORMANT


def test_what_a_soc_must_show() -> None:
    gates = read_gates()

    def figures(gate: str, soc: str) -> list[str]:
        found = required(gates, gate, SPECS, soc)
        return [demand.place for demand in found if demand.id == "throughput.card"]

    first = f"{MODEL} batch=1 variant=float32 tuned=no"
    tuned = f"{MODEL} batch=16 variant=float32 tuned=yes"
    assert figures("release", "Ascend310") == [first, tuned]
    assert figures("board", "Ascend310") == [first]
    assert figures("release", "Ascend310P3") == [f"{MODEL} batch=8 variant=aipp tuned=no"]
    assert figures("board", "Ascend310B1") == [f"{MODEL} batch=4 variant=aipp tuned=no"]
    nowhere = f"{MODEL}, each gated figure of the SoC: "
    assert figures("board", "Ascend910B4") == [f"{nowhere}none is published for Ascend910B4"]
    assert figures("board", "") == [f"{nowhere}SoC unknown"]


def test_every_check_that_decides_is_compared_in_one_way() -> None:
    rows = [row for row in read_gates().checks if row.decides and row.gates]
    assert len(rows) > 10
    assert [row.ids for row in rows if not row.must_be] == []


def test_tuned_models_are_held_to_every_claim_where_a_gate_wants_them() -> None:
    def places(gate: str, soc: str) -> list[str]:
        found = required(read_gates(), gate, SPECS, soc)
        return [demand.place for demand in found if demand.id == "agreement.scores"]

    tuned = f"{MODEL} batch=16 variant=float32 tuned=yes"
    assert places("board", "Ascend310") == [
        f"{MODEL} batch={n} variant={variant} tuned=no"
        for variant in ("float32", "aipp")
        for n in (1, 16)
    ]
    assert tuned in places("release", "Ascend310")
    assert tuned in places("release", "")
    assert tuned not in places("release", "Ascend310P3")


@pytest.mark.parametrize("soc", ["", "Ascend310", "Ascend310P3", "Ascend910B4"])
@pytest.mark.parametrize("gate", ["rehearsal", "board", "release"])
def test_every_claim_about_an_om_names_which(gate: str, soc: str) -> None:
    """Whatever a requirement leaves open, another model of that batch size could answer for."""
    for demand in required(read_gates(), gate, SPECS, soc):
        if "board" in demand.row.rests_on and not demand.unknown:
            assert {"batch", "variant", "tuned"} <= demand.coordinates.keys(), demand.label
        elif "board" not in demand.row.rests_on:
            assert not {"variant", "tuned"} & demand.coordinates.keys(), demand.label


@pytest.mark.parametrize("variant", ["float32", "aipp"])
def test_a_variant_left_out_is_missed(good: Evidence, gates: Gates, variant: str) -> None:
    checks = tuple(
        made
        for made in good.checks
        if not made.check.id.startswith("agreement.")
        or made.check.coordinates.get("variant") != variant
    )
    decision = decide([msgspec.structs.replace(good, checks=checks)], gates, "release", SPECS)
    assert decision.verdict == Verdict.INSUFFICIENT
    place = f"[{MODEL} batch=1 variant={variant} tuned=no]"
    assert any(r.startswith(f"missing: agreement.scores {place}") for r in decision.reasons)


def test_the_variant_that_is_timed_is_the_published_ones() -> None:
    def variants(check_id: str, soc: str) -> set[object]:
        demands = required(read_gates(), "release", SPECS, soc)
        return {d.coordinates["variant"] for d in demands if d.id == check_id}

    assert variants("throughput.chip", "Ascend310") == {"float32"}
    assert variants("throughput.chip", "Ascend310P3") == {"aipp"}
    assert variants("throughput.chip", "Ascend910B4") == {"float32"}
    assert variants("accuracy.om.top1", "Ascend310P3") == {"float32"}


def test_nothing_meets_the_figures_of_an_unknown_soc(good: Evidence, gates: Gates) -> None:
    """Checks of throughput without a board prove nothing, however good they are."""
    evidence = msgspec.structs.replace(good, board=None)
    decision = decide([evidence], gates, "board", SPECS)
    assert decision.verdict == Verdict.INSUFFICIENT
    told = [reason for reason in decision.reasons if "throughput.card" in reason]
    missing = f"missing: throughput.card [{MODEL}, each gated figure of the SoC: SoC unknown]"
    assert told == [missing, *(waiver.line for waiver in good.waivers)]


def on_board(demand: Requirement) -> bool:
    return "board" in demand.row.rests_on


def off_board(demand: Requirement) -> bool:
    return not on_board(demand)


def test_host_and_board_runs_join(
    tmp_path: Path, gates: Gates, capsys: pytest.CaptureFixture[str]
) -> None:
    host = make_bundle(tmp_path / "host", gates, wanted=off_board, board="none")
    board = make_bundle(tmp_path / "board", gates, wanted=on_board)
    words = ["verdict", f"--gates={relaxed_gates(tmp_path)}"]
    assert main([*words, str(host)]) == 11
    assert main([*words, str(board)]) == 11
    assert main([*words, str(host), str(board)]) == 0
    said = capsys.readouterr().out
    assert "2 runs (different sets of images: 1) hold 196 images and 196 of them again" in said
    last = said.splitlines()[-1]
    assert last == "CONFORMANT release [weights=published images=subset board=device]"
    assert main(["report", *words[1:], str(host), str(board), "--no-thumbnails"]) == 0
    page = (tmp_path / "host+board.html").read_text("utf-8")
    assert ">CONFORMANT<" in page
    assert all(f"{read_evidence(run).run}" in page for run in (host, board))
    assert page.count("throughput.card") > 1
    assert "a real board" in page
    assert "no board took part" not in page
    assert main(["report", *words[1:], str(host), str(host)]) == 2
    assert "a run is given twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ({"weights": "f364aa15" + "1" * 56}, "weights of"),
        ({"cann": "7.0.0"}, "version of cann"),
        ({"soc": "Ascend310P3", "npu_smi": "| 0 310P3 | OK |\n"}, "SoC"),
    ],
)
def test_different_subjects_do_not_join(
    tmp_path: Path, gates: Gates, different: dict[str, str], said: str
) -> None:
    runs = [
        read_evidence(make_bundle(tmp_path / "host", gates, wanted=off_board)),
        read_evidence(make_bundle(tmp_path / "board", gates, wanted=on_board, **different)),  # type: ignore[arg-type]  # each value is text
    ]
    with pytest.raises(EvidenceError, match=said):
        demand_one_subject(runs, gates)


def test_one_run_is_not_two(good: Evidence, gates: Gates) -> None:
    with pytest.raises(EvidenceError, match="twice"):
        demand_one_subject([good, good], gates)


def test_a_run_without_digests_joins_nothing(good: Evidence, gates: Gates) -> None:
    left = {name: d for name, d in good.digests.items() if d.kind != "onnx_model"}
    other = msgspec.structs.replace(good, run="another", digests=left)
    with pytest.raises(EvidenceError, match="lacks the digest of its onnx_model"):
        demand_one_subject([good, other], gates)


def test_a_bundle_that_contradicts_itself_gets_no_verdict(
    tmp_path: Path, gates: Gates, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "bundle", gates)
    (bundle / "report.html").write_text("better")
    assert main(["verdict", str(bundle), f"--gates={relaxed_gates(tmp_path)}"]) == 2
    assert "report.html: added" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "models = []\n",
        'models = ["squeezenet1_1"]\nspeed = 1\n[gates]\n',
        'models = ["squeezenet1_1"]\nchecks = [{ids = ["a"], gates = ["none"]}]\n[gates]\n',
        'models = ["m"]\nchecks = [{ids = ["a", "a"], gates = []}]\n[gates]\n',
    ],
)
def test_damaged_gates_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(text)
    with pytest.raises(EvidenceError, match=r"gates\.toml"):
        read_gates(path)


def test_a_gate_that_requires_nothing_is_refused(gates: Gates) -> None:
    empty = msgspec.structs.replace(gates, checks=())
    with pytest.raises(EvidenceError, match="requires nothing"):
        required(empty, "host", SPECS)
