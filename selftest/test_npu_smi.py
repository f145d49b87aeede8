"""npu-smi's words become chips, health, users and ids; its failures become a broken board."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.ascend import presence
from conformance.ascend.board import (
    AbsentBoard,
    Board,
    BrokenBoard,
    PresentBoard,
    board_class,
    find_board,
)
from conformance.ascend.devices import acl_devices, choose_devices
from conformance.ascend.environment import VendorEnvironment
from conformance.ascend.locks import MachineLocks
from conformance.ascend.npu_lists import MappedChip, parse_board, parse_mapping
from conformance.ascend.npu_smi import NpuSmi
from conformance.ascend.npu_table import Chip, Health, NpuTable, parse_npu_table
from conformance.ascend.occupancy import Occupancy, chip_use, first_idle, use_from_samples
from conformance.ascend.socs import agreed_soc, known_socs, soc_version_of, soc_version_of_board
from conformance.ascend.versions import VersionFact
from conformance.errors import BoardError, ConfigError

SAMPLES = Path(__file__).parent / "samples/npu_smi"


def sample(name: str) -> str:
    """What npu-smi prints on a real board; products, chips, values and order as published."""
    return (SAMPLES / f"{name}.txt").read_text()


WITH_CHIPS = sorted(path.stem for path in SAMPLES.glob("info-*.txt"))
HEAD_ONLY = "".join(sample("info-310").splitlines(keepends=True)[:6])
CUT_IN_A_CHIP = "".join(sample("info-310").splitlines(keepends=True)[:7])
DRIVER = VersionFact("driver", "23.0.0", Path("version.info"))


@pytest.mark.parametrize(
    ("text", "keys", "devices"),
    [
        (sample("info-310"), [(0, 0)], [0]),
        (sample("info-310-four-chips"), [(0, 0), (0, 1), (0, 2), (0, 3)], [0, 1, 2, 3]),
        (sample("info-310P3-narrow"), [(0, 0)], [0]),
        (sample("info-310P3-id-2144"), [(2144, 0)], [0]),
        (sample("info-310P3-duo"), [(1, 0), (1, 1), (2, 0)], [0, 1, 2]),
        (sample("info-910B4"), [(0, 0), (1, 0)], [None, None]),
        (sample("info-910C"), [(0, 0), (0, 1)], [None, None]),
        (sample("info-310-barred"), [(0, 0)], [0]),
    ],
)
def test_a_pair_of_rows_is_a_chip(
    text: str, keys: list[tuple[int, int]], devices: list[int | None]
) -> None:
    chips = parse_npu_table(text).chips
    assert [chip.key for chip in chips] == keys
    assert [chip.device for chip in chips] == devices


def test_every_value_of_a_310_is_read() -> None:
    assert parse_npu_table(sample("info-310")).chips[0] == Chip(
        npu=0,
        chip=0,
        name="310",
        health=Health.OK,
        device=0,
        phy_id=None,
        bus_id="0000:01:00.0",
        power_w=12.8,
        temperature_c=61.0,
        aicore_pct=0.0,
        memory_mb=(577.0, 7759.0),
        hbm_mb=None,
    )


def test_other_columns_of_other_products_are_read() -> None:
    first, second = parse_npu_table(sample("info-910B4")).chips
    assert (first.memory_mb, first.hbm_mb, second.aicore_pct) == ((0, 0), (2922, 32768), 7)
    assert second.hbm_mb == (20701, 65536)
    first, second = parse_npu_table(sample("info-910C")).chips
    assert (first.power_w, second.power_w) == (178.8, None)
    assert (first.phy_id, second.phy_id) == (0, 1)
    assert parse_npu_table(sample("info-310P3-id-2144")).chips[0].power_w is None
    assert parse_npu_table(sample("info-310-root-complex")).chips[0].bus_id is None
    assert parse_npu_table(sample("info-310P3-duo")).chips[2].memory_mb == (37623, 44278)


def test_version_and_mark_are_read_from_the_banner() -> None:
    table = parse_npu_table(sample("info-910C"))
    assert (table.version, table.emulated) == ("24.1.rc3.7", False)
    marked = sample("info-310").replace("npu-smi 23.0.0", "npu-smi 23.0.0 ASCEND-EMULATOR")
    table = parse_npu_table(marked)
    assert (table.version, table.emulated) == ("23.0.0", True)
    assert parse_npu_table(sample("info-310P3-narrow")).version is None


@pytest.mark.parametrize("word", [*Health, "NA", "Fine"])
def test_health_decides_what_may_run(word: str) -> None:
    health = parse_npu_table(sample("info-310").replace("| OK ", f"| {word} ")).chips[0].health
    known = word in list(Health)
    assert health == (word if known else Health.UNKNOWN)
    assert health.usable == (word in ("OK", "Warning"))
    assert health.fit_for_timing == (word == "OK")


@pytest.mark.parametrize("text", ["", sample("driver-not-loaded"), sample("device-used")])
def test_a_text_without_chips_is_an_answer(text: str) -> None:
    assert parse_npu_table(text).chips == ()


@pytest.mark.parametrize("name", WITH_CHIPS)
def test_a_table_cut_between_two_rows_of_a_chip_is_refused(name: str) -> None:
    lines = sample(name).splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if re.match(r"\|\s*\d", line))
    with pytest.raises(BoardError, match="cannot be read"):
        parse_npu_table("".join(lines[: first + 1]))
    with pytest.raises(BoardError, match="cannot be read"):
        parse_npu_table("".join(lines[: first + 1] + lines[first:]))


def test_a_second_row_is_not_taken_for_a_first_one() -> None:
    lower = sample("info-310").splitlines()[7]
    with pytest.raises(BoardError, match="cannot be read"):
        parse_npu_table(f"{lower}\n{lower}\n")


@settings(max_examples=60, deadline=None)
@given(text=st.sampled_from([sample(name) for name in WITH_CHIPS]), cut=st.integers(0, 4000))
def test_a_table_cut_anywhere_is_refused_or_has_only_whole_chips(text: str, cut: int) -> None:
    whole = parse_npu_table(text).chips
    try:
        got = parse_npu_table(text[:cut]).chips
    except BoardError:
        return
    assert [chip.key for chip in got] == [chip.key for chip in whole[: len(got)]]


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="|0123456789 NAOKinfo/:.-+=\n", max_size=300))
def test_no_text_crashes_the_parser(text: str) -> None:
    with contextlib.suppress(BoardError):
        parse_npu_table(text)


def test_mapping_leaves_out_what_does_not_compute() -> None:
    assert parse_mapping(sample("mapping-910B4")) == (
        MappedChip(8, 0, 0, "Ascend 910B4"),
        MappedChip(9, 0, 1, "Ascend 910B4"),
    )
    assert [chip.logic_id for chip in parse_mapping(sample("mapping-910C"))] == [0, 1]
    assert parse_mapping(sample("mapping-with-slot")) == (MappedChip(3, 0, 5, "Ascend950PR"),)
    assert parse_mapping("This device does not support querying mapping.\n") == ()


def test_fields_of_boards_are_read() -> None:
    board = parse_board(sample("board-310B"))
    assert (board["Software Version"], board["Firmware Version"]) == ("23.0.0", "6.4.12.1.241")
    assert "Serial Number" not in board
    assert (board["Board ID"], board["PCB ID"], board["BOM ID"]) == ("0x3c", "A", "0")
    assert parse_board(sample("chip-310B1"))["Chip Name"] == "310B1"


def test_the_soc_of_a_910c_is_its_chips_and_its_npus_name(machine: Machine) -> None:
    told = "\tNPU ID : 0\n\tNPU Name : 9392\n\tChip ID : 0\n\tChip Name : Ascend910\n"
    machine.npu_smi(sample("info-910C"), more={"-t board -i 0 -c 0": told})
    assert soc_version_of_board(machine.present().npu_smi.board(0, 0)) == "Ascend910_9392"
    assert soc_version_of_board(machine.present().npu_smi.board(0, 1)) is None
    assert soc_version_of_board(parse_board(sample("chip-310B1"))) is None


# --- finding a board ------------------------------------------------------------------------------

FAKE = """#!{python} -I
import sys, time
answers = {answers!r}
key = " ".join(sys.argv[1:])
status, text = answers.get(key, (1, "not supported\\n"))
sys.stdout.write(text)
sys.stdout.flush()
time.sleep({sleep})
sys.exit(status)
"""


class Machine:
    """A folder that plays a machine: its PATH, its /dev, its locks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dev = folder / "dev"
        self.bin = folder / "bin"
        self.locks = MachineLocks(folder / "locks")
        self.dev.mkdir()
        self.bin.mkdir()

    def node(self, *names: str) -> None:
        for name in names:
            (self.dev / name).touch()

    def npu_smi(
        self, info: str, status: int = 0, sleep: float = 0, more: dict[str, str] | None = None
    ) -> None:
        answers = {"info": (status, info)}
        answers |= {f"info {question}": (0, text) for question, text in (more or {}).items()}
        tool = self.bin / "npu-smi"
        tool.write_text(FAKE.format(python=sys.executable, answers=answers, sleep=sleep))
        tool.chmod(0o755)

    def find(self, limit_s: float = 20) -> Board:
        environment = VendorEnvironment({"PATH": str(self.bin)}, None, "test")
        return find_board(environment, locks=self.locks, dev=self.dev, folders=(), limit_s=limit_s)

    def present(self) -> PresentBoard:
        board = self.find()
        assert isinstance(board, PresentBoard)
        return board


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nothing_is_absent_and_says_what_would_help(machine: Machine) -> None:
    board = machine.find()
    assert isinstance(board, AbsentBoard)
    assert "npu-smi" in board.detail
    assert "davinci" in board.detail
    assert board_class(board, [DRIVER]) == "none"


