"""The state of an emulated board: one JSON file in its folder, read by every tool at its start.

Named tuples, not data classes: what these import takes npu-smi longer than all that it does.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from emulator.soc import Soc, known_socs

if TYPE_CHECKING:
    from emulator.faults import ActiveFaults

BOARD_VARIABLE = "ASCEND_EMULATOR_BOARD"
"""Environment variable that a launcher sets to its board's folder."""
STATE_NAME = "board.json"
TABLES = ("chips", "processes")
"""Fields of the state whose values have fields of their own."""


class BoardError(Exception):
    """The folder is no emulated board, or its state file says something unknown."""


class Chip(NamedTuple):
    """One chip as npu-smi shows it.

    Attributes:
        npu: Card id.
        chip: Chip id on its card.
        device: Logical id, as the tools take it before any renumbering.
        bus: PCI address, or ``NA``.
        health: ``OK``, ``Warning``, ``Alarm``, ``Critical`` or ``UNKNOWN``.
        aicore_pct: Load without the emulator's own tools.
        memory_mb: Used and total memory.
        power_w: Power as printed.
        temperature_c: Temperature in degrees Celsius.
    """

    npu: int
    chip: int
    device: int
    bus: str
    health: str = "OK"
    aicore_pct: int = 0
    memory_mb: tuple[int, int] = (0, 0)
    power_w: str = "NA"
    temperature_c: int = 45


class Tenant(NamedTuple):
    """A process that npu-smi shows on a chip: one of the tools, or somebody else's."""

    device: int
    pid: int
    name: str
    memory_mb: int = 100


class BoardState(NamedTuple):
    """Everything that can be set about a board.

    Attributes:
        soc: Version name of the system on chip, a key of socs.toml.
        cann: Release of CANN that ATC plays.
        driver: Driver release that npu-smi prints.
        seed: Seed of arithmetic jitter and of clocks.
        chips: The chips, in the order of their logical ids.
        processes: Other people's processes on the chips.
        clock_factor: Multiplies every device rate; 1 is the published speed.
        clock_spread: Relative standard deviation of a device rate from run to run, and of blocks
            of a hundred batches within one.
        clock_memory: Correlation of each run's rate with the next one's.
        threads: Threads of ONNX Runtime; results are promised to repeat for one thread only.
        ais_bench: ``2022`` or ``2023``: whose spelling of the summary ais_bench uses.
        faults: Names of the faults that are switched on.
    """

    soc: str
    cann: str
    driver: str
    seed: int = 0
    chips: tuple[Chip, ...] = ()
    processes: tuple[Tenant, ...] = ()
    clock_factor: float = 1.0
    clock_spread: float = 0.004
    clock_memory: float = 0.2
    threads: int = 1
    ais_bench: str = "2023"
    faults: tuple[str, ...] = ()

    @property
    def facts(self) -> Soc:
        """What is known of this board's system on chip."""
        return known_socs()[self.soc]

    @property
    def cann_generation(self) -> int:
        """The first number of CANN's release."""
        return int(self.cann.partition(".")[0])

    def as_json(self) -> dict[str, Any]:
        """All fields, for a JSON file."""
        rows = {name: [row._asdict() for row in getattr(self, name)] for name in TABLES}
        return {**self._asdict(), **rows}

    def changed(self, **changes: object) -> BoardState:
        """A copy with other values.

        Raises:
            BoardError: a field is unknown or a value does not fit.
        """
        return state_from_json({**self.as_json(), **changes})


class Board(NamedTuple):
    """What a tool knows of the board that it runs on.

    Attributes:
        folder: The board's folder.
        state: The board's state when the tool started.
        faults: The faults that strike this tool.
    """

    folder: Path
    state: BoardState
    faults: ActiveFaults


def new_state(soc: str, *, seed: int = 0, cann: str | None = None) -> BoardState:
    """The state of a healthy, idle board.

    Raises:
        BoardError: the system on chip is unknown.
    """
    if soc not in known_socs():
        raise BoardError(f"unknown soc {soc}; known: {', '.join(known_socs())}")
    facts = known_socs()[soc]
    chips = tuple(
        Chip(0, index, index, bus, memory_mb=facts.memory_mb, power_w=facts.power_w)
        for index, bus in enumerate(facts.busses)
    )
    return BoardState(soc, cann or facts.cann, facts.driver, seed, chips)


def state_from_json(document: dict[str, Any]) -> BoardState:
    """Build a state from decoded JSON.

    Raises:
        BoardError: a key is unknown or missing, or the system on chip is.
    """
    try:
        chips = tuple(_chip(dict(row)) for row in document.get("chips", ()))
        tenants = tuple(Tenant(**row) for row in document.get("processes", ()))
        faults = tuple(str(name) for name in document.get("faults", ()))
        rest = {**document, "chips": chips, "processes": tenants, "faults": faults}
        state = BoardState(**rest)
    except (TypeError, ValueError) as error:
        raise BoardError(f"{STATE_NAME}: {error}") from error
    if state.soc not in known_socs():
        raise BoardError(f"{STATE_NAME}: unknown soc {state.soc}")
    return state


def _chip(row: dict[str, Any]) -> Chip:
    used, total = row.pop("memory_mb", (0, 0))
    return Chip(memory_mb=(int(used), int(total)), **row)


def read_state(folder: Path) -> BoardState:
    """Read the state of the board in a folder.

    Raises:
        BoardError: there is no readable state.
    """
    try:
        document = json.loads((folder / STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BoardError(f"{folder} holds no emulated board: {error}") from error
    if not isinstance(document, dict):
        raise BoardError(f"{folder / STATE_NAME} must hold a JSON object")
    return state_from_json(document)


def write_state(folder: Path, state: BoardState) -> None:
    """Write the state in one step, so that a tool never reads half of it."""
    write_atomically(folder / STATE_NAME, json.dumps(state.as_json(), indent=2).encode() + b"\n")


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file beside its target and move it there."""
    import tempfile  # takes a while to import, and npu-smi writes nothing

    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def board_folder() -> Path:
    """The folder of the board that the running tool belongs to.

    Raises:
        BoardError: the tool was not started by a launcher of a board.
    """
    folder = os.environ.get(BOARD_VARIABLE)
    if not folder:
        raise BoardError(f"{BOARD_VARIABLE} is not set: start the tool by its launcher")
    return Path(folder)
