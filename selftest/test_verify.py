"""Ways to make a run look better than it was, each refused: unsigned, or by a signature."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from conformance.__main__ import main
from conformance.check import Check, Direction, Status
from conformance.errors import EvidenceError
from conformance.evidence.bundle import (
    JUNIT_FILE,
    PREDICTIONS_FILE,
    STATEMENT_FILE,
    MadeCheck,
)
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.gate import Gates, read_gates
from conformance.evidence.prediction_file import (
    Predictions,
    read_predictions,
    write_predictions,
)
from conformance.evidence.rejudge import count_problems
from conformance.evidence.report.page import write_report
from conformance.evidence.signature import NAMESPACE, signature_problem
from conformance.evidence.verify import verify
from conformance.metrics.flip_rate import decide_flip_rate
from selftest.forged_files import FORGED_FILES
from selftest.forged_numbers import FORGED_NUMBERS
from selftest.forgeries import (
    Data,
    Tampering,
    drop_checks,
    editing,
    forging,
    rewrite_ledger,
    set_checks,
    set_class,
)
from selftest.made_bundles import (
    MODEL,
    NPU_SMI,
    SPECS,
    checks_of,
    decide_again,
    edit,
    load_gates,
    make_bundle,
    relaxed_gates,
    restate,
    rewrite_records,
)


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return load_gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Path:
    return make_bundle(tmp_path_factory.mktemp("good"), gates)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Path:
    return make_bundle(tmp_path_factory.mktemp("other"), gates, images=165, fps=9000.0)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "signing"
    return make_key(path)


def make_key(path: Path) -> Path:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(words, check=True)
    return path


def sign(folder: Path, key: Path, namespace: str = NAMESPACE) -> Path:
    words = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key)]
    subprocess.run([*words, str(folder / STATEMENT_FILE)], check=True, capture_output=True)
    return folder / f"{STATEMENT_FILE}.sig"


def sign_aside(folder: Path, key: Path) -> Path:
    """Sign, and keep the signature out of reach of those who edit the bundle."""
    return sign(folder, key).replace(folder.parent / "signature")


def only_evidence(folder: Path, _gates: Gates, _other: Path) -> None:
    edit(folder, set_checks("throughput.card", value=99999.0))


def rename_class_of_checks(data: Data) -> None:
    for made in data["checks"]:
        made["check"]["classes"] = {"weights": "custom"}


def better_predictions(folder: Path, _gates: Gates, _other: Path) -> None:
    path = folder / PREDICTIONS_FILE
    held = read_predictions(path)
    best = held.sets["om bs16"]
    ids = best.ids.copy()
    ids[:, 0] = held.labels
    ids[:, 1:] = (held.labels[:, None] + np.arange(1, ids.shape[1])) % 1000
    write_predictions(
        path,
        Predictions(held.names, held.labels, held.sets | {"om bs16": type(best)(ids, best.scores)}),
    )
    restate(folder)


def one_more_right(folder: Path) -> tuple[int, ...]:
    """Put the label of one image in the first place of an om's list; return its hits."""
    path = folder / PREDICTIONS_FILE
    held = read_predictions(path)
    best = held.sets["om bs16"]
    ids = best.ids.copy()
    row = int(np.flatnonzero((ids == held.labels[:, None])[:, 2])[0])
    ids[row, [0, 2]] = ids[row, [2, 0]]
    changed = Predictions(
        held.names, held.labels, held.sets | {"om bs16": type(best)(ids, best.scores)}
    )
    write_predictions(path, changed)
    return changed.hits("om bs16")


def no_predictions(folder: Path, gates: Gates, _other: Path) -> None:
    (folder / PREDICTIONS_FILE).unlink()
    edit(folder, lambda data: data.update(predictions=[]))
    decide_again(folder, gates)
    restate(folder)


def emulated_text(folder: Path, _gates: Gates, _other: Path) -> None:
    (folder / "board/npu-smi-before.txt").write_text(NPU_SMI + "ASCEND-EMULATOR 1.0\n")
    restate(folder)


def emulated_log(folder: Path, _gates: Gates, _other: Path) -> None:
    (folder / "logs/atc-bs16.txt").write_text("ASCEND-EMULATOR atc\nATC run success\n")
    restate(folder)


def other_soc(folder: Path, _gates: Gates, _other: Path) -> None:
    (folder / "board/npu-smi-before.txt").write_text("| 0       910B4      | OK |\n")
    restate(folder)


def replace_log(folder: Path, _gates: Gates, _other: Path) -> None:
    (folder / "logs/atc-bs16.txt").write_text("ATC run success, of another day\n")