@pytest.mark.parametrize(
    ("text", "status", "remedy"),
    [
        (sample("driver-not-loaded"), 1, "load the driver"),
        (sample("driver-not-loaded"), 0, "load the driver"),
        (sample("device-used"), 255, "another container"),
        ("bash: /dev/davinci_manager: Permission denied\n", 1, "member of the group"),
        ("", 0, "by hand"),
        (HEAD_ONLY, 0, "by hand"),
        (CUT_IN_A_CHIP, 0, "again"),
        ("libdcmi.so: cannot open shared object file\n", 127, "LD_LIBRARY_PATH"),
    ],
)
def test_npu_smi_without_a_chip_is_broken_whatever_its_status(
    machine: Machine, text: str, status: int, remedy: str
) -> None:
    machine.npu_smi(text, status)
    board = machine.find()
    assert isinstance(board, BrokenBoard)
    assert text.strip() in board.text or text == CUT_IN_A_CHIP
    message = str(board.error())
    assert remedy in message
    assert f"user: {board.user}" in message
    assert "groups: " in message
    assert board.groups
    assert board_class(board, [DRIVER]) == "none"


def test_a_hanging_npu_smi_is_broken(machine: Machine) -> None:
    machine.npu_smi(sample("info-310"), sleep=60)
    started = time.monotonic()
    board = machine.find(limit_s=0.5)
    assert isinstance(board, BrokenBoard)
    assert "hangs" in board.remedy
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("node", ["davinci0", "davinci_manager"])
def test_device_nodes_without_npu_smi_are_broken_not_absent(machine: Machine, node: str) -> None:
    machine.node(node)
    board = machine.find()
    assert isinstance(board, BrokenBoard)
    assert "npu-smi is missing" in board.text
    assert node in str(board.error())


