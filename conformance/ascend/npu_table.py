"""Read the table that ``npu-smi info`` prints, in the variants of Ascend 310 to 910C.

One pair of rows is one chip. The first holds NPU id, name, health, power, temperature and
hugepages; the second chip id, Bus-Id, AICore load and memory. Where the second begins with two
ids, the header says what the other is: ``Device`` (310, 310P, 310B) or ``Phy-ID`` (910C).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from conformance.ascend.marker import is_emulated
from conformance.bounds import suite_bound
from conformance.errors import BoardError

# Junction temperature of an Ascend 310 that must not be exceeded; its limit is 105 degrees (Atlas
# 200 AI Accelerator Module user guide, heat dissipation design).
HOT_C = suite_bound("chip.hot_c")
BUS_ID = re.compile(r"(NA|-|[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f])?", re.IGNORECASE)


class Health(StrEnum):
    """What npu-smi says of a chip's health."""

    OK = "OK"
    WARNING = "Warning"
    ALARM = "Alarm"
    CRITICAL = "Critical"
    UNKNOWN = "UNKNOWN"

    @property
    def usable(self) -> bool:
        """Whether anything may run on the chip."""
        return self in (Health.OK, Health.WARNING)

    @property
    def fit_for_timing(self) -> bool:
        """Whether a throughput measured on the chip decides anything."""
        return self is Health.OK


@dataclass(frozen=True)
class Chip:
    """One chip as npu-smi lists it. What it does not say (``NA``, ``-``) is None.

    Attributes:
        npu: The card's id in npu-smi; any number, such as 2144.
        chip: The chip's id on its card.
        name: Such as ``310``, ``310P3``, ``910B4`` or ``Ascend910``.
        health: Any word that is not known counts as UNKNOWN.
        device: The logical id, where the table has the column ``Device``.
        phy_id: The physical id, where the table has the column ``Phy-ID``.
        bus_id: PCIe address.
        power_w: Power in watts; of a card with two chips only the first says it.
        temperature_c: Temperature in degrees Celsius.
        aicore_pct: Load of the AI cores in percent.
        memory_mb: Used and total memory in MB.
        hbm_mb: Used and total high-bandwidth memory in MB.
    """

    npu: int
    chip: int
    name: str
    health: Health
    device: int | None
    phy_id: int | None
    bus_id: str | None
    power_w: float | None
    temperature_c: float | None
    aicore_pct: float | None
    memory_mb: tuple[float, float] | None
    hbm_mb: tuple[float, float] | None

    @property
    def hot(self) -> bool:
        """Whether it is as hot as the vendor allows at most: then it may slow itself down."""
        return self.temperature_c is not None and self.temperature_c >= HOT_C

    @property
    def key(self) -> tuple[int, int]:
        """The chip's name in npu-smi: (NPU, chip)."""
        return (self.npu, self.chip)

    def __str__(self) -> str:
        return f"NPU {self.npu} chip {self.chip} ({self.name})"


@dataclass(frozen=True)
class ChipUser:
    """A process that uses a chip, as npu-smi lists it."""

    npu: int
    chip: int
    pid: int
    name: str


@dataclass(frozen=True)
class NpuTable:
    """What one call of ``npu-smi info`` says.

    Attributes:
        version: Version of npu-smi, which is the driver's; None where the banner is missing.
        chips: Every chip, in the order of the table.
        users: Processes on the chips; None where there is no process table, as on a 310B.
        npus_spoken_of: Cards that the process table speaks of, busy or not.
        emulated: Whether the text carries the mark of an emulated board.
        text: The text itself.
    """

    version: str | None
    chips: tuple[Chip, ...]
    users: tuple[ChipUser, ...] | None
    npus_spoken_of: frozenset[int]
    emulated: bool
    text: str