def remove_log(folder: Path, _gates: Gates, _other: Path) -> None:
    (folder / "logs/atc-bs16.txt").unlink()


def other_page(folder: Path, _gates: Gates, _other: Path) -> None:
    path = write_report(folder)
    path.write_text(path.read_text("utf-8").replace("subset", "full"), "utf-8")
    restate(folder)


def hide_file(folder: Path, _gates: Gates, _other: Path) -> None:
    (folder / f"{STATEMENT_FILE}.html").write_text("CONFORMANT release")


def add_stated_file(folder: Path, _gates: Gates, _other: Path) -> None:
    (folder / "verdict.txt").write_text("CONFORMANT release")
    restate(folder)


def similar_soc(folder: Path, _gates: Gates, _other: Path) -> None:
    (folder / "board/npu-smi-before.txt").write_text("| 0       310P3      | OK |\n")
    restate(folder)


def add_report(folder: Path, _gates: Gates, _other: Path) -> None:
    (folder / "report.html").write_text("CONFORMANT release")


def link_log(folder: Path, _gates: Gates, other: Path) -> None:
    (folder / "logs/atc-bs16.txt").unlink()
    (folder / "logs/atc-bs16.txt").symlink_to(other / "logs/atc-bs16.txt")


def swap_statement(folder: Path, _gates: Gates, other: Path) -> None:
    shutil.copy(other / STATEMENT_FILE, folder)


def swap_evidence(folder: Path, _gates: Gates, other: Path) -> None:
    shutil.copy(other / "evidence.json", folder)
    restate(folder)


def swap_predictions(folder: Path, _gates: Gates, other: Path) -> None:
    shutil.copy(other / PREDICTIONS_FILE, folder)
    restate(folder)


def edit_junit(folder: Path, _gates: Gates, _other: Path) -> None:
    path = folder / JUNIT_FILE
    path.write_text(path.read_text().replace('failures="0"', 'failures="0" extra="1"'))
    restate(folder)


def edit_digest_alone(folder: Path, _gates: Gates, _other: Path) -> None:
    edit(folder, lambda data: data["digests"]["dumps bs16"].update(sha256="5" * 64))


def board_file(name: str) -> Callable[[Data], None]:
    return lambda data: data["board"].update(npu_smi_before=name)