@pytest.mark.parametrize("kind", ["file", "link", "in a standard folder"])
def test_an_npu_smi_that_cannot_be_executed_is_broken_not_absent(
    machine: Machine, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    standard = machine.folder / "standard"
    standard.mkdir()
    tool = (standard if kind == "in a standard folder" else machine.bin) / "npu-smi"
    if kind == "link":
        tool.symlink_to("/nowhere/npu-smi")
    else:
        tool.write_text("#!/bin/sh\n")
    environment = VendorEnvironment({"PATH": str(machine.bin)}, None, "test")
    board = find_board(environment, locks=machine.locks, dev=machine.dev, folders=[standard])
    assert isinstance(board, BrokenBoard)
    message = str(board.error())
    assert f"{tool} cannot be executed" in message
    assert ("leads nowhere" if kind == "link" else f"chmod +x {tool}") in message
    monkeypatch.setenv("PATH", str(machine.bin))
    monkeypatch.setattr(presence, "STANDARD_FOLDERS", (standard,))
    assert presence.board_signs(machine.dev) == [str(tool)]


def test_a_folder_called_npu_smi_is_no_tool(machine: Machine) -> None:
    (machine.bin / "npu-smi").mkdir()
    assert isinstance(machine.find(), AbsentBoard)


def test_an_npu_smi_that_can_be_executed_wins_over_one_that_cannot(machine: Machine) -> None:
    machine.npu_smi(sample("info-310"))
    lame = machine.folder / "lame"
    lame.mkdir()
    (lame / "npu-smi").write_text("#!/bin/sh\n")
    environment = VendorEnvironment({"PATH": f"{lame}:{machine.bin}"}, None, "test")
    board = find_board(environment, locks=machine.locks, dev=machine.dev, folders=())
    assert isinstance(board, PresentBoard)


@pytest.mark.parametrize("name", WITH_CHIPS)
def test_listed_chips_are_present(machine: Machine, name: str) -> None:
    machine.npu_smi(sample(name))
    assert machine.present().chips == parse_npu_table(sample(name)).chips


def test_a_chip_listed_with_a_bad_status_is_present(machine: Machine) -> None:
    machine.npu_smi(sample("info-310"), status=1)
    assert len(machine.present().chips) == 1


def test_the_class_of_the_board_follows_from_facts(machine: Machine) -> None:
    machine.npu_smi(sample("info-310"))
    assert board_class(machine.present(), [DRIVER]) == "unverified"
    machine.node("davinci_manager")
    assert board_class(machine.present(), [DRIVER]) == "unverified"
    machine.node("davinci0")
    assert board_class(machine.present(), [DRIVER]) == "device"
    assert board_class(machine.present(), []) == "unverified"
    assert board_class(machine.present(), [DRIVER], marked=True) == "emulated"
    machine.npu_smi(sample("info-310").replace("npu-smi 23.0.0", "npu-smi 23.0.0 ASCEND-EMULATOR"))
    assert board_class(machine.present(), [DRIVER]) == "emulated"


def test_npu_smi_is_asked_one_at_a_time(machine: Machine) -> None:
    tool = machine.bin / "npu-smi"
    tool.write_text(
        f"#!{sys.executable} -I\nimport os, sys, time\nmark = {str(machine.folder / 'running')!r}\n"
        "os.mkdir(mark)\ntime.sleep(.2)\nos.rmdir(mark)\n"
    )
    tool.chmod(0o755)
    environment = VendorEnvironment({"PATH": str(machine.bin)}, None, "test")
    npu_smi = NpuSmi(tool, environment, machine.locks)
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(npu_smi.ask("info").status))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0, 0, 0]


