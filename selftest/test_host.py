"""What a machine offers: which chip is used, which tools, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance.ascend import run_chip
from conformance.ascend.board import AbsentBoard, BrokenBoard
from conformance.check import NotApplicable, SkipReason
from conformance.errors import BoardError, ConfigError, ToolError
from conformance.manifests import file_sha256
from selftest.hosts import Machine, machine


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(run_chip, "SETTLING_S", 0.0)
    return machine(tmp_path)


def test_first_idle_chip_is_used_and_agreed_on(place: Machine) -> None:
    place.occupy(0)
    assert place.host().device.acl_id == 1
    place.occupy(1)
    assert place.host().device.acl_id == 1, "every worker of a run uses the same chip"
    assert place.host("another run").device.acl_id == 2


def test_of_several_chips_the_first_idle_one_is_used(place: Machine) -> None:
    place.occupy(2)
    assert place.host(chips="2,3").device.acl_id == 3


def test_a_single_chip_is_used_as_it_is_and_not_timed(place: Machine) -> None:
    place.occupy(2)
    host = place.host(chips="2")
    assert host.device.acl_id == 2
    assert "4242 stranger" in host.chip.spoils_timing()


def test_a_chip_that_does_not_exist_is_named(place: Machine) -> None:
    with pytest.raises(BoardError, match="does not exist") as caught:
        _ = place.host(chips="9").device
    assert "[9]" in str(caught.value)
    assert "--chips=" in caught.value.next_step


def test_idle_healthy_chip_can_be_timed(place: Machine) -> None:
    assert place.host().chip.spoils_timing() == ""


def test_warning_spoils_the_timing_only(place: Machine) -> None:
    place.set_chip(health="Warning")
    host = place.host(chips="0")
    assert host.device.acl_id == 0
    assert "Warning" in host.chip.spoils_timing()


@pytest.mark.parametrize("health", ["Alarm", "Critical", "UNKNOWN"])
def test_worse_health_blocks_the_chip(place: Machine, health: str) -> None:
    place.set_chip(health=health)
    assert place.host().device.acl_id == 1
    with pytest.raises(BoardError, match="not healthy"):
        _ = place.host(chips="0").device


def test_health_is_looked_at_again_with_every_timing(place: Machine) -> None:
    host = place.host(chips="0")
    assert host.device.chip.health == "OK"
    place.set_chip(health="Alarm")
    with pytest.raises(BoardError, match="not healthy"):
        host.chip.spoils_timing()


def test_no_board_is_asked_for(place: Machine) -> None:
    host = place.host(board="none")
    assert isinstance(host.board, AbsentBoard)
    with pytest.raises(NotApplicable, match="--board=none"):
        host.present()


def test_emulator_on_the_path_is_no_board_unless_asked_for(place: Machine) -> None:
    with pytest.raises(BoardError, match="was found, but not asked for"):
        _ = place.host(board="auto").board


def test_a_tool_without_the_mark_does_not_belong_to_an_emulated_board(place: Machine) -> None:
    with pytest.raises(BoardError, match="does not carry its mark"):
        place.host().demand_expected(False, "a real tool")


def test_target_is_what_npu_smi_says(place: Machine) -> None:
    assert place.host().soc == "Ascend310"
    with pytest.raises(ConfigError, match="contradicts"):
        _ = place.host(soc="Ascend310P3").soc


def test_build_host_converts_for_a_named_target(place: Machine) -> None:
    place.remove("npu-smi")
    host = place.host(soc="Ascend310P3")
    assert host.soc == "Ascend310P3"
    assert host.atc().name == "atc"
    with pytest.raises(NotApplicable):
        _ = host.device


def test_without_board_and_target_both_ways_out_are_told(place: Machine) -> None:
    place.remove("npu-smi")
    with pytest.raises(NotApplicable, match="--soc=") as caught:
        _ = place.host().soc
    assert caught.value.reason is SkipReason.NO_BOARD
    assert "npu-smi" in caught.value.detail


def test_missing_atc_is_an_error_beside_a_board_and_a_skip_without(place: Machine) -> None:
    place.remove("atc")
    with pytest.raises(ToolError, match="atc is missing"):
        place.host().atc()
    place.remove("npu-smi")
    with pytest.raises(NotApplicable) as caught:
        place.host(soc="Ascend310").atc()
    assert caught.value.reason is SkipReason.NO_ATC


@pytest.mark.parametrize("fault", ["npu-smi-error-with-status-0", "npu-smi-lists-nothing"])
def test_broken_board_is_an_error_with_user_and_groups(place: Machine, fault: str) -> None:
    place.board.configure(faults=[fault])
    host = place.host()
    assert isinstance(host.board, BrokenBoard)
    for ask in (host.present, host.demand_not_broken, lambda: host.soc, lambda: host.device):
        with pytest.raises(BoardError) as caught:
            ask()
        assert {"user", "groups"} <= set(caught.value.where)
        assert caught.value.next_step


def test_tool_that_was_asked_for_wins(place: Machine) -> None:
    assert place.host().tools.choose("benchmark") == "benchmark"
    assert place.host().tools.choose("ais_bench") == "ais_bench"
    assert place.host(inference_tool="ais_bench").tools.choose("benchmark") == "ais_bench"


def test_the_other_tool_takes_the_place_of_a_missing_one(place: Machine) -> None:
    for program in place.board.bin.glob("benchmark.*"):
        program.unlink()
    assert place.host().tools.choose("benchmark") == "ais_bench"
    with pytest.raises(NotApplicable, match="no benchmark was found") as caught:
        place.host(inference_tool="benchmark").tools.choose("ais_bench")
    assert caught.value.reason is SkipReason.NO_INFERENCE_TOOL


def test_versions_are_stated_with_the_tools(place: Machine) -> None:
    stated = place.host().stated_versions
    assert {"cann", "npu-smi", "benchmark", "ascend-python ais_bench"} <= set(stated)
    assert stated["cann"] == "5.0.1"
    for program in ("atc", "aoe"):
        assert stated[program] == f"sha256 {file_sha256(place.board.bin / program)[:16]}"
    assert json.dumps(stated)