UNSIGNED = [
    Tampering("a number, nothing else", only_evidence, "evidence.json: changed"),
    Tampering(
        "a number and the statement",
        editing(set_checks("throughput.card", value=99999.0), records=False),
        "checks: not those of checks.jsonl",
    ),
    Tampering(
        "PASS over a value below its bound",
        editing(set_checks("throughput.card", value=3000.0)),
        "its value does not meet its bound",
    ),
    Tampering(
        "PASS over no value",
        editing(set_checks("throughput.card", value=None)),
        "its value does not meet its bound",
    ),
    Tampering(
        "accuracy that the predictions do not have",
        editing(set_checks("accuracy.om.top1", value=61.0)),
        "predictions give",
    ),
    Tampering(
        "accuracy in a unit that cannot be counted",
        editing(set_checks("accuracy.om.top1", unit="points")),
        "predictions give",
    ),
    *(
        Tampering(
            f"{check_id} that the predictions do not have",
            editing(set_checks(check_id, value=value)),
            "predictions give",
        )
        for check_id, value in {
            "accuracy.published.top1": -0.3,
            "accuracy.onnx.top5": -0.3,
            "accuracy.control.top1": 0.001,
        }.items()
    ),
    Tampering(
        "more hits than the model can have",
        editing(set_checks("accuracy.published.top5", value=-0.9)),
        "better than the spec believes",
    ),
    *(
        Tampering(
            f"a looser bound of {check_id}",
            editing(set_checks(check_id, bound=bound)),
            f"held to {bound}, and its spec has",
        )
        for check_id, bound in {
            "throughput.card": 100.0,
            "accuracy.published.top1": 9.0,
            "accuracy.control.top5": 0.5,
        }.items()
    ),
    Tampering("predictions that are all right", better_predictions, "not as stated"),
    Tampering("predictions left out", no_predictions, "0 sets of predictions by om"),
    Tampering("predictions of another run", swap_predictions, "of another list of images"),
    Tampering(
        "a fixed bound loosened",
        editing(set_checks("export.weights", value=3, bound=3)),
        "compared with another bound than 0",
    ),
    Tampering(
        "a check that decides nothing",
        editing(set_checks("throughput.card", direction="recorded", bound=None, value=1.0)),
        "recorded without a bound",
    ),
    Tampering(
        "a required check left out", editing(drop_checks("agreement.flips")), "missing: agreement"
    ),
    Tampering(
        "coordinates moved to a required place",
        editing(set_checks("throughput.card", coordinates={"model": MODEL, "batch": 64})),
        "missing: throughput.card",
    ),
    Tampering(
        "a verdict of another gate",
        editing(lambda data: data["decision"].update(gate="host")),
        "verdict: line stated",
    ),
    Tampering(
        "fewer requirements",
        editing(lambda data: data["decision"].update(required=1)),
        "verdict: required stated",
    ),
    Tampering(
        "looser gates",
        editing(lambda data: data["decision"].update(gates_sha256="9" * 64)),
        "gates.toml: the run used another",
    ),
    Tampering(
        "a looser spec",
        editing(lambda data: data["specs"].update({MODEL: "9" * 64})),
        f"models/{MODEL}.toml: the run used another",
    ),
    Tampering(
        "a spec that is not named",
        editing(lambda data: data["specs"].clear()),
        f"models/{MODEL}.toml: the run used another",
    ),
    Tampering(
        "a bound that is approached from its other side",
        editing(set_checks("throughput.card", direction="at most", value=100.0)),
        "compared in another way than at least",
    ),
    Tampering(
        "a fixed bound that is only a lower one",
        editing(set_checks("agreement.decisions", direction="at least", value=7)),
        "compared in another way than equal to",
    ),
    Tampering(
        "custom weights called published",
        editing(set_class("weights", "published", md5="0" * 32)),
        "no digest is a published one",
    ),
    Tampering(
        "published digests over other weights",
        editing(lambda d: d["digests"][f"{MODEL}/weights"].update(sha256="5" * 64)),
        "class made from another file",
    ),
    Tampering("a subset called full", editing(set_class("images", "full")), "not of the full set"),
    Tampering(
        "another list of images",
        editing(lambda d: d["digests"][f"{MODEL}/dataset"].update(sha256="5" * 64)),
        "class made from another list",
    ),
    Tampering("an emulated board renamed device", emulated_text, "carries the emulator's mark"),
    Tampering("an om of the emulator", emulated_log, "carries the emulator's mark"),
    Tampering(
        "a device without a driver",
        editing(set_class("board", "device", driver="")),
        "called device without driver",
    ),
    Tampering(
        "a device that npu-smi never saw", editing(board_file("")), "without what npu-smi printed"
    ),
    Tampering(
        "npu-smi's text from outside the bundle",
        editing(board_file("../../etc/hostname")),
        "leaves the bundle",
    ),
    Tampering("another SoC", other_soc, "does not list a Ascend310"),
    Tampering("a SoC of a similar name", similar_soc, "does not list a Ascend310"),
    Tampering("classes of the checks alone", editing(rename_class_of_checks), "rests on weights="),
    Tampering(
        "old dumps, but not in the facts",
        editing(lambda d: d["digests"]["dumps bs16"].update(sha256="5" * 64)),
        "digests: not those of facts.jsonl",
    ),
    Tampering(
        "another CANN, but not in the facts",
        editing(lambda d: d["versions"].update(cann="9.0.0")),
        "versions: not those of facts.jsonl",
    ),
    Tampering("another log", replace_log, "logs/atc-bs16.txt: changed"),
    Tampering("a log removed", remove_log, "logs/atc-bs16.txt: missing"),
    Tampering("a report added", add_report, "report.html: added"),
    Tampering("a report of something else", other_page, "report.html: not the page"),
    Tampering("a file named like a statement", hide_file, "statement.json.html: added"),
    Tampering("a file that no run leaves", add_stated_file, "verdict.txt: no run leaves"),
    Tampering("a link in the place of a log", link_log, "a link or a special file"),
    Tampering("another run's statement", swap_statement, "changed, its digest"),
    Tampering("another run's evidence", swap_evidence, "checks: not those of checks.jsonl"),
    Tampering("JUnit's file", edit_junit, f"{JUNIT_FILE}: not the tests"),
    Tampering(
        "a test that never ended",
        editing(lambda d: d.update(tests=d["tests"][1:])),
        "made by a test that did not end",
    ),
    Tampering(
        "an end before the start",
        editing(lambda d: d.update(ended="2026-11-01T11:00:00Z")),
        "ended before it started",
    ),
    Tampering(
        "a digest in the evidence alone",
        edit_digest_alone,
        "other digests of what was tested",
    ),
    *FORGED_NUMBERS,
    *FORGED_FILES,
]