def test_questions_that_a_product_does_not_answer_have_empty_answers(machine: Machine) -> None:
    machine.npu_smi(sample("info-310"))
    npu_smi = machine.present().npu_smi
    assert npu_smi.mapping() == ()
    assert npu_smi.board(0, 0) == {}
    machine.npu_smi(sample("driver-not-loaded"))
    with pytest.raises(BoardError, match="lists no chip"):
        npu_smi.table()


# --- ids ------------------------------------------------------------------------------------------


def with_chips(machine: Machine, text: str, mapping: str | None = None) -> PresentBoard:
    machine.npu_smi(text, more={"-m": mapping} if mapping else {})
    return machine.present()


def test_acl_ids_follow_the_device_column_across_cards(machine: Machine) -> None:
    board = with_chips(machine, sample("info-310P3-duo"))
    devices = acl_devices(board, {})
    assert [(d.acl_id, d.chip.key, d.soc_version) for d in devices] == [
        (0, (1, 0), "Ascend310P3"),
        (1, (1, 1), "Ascend310P3"),
        (2, (2, 0), "Ascend310P3"),
    ]


def test_acl_ids_follow_npu_smis_own_mapping_where_it_has_one(machine: Machine) -> None:
    swapped = (
        sample("mapping-910C")
        .replace("0        0         0 ", "0        0         1 ")
        .replace("0        1         1 ", "0        1         0 ")
    )
    devices = acl_devices(with_chips(machine, sample("info-910C"), swapped), {})
    assert [(d.acl_id, d.chip.key, d.soc_version) for d in devices] == [
        (0, (0, 1), None),
        (1, (0, 0), None),
    ]


def test_acl_ids_follow_the_order_where_nothing_else_is_said(machine: Machine) -> None:
    devices = acl_devices(with_chips(machine, sample("info-910B4")), {})
    assert [(d.acl_id, d.chip.key) for d in devices] == [(0, (0, 0)), (1, (1, 0))]


def test_two_cards_that_each_count_their_chips_from_0_are_refused(machine: Machine) -> None:
    card = sample("info-310P3-duo")
    rows = card.replace("| 0       2 ", "| 0       0 ")
    assert rows != card
    with pytest.raises(BoardError, match="same id in its column Device") as caught:
        acl_devices(with_chips(machine, rows), {})
    assert caught.value.got == "NPU 1 chip 0 (310P3): 0; NPU 2 chip 0 (310P3): 0"


