"""Bundles whose files contradict each other, or say more or less than a run writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec

from conformance.check import Status
from conformance.evidence.bundle import EVIDENCE_FILE, STATEMENT_FILE
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.facts import FACTS_FILE
from conformance.evidence.gate import Gates
from conformance.evidence.record import ARTIFACTS_FILE, CHECKS_FILE
from selftest.forgeries import Data, Tampering, editing, forging, set_class
from selftest.made_bundles import decide_again, edit, restate, rewrite_facts, rewrite_records


def set_outcomes(status: Status) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        for test in data["tests"]:
            test["status"] = status.value

    return change


def tell_otherwise(data: Data) -> None:
    data["tests"][0].update(seconds=0.01, message="all good")


def take_otherwise(data: Data) -> None:
    data["checks"][0]["seconds"] = 123.0


def only_in_evidence(change: Callable[[Data], None]) -> Callable[[Path, Gates, Path], None]:
    """Edit the evidence and JUnit's file, and leave the records as they were appended."""

    def do(folder: Path, _gates: Gates, _other: Path) -> None:
        records = (folder / CHECKS_FILE).read_bytes()
        edit(folder, change)
        rewrite_records(folder)
        (folder / CHECKS_FILE).write_bytes(records)
        restate(folder)

    return do


def cut(name: str, line: bytes) -> Callable[[Path, Gates, Path], None]:
    """Put a line without its end behind the last one."""

    def do(folder: Path, _gates: Gates, _other: Path) -> None:
        with (folder / name).open("ab") as stream:
            stream.write(line)
        restate(folder)

    return do


def unknown_field(folder: Path, _gates: Gates, _other: Path) -> None:
    first, *rest = (folder / CHECKS_FILE).read_text("utf-8").splitlines()
    record = json.loads(first)
    record["check"]["waived"] = "yes"
    text = "".join(f"{line}\n" for line in (json.dumps(record), *rest))
    (folder / CHECKS_FILE).write_text(text, "utf-8")
    restate(folder)


def unknown_subject(folder: Path, _gates: Gates, _other: Path) -> None:
    path = folder / STATEMENT_FILE
    data = json.loads(path.read_bytes())
    data["subject"][0]["digest"]["sha512"] = "0" * 128
    path.write_text(json.dumps(data))


def unknown_verdict(folder: Path, _gates: Gates, _other: Path) -> None:
    path = folder / STATEMENT_FILE
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"verdict": "CONFORMANT"}))


def two_decisions(folder: Path, _gates: Gates, _other: Path) -> None:
    path = folder / EVIDENCE_FILE
    decision = json.dumps(msgspec.to_builtins(read_evidence(folder).decision))
    path.write_text(f'{{"decision": {decision},{path.read_text().strip()[1:]}', "utf-8")
    restate(folder)


def two_statuses(folder: Path, _gates: Gates, _other: Path) -> None:
    path = folder / CHECKS_FILE
    text = path.read_text("utf-8").replace('"check":{', '"check":{"status":"FAIL",', 1)
    path.write_text(text, "utf-8")
    restate(folder)


def no_artifacts(folder: Path, _gates: Gates, _other: Path) -> None:
    (folder / ARTIFACTS_FILE).write_text("nothing that a run writes\n")
    restate(folder)


def drop_digests(*kinds: str) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        held = data["digests"].items()
        data["digests"] = {name: d for name, d in held if d["kind"] not in kinds}

    return change


def no_cann(folder: Path, gates: Gates, _other: Path) -> None:
    edit(folder, lambda data: data["versions"].pop("cann"))
    evidence = decide_again(folder, gates)
    rewrite_facts(folder, evidence)
    rewrite_records(folder)


def no_text_afterwards(folder: Path, _gates: Gates, _other: Path) -> None:
    (folder / "board/npu-smi-after.txt").unlink()
    forging(set_class("board", "emulated"))(folder, _gates, _other)


def emulated_text_from_outside(data: Data) -> None:
    set_class("board", "emulated", marked="npu-smi")(data)
    data["board"]["npu_smi_before"] = "../../../../etc/passwd"


FORGED_FILES = [
    Tampering("another message", only_in_evidence(tell_otherwise), "other durations or messages"),
    Tampering("another duration of a check", editing(take_otherwise), "its test took otherwise"),
    *(
        Tampering(f"every test a {status}", forging(set_outcomes(status)), f"ended as {status}")
        for status in (Status.SKIP, Status.BLOCKED, Status.INCONCLUSIVE)
    ),
    Tampering(
        "a check behind the last line",
        cut(CHECKS_FILE, b'{"record":"check","test":"t","check":{"id":"a","status":"FAIL"}}'),
        "checks.jsonl: its last line is not finished",
    ),
    Tampering(
        "a fact behind the last line",
        cut(FACTS_FILE, b'{"fact":"version","name":"cann","version":"1"}'),
        "facts.jsonl: its last line is not finished",
    ),
    Tampering(
        "a field that no record has",
        unknown_field,
        "checks.jsonl: cannot be computed again: Object contains unknown field `waived`",
    ),
    Tampering("a digest that no statement has", unknown_subject, "unknown field `sha512`"),
    Tampering("a field that no statement has", unknown_verdict, "unknown field `verdict`"),
    Tampering("two verdicts", two_decisions, "evidence.json: has the key 'decision' twice"),
    Tampering("two statuses", two_statuses, "line 1 has the key 'status' twice"),
    Tampering("artifacts that none are", no_artifacts, "artifacts.jsonl: line 1 is no JSON"),
    *(
        Tampering(
            f"a device asked for by {' '.join(words)}",
            forging(lambda data, words=words: data.update(command=["pytest", *words])),  # type: ignore[misc]  # mypy knows no default of a lambda
            "the command asks for an emulated one",
        )
        for words in (("--board=emulated",), ("--board", "emulated:Ascend310"))
    ),
    Tampering(
        "npu-smi's text of an emulated board from outside",
        forging(emulated_text_from_outside),
        "leaves the bundle",
    ),
    Tampering("no text of npu-smi afterwards", no_text_afterwards, "npu-smi-after.txt of the"),
    Tampering(
        "no digest of any om", forging(drop_digests("om_model")), "no digest of its om_model"
    ),
    Tampering("no dumps", forging(drop_digests("dumps")), "no digest of its dumps"),
    Tampering("no performance", forging(drop_digests("performance")), "digest of its performance"),
    Tampering("no bounds", forging(drop_digests("bounds")), "there is no digest of the file"),
    Tampering("a device without CANN", no_cann, "without a version of CANN"),
    Tampering("no command", forging(lambda d: d.update(command=[])), "states none"),
    Tampering(
        "a time that is none",
        editing(lambda d: d.update(started="banana")),
        "'banana' is no time in UTC",
    ),
]
