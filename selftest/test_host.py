"""What a machine offers: which chip is used, which tools, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from conformance.ascend import run_chip
from conformance.ascend.board import AbsentBoard, BrokenBoard
from conformance.ascend.conversion import Conversion
from conformance.ascend.host import AscendHost
from conformance.ascend.supervisor import run
from conformance.ascend.tool_run import Run, Survivor
from conformance.build import Builder
from conformance.build_om import OmBuilder, OmModel
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


def test_a_chip_that_another_suite_leases_is_passed_over(place: Machine) -> None:
    leased, released = threading.Event(), threading.Event()

    def other_suite() -> None:
        with place.locks.chips([(0, 0)], wait_s=0):
            leased.set()
            released.wait(30)

    other = threading.Thread(target=other_suite)
    other.start()
    assert leased.wait(10)
    assert place.host().device.acl_id == 1
    assert place.host("other run", chips="0,2").device.acl_id == 2
    released.set()
    other.join()
    assert place.host("later run").device.acl_id == 0


def test_a_chip_with_an_unkillable_tool_is_passed_over(place: Machine) -> None:
    born = psutil.Process().create_time()
    place.locks.mark_unusable((0, 0), [Survivor(os.getpid(), born, "stuck", "disk-sleep")])
    assert place.host().device.acl_id == 1


def test_processes_of_the_run_do_not_make_its_chip_busy(place: Machine) -> None:
    with subprocess.Popen(["sleep", "60"]) as tool:
        place.occupy(0, tool.pid)
        place.occupy(0, os.getpid())
        assert place.host().device.acl_id == 0
        assert place.host(chips="0").chip.spoils_timing() == ""
        below_tool, below_parent = (
            dataclasses.replace(place, root_pid=pid) for pid in (tool.pid, os.getppid())
        )
        other = below_tool.host("other", chips="0")
        assert f"{os.getpid()} stranger" in other.chip.spoils_timing()
        worker = below_parent.host("worker", chips="0")
        assert worker.chip.spoils_timing() == "", "a worker's siblings are below its controller"
        tool.kill()


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


@pytest.mark.parametrize("kind", ["file", "link"])
def test_an_atc_that_cannot_be_executed_is_an_error_without_a_board_too(
    place: Machine, kind: str
) -> None:
    for program in ("npu-smi", "atc"):
        place.remove(program)
    atc = place.board.bin / "atc"
    if kind == "link":
        atc.symlink_to("/nowhere/atc")
    else:
        atc.write_text("#!/bin/sh\n")
    with pytest.raises(ToolError, match="atc is not executable") as caught:
        place.host(soc="Ascend310").atc()
    assert str(atc) in str(caught.value)
    assert ("leads nowhere" if kind == "link" else "chmod +x") in caught.value.next_step


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


@pytest.mark.parametrize(("given", "factor"), [("3", 3), ("0.001", 1)])
def test_limits_of_tools_that_answer_questions_grow_but_do_not_shrink(
    place: Machine, given: str, factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[str, float] = {}

    def watched(kind: str) -> Callable[..., Run]:
        def watch(argv: list[str | Path], *, limit_s: float, **more: Any) -> Run:
            limits[kind] = limit_s
            return run(argv, limit_s=limit_s, **more)

        return watch

    for kind in ("environment", "npu_smi", "tools", "om_description"):
        monkeypatch.setattr(f"conformance.ascend.{kind}.run", watched(kind))
    script = place.folder / "cann/set_env.sh"
    script.parent.mkdir()
    script.write_text("export ASCEND_OPP_PATH=/opp\n")
    host = place.host(time_limits=given)
    bare = {"PATH": "/usr/bin:/bin", "ASCEND_HOME_PATH": str(script.parent)}
    sourced = AscendHost(host.config, host.run_folder, bare, place.locks).environment
    assert sourced.set_env == script
    assert host.device.acl_id == 0
    assert host.tools.ascend_python
    model = OmModel(place.folder, "", cast("Conversion", None), "", "", place.folder, True, {})
    with pytest.raises(ToolError, match=r"cannot read the \.om"):
        OmBuilder(Builder(host.config, host.run_folder), host).describe(model)
    told = {"environment": 60, "npu_smi": 30, "tools": 120, "om_description": 300}
    assert limits == {kind: factor * limit for kind, limit in told.items()}