def parse_npu_table(text: str) -> NpuTable:
    """Parse what ``npu-smi info`` printed.

    Raises:
        BoardError: A row of the table is cut off or cannot be read. A text without any chip is
            not an error here: it is an answer, and the caller shows it.
    """
    rows = [_cells(line) for line in text.splitlines() if line.strip().startswith("|")]
    chip_rows, user_rows = _divided([row for row in rows if row])
    idle = re.findall(r"No running processes found in NPU\s+(\d+)", text)
    users = tuple(_users(user_rows))
    version = re.search(r"npu-smi\s+(\d\S*)", text)
    return NpuTable(
        version=version[1] if version else None,
        chips=tuple(_chips(chip_rows)),
        users=users if user_rows or idle else None,
        npus_spoken_of=frozenset(map(int, idle)) | {user.npu for user in users},
        emulated=is_emulated(text),
        text=text,
    )


def _cells(line: str) -> list[str]:
    """Split a line of the table; a separator line, whatever it is drawn with, has no cells."""
    if not line.strip("|+-= \t\r"):
        return []
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _divided(rows: list[list[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """Divide the rows into those about chips and, from its header on, the process table."""
    for number, row in enumerate(rows):
        if "Process id" in row or row[0].startswith("No running processes"):
            return rows[:number], rows[number:]
    return rows, []


def _chips(rows: list[list[str]]) -> Iterator[Chip]:
    second_id, first = "Device", None
    for row in rows:
        if len(row) < 3 or not row[0][:1].isdigit():
            if row[0].startswith("Chip") and "Phy-ID" in row[0]:
                second_id = "Phy-ID"
        elif first is None:
            first = row
        else:
            yield _chip(first, row, second_id)
            first = None
    if first is not None:
        raise _damaged(first)


def _chip(first: list[str], second: list[str], second_id: str) -> Chip:
    upper = re.fullmatch(r"(\d+)\s+(\S.*)", first[0])
    lower = re.fullmatch(r"(\d+)(?:\s+(\d+))?", second[0])
    if not upper or not lower or ":" in first[1] or not BUS_ID.fullmatch(second[1]):
        raise _damaged([*first, *second])
    power, temperature = _numbers(first[2], 2)
    (load,), pairs = _numbers(second[2], 1), _pairs(second[2])
    other = int(lower[2]) if lower[2] else None
    return Chip(
        npu=int(upper[1]),
        chip=int(lower[1]),
        name=upper[2],
        health=next((word for word in Health if word == first[1]), Health.UNKNOWN),
        device=other if second_id == "Device" else None,
        phy_id=other if second_id == "Phy-ID" else None,
        bus_id=second[1] if ":" in second[1] else None,
        power_w=power,
        temperature_c=temperature,
        aicore_pct=load,
        memory_mb=pairs[0] if pairs else None,
        hbm_mb=pairs[1] if len(pairs) > 1 else None,
    )


def _numbers(cell: str, count: int) -> list[float | None]:
    """Return the first numbers of a cell; what is missing or not a number is None."""
    words = [*cell.split(), *([""] * count)][:count]
    return [float(word) if re.fullmatch(r"\d+(\.\d+)?", word) else None for word in words]


def _pairs(cell: str) -> list[tuple[float, float]]:
    """Return the ``used / total`` pairs of a cell, with or without blanks around the slash."""
    return [(float(a), float(b)) for a, b in re.findall(r"(\d+)\s*/\s*(\d+)", cell)]


def _users(rows: list[list[str]]) -> Iterator[ChipUser]:
    for row in rows:
        if len(row) < 4 or not row[0][:1].isdigit():
            continue
        where = re.fullmatch(r"(\d+)\s+(\d+)", row[0])
        if not where or not row[1].isdigit():
            raise _damaged(row)
        yield ChipUser(int(where[1]), int(where[2]), int(row[1]), row[2])


def _damaged(row: list[str]) -> BoardError:
    return BoardError(
        "npu-smi printed a table that cannot be read",
        got=" | ".join(row),
        expected="two whole rows for each chip",
        next_step="run `npu-smi info` again; if it stays so, its version is not known to the suite",
    )
