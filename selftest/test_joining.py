"""Runs that are joined rest on the same files, and what holds of them together decides."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from conformance.__main__ import main
from conformance.errors import EvidenceError
from conformance.evidence.bundle import Evidence, MadeCheck
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.gate import Gates, Requirement
from conformance.evidence.joining import demand_one_subject
from selftest.forgeries import forging
from selftest.made_bundles import MODEL, load_gates, make_bundle, relaxed_gates


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return load_gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Evidence:
    return read_evidence(make_bundle(tmp_path_factory.mktemp("good"), gates))


def of_throughput(demand: Requirement) -> bool:
    return demand.id.startswith("throughput.")


def of_the_rest(demand: Requirement) -> bool:
    return not of_throughput(demand)


def test_throughput_of_one_om_is_not_joined_with_accuracy_of_another(
    tmp_path: Path, gates: Gates, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = make_bundle(tmp_path / "fast", gates, wanted=of_throughput)
    right = make_bundle(tmp_path / "right", gates, wanted=of_the_rest)
    words = ["verdict", f"--gates={relaxed_gates(tmp_path)}", str(fast), str(right)]
    assert main(words) == 0
    forging(lambda data: data["digests"]["om bs16"].update(sha256="7" * 64))(fast, gates, right)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"the runs are on different subjects: om bs16 of {MODEL}" in said
    assert f"{'7' * 64} under throughput." in said
    assert f"{'2' * 64} under atc.converts" in said


def renamed(made: MadeCheck, sha256: str) -> MadeCheck:
    """The check of a conversion, with the digest of the file that it made."""
    return msgspec.structs.replace(made, check=msgspec.structs.replace(made.check, detail=sha256))


def test_an_om_that_was_only_converted_is_the_one_that_is_measured(
    good: Evidence, gates: Gates
) -> None:
    """A build machine measures none; the check of the conversion names the file."""
    converted = [made for made in good.checks if made.check.id == "atc.converts"]
    host = msgspec.structs.replace(
        good,
        run="another",
        checks=tuple(renamed(made, "7" * 64) for made in converted),
        digests={name: d for name, d in good.digests.items() if d.kind != "om_model"},
    )
    with pytest.raises(EvidenceError, match=f"om bs1 of {MODEL}"):
        demand_one_subject([good, host], gates)
    same = tuple(renamed(made, "2" * 64) for made in converted)
    demand_one_subject([good, msgspec.structs.replace(host, checks=same)], gates)
