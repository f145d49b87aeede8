"""``npu-smi``: what chips there are, how they do, and who is on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emulator import fault_runs
from emulator.board import Board, BoardState, Chip, Tenant
from emulator.marker import SENTENCE, say
from emulator.npu_smi_table import table
from emulator.tenants import tenants, was_used

WRONG_USE = 1
BUSY_PCT = 63
"""Load that a chip shows for each of the emulator's own tools."""
USAGE = "Usage: npu-smi info [-l | -m | -t TYPE -i NPU [-c CHIP]]"
ABSENT = "NA"


class WrongUseError(Exception):
    """Arguments that npu-smi does not take."""


def main(argv: Sequence[str], board: Board) -> int:
    """Answer one call.

    Args:
        argv: Arguments without the program's name.
        board: The board that is shown.

    Returns:
        0, or 1 for wrong use.
    """
    fault_runs.strike(board.faults.at("npu-smi"))
    state = _as_seen(board)
    try:
        for line in _answer(list(argv), state):
            say(line)
    except WrongUseError as error:
        say(str(error))
        say(USAGE)
        return WRONG_USE
    return 0


def _as_seen(board: Board) -> BoardState:
    """The state with the tools that run now, and with what faults make of it."""
    state = board.state
    running = tenants(board.folder, state)
    for fault in board.faults.at("chips"):
        options = dict(fault.options)
        if options.pop("after_use", False) and not was_used(board.folder):
            continue
        if "process" in options:
            running.append(Tenant(**options["process"]))
        else:
            chips = tuple(chip._replace(**options) for chip in state.chips)
            state = state._replace(chips=chips)
    chips = tuple(_loaded(chip, running) for chip in state.chips)
    return state._replace(chips=chips, processes=tuple(running))


def _loaded(chip: Chip, running: list[Tenant]) -> Chip:
    on_it = [row for row in running if row.device == chip.device]
    used, total = chip.memory_mb
    return chip._replace(
        aicore_pct=min(100, chip.aicore_pct + BUSY_PCT * len(on_it)),
        memory_mb=(used + sum(row.memory_mb for row in on_it), total),
    )


def _answer(argv: list[str], state: BoardState) -> list[str]:
    if argv == ["info"]:
        return table(state)
    if argv == ["info", "-l"]:
        return _listing(state)
    if argv == ["info", "-m"]:
        return _mapping(state)
    options = dict(zip(argv[1::2], argv[2::2], strict=False))
    if argv[:1] != ["info"] or len(argv) % 2 == 0 or not {"-t", "-i"} <= set(options):
        raise WrongUseError(f"Error parameter: {' '.join(argv)}")
    return _details(options, state)


def _pairs(rows: dict[str, object]) -> list[str]:
    return [f"\t{name:<30} : {value}" for name, value in rows.items()]


def _cards(state: BoardState) -> dict[int, list[Chip]]:
    cards: dict[int, list[Chip]] = {}
    for chip in state.chips:
        cards.setdefault(chip.npu, []).append(chip)
    return cards


def _listing(state: BoardState) -> list[str]:
    cards = _cards(state)
    is_old = state.facts.name == "310"
    lines = _pairs({"Card Count" if is_old else "Total Count": len(cards)})
    for npu, chips in cards.items():
        product = {"Product Name": SENTENCE, "Serial Number": ABSENT} if is_old else {}
        lines += ["", *_pairs({"NPU ID": npu, **product, "Chip Count": len(chips)})]
    return lines


def _mapping(state: BoardState) -> list[str]:
    head = ("NPU ID", "Chip ID", "Chip Logic ID", "Chip Name")
    rows: list[tuple[object, ...]] = [head]
    for npu, chips in _cards(state).items():
        for chip in chips:
            rows.append((npu, chip.chip, chip.device, f"Ascend {state.facts.name}"))  # noqa: PERF401  nested
        rows.append((npu, len(chips), "-", "Mcu"))
    return ["\t" + "".join(f"{value!s:<31}" for value in row).rstrip() for row in rows]


def _details(options: dict[str, str], state: BoardState) -> list[str]:
    cards = _cards(state)
    npu = options["-i"]
    if not npu.isdigit() or int(npu) not in cards:
        raise WrongUseError(f"Error card id: {npu}")
    chips = cards[int(npu)]
    if "-c" in options:
        chips = [chip for chip in chips if str(chip.chip) == options["-c"]]
        if not chips:
            raise WrongUseError(f"Error chip id: {options['-c']}")
        if options["-t"] == "board":
            return _pairs(_chip_board(chips[0], state))
    elif options["-t"] == "board":
        return _pairs(_card_board(int(npu), chips, state))
    if options["-t"] not in DETAILS:
        raise WrongUseError(f"This device does not support querying {options['-t']}.")
    lines = _pairs({"NPU ID": npu, "Chip Count": len(chips)})
    for chip in chips:
        lines += ["", *_pairs({**DETAILS[options["-t"]](chip, state), "Chip ID": chip.chip})]
    return lines


def _card_board(npu: int, chips: list[Chip], state: BoardState) -> dict[str, object]:
    return {
        "NPU ID": npu,
        "Product Name": SENTENCE,
        "Model": ABSENT,
        "Manufacturer": ABSENT,
        "Serial Number": ABSENT,
        "Software Version": state.driver,
        "Firmware Version": f"EMU {state.driver}",
        "Board ID": "0x00",
        "PCB ID": "A",
        "BOM ID": "0",
        "Chip Count": len(chips),
        "Faulty Chip Count": sum(chip.health in {"Alarm", "Critical"} for chip in chips),
    }


def _chip_board(chip: Chip, state: BoardState) -> dict[str, object]:
    return {
        "NPU ID": chip.npu,
        "Chip ID": chip.chip,
        "Chip Type": "Ascend",
        "Chip Name": state.facts.name,
        "Chip Version": "V1",
        "Board ID": "0x00",
        "PCB ID": ABSENT,
        "BOM ID": ABSENT,
    }


def _health(chip: Chip, _: BoardState) -> dict[str, object]:
    return {"Health": chip.health}


def _usages(chip: Chip, _: BoardState) -> dict[str, object]:
    used, total = chip.memory_mb
    return {
        "DDR Capacity(MB)": total,
        "DDR Usage Rate(%)": round(100 * used / total),
        "Aicore Usage Rate(%)": chip.aicore_pct,
    }


def _power(chip: Chip, _: BoardState) -> dict[str, object]:
    return {"Power Dissipation(W)": chip.power_w}


def _temperature(chip: Chip, _: BoardState) -> dict[str, object]:
    return {"Temperature (C)": chip.temperature_c}


def _processes(chip: Chip, state: BoardState) -> dict[str, object]:
    rows = [row for row in state.processes if row.device == chip.device]
    return {
        f"Process id:{row.pid}": f"Process name:{row.name} Process memory(MB):{row.memory_mb}"
        for row in rows
    }


DETAILS: dict[str, Callable[[Chip, BoardState], dict[str, object]]] = {
    "health": _health,
    "usages": _usages,
    "power": _power,
    "temp": _temperature,
    "proc-mem": _processes,
}