def test_a_mapping_that_repeats_an_id_is_refused(machine: Machine) -> None:
    twice = sample("mapping-910C").replace("0        1         1 ", "0        1         0 ")
    with pytest.raises(BoardError, match="same id in its column Chip Logic ID"):
        acl_devices(with_chips(machine, sample("info-910C"), twice), {})


@pytest.mark.parametrize(
    ("visible", "chips"),
    [
        ("1,3", [1, 3]),
        ("0,1,2,3", [0, 1, 2, 3]),
        ("3", [3]),
        ("1,0,2", [1]),
        ("1,,2", [1]),
        ("0, 1", [0]),
        ("0,9,1", [0]),
        ("2,2", [2]),
    ],
)
def test_visible_devices_renumber_from_0_and_stop_at_the_first_bad_id(
    machine: Machine, visible: str, chips: list[int]
) -> None:
    board = with_chips(machine, sample("info-310-four-chips"))
    devices = acl_devices(board, {"ASCEND_RT_VISIBLE_DEVICES": visible})
    assert [device.acl_id for device in devices] == list(range(len(chips)))
    assert [device.chip.chip for device in devices] == chips


@pytest.mark.parametrize("visible", ["", " ", "x", "9"])
def test_visible_devices_that_leave_none_are_refused(machine: Machine, visible: str) -> None:
    board = with_chips(machine, sample("info-310-four-chips"))
    with pytest.raises(BoardError, match="leaves no device"):
        acl_devices(board, {"ASCEND_RT_VISIBLE_DEVICES": visible})


def test_a_chip_that_does_not_exist_is_refused_with_those_that_do(machine: Machine) -> None:
    devices = acl_devices(with_chips(machine, sample("info-310P3-duo")), {})
    assert [d.acl_id for d in choose_devices(devices, [2, 0])] == [2, 0]
    with pytest.raises(BoardError, match="does not exist") as caught:
        choose_devices(devices, [0, 3])
    assert "2 = NPU 2 chip 0 (310P3)" in str(caught.value)


def test_a_chip_in_alarm_is_refused(machine: Machine) -> None:
    devices = acl_devices(with_chips(machine, sample("info-310B4-alarm")), {})
    with pytest.raises(BoardError, match="not healthy") as caught:
        choose_devices(devices, [0])
    assert "Alarm" in str(caught.value)


# --- idle -----------------------------------------------------------------------------------------


def tables(*texts: str) -> Iterator[NpuTable]:
    return (parse_npu_table(text) for text in texts)


def use_over(*texts: str) -> Occupancy:
    found = tables(*texts)
    return chip_use(lambda: next(found), (0, 0), samples=len(texts), between_s=0).occupancy


def use_of(text: str, key: tuple[int, int], own: tuple[int, ...] = ()) -> Occupancy:
    found = tables(*[text] * 5)
    return chip_use(lambda: next(found), key, own_pids=own, between_s=0).occupancy


def test_idle_goes_by_chip_and_leaves_out_our_own_processes() -> None:
    assert use_of(sample("info-310"), (0, 0)) is Occupancy.IDLE
    assert use_of(sample("info-310-four-chips"), (0, 0)) is Occupancy.IDLE
    assert use_of(sample("info-310-four-chips"), (0, 1)) is Occupancy.BUSY
    assert use_of(sample("info-310-four-chips"), (0, 1), own=(4711,)) is Occupancy.IDLE
    assert use_of(sample("info-310-four-chips"), (0, 2), own=(4711,)) is Occupancy.BUSY
    assert use_of(sample("info-910B4"), (0, 0)) is Occupancy.BUSY
    # 7 % load without a process: npu-smi in a container does not name those of another one.
    assert use_of(sample("info-910B4"), (1, 0)) is Occupancy.UNKNOWN


def test_the_first_idle_healthy_chip_is_taken(machine: Machine) -> None:
    text = sample("info-310-four-chips")
    devices = acl_devices(with_chips(machine, text), {})
    device, use = first_idle(devices[1:], lambda: parse_npu_table(text))
    assert (device.chip.key, use.occupancy) == ((0, 3), Occupancy.IDLE)


