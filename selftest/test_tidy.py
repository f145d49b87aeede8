"""A finished bundle: what stays in it, and that it names neither person nor machine."""

from __future__ import annotations

import platform
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from conformance.check import NotApplicable, SkipReason, Status, at_most
from conformance.errors import ToolError
from conformance.evidence import tidy as tidy_module
from conformance.evidence.bundle import PREDICTIONS_FILE, Evidence
from conformance.evidence.facts import attach, record_board, record_class, record_digest
from conformance.evidence.facts import record_version as version
from conformance.evidence.failures import KeptFailures
from conformance.evidence.prediction_file import list_sha256
from conformance.evidence.record import (
    ArtifactRecord,
    CheckRecord,
    OutcomeRecord,
    append,
    append_artifact,
    read,
)
from conformance.evidence.report.page import write_report
from conformance.evidence.run_bundle import RunFacts, add_predictions, assemble, seal
from conformance.evidence.scrub import this_machine, without_names
from conformance.evidence.tidy import belongs, tidy
from conformance.evidence.verify import verify
from conformance.run_folder import logs_folder, work_folder
from selftest.made_bundles import MODEL, SPECS, load_gates

HOST, USER, SERIAL = "buildbox7", "mallory", "2102312NTA10K"
HOME = f"/data/people/{USER}"
SECRETS = (HOST, USER, SERIAL, HOME)
TEXT = f"{HOST}.corp.example: {USER} ran {HOME}/x.pth and /home/alice/y\nSerial Number : {SERIAL}\n"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine and an account whose names are easily told from everything else."""
    monkeypatch.setattr(platform, "node", lambda: HOST)
    for name, value in {"USER": USER, "LOGNAME": USER, "HOME": HOME, "HOSTNAME": HOST}.items():
        monkeypatch.setenv(name, value)
    this_machine.cache_clear()
    yield
    this_machine.cache_clear()


def plant(folder: Path) -> Evidence:
    """Write a run that quotes the machine in everything that is written; return its evidence."""
    test = "tests/test_made.py::test_made"
    place: dict[str, str | int] = {"model": MODEL}
    told = {"source": TEXT, "hint": TEXT, "detail": TEXT}
    check = at_most("export.parity.rms", 1, 2, coordinates=place, **told)
    append(folder, CheckRecord(test, check))
    append(folder, OutcomeRecord(test, Status.PASS, 0.1, TEXT))
    append_artifact(folder, ArtifactRecord(TEXT, "checkpoint", "1" * 64, 1.0))
    names = [f"{USER}.jpg", f"{USER.upper()}.jpg", f"{HOST} photograph.jpg"]
    labels, scores = np.arange(3), np.eye(3, 9, k=1) + np.eye(3, 9)
    listed = list_sha256(without_names(names), labels.tolist())
    for name, engine in (("torch", "torch"), ("om bs1", "om")):
        add_predictions(
            folder, name, engine, coordinates=place, names=names, labels=labels,
            scores=scores if engine == "om" else scores[:, ::-1],
        )  # fmt: skip
    images = {"origin": TEXT, "list_sha256": listed, "count": "3"}
    record_class(folder, "images", "custom", images, MODEL)
    record_digest(folder, f"{MODEL}/dataset", "dataset", listed, MODEL)
    version(folder, "driver", TEXT)
    version(folder, "driver", "24.1")
    record_board(folder, "Ascend310", [TEXT], before=f"310\n{TEXT}")
    record_board(folder, "Ascend310", [TEXT], after=TEXT)
    attach(folder, "logs/atc.log", TEXT)
    plant_raw(folder)
    facts = RunFacts(
        "20261101T120000Z-abcdef",
        "2026-11-01T12:00:00Z",
        "2026-11-02T12:00:00Z",
        ["pytest", TEXT],
        [*SPECS.values()],
    )
    return assemble(folder, facts, read(folder))


def plant_raw(folder: Path) -> None:
    """Write what tools and workers leave as it is until the run ends."""
    logs, work = logs_folder(folder) / "om bs1", work_folder(folder)
    logs.mkdir(parents=True)
    (logs / "shard0-benchmark.log").write_text(TEXT)
    (logs / f"plog-{HOST}.log").write_bytes(b"\xff\x00" + TEXT.encode() + b"\xfe")
    (logs / "summary.json").write_text(f'{{"serial_number": "{SERIAL}", "path": "{HOME}/a"}}')
    (folder / "stray.txt").write_text(TEXT)
    (work / "om").mkdir(parents=True)
    (work / "om/facts.json").write_text(TEXT)
    with FileLock(work / "chip.lock"), pytest.raises((ToolError, NotApplicable)):
        KeptFailures(work / "failures").first("x", failing)


def failing() -> None:
    raise NotApplicable(SkipReason.NO_ATC, TEXT)


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a bundle, and every member of its archive."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()
    with zipfile.ZipFile(folder / PREDICTIONS_FILE) as archive:
        for member in archive.namelist():
            yield f"{PREDICTIONS_FILE}!{member}", archive.read(member)


@pytest.mark.usefixtures("machine")
def test_no_file_of_a_bundle_names_person_machine_or_serial_number(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    seal(folder, plant(folder), write_report)
    found = dict(contents(folder))
    assert {name for name in found if "!" not in name} == {
        "evidence.json", "predictions.npz", "junit.xml", "report.html", "statement.json",
        "flips.json",
        "checks.jsonl", "facts.jsonl", "artifacts.jsonl", "board/npu-smi-before.txt",
        "board/npu-smi-after.txt", "logs/atc.log", "logs/om bs1/shard0-benchmark.log",
        "logs/om bs1/plog-[host].log", "logs/om bs1/summary.json",
    }  # fmt: skip
    for name, content in found.items():
        for secret in (*SECRETS, "alice"):
            assert secret.encode().lower() not in content.lower(), (name, secret)
    assert found["logs/om bs1/plog-[host].log"].startswith(b"\xff\x00[host]: [user] ran ~/x.pth")
    assert found["logs/om bs1/summary.json"] == b'{"serial_number": "[removed]", "path": "~/a"}'
    assert b"[user].jpg" in found["report.html"], "images are still named"
    assert verify(folder, load_gates(tmp_path), SPECS).problems == ()


def test_only_what_belongs_stays(tmp_path: Path) -> None:
    for name in ("checks.jsonl", "logs/a.log", "logs/b/c.log", "x.lock", "work/om/a", "om/a", "a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "logs/stderr.log").touch()
    (tmp_path / "logs/link").symlink_to("/etc/hostname")
    (tmp_path / "more").symlink_to("/etc")
    tidy(tmp_path)
    left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if not p.is_dir()}
    assert left == {"checks.jsonl", "logs/a.log", "logs/b/c.log"}
    assert all(map(belongs, left))
    assert not any(map(belongs, ("x.lock", "work/om/a", "checks.jsonl/x", "logs")))


def test_long_logs_lose_their_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy_module, "TEXT_BYTES", 1000)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/a.log").write_text("begin" + "." * 5000 + "end")
    tidy(tmp_path)
    text = (tmp_path / "logs/a.log").read_text()
    assert len(text) < 1000
    assert text.startswith("begin")
    assert text.endswith("end")
    assert "bytes of this log are left out" in text
