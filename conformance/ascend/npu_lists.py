"""Read what ``npu-smi info -m`` and ``-t board`` print."""

from __future__ import annotations

import re
from dataclasses import dataclass

# In any order and number, as the versions have them (22.0 to 26.0).
MAPPING_COLUMNS = re.compile(r"Slot ID|NPU ID|Chip Logic ID|Chip Phy-ID|Chip ID|Chip Name")


@dataclass(frozen=True)
class MappedChip:
    """One row of ``npu-smi info -m``: a compute chip and its logical id."""

    npu: int
    chip: int
    logic_id: int
    name: str


def parse_mapping(text: str) -> tuple[MappedChip, ...]:
    """Parse ``npu-smi info -m``; rows without a logical id (``-``: the card's MCU) are left out."""
    columns: list[str] = []
    found = []
    for line in text.splitlines():
        if "NPU ID" in line:
            columns = MAPPING_COLUMNS.findall(line)
        elif columns and len(words := line.split(maxsplit=len(columns) - 1)) == len(columns):
            row = dict(zip(columns, words, strict=True))
            ids = [row.get(name, "") for name in ("NPU ID", "Chip ID", "Chip Logic ID")]
            if all(word.isdigit() for word in ids):
                npu, chip, logic_id = map(int, ids)
                found.append(MappedChip(npu, chip, logic_id, row["Chip Name"].strip()))
    return tuple(found)


def parse_board(text: str) -> dict[str, str]:
    """Parse ``npu-smi info -t board -i N [-c M]`` into {field: value}, empty values left out."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs if value.strip()}