def forge_fail_away(data: Data) -> None:
    for made in data["checks"]:
        made["check"]["status"] = "PASS"
    for test in data["tests"]:
        test["status"] = "PASS"


def forged_accuracy(folder: Path, gates: Gates, _other: Path) -> None:
    """Rewrite predictions, counts, checks and changed decisions so that they agree.

    One decision more differs, over a gap that float16 explains, and is right.
    """
    hits = one_more_right(folder)
    gained = 100 / read_evidence(folder).predictions[0].images
    rewrite_ledger(folder)

    def change(data: Data) -> None:
        for found in data["predictions"]:
            if found["name"] == "om bs16":
                found["hits"] = hits
        for name, change in (("om", gained), ("published", -gained)):
            for check in checks_of(data, f"accuracy.{name}.top1"):
                if check["coordinates"]["batch"] == 16:
                    check["value"] += change
        flips = decide_flip_rate(1, data["predictions"][0]["images"]).interval_pct.upper
        changed: dict[str, dict[str, float]] = {
            "agreement.scores": {"value": 0.6},
            "agreement.flips": {"value": flips},
            "agreement.batch.scores": {"value": 0.6},
            "agreement.batch.hits": {"value": 1, "bound": 1},
        }
        for check_id, fields in changed.items():
            for check in checks_of(data, check_id):
                if check["coordinates"]["batch"] == 16:
                    check.update(fields)

    forging(change)(folder, gates, _other)


def forged_board(folder: Path, gates: Gates, other: Path) -> None:
    """Take the emulator's mark out of every text, and say that there was none."""
    for name in ("board/npu-smi-before.txt", "board/npu-smi-after.txt"):
        (folder / name).write_text(NPU_SMI)
    forging(set_class("board", "device"))(folder, gates, other)


SIGNED = [
    Tampering(
        "throughput, in every place", forging(set_checks("throughput.card", value=99999.0)), ""
    ),
    Tampering("accuracy, down to the predictions", forged_accuracy, ""),
    Tampering(
        "old dumps", forging(lambda d: d["digests"]["dumps bs16"].update(sha256="5" * 64)), ""
    ),
    Tampering("another om", forging(lambda d: d["digests"]["om bs16"].update(sha256="5" * 64)), ""),
    Tampering("another CANN", forging(lambda d: d["versions"].update(cann="9.0.0")), ""),
    Tampering("another day", forging(lambda d: d.update(started="2026-01-01T00:00:00Z")), ""),
    Tampering("another command", forging(lambda d: d.update(command=["pytest"])), ""),
    Tampering("an emulated board, its marks removed", forged_board, ""),
    Tampering("a waiver left out", forging(lambda d: d.update(waivers=[])), ""),
    Tampering("figures of the baseline", forging(lambda d: d.update(baseline=[])), ""),
]


def named(tampering: Tampering) -> str:
    return tampering.name


@pytest.fixture
def copy(tmp_path: Path, good: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "bundle"))


def test_the_table_is_long_enough() -> None:
    assert len(UNSIGNED) >= 25
    assert len({t.name for t in UNSIGNED + SIGNED}) == len(UNSIGNED) + len(SIGNED)


def test_a_good_bundle_is_consistent(good: Path, gates: Gates) -> None:
    found = verify(good, gates, SPECS)
    assert found.problems == ()
    assert found.decision
    assert (
        found.decision.line == "CONFORMANT release [weights=published images=subset board=device]"
    )
    assert found.recounted == 1 + 2 * len(SPECS[MODEL].batch.sizes)


@pytest.mark.parametrize("tampering", UNSIGNED, ids=named)
def test_refused_without_a_signature(
    copy: Path, gates: Gates, other: Path, tampering: Tampering
) -> None:
    tampering.do(copy, gates, other)
    problems = verify(copy, gates, SPECS).problems
    assert any(tampering.said in problem for problem in problems), problems


def test_the_table_of_a_910c_lists_its_soc_by_the_chip_alone(copy: Path, gates: Gates) -> None:
    (copy / "board/npu-smi-before.txt").write_text("| 0     Ascend910           | OK |\n")
    edit(copy, lambda made: made["board"].update(soc_version="Ascend910_9392"))
    restate(copy)
    problems = verify(copy, gates, SPECS).problems
    assert problems, "figures of another SoC"
    assert not any("does not list" in problem for problem in problems)


@pytest.mark.parametrize("tampering", SIGNED, ids=named)
def test_refused_by_the_signature_alone(
    copy: Path, gates: Gates, other: Path, key: Path, tampering: Tampering
) -> None:
    signature = sign_aside(copy, key)
    assert signature_problem(copy, signature, key.with_suffix(".pub")) == ""
    tampering.do(copy, gates, other)
    assert verify(copy, gates, SPECS).problems == ()
    assert signature_problem(copy, signature, key.with_suffix(".pub"))


