"""Bundles: what is written, what is left out, and what is refused when read."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.__main__ import main
from conformance.check import Check, Status, coordinate, equal, holds, recorded
from conformance.errors import EvidenceError
from conformance.evidence import facts
from conformance.evidence.bundle import EVIDENCE_FILE, PREDICTIONS_FILE, json_schema
from conformance.evidence.bundle_files import inside, read_evidence, write_whole
from conformance.evidence.facts import attach, gather, record_board, record_class, record_digest
from conformance.evidence.gate import Gates
from conformance.evidence.junit import junit_xml
from conformance.evidence.prediction_file import read_predictions
from conformance.evidence.record import CheckRecord, OutcomeRecord, append, as_read, read
from conformance.evidence.run_bundle import add_predictions, seal
from conformance.evidence.scrub import Scrubber, this_machine
from conformance.evidence.statement import PREDICATE_TYPE, STATEMENT_TYPE, read_statement
from conformance.evidence.verify import verify
from conformance.metrics.best import best_classes
from selftest.made_bundles import SPECS, edit, load_gates, make_bundle, restate

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return load_gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture
def bundle(tmp_path: Path, gates: Gates) -> Path:
    return make_bundle(tmp_path / "bundle", gates)


def test_the_published_schema_is_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert (ROOT / "docs/evidence.schema.json").read_text("utf-8") == capsys.readouterr().out


def test_the_schema_names_every_field_of_a_bundle(bundle: Path) -> None:
    data = json.loads((bundle / EVIDENCE_FILE).read_bytes())
    fields = json_schema()["$defs"]["Evidence"]["properties"]
    assert set(data) == set(fields)
    assert {c["id"] for c in (m["check"] for m in data["checks"])} >= {"export.opset"}


def test_a_bundle_reads_back(bundle: Path) -> None:
    evidence = read_evidence(bundle)
    assert evidence.decision
    assert evidence.board
    assert (bundle / evidence.board.npu_smi_after).is_file()
    assert evidence.versions["cann"] == "8.0.0"
    assert {found.name for found in evidence.predictions} == set(
        read_predictions(bundle / PREDICTIONS_FILE).sets
    )
    assert not (bundle / "predictions").exists()


def test_the_statement_is_in_totos(bundle: Path) -> None:
    data = json.loads((bundle / "statement.json").read_bytes())
    assert data["_type"] == STATEMENT_TYPE == "https://in-toto.io/Statement/v1"
    assert data["predicateType"] == PREDICATE_TYPE
    assert data["predicate"]["result"] == "PASSED"
    assert set(read_statement(bundle).digests) >= {
        EVIDENCE_FILE, PREDICTIONS_FILE, "checks.jsonl", "logs/atc-bs16.txt",
        "tested:squeezenet1_1/weights", "tested:om bs16",
    }  # fmt: skip


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def nan(path: Path) -> None:
    path.write_text(path.read_text().replace('"seconds": 0.5', '"seconds": NaN', 1))


def newer(path: Path) -> None:
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))


def million_checks(path: Path) -> None:
    data = json.loads(path.read_bytes())
    data["checks"] = data["checks"][:1] * 1_000_000
    path.write_text(json.dumps(data))


def many_small_checks(path: Path) -> None:
    data = json.loads(path.read_bytes())
    small = {"test": "t", "seconds": 0, "check": {"id": "a", "status": "PASS"}}
    data["checks"] = [small] * 100_001
    path.write_text(json.dumps(data))


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


DAMAGES: list[tuple[Callable[[Path], Any], str]] = [
    (truncate, "cannot be read"),
    (nan, "cannot be read"),
    (newer, "newer schema"),
    (million_checks, "cannot be read"),
    (many_small_checks, "more checks than any run makes"),
    (link, "cannot be read"),
    (Path.unlink, "the run was killed before it ended, so there is no verdict"),
    (lambda path: path.write_text(""), "cannot be read"),
    (lambda path: path.write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    (lambda path: path.write_text("[" * 100_000), "cannot be read"),
    (lambda path: path.write_text("{}"), "not evidence of this suite"),
    (lambda path: path.write_text('{"schema": "other", "schema_version": 9}'), "not evidence"),
    (lambda path: path.write_text(path.read_text().replace('"run"', '"ran"', 1)), "cannot be read"),
    (
        lambda path: path.write_text(
            path.read_text().replace('"status": "PASS"', '"status": "OK"')
        ),
        "cannot be read",
    ),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_damaged_evidence_is_refused(
    bundle: Path, damage: Callable[[Path], Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(bundle / EVIDENCE_FILE)
    start = time.perf_counter()
    with pytest.raises(EvidenceError, match=said):
        read_evidence(bundle)
    assert time.perf_counter() - start < 5
    assert main(["verify", str(bundle)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../other", "a/../../b", "", ".", "a//b", "a\0b", "~/x", "-x", "a/.ssh"],
)
def test_names_stay_in_the_bundle(tmp_path: Path, name: str) -> None:
    with pytest.raises(EvidenceError, match="leaves the bundle"):
        inside(tmp_path, name)
    with pytest.raises(EvidenceError, match="leaves the bundle"):
        attach(tmp_path, name, "text")


def test_links_do_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "board").symlink_to("/etc")
    with pytest.raises(EvidenceError, match="leaves the bundle"):
        inside(tmp_path, "board/hostname")


def npz(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return content.getvalue()


def npy(array: Any, **options: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, array, **options)
    return content.getvalue()


def promising(shape: str) -> bytes:
    """An array file whose header promises what is not there."""
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


NAMES = npy(np.frombuffer(b"a\0b", np.uint8))
LABELS = npy(np.zeros(2, "<i4"))
BEST = {"x/ids": npy(np.tile(np.arange(5, dtype="<i4"), (2, 1)))}
SCORES = {"x/scores": npy(np.zeros((2, 5), "<f4"))}
HOSTILE = {
    "truncated": npz(names=NAMES, labels=LABELS)[:-30],
    "empty": b"",
    "no labels": npz(names=NAMES),
    "a terabyte promised": npz(names=NAMES, labels=promising("(250000000000,)")),
    "negative shape": npz(names=NAMES, labels=promising("(-2,)")),
    "bomb": npz(names=NAMES, labels=LABELS, x=b"\0" * (600 * 1024 * 1024)),
    "pickle": npz(names=NAMES, labels=npy(np.array([{}, {}], object), allow_pickle=True)),
    "doubles": npz(names=NAMES, labels=npy(np.zeros(2))),
    "repeated image": npz(names=npy(np.frombuffer(b"a\0a", np.uint8)), labels=LABELS),
    "label missing": npz(names=NAMES, labels=npy(np.zeros(1, "<i4"))),
    "scores missing": npz(names=NAMES, labels=LABELS, **BEST),
    "rows missing": npz(
        names=NAMES, labels=LABELS, **BEST, **{"x/scores": npy(np.zeros((1, 5), "<f4"))}
    ),
    "nan": npz(
        names=NAMES, labels=LABELS, **BEST, **{"x/scores": npy(np.full((2, 5), np.nan, "<f4"))}
    ),
    "worst first": npz(
        names=NAMES, labels=LABELS, **BEST,
        **{"x/scores": npy(np.tile(np.arange(5, dtype="<f4"), (2, 1)))},
    ),
    "a class twice": npz(
        names=NAMES, labels=LABELS, **SCORES, **{"x/ids": npy(np.zeros((2, 5), "<i4"))}
    ),
    "columns first": npz(
        names=NAMES, labels=LABELS, **SCORES,
        **{"x/ids": npy(np.asfortranarray(np.tile(np.arange(5, dtype="<i4"), (2, 1))))},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_predictions_are_refused(bundle: Path, gates: Gates, name: str) -> None:
    (bundle / PREDICTIONS_FILE).write_bytes(HOSTILE[name])
    with pytest.raises(EvidenceError, match="the predictions cannot be read"):
        read_predictions(bundle / PREDICTIONS_FILE)
    restate(bundle)
    problems = verify(bundle, gates, SPECS).problems
    assert any("the predictions cannot be read" in problem for problem in problems)


def test_sound_predictions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    path.write_bytes(npz(names=NAMES, labels=LABELS, **BEST, **SCORES))
    held = read_predictions(path)
    assert held.names == ("a", "b")
    assert held.hits("x") == (2, 2, 2, 2, 2)


def test_of_equal_scores_the_lowest_class_is_first() -> None:
    best = best_classes(np.array([[1, 3, 3, 0, 3, 2]], np.float32))
    assert best.ids.tolist() == [[1, 2, 4, 5, 0]]
    assert best.scores.tolist() == [[3, 3, 3, 2, 1]]


def test_predictions_of_different_images_do_not_mix(bundle: Path) -> None:
    evidence = read_evidence(bundle)
    for name, image in (("torch", "a"), ("om bs1", "b")):
        add_predictions(
            bundle, name + " again", "torch", coordinates={}, names=[image],
            labels=np.zeros(1, np.int64), scores=np.zeros((1, 9)),
        )  # fmt: skip
    (bundle / facts.FACTS_FILE).write_bytes(
        b"".join((bundle / facts.FACTS_FILE).read_bytes().splitlines(keepends=True)[-2:])
    )
    with pytest.raises(EvidenceError, match="different images"):
        seal(bundle, evidence)


def test_workers_that_disagree_are_a_contradiction(tmp_path: Path) -> None:
    for sha256 in ("1" * 64, "1" * 64, "2" * 64):
        record_digest(tmp_path, "om bs1", "om_model", sha256)
    record_class(tmp_path, "board", "device", {})
    record_class(tmp_path, "board", "emulated", {})
    record_board(tmp_path, "Ascend310", ["0:0"])
    record_board(tmp_path, "Ascend310P3", ["0:0"])
    conflicts = gather(tmp_path).conflicts
    assert conflicts[:2] == [
        "digest of om bs1 changed during the run", "class of board changed during the run",
    ]  # fmt: skip
    assert conflicts[2].startswith("the board changed")


def test_a_damaged_fact_is_named(tmp_path: Path) -> None:
    record_digest(tmp_path, "om bs1", "om_model", "1" * 64)
    with (tmp_path / facts.FACTS_FILE).open("a") as stream:
        stream.write('{"fact": "nothing"}\n')
    with pytest.raises(EvidenceError, match="line: 2"):
        gather(tmp_path)


SECRETS = Scrubber({"buildbox7.corp.example"}, {"mallory", "root"}, "/data/people/mallory")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("on buildbox7 and BUILDBOX7.corp.example", "on [host] and [host]"),
        ("buildbox70 is another", "buildbox70 is another"),
        ("/data/people/mallory/x.pth", "~/x.pth"),
        ("/home/alice/x and /Users/bob/y", "/home/[user]/x and /Users/[user]/y"),
        ("user mallory, groups", "user [user], groups"),
        ("mallorys", "mallorys"),
        ("plog_mallory-1.log of buildbox7-eth0", "plog_[user]-1.log of [host]-eth0"),
        ("/root/datasets/imagenet", "/root/datasets/imagenet"),
        ("Serial Number            : 2102312NTA10K", "Serial Number            : [removed]"),
        ("| Serial Number : 21023 | OK |", "| Serial Number : [removed]| OK |"),
        ("VDie ID : 42C1 33F0 9A", "VDie ID : [removed]"),
        ("UUID: 7f-9a", "UUID: [removed]"),
        ("mac 00:1A:2b:3c:4d:5e here", "mac [removed] here"),
        ("0000:01:00.0 bus", "0000:01:00.0 bus"),
        ("Chip Count : 4", "Chip Count : 4"),
    ],
)
def test_names_and_serial_numbers_are_left_out(text: str, clean: str) -> None:
    assert SECRETS.text(text) == clean
    assert SECRETS.text(clean) == clean


def test_nothing_of_this_machine_is_in_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.evidence.record.this_machine", lambda: SECRETS)
    monkeypatch.setattr("conformance.evidence.facts.this_machine", lambda: SECRETS)
    text = "buildbox7 mallory Serial Number: 12345"
    check = equal("made.first", 1, 1, detail=text, source=text, coordinates={"model": "mallory"})
    append(tmp_path, CheckRecord("tests/test_made.py::test", check))
    append(tmp_path, OutcomeRecord("tests/test_made.py::test", Status.PASS, 0.1, text))
    attach(tmp_path, "logs/tool.txt", text)
    record_class(tmp_path, "weights", "custom", {"origin": text})
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"buildbox7" not in written
    assert b"12345" not in written
    assert written.count(b"mallory") == 1  # a coordinate is the suite's own word
    assert this_machine() is this_machine()


def test_a_record_is_kept_as_it_is_read(tmp_path: Path) -> None:
    record = CheckRecord("t", Check(id="a", status=Status.ERROR, value=float("nan")))
    append(tmp_path, record)
    assert read(tmp_path) == [as_read(record)]
    assert as_read(record) != record


def test_coordinates_are_text_or_numbers() -> None:
    assert [coordinate(v) for v in (True, False, 16, "x", 1.5)] == ["yes", "no", 16, "x", "1.5"]


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (equal("a", 1, 1), True),
        (equal("a", 1, 2), False),
        (recorded("a", 5), True),
        (Check(id="a", status=Status.PASS), True),
    ],
)
def test_holds_looks_at_the_numbers(check: Check, expected: bool) -> None:
    assert holds(check) is expected


def test_junit_counts_and_escapes(bundle: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        test = data["tests"][0] | {"status": "FAIL", "message": "<script>\x00\x1b[31m & more"}
        data["tests"][0] = test

    edit(bundle, change)
    suite = ET.fromstring(junit_xml(read_evidence(bundle)))[0]  # noqa: S314 - made here
    assert suite.attrib["failures"] == "1"
    assert "hostname" not in suite.attrib
    failure = suite[0].find("failure")
    assert failure is not None
    assert failure.text == "<script>  [31m & more"


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "evidence.json"
    write_whole(path, b"before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(EvidenceError, match="No space left"):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_verification_needs_no_torch(bundle: Path) -> None:
    blocked = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'onnx', 'onnxruntime', 'pytest']))"
    )
    code = f"{blocked}; from conformance.__main__ import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "verify", str(bundle)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert "verified in" in done.stdout, done.stderr
