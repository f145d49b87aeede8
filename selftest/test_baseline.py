"""Baselines, acceptance, regressions, waivers and expected failures."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from pathlib import Path

import msgspec
import pytest

from conformance.__main__ import main
from conformance.check import Check, Status, equal, recorded
from conformance.errors import EvidenceError
from conformance.evidence.baseline import (
    Baseline,
    baseline_path,
    kept_figures,
    read_baseline,
)
from conformance.evidence.bundle import Evidence, MadeCheck
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.expected import read_expected, row_for, stale_rows
from conformance.evidence.gate import Requirement, read_gates
from conformance.evidence.regression import compare_with_baselines, regression_checks
from conformance.evidence.verdict import decide
from selftest.made_bundles import MODEL, SPECS, edit, make_bundle, relaxed_gates, restate
from selftest.made_suite import SECOND, Suite

TODAY = dt.datetime.now(dt.UTC).date()
NEXT_MONTH = str(TODAY + dt.timedelta(days=30))
WAIVER = """
[[waivers]]
id = "throughput.card"
reason = "new driver"
owner = "release team"
expires = {expires}
"""


class Shelf:
    """Baselines in a folder, and the command that accepts into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.gates_file = relaxed_gates(folder)
        self.gates = read_gates(self.gates_file)
        self.path = folder / "baselines/device/Ascend310" / f"{MODEL}.json"

    def bundle(self, name: str, **options: object) -> Path:
        return make_bundle(self.folder / name, self.gates, **options)  # type: ignore[arg-type]  # each test gives what it is about

    def accept(self, bundle: Path, *options: str) -> int:
        words = ["accept", str(bundle), f"--gates={self.gates_file}", *options]
        return main([*words, f"--baselines={self.folder / 'baselines'}"])

    def waivers(self, expires: str, text: str = WAIVER) -> str:
        path = self.folder / "waivers.toml"
        path.write_text(text.format(expires=expires))
        return f"--waivers={path}"

    def read(self) -> Baseline:
        found = read_baseline(self.path)
        assert found
        return found


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


def test_a_conformant_run_becomes_the_baseline(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shelf.accept(shelf.bundle("first")) == 0
    out = capsys.readouterr().out
    assert (
        "throughput.card [squeezenet1_1 batch=1 variant=float32 tuned=no]: 10000 fps (new)" in out
    )
    baseline = shelf.read()
    assert (baseline.board, baseline.soc_version) == ("device", "Ascend310")
    assert baseline.versions["cann"] == "8.0.0"
    rows = (row for row in shelf.gates.checks if row.baseline and "release" in row.gates)
    assert {figure.id for figure in baseline.figures} == {i for row in rows for i in row.ids}
    assert shelf.accept(shelf.bundle("faster", fps=11_000.0)) == 0
    assert "10000 -> 11000 fps (+10.00 %)" in capsys.readouterr().out


def test_a_lower_figure_needs_a_waiver(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    assert shelf.accept(shelf.bundle("first")) == 0
    before = shelf.path.read_bytes()
    slower = shelf.bundle("slower", fps=9_800.0)
    assert shelf.accept(slower) == 2
    assert "10000 before, 9800 now" in capsys.readouterr().err
    assert shelf.accept(slower, shelf.waivers("2020-01-01")) == 2  # expired
    assert shelf.accept(slower, shelf.waivers(NEXT_MONTH)) == 2  # the recorded figures too
    assert shelf.path.read_bytes() == before
    both = WAIVER + WAIVER.replace("throughput.card", "throughput.chip")
    assert shelf.accept(slower, shelf.waivers(NEXT_MONTH, both)) == 0
    assert f"waived until {NEXT_MONTH}: throughput.card, new driver" in capsys.readouterr().out
    assert {waiver.owner for waiver in shelf.read().waivers} == {"release team"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('"new driver"', '" "'), "the waivers cannot be read"),
        (('"release team"', '" . "'), "the waivers cannot be read"),
        (("expires = ", "expires = 9999-12-31 #"), "a waiver would last too long"),
        (("expires = ", f"expires = {TODAY + dt.timedelta(days=367)} #"), "at the latest"),
    ],
)
def test_a_waiver_says_why_and_ends_within_a_year(
    shelf: Shelf, capsys: pytest.CaptureFixture[str], change: tuple[str, str], told: str
) -> None:
    assert shelf.accept(shelf.bundle("first")) == 0
    both = WAIVER + WAIVER.replace("throughput.card", "throughput.chip")
    option = shelf.waivers(NEXT_MONTH, both.replace(*change))
    slower = shelf.bundle("slower", fps=9_800.0)
    assert shelf.accept(slower, option) == 2
    assert told in capsys.readouterr().err
    longest = str(TODAY + dt.timedelta(days=366))
    assert shelf.accept(slower, shelf.waivers(longest, both)) == 0


