"""npu-smi's texts, in the variants that public sources show."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from emulator import MARK
from emulator.board import BoardState, Tenant, new_state
from emulator.npu_smi_table import table
from selftest.emulated import Bench, make_bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("smi"))


def one_chip(soc: str, **changes: object) -> BoardState:
    state = new_state(soc)
    chip = state.chips[0]._replace(**changes)  # type: ignore[arg-type]  # fields of Chip
    return state._replace(chips=(chip,))


def test_a_310_looks_as_published() -> None:
    state = one_chip("Ascend310", bus="0000:01:00.0", temperature_c=61, memory_mb=(577, 7759))
    lines = table(state._replace(driver="23.0.0"))
    for line in (
        "| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |",  # noqa: E501  as published
        "| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |",  # noqa: E501  as published
        "| 0       310                   | OK              | 12.8         61                0     / 969           |",  # noqa: E501  as published
        "| 0       0                     | 0000:01:00.0    | 0            577  / 7759                             |",  # noqa: E501  as published
        "| NPU     Chip                  | Process id      | Process name             | Process memory(MB)        |",  # noqa: E501  as published
        "| No running processes found in NPU 0                                                                    |",  # noqa: E501  as published
    ):
        assert line in lines
    published = "| npu-smi 23.0.0                                   Version: 23.0.0                                       |"  # noqa: E501  as published
    assert lines[1] == published.replace(f"23.0.0 {' ' * len(MARK)}", f"23.0.0 {MARK}", 1)


def test_a_310p3_looks_as_published() -> None:
    lines = table(one_chip("Ascend310P3", temperature_c=42))
    for line in (
        "| 0       310P3     | OK              | 15.8         42                0    / 0              |",  # noqa: E501  as published
        "| 0       0         | 0000:82:00.0    | 0            1074 / 21534                            |",  # noqa: E501  as published
    ):
        assert line in lines


def test_a_310b_has_no_bus_and_no_process_table() -> None:
    text = "\n".join(table(new_state("Ascend310B1")))
    assert "| 0       310B1 " in text
    assert "| NA " in text
    assert "Process" not in text


@pytest.mark.parametrize("soc", ["Ascend310", "Ascend310P3", "Ascend310B1"])
def test_all_lines_are_equally_long(soc: str) -> None:
    assert len({len(line) for line in table(new_state(soc))}) == 1


def test_a_310_card_shows_four_chips_under_one_npu() -> None:
    rows = [line.split("|")[1:3] for line in table(new_state("Ascend310"))]
    cells = [[cell.split() for cell in row] for row in rows if len(row) == 2]
    chips = [left for left, right in cells if left and right and right[0].startswith("0000:")]
    assert chips == [["0", "0"], ["1", "1"], ["2", "2"], ["3", "3"]]


def test_a_process_is_listed_with_its_chip() -> None:
    tenant = Tenant(2, 124528, "python3.8", 17400)
    state = new_state("Ascend310")._replace(processes=(tenant,))
    text = "\n".join(table(state))
    assert (
        "| 0       2                     | 124528          | python3.8                | 17400  "
        in text
    )
    assert "No running processes" not in text


def test_card_list_of_a_310(bench: Bench) -> None:
    result = bench.run("npu-smi", "info", "-l")
    keys = [line.partition(":")[0].strip() for line in result.stdout.splitlines() if line]
    assert keys == ["Card Count", "NPU ID", "Product Name", "Serial Number", "Chip Count"]


def test_board_of_a_card_names_its_versions(bench: Bench) -> None:
    result = bench.run("npu-smi", "info", "-t", "board", "-i", "0")
    rows = dict(line.split(" : ") for line in result.stdout.strip().splitlines())
    values = {key.strip(): value for key, value in rows.items()}
    assert values["Software Version"] == "21.0.2"
    assert values["Chip Count"] == "4"
    assert values["Faulty Chip Count"] == "0"
    assert MARK in result.stdout


def test_board_of_a_chip_names_it(bench: Bench) -> None:
    result = bench.run("npu-smi", "info", "-t", "board", "-i", "0", "-c", "3")
    assert "\tChip Type                      : Ascend\n" in result.stdout
    assert "\tChip Name                      : 310\n" in result.stdout


def test_mapping_ends_each_card_with_its_controller(bench: Bench) -> None:
    rows = [line.split() for line in bench.run("npu-smi", "info", "-m").stdout.splitlines()]
    assert rows[1] == ["0", "0", "0", "Ascend", "310"]
    assert rows[-1] == ["0", "4", "-", "Mcu"]


@pytest.mark.parametrize("kind", ["health", "usages", "power", "temp", "proc-mem"])
def test_each_kind_of_detail_covers_every_chip(bench: Bench, kind: str) -> None:
    result = bench.run("npu-smi", "info", "-t", kind, "-i", "0")
    assert result.status == 0
    assert result.stdout.count("Chip ID") == 4


@pytest.mark.parametrize(
    "argv",
    [
        ["info", "-t", "board", "-i", "7"],
        ["info", "-t", "board", "-i", "0", "-c", "9"],
        ["info", "-t", "nonsense", "-i", "0"],
        ["info", "--all"],
        ["inform"],
        [],
    ],
)
def test_wrong_use_is_refused(bench: Bench, argv: list[str]) -> None:
    assert bench.run("npu-smi", *argv).status != 0


def test_a_running_tool_is_shown_and_then_gone(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    assert bench.atc(batch=1).status == 0
    bench.images(2)
    bench.board.configure(faults=["inference-hangs"])
    name = "benchmark.x86_64"
    argv = [name, "-om_path=model_bs1.om", "-batch_size=1", "-input_text_path=images.info"]
    with bench.running(*argv, "-device_id=2") as process:
        row = await_text(bench, str(process.pid))
        assert row.split("|")[1].split() == ["0", "2"]
        assert row.split("|")[3].strip() == name
    text = bench.run("npu-smi", "info").stdout
    assert "No running processes found in NPU 0" in text


def await_text(bench: Bench, word: str) -> str:
    limit_s = time.monotonic() + 30
    while time.monotonic() < limit_s:
        for line in bench.run("npu-smi", "info").stdout.splitlines():
            if word in line:
                return line
    raise AssertionError(f"npu-smi never showed {word}")