@pytest.mark.parametrize("tampering", UNSIGNED, ids=named)
def test_no_edit_survives_a_signature(
    copy: Path, gates: Gates, other: Path, key: Path, tampering: Tampering
) -> None:
    signature = sign_aside(copy, key)
    tampering.do(copy, gates, other)
    signed = signature_problem(copy, signature, key.with_suffix(".pub")) == ""
    assert not signed or verify(copy, gates, SPECS).problems


def test_a_signature_of_another_key_or_purpose_is_refused(
    copy: Path, key: Path, tmp_path: Path
) -> None:
    another = make_key(tmp_path / "other").with_suffix(".pub")
    signature = sign(copy, key)
    assert signature_problem(copy, signature, another)
    signature.unlink()
    assert signature_problem(copy, sign(copy, key, "file"), key.with_suffix(".pub"))


def test_a_private_key_is_no_public_key(copy: Path, key: Path) -> None:
    with pytest.raises(EvidenceError, match="no public key"):
        signature_problem(copy, sign(copy, key), key)


def test_verify_says_that_it_is_unsigned(
    copy: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["verify", str(copy), f"--gates={relaxed_gates(tmp_path)}"]
    assert main(words) == 0
    assert "unsigned: a consistent forgery is not excluded" in capsys.readouterr().out
    words += [f"--signature={sign(copy, key)}", f"--key={key.with_suffix('.pub')}"]
    assert main(words) == 0
    assert "unsigned" not in capsys.readouterr().out
    replace_log(copy, load_gates(tmp_path), copy)
    restate(copy)
    assert main(words) == 1
    assert "the signature is not good" in capsys.readouterr().out


def test_a_reader_who_has_seen_enough_is_no_error(copy: Path) -> None:
    """``verify … | head`` ends quietly."""
    words = [sys.executable, "-m", "conformance", "verify", str(copy)]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 141


def test_signature_and_key_belong_together(copy: Path, key: Path) -> None:
    assert main(["verify", str(copy), f"--key={key}"]) == 2


def test_fifty_thousand_images_in_five_seconds(tmp_path: Path) -> None:
    gates = read_gates()
    bundle = make_bundle(tmp_path, gates, images=50_000)
    start = time.perf_counter()
    found = verify(bundle, gates, SPECS)
    elapsed_s = time.perf_counter() - start
    assert found.problems == ()
    assert found.decision
    assert found.decision.line == "CONFORMANT release [weights=published images=full board=device]"
    assert elapsed_s < 5


def test_accuracy_that_is_too_good_is_counted_again_too(good: Path, gates: Gates) -> None:
    """What is stated as points above the published figure is what the predictions give."""
    spec = SPECS[MODEL]
    lower = msgspec.structs.replace(spec.accuracy, top1_pct=spec.accuracy.top1_pct - 2)
    specs = {MODEL: msgspec.structs.replace(spec, accuracy=lower)}
    evidence, held = read_evidence(good), read_predictions(good / PREDICTIONS_FILE)
    found = evidence.predictions[-1]
    above = 100 * held.hits(found.name)[0] / found.images - lower.top1_pct
    for value, said in ((above, False), (above / 2, True)):
        check = Check(
            id="accuracy.published.top1", status=Status.FAIL, value=value, bound=0.5,
            direction=Direction.AT_MOST, unit=f"points above {lower.top1_pct:g} %",
            coordinates={**found.coordinates, "variant": "float32", "tuned": "no"},
        )  # fmt: skip
        made = (MadeCheck(test="t", seconds=0.0, check=check),)
        one = msgspec.structs.replace(evidence, checks=made)
        assert bool(list(count_problems(one, gates, specs, held))) is said


def test_a_failure_cannot_be_edited_away(tmp_path: Path, gates: Gates) -> None:
    def alter(check: Check) -> Check:
        if check.id != "throughput.card":
            return check
        return msgspec.structs.replace(check, value=3000.0, status=Status.FAIL)

    bundle = make_bundle(tmp_path / "bundle", gates, alter=alter)
    assert verify(bundle, gates, SPECS).problems == ()
    edit(bundle, forge_fail_away)
    decide_again(bundle, gates)
    rewrite_records(bundle)
    assert read_evidence(bundle).checks[0].check.status is Status.PASS
    assert any("does not meet its bound" in p for p in verify(bundle, gates, SPECS).problems)