def test_a_kept_figure_keeps_where_it_was_measured(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run's name never stands beside a figure that it did not measure."""
    first = shelf.bundle("first", fps=11_000.0, cann="8.0.0")
    measured = read_evidence(first).run
    assert shelf.accept(first) == 0
    for name, fps in (("second", 10_990.0), ("third", 10_980.0)):
        capsys.readouterr()
        assert shelf.accept(shelf.bundle(name, fps=fps, cann="8.1.0")) == 0
        out = capsys.readouterr().out
        assert f"11000 -> {fps:g} fps (-0." in out
        assert f"within the noise, 11000 of run {measured} stays" in out
    baseline = shelf.read()
    card = next(f for f in baseline.figures if f.id == "throughput.card")
    origin = baseline.origin_of(card)
    assert (card.value, origin.run, origin.versions["cann"]) == (11_000.0, measured, "8.0.0")
    assert baseline.run != measured
    assert baseline.versions["cann"] == "8.1.0"
    compared = compare_with_baselines(
        read_evidence(first),
        gates_file=shelf.gates_file,
        baselines=shelf.folder / "baselines",
        models=[MODEL],
    )
    assert {a.run for a in compared.accepted if a.id == "throughput.card"} == {measured}
    (source, *_) = [c.source for c in compared.checks if c.id == "regression.throughput.card"]
    assert f"run {measured}: 11000" in source
    assert shelf.accept(shelf.bundle("better", fps=12_000.0)) == 0
    assert all(f.origin is None for f in shelf.read().figures if f.id == "throughput.card")


def test_noise_is_no_loss(shelf: Shelf) -> None:
    assert shelf.accept(shelf.bundle("first")) == 0
    assert shelf.accept(shelf.bundle("noisy", fps=9_900.0)) == 0
    # Else a few of them would take the baseline down step by step.
    assert {f.value for f in shelf.read().figures if f.id == "throughput.card"} == {10_000.0}


def test_a_figure_cannot_be_left_out(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    assert shelf.accept(shelf.bundle("first")) == 0

    def untuned(demand: Requirement) -> bool:
        return demand.id != "throughput.card"

    bundle = shelf.bundle("less", gate="board", wanted=untuned)
    assert shelf.accept(bundle) == 2  # not conformant
    assert "only a conformant run" in capsys.readouterr().err
    assert shelf.accept(shelf.bundle("board", gate="board")) == 2
    assert "not measured now" in capsys.readouterr().err


def test_only_runs_on_a_board_are_accepted(shelf: Shelf) -> None:
    emulated = shelf.bundle("emulated", gate="rehearsal", board="emulated")
    assert shelf.accept(emulated) == 0
    assert (shelf.folder / f"baselines/emulated/Ascend310/{MODEL}.json").exists()
    assert not shelf.path.exists()
    with pytest.raises(EvidenceError, match="no baseline for such a run"):
        baseline_path(shelf.folder, "none", "", MODEL)
    with pytest.raises(EvidenceError, match="no baseline for such a run"):
        baseline_path(shelf.folder, "device", "../..", MODEL)


@pytest.mark.parametrize("gate", ["host", "rehearsal"])
def test_a_device_baseline_needs_a_gate_that_asks_for_a_device(
    shelf: Shelf, capsys: pytest.CaptureFixture[str], gate: str
) -> None:
    """A gate that does not require a figure has not decided that it may be relied upon."""
    run = shelf.bundle("first")
    evidence = read_evidence(run)
    decision = decide([evidence], shelf.gates, gate, SPECS)
    assert decision.verdict == "CONFORMANT"
    edit(run, lambda data: data.update(decision=msgspec.to_builtins(decision)))
    restate(run)
    assert shelf.accept(run) == 2
    told = capsys.readouterr().err
    assert "the run's gate does not cover what a baseline keeps" in told
    assert f"got: gate {gate} on a board of class device" in told
    assert "next: run with --gate=board or --gate=release" in told
    assert not shelf.path.exists()


def test_an_edited_bundle_is_not_accepted(shelf: Shelf) -> None:
    bundle = shelf.bundle("first")
    (bundle / "logs/atc-bs16.txt").write_text("other")
    assert shelf.accept(bundle) == 2


@pytest.mark.parametrize("content", ["", "{}", '{"model": 1}', "[]", "\x00"])
def test_a_damaged_baseline_is_refused(shelf: Shelf, content: str) -> None:
    shelf.path.parent.mkdir(parents=True)
    shelf.path.write_text(content)
    with pytest.raises(EvidenceError, match="baseline cannot be read"):
        read_baseline(shelf.path)
    bundle = shelf.bundle("first")
    assert shelf.accept(bundle) == 2
    shelf.path.unlink()  # as the message says
    assert shelf.accept(bundle) == 0


def test_the_messages_about_a_baseline_are_about_a_baseline(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = shelf.bundle("first")
    shelf.path.mkdir(parents=True)
    assert shelf.accept(bundle) == 2
    told = capsys.readouterr().err
    assert "the baseline cannot be read" in told
    assert "no regular file" in told
    assert "remove it and accept a run again" in told
    assert "bundle" not in told
    shelf.path.rmdir()
    words = ["accept", str(bundle), f"--gates={shelf.gates_file}"]
    assert main([*words, f"--baselines={shelf.gates_file}"]) == 2  # a file, no folder
    told = capsys.readouterr().err
    assert "the baseline cannot be written" in told
    assert "--baselines=DIR" in told
    assert "evidence" not in told


def test_a_moved_baseline_is_refused(shelf: Shelf) -> None:
    assert shelf.accept(shelf.bundle("first")) == 0
    moved = shelf.path.parent.parent / "Ascend310P3" / shelf.path.name
    moved.parent.mkdir()
    shelf.path.rename(moved)
    with pytest.raises(EvidenceError, match="something else"):
        read_baseline(moved)


@pytest.mark.parametrize(
    ("fps", "status"), [(9_860.0, Status.PASS), (9_840.0, Status.FAIL), (12_000.0, Status.PASS)]
)
def test_a_run_is_compared_within_its_noise(shelf: Shelf, fps: float, status: Status) -> None:
    assert shelf.accept(shelf.bundle("first")) == 0
    run = read_evidence(shelf.bundle("next", fps=fps))
    checks = regression_checks(
        kept_figures(run.checks, shelf.gates, MODEL), shelf.read(), shelf.gates
    )
    card = [check for check in checks if check.id == "regression.throughput.card"]
    assert {check.status for check in card} == {status}
    assert "pytest 'tests/test_made.py" in card[0].hint


def with_spread(run: Evidence, pct: float, **place: int) -> Evidence:
    """The run with a check ``throughput.spread`` besides."""
    coordinates: dict[str, str | int] = {"model": MODEL, **place}
    check = recorded("throughput.spread", pct, unit="%", coordinates=coordinates)
    return msgspec.structs.replace(
        run, checks=(*run.checks, MadeCheck(test="t", seconds=0.0, check=check))
    )


def test_a_stated_spread_widens_the_noise(shelf: Shelf) -> None:
    """Two spreads between two runs; what is stated for another batch size does not count."""
    gates = shelf.gates
    steady = read_evidence(shelf.bundle("first"))
    noisy = with_spread(with_spread(steady, 3.0, batch=1), 9.0, batch=99)
    figures = kept_figures(noisy.checks, gates, MODEL)
    card = next(f for f in figures if f.id == "throughput.card" and f.coordinates["batch"] == 1)
    assert card.spread_pct == 3.0
    assert card.bound(1.5) == pytest.approx(9_400)
    assert card.bound(1.5, 0.0) == pytest.approx(10_000 * (1 - 0.06 / 2**0.5))
    assert card.bound(50.0) == pytest.approx(5_000)
    other = next(f for f in figures if f.id == "throughput.card" and f.coordinates["batch"] == 16)
    assert other.bound(1.5) == pytest.approx(9_850)
    assert shelf.accept(shelf.bundle("base")) == 0
    slow = read_evidence(shelf.bundle("slow", fps=9_650.0))
    for run, status in ((slow, Status.FAIL), (with_spread(slow, 3.0), Status.PASS)):
        found = regression_checks(kept_figures(run.checks, gates, MODEL), shelf.read(), gates)
        card_checks = [check for check in found if check.id == "regression.throughput.card"]
        assert {check.status for check in card_checks} == {status}


def test_a_flip_outside_the_margin_and_a_failed_figure_are_regressions(shelf: Shelf) -> None:
    assert shelf.accept(shelf.bundle("first")) == 0

    def spoil(check: Check) -> Check:
        if check.id == "agreement.decisions":
            return equal(check.id, 2, 0, coordinates=check.coordinates)
        return check

    run = read_evidence(shelf.bundle("flipped", alter=spoil, fps=3_000.0))
    found = regression_checks(
        kept_figures(run.checks, shelf.gates, MODEL), shelf.read(), shelf.gates
    )
    flips = [check for check in found if check.id == "regression.agreement.decisions"]
    card = [check for check in found if check.id == "regression.throughput.card"]
    assert {(check.status, check.bound) for check in flips} == {(Status.FAIL, 0)}
    assert "pytest 'tests/test_made.py" in flips[0].hint
    assert {check.status for check in card} == {Status.FAIL}


def test_a_missing_baseline_is_said(shelf: Shelf) -> None:
    run = read_evidence(shelf.bundle("first"))
    compared = compare_with_baselines(
        run, gates_file=shelf.gates_file, baselines=shelf.folder / "none", models=[MODEL]
    )
    assert compared.notes == [f"no baseline for device/Ascend310/{MODEL}"]
    assert not compared.records


FIGURE = """
import pytest
from conformance.check import at_least
from conformance.evidence.facts import record_board, record_class

@pytest.mark.states("made.second")
def test_second(claim, model, run):
    record_board(run.folder, "Ascend310", ["0:0"])
    record_class(run.folder, "board", "emulated", {"marked": "npu-smi"})
    claim(at_least("made.second", VALUE, 50, unit="fps"))
"""


def test_every_run_is_compared_with_its_baseline(tmp_path: Path) -> None:
    suite = Suite(tmp_path / "checkout")
    gates = suite.folder / "gates.toml"
    row = '[[checks]]\nids = ["made.second"]\ngates = ["host"]\nbaseline = "higher"\n'
    gates.write_text(gates.read_text().replace(', "made.second"', "") + row)
    suite.second(FIGURE, value=100)
    first = suite.run()
    assert first.status == 0
    assert "no baseline for emulated/Ascend310/squeezenet1_1" in first.output
    words = ["accept", str(first.bundle), f"--gates={gates}"]
    assert main([*words, f"--baselines={suite.folder / 'baselines'}"]) == 0
    assert suite.run().status == 0
    suite.second(FIGURE, value=90)
    slower = suite.run("-n", "2")
    assert slower.status == 10
    assert "FAIL: regression.made.second" in slower.output
    _demand_one_story(slower.output)
    assert slower.last.startswith("NOT CONFORMANT")
    quiet = suite.run("-q")
    _demand_one_story(quiet.output)
    assert quiet.last.startswith("NOT CONFORMANT")
    alone = suite.run(gate="")
    assert alone.status == 1
    _demand_one_story(alone.output)
    unseen = suite.run("-p", "no:terminal")
    assert (unseen.status, unseen.last) == (10, slower.last)
    assert "FAIL: regression.made.second" in unseen.output
    suite.second(FIGURE, value=100)
    path = next((suite.folder / "baselines").rglob("*.json"))
    path.write_text("{")
    damaged = suite.run()
    assert damaged.status == 12
    assert "baseline cannot be read" in damaged.output


def test_a_regression_is_found_again_by_its_own_hint(tmp_path: Path) -> None:
    """The command names the run's options: without them it would measure something else."""
    suite = Suite(tmp_path / "checkout")
    gates = suite.folder / "gates.toml"
    row = '[[checks]]\nids = ["made.second"]\ngates = ["host"]\nbaseline = "higher"\n'
    gates.write_text(gates.read_text().replace(', "made.second"', "") + row)
    sample_only = FIGURE.replace(
        "    record_board", "    if run.config.weights != 'sample': return\n    record_board", 1
    )
    suite.second(sample_only, value=100)
    first = suite.run("--weights=sample")
    words = ["accept", str(first.bundle), f"--gates={gates}"]
    assert main([*words, f"--baselines={suite.folder / 'baselines'}"]) == 0
    suite.second(sample_only, value=90)
    slower = suite.run("--weights=sample", gate="")
    assert slower.status == 1
    (hint, *_) = re.findall(r"measure again: pytest (.*)", slower.output)
    words = shlex.split(hint)
    assert "--weights=sample" in words
    again = suite.run(*words, gate="")
    assert "FAIL: regression.made.second" in again.output
    assert again.status == 1


def _demand_one_story(output: str) -> None:
    """A regression is in the table, among the counted checks, and among the counted tests."""
    (row,) = re.findall(r"^regression\.made\.second +(\S+) +(\S+)", output, re.MULTILINE)
    assert row == ("0/1", "FAIL")
    assert re.search(r"^checks: 4 PASS, 1 FAIL ", output, re.MULTILINE)
    assert re.search(r"\b1 failed, 4 passed\b", output)
    assert "FAILED baselines::comparison - FAIL: regression.made.second" in output
    assert output.index("checks: ") < output.index("1 failed, 4 passed")


ROW = """
[[failures]]
id = "made.second"
reason = "known"
link = "https://example.org/1"
expires = {expires}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    made = Suite(tmp_path / "checkout")
    (made.folder / "expected_failures.toml").write_text(ROW.format(expires="2999-01-01"))
    made.second(SECOND, value=2)
    return made


def test_an_expected_failure_keeps_the_run_green(suite: Suite) -> None:
    ended = suite.run("-n", "2", gate="")
    assert ended.status == 0
    assert "1 xfailed" in ended.output
    assert [m.check.status for m in ended.read().checks if m.check.id == "made.second"] == ["FAIL"]


def test_an_expected_failure_that_holds_is_red(suite: Suite) -> None:
    suite.second(SECOND, value=1)
    ended = suite.run(gate="")
    assert ended.status == 1
    assert "expected to fail, and holds" in ended.output
    assert suite.run().status == 11


def test_a_crash_is_never_expected(suite: Suite) -> None:
    suite.second(SECOND.replace("claim(", "raise OSError('gone'); claim("))
    assert suite.run(gate="").status == 1


def test_an_expired_row_counts_no_more(suite: Suite) -> None:
    (suite.folder / "expected_failures.toml").write_text(ROW.format(expires="2020-01-01"))
    ended = suite.run(gate="")
    assert ended.status == 1
    assert "stale row of expected_failures.toml: expired" in ended.output


def test_a_stale_row_is_reported_on_full_runs(suite: Suite) -> None:
    rows = ROW.format(expires="2999-01-01") + ROW.replace("second", "gone").format(
        expires="2999-01-01"
    )
    (suite.folder / "expected_failures.toml").write_text(rows)
    assert "names no check: made.gone" in suite.run(gate="").output
    assert "stale row" not in suite.run("-k", "second", gate="").output


def test_a_row_about_what_the_run_left_out_is_not_stale(suite: Suite) -> None:
    """`--batch=1` makes no check of batch 16, so that a row for it says nothing yet."""
    rows = ROW.replace("second", "gone").format(expires="2999-01-01")
    (suite.folder / "expected_failures.toml").write_text(rows + "coordinates = {batch = 16}\n")
    assert "stale row" not in suite.run("--batch=1", gate="").output
    assert "names no check: made.gone" in suite.run("--batch=32,16,8,4,1", gate="").output
    suite.add_plugin("""
import fixtures.expected
fixtures.expected.model_names = lambda: ("other", "squeezenet1_1")
""")
    assert "stale row" not in suite.run("--model=squeezenet1_1", gate="").output


def test_other_failures_are_not_covered(suite: Suite) -> None:
    rows = ROW.format(expires="2999-01-01") + 'coordinates = {model = "other"}\n'
    (suite.folder / "expected_failures.toml").write_text(rows)
    assert suite.run(gate="").status == 1


@pytest.mark.parametrize(
    "text",
    [
        "[[failures]]\n",
        ROW.format(expires='"soon"'),
        ROW.format(expires="2999-01-01").replace("https", "file"),
        ROW.format(expires="2999-01-01") + "speed = 1\n",
        "failures = 1",
        "[[",
    ],
)
def test_damaged_rows_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "expected_failures.toml"
    path.write_text(text)
    with pytest.raises(EvidenceError, match="expected failures cannot be read"):
        read_expected(path)


def test_damaged_rows_are_a_usage_error(suite: Suite) -> None:
    (suite.folder / "expected_failures.toml").write_text("[[")
    assert suite.run(gate="").status == 4


def test_rows_hold_to_their_last_day(tmp_path: Path) -> None:
    path = tmp_path / "expected_failures.toml"
    path.write_text(ROW.format(expires="2026-05-01"))
    rows = read_expected(path)
    check = equal("made.second", 1, 2)
    last, after = dt.date(2026, 5, 1), dt.date(2026, 5, 2)
    assert row_for(check, rows, last)
    assert row_for(check, rows, after) is None
    assert stale_rows(rows, [check], last) == []
    assert stale_rows(rows, [check], after)[0].startswith("expired")
