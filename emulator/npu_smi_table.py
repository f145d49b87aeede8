"""The table of ``npu-smi info``, in the widths that each product line prints."""

from __future__ import annotations

from collections.abc import Sequence

from emulator.board import BoardState, Chip
from emulator.marker import MARK

HEALTH_WIDTH, LOAD_WIDTH = 15, 52
PROCESS_WIDTHS = (15, 24)


def table(state: BoardState) -> list[str]:
    """All lines of ``npu-smi info``.

    Args:
        state: The chips and the processes to show.
    """
    widths = (8 + state.facts.name_width, HEALTH_WIDTH, LOAD_WIDTH)
    inner = sum(widths) + 3 * len(widths) - 1
    banner = f"npu-smi {state.driver} {MARK}"
    version = f"Version: {state.driver}"
    lines = [
        f"+{'-' * inner}+",
        f"| {banner:<49}{version}".ljust(inner + 1)[: inner + 1] + "|",
        _rule("-", widths),
        _row(widths, (_pair("NPU", "Name"), "Health", LOAD_HEAD[0])),
        _row(widths, (_pair("Chip", "Device"), "Bus-Id", LOAD_HEAD[1])),
    ]
    for index, chip in enumerate(state.chips):
        lines.append(_rule("-" if index else "=", widths))
        lines += [_row(widths, cells) for cells in _chip_cells(chip, state)]
    lines.append(_rule("=", widths))
    return lines + (_process_table(state, inner) if state.facts.process_table else [])


LOAD_HEAD = (
    "Power(W)     Temp(C)           Hugepages-Usage(page)",
    "AICore(%)    Memory-Usage(MB)",
)


def _pair(left: object, right: object) -> str:
    return f"{left!s:<8}{right}"


def _rule(sign: str, widths: Sequence[int]) -> str:
    return "+" + "+".join(sign * (width + 2) for width in widths) + "+"


def _row(widths: Sequence[int], cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell:<{w}} " for w, cell in zip(widths, cells, strict=True)) + "|"


def _chip_cells(chip: Chip, state: BoardState) -> list[tuple[str, str, str]]:
    used, total = chip.memory_mb
    heat = f"{chip.power_w:<13}{chip.temperature_c:<18}{state.facts.hugepages}"
    load = f"{chip.aicore_pct:<13}{used:<4} / {total}"
    return [
        (_pair(chip.npu, state.facts.name), chip.health, heat),
        (_pair(chip.chip, chip.device), chip.bus, load),
    ]


def _process_table(state: BoardState, inner: int) -> list[str]:
    first = 8 + state.facts.name_width
    last = inner - first - sum(PROCESS_WIDTHS) - 11
    widths = (first, *PROCESS_WIDTHS, last)
    head = (_pair("NPU", "Chip"), "Process id", "Process name", "Process memory(MB)")
    lines = [_row(widths, head), _rule("=", widths)]
    for npu in sorted({chip.npu for chip in state.chips}):
        rows = _process_rows(npu, state)
        idle = f"| No running processes found in NPU {npu}".ljust(inner + 1) + "|"
        lines += [_row(widths, cells) for cells in rows] or [idle]
        lines.append(_rule("=", widths))
    return lines


def _process_rows(npu: int, state: BoardState) -> list[tuple[str, ...]]:
    chips = {chip.device: chip for chip in state.chips if chip.npu == npu}
    return [
        (_pair(npu, chips[row.device].chip), str(row.pid), row.name, str(row.memory_mb))
        for row in state.processes
        if row.device in chips
    ]