def test_a_chip_of_which_nothing_is_known_comes_after_idle_ones(machine: Machine) -> None:
    text = sample("info-310B4-alarm").replace("Alarm", "OK   ")
    mute = text.replace("| 0            1577", "| NA           1577")
    devices = acl_devices(with_chips(machine, text), {})
    device, use = first_idle(devices, lambda: parse_npu_table(mute), between_s=0)
    assert (device.acl_id, use.occupancy) == (0, Occupancy.UNKNOWN)


def test_without_a_free_chip_every_chip_is_accounted_for(machine: Machine) -> None:
    busy = sample("info-310-four-chips")
    devices = acl_devices(with_chips(machine, busy), {})
    with pytest.raises(BoardError, match="no chip is free") as caught:
        first_idle(devices[1:3], lambda: parse_npu_table(busy))
    assert "NPU 0 chip 1 (310): processes: 4711 benchmark.x86_6" in str(caught.value)
    sick = acl_devices(with_chips(machine, sample("info-310B4-alarm")), {})
    with pytest.raises(BoardError, match="no chip is free") as caught:
        first_idle(sick, lambda: parse_npu_table(busy))
    assert "Alarm" in str(caught.value)


def test_a_users_id_and_name_are_told() -> None:
    found = chip_use(lambda: parse_npu_table(sample("info-910B4")), (0, 0))
    assert found.detail == "processes: 124528 python3.8"


def test_without_a_process_table_load_and_memory_decide() -> None:
    quiet = sample("info-310B4-alarm")
    loaded = quiet.replace("| 0            1577", "| 43           1577")
    moving = quiet.replace("1577 / 3513", "1700 / 3513")
    mute = quiet.replace("| 0            1577", "| NA           1577")
    assert use_of(quiet, (0, 0)) is Occupancy.IDLE
    assert use_over(quiet, loaded, quiet) is Occupancy.BUSY
    assert use_over(quiet, quiet, moving) is Occupancy.BUSY
    assert use_over(mute, quiet, quiet) is Occupancy.UNKNOWN


def test_memory_of_a_910_is_its_hbm() -> None:
    text = "".join(sample("info-910B4").splitlines(keepends=True)[:9])
    quiet = parse_npu_table(text).chips[0]
    assert (quiet.memory_mb, quiet.hbm_mb) == ((0, 0), (2922, 32768))
    assert use_over(text, text) is Occupancy.IDLE
    assert use_over(text, text.replace(" 2922 ", "30922 ")) is Occupancy.BUSY
    mute = replace(quiet, hbm_mb=None)
    assert use_from_samples([quiet, mute]).occupancy is Occupancy.UNKNOWN, "0 of 0 says nothing"
    both = replace(quiet, memory_mb=(100, 3513))
    assert use_from_samples([both, both]).detail.endswith("[100, 100] MB, HBM [2922.0, 2922.0] MB")


def test_memory_that_is_not_said_is_unknown() -> None:
    chip = parse_npu_table(sample("info-310B4-alarm")).chips[0]
    assert use_from_samples([chip, replace(chip, memory_mb=None)]).occupancy is Occupancy.UNKNOWN


def test_a_chip_that_vanishes_while_it_is_watched_is_an_error() -> None:
    with pytest.raises(BoardError, match="does not list a chip"):
        use_of(sample("info-310"), (0, 1))


# --- SoCs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "soc"),
    [
        ("310", "Ascend310"),
        ("310P3", "Ascend310P3"),
        ("310B4", "Ascend310B4"),
        ("910B4", "Ascend910B4"),
        ("999X", "Ascend999X"),
        ("Ascend910", None),
    ],
)
def test_npu_smis_name_becomes_atcs(name: str, soc: str | None) -> None:
    assert soc_version_of(name) == soc


def test_every_known_soc_has_a_name_of_its_own_and_a_source() -> None:
    names = [name for soc in known_socs().values() for name in soc.npu_smi]
    assert len(names) == len(set(names)) >= 9
    assert all(soc.source for soc in known_socs().values())
    assert known_socs()["Ascend310"].cards == {"Atlas 300I": 4}


def test_a_given_soc_must_not_contradict_the_board() -> None:
    assert agreed_soc("Ascend310", None) == agreed_soc("Ascend310", "Ascend310") == "Ascend310"
    assert agreed_soc(None, "Ascend310P3") == "Ascend310P3"
    with pytest.raises(ConfigError, match="contradicts"):
        agreed_soc("Ascend310", "Ascend310P3")
    with pytest.raises(ConfigError, match="not known"):
        agreed_soc(None, None)
