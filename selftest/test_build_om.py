"""Models of the store: built once, per batch size, variant, target and ATC; and found elsewhere."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from conformance.artifacts import Request
from conformance.ascend.atc import ConversionRefused
from conformance.ascend.tuning import EMPTY_BANK_SHA256, bank_sha256
from conformance.build_om import OmBuilder, OmModel
from conformance.check import NotApplicable, SkipReason
from conformance.errors import ArtifactError, BoardError, ToolError
from conformance.manifests import read_manifest
from conformance.om_key import OmKey
from conformance.spec import Variant
from selftest.hosts import Machine, SmallBuilder, machine, small_spec

SPEC = small_spec()


@pytest.fixture
def place(tmp_path: Path) -> Machine:
    return machine(tmp_path)


def built(place: Machine, key: OmKey, run: str = "run", **given: str) -> OmModel:
    host = place.host(run, **given)
    return OmBuilder(
        SmallBuilder(host.config, place.folder / run, locks=place.locks), host
    ).om_model(SPEC, key)


def test_each_batch_and_variant_is_a_model_of_its_own(place: Machine) -> None:
    keys = (OmKey(1), OmKey(2), OmKey(2, "aipp"))
    models = [built(place, key) for key in keys]
    assert len({model.sha256 for model in models}) == len(keys)
    assert [model.conversion.batch for model in models] == [1, 2, 2]
    assert all(model.emulated and model.log.is_file() for model in models)


def test_second_run_finds_the_model(place: Machine) -> None:
    first = built(place, OmKey(1))
    place.board.configure(faults=["atc-fails"])
    assert built(place, OmKey(1), "another run").path == first.path


def test_new_atc_makes_a_new_model(place: Machine) -> None:
    first = built(place, OmKey(1))
    atc = place.board.bin / "atc"
    atc.write_text(atc.read_text() + "# another release\n")
    assert built(place, OmKey(1), "another run").path != first.path


def test_board_without_atc_finds_what_a_build_host_made(place: Machine) -> None:
    first = built(place, OmKey(1))
    place.remove("atc")
    place.remove("npu-smi")
    assert built(place, OmKey(1), "board", soc="Ascend310").path == first.path
    with pytest.raises(ArtifactError, match="the store has no om_model"):
        built(place, OmKey(2), "board", soc="Ascend310")


def test_board_without_atc_uses_a_filled_store(place: Machine) -> None:
    first = built(place, OmKey(1))
    place.remove("atc")
    host = place.host("board")
    oms = OmBuilder(SmallBuilder(host.config, place.folder / "board"), host)
    found = oms.om_model(SPEC, OmKey(1))
    assert found.path == first.path
    with pytest.raises(NotApplicable, match="atc is missing") as caught:
        oms.describe(found)
    assert caught.value.reason is SkipReason.NO_ATC
    with pytest.raises(ArtifactError, match="atc is missing, and the store has no om_model"):
        oms.om_model(SPEC, OmKey(2))


def test_atc_that_is_not_executable_is_an_error_whatever_the_store_has(place: Machine) -> None:
    built(place, OmKey(1))
    (place.board.bin / "atc").chmod(0o644)
    for given in ({}, {"board": "none", "soc": "Ascend310"}):
        with pytest.raises(ToolError, match="atc is not executable") as caught:
            built(place, OmKey(1), f"board {len(given)}", **given)
        assert "chmod +x" in caught.value.next_step


def test_atc_runs_alone_on_the_machine_whatever_the_store(place: Machine) -> None:
    model = built(place, OmKey(1))
    host = place.host("waiting", artifacts=str(place.folder / "another store"))
    oms = OmBuilder(SmallBuilder(host.config, place.folder / "waiting"), host)
    waiting = [
        threading.Thread(target=oms.om_model, args=(SPEC, OmKey(1))),
        threading.Thread(target=oms.describe, args=(model,)),
    ]
    with place.host("other").locks.atc(wait_s=1):
        for thread in waiting:
            thread.start()
        time.sleep(2)
        assert all(thread.is_alive() for thread in waiting)
        assert not list((place.folder / "another store").rglob("*.om"))
        assert not list((place.folder / "scratch").iterdir()), "none of them has begun"
    for thread in waiting:
        thread.join(60)
    assert list((place.folder / "another store").rglob("*.om"))


def test_model_for_another_target_is_another_model(place: Machine) -> None:
    first = built(place, OmKey(1))
    place.remove("npu-smi")
    other = built(place, OmKey(1), "build host", soc="Ascend310P3")
    assert other.path != first.path
    assert other.facts["soc_version"] == "Ascend310P3"


def test_log_level_can_be_asked_for(place: Machine) -> None:
    assert "--log=error" in built(place, OmKey(1)).conversion.arguments
    assert "--log=debug" in built(place, OmKey(1), "run2", atc_log="debug").conversion.arguments


def test_refusal_keeps_the_log_and_leaves_no_model(place: Machine) -> None:
    place.board.configure(faults=["atc-fails"])
    with pytest.raises(ConversionRefused) as caught:
        built(place, OmKey(1))
    assert Path(str(caught.value.where["log"])).is_file()
    assert list((place.folder / "run/logs/failed").rglob("atc.log"))
    assert not list((place.folder / "store").rglob("*.om"))


@pytest.mark.parametrize(
    "fault", ["om-truncated", "om-empty", "om-wrong-magic", "atc-writes-nothing"]
)
def test_model_that_is_not_whole_is_never_kept(place: Machine, fault: str) -> None:
    place.board.configure(faults=[fault])
    with pytest.raises(ToolError):
        built(place, OmKey(1))
    assert not list((place.folder / "store/om_model").glob("*"))


def test_hanging_atc_is_ended(place: Machine) -> None:
    with pytest.raises(ToolError, match="its time limit"):
        built(place, OmKey(1), time_limits="0.00001")


def test_tuned_model_needs_leave(place: Machine) -> None:
    for mode in ("stored", "off"):
        with pytest.raises(NotApplicable, match="--tune=run") as caught:
            built(place, OmKey(2, tuned=True), mode, tune=mode)
        assert caught.value.reason is SkipReason.NOT_TUNED


@pytest.mark.parametrize(
    ("cann", "variant", "method"),
    [("5.0.1", "float32", "auto_tune"), ("8.0.0", "float32", "aoe"), ("8.0.0", "aipp", "aoe")],
)
def test_tuned_model_is_kept_beside_the_untuned(
    tmp_path: Path, cann: str, variant: Variant, method: str
) -> None:
    place = machine(tmp_path, cann=cann)
    untuned = built(place, OmKey(2, variant))
    tuned = built(place, OmKey(2, variant, tuned=True), "tuning", tune="run")
    assert tuned.facts["tuned_by"] == method
    assert tuned.facts["bank_sha256"]
    assert tuned.path != untuned.path
    assert untuned.path.is_file()
    assert tuned.sha256 != untuned.sha256
    assert built(place, OmKey(2, variant, tuned=True), "later", tune="stored").path == tuned.path
    assert built(place, OmKey(2, variant), "later").sha256 == untuned.sha256


def om_request(model: OmModel) -> Request:
    manifest = read_manifest(model.path.parent)
    assert manifest is not None
    return manifest.request


def test_tuned_model_is_asked_for_by_its_bank(place: Machine) -> None:
    untuned = om_request(built(place, OmKey(2)))
    tuned = built(place, OmKey(2, tuned=True), "tuning", tune="run")
    (tuning,) = (place.folder / "store/tuning").iterdir()
    assert untuned.inputs["bank"] == bank_sha256(place.folder / "no bank") == EMPTY_BANK_SHA256
    assert om_request(tuned).inputs["bank"] == bank_sha256(tuning / "bank")
    assert tuned.facts["bank_sha256"] == om_request(tuned).inputs["bank"] != EMPTY_BANK_SHA256
    assert (tuning / "model.om").read_bytes() == tuned.path.read_bytes()


def test_new_aoe_tunes_anew(tmp_path: Path) -> None:
    place = machine(tmp_path, cann="8.0.0")
    key = OmKey(2, tuned=True)
    first = built(place, key, "tuning", tune="run")
    aoe = place.board.bin / "aoe"
    aoe.write_text(aoe.read_text() + "# another release\n")
    with pytest.raises(NotApplicable):
        built(place, key, "later")
    assert built(place, key, "tuning again", tune="run").path != first.path


@pytest.mark.parametrize("missing", [("aoe",), ("atc",), ("aoe", "atc")])
def test_board_without_the_tools_finds_the_tuned_model(
    tmp_path: Path, missing: tuple[str, ...]
) -> None:
    place = machine(tmp_path, cann="8.0.0")
    tuned = built(place, OmKey(2, tuned=True), "tuning", tune="run")
    for program in missing:
        place.remove(program)
    for mode in ("stored", "run"):
        assert built(place, OmKey(2, tuned=True), f"board {mode}", tune=mode).path == tuned.path


def test_model_tuned_by_another_atc_is_not_used(tmp_path: Path) -> None:
    place = machine(tmp_path, cann="8.0.0")
    built(place, OmKey(2, tuned=True), "tuning", tune="run")
    place.remove("aoe")
    atc = place.board.bin / "atc"
    atc.write_text(atc.read_text() + "# another release\n")
    with pytest.raises(NotApplicable, match="--tune=run"):
        built(place, OmKey(2, tuned=True), "later")


def test_stored_tuned_model_is_not_used_when_tuning_is_off(place: Machine) -> None:
    built(place, OmKey(2, tuned=True), "tuning", tune="run")
    with pytest.raises(NotApplicable):
        built(place, OmKey(2, tuned=True), "later", tune="off")


def test_tuning_needs_a_chip(place: Machine) -> None:
    place.remove("npu-smi")
    with pytest.raises(NotApplicable) as caught:
        built(place, OmKey(2, tuned=True), tune="run", soc="Ascend310")
    assert caught.value.reason is SkipReason.NO_BOARD


def test_emulated_model_is_not_used_for_a_real_board(place: Machine) -> None:
    place.remove("npu-smi")
    with pytest.raises(BoardError, match="not asked for"):
        built(place, OmKey(1), board="none", soc="Ascend310")
    assert not list((place.folder / "store/om_model").glob("*")), "it must not even be kept"
