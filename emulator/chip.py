"""Opening a chip, as both inference tools do it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from emulator.board import Board, BoardState, Chip
from emulator.clock import ChipClock
from emulator.session import ChipSession, load
from emulator.tenants import count_run, on_chip, tenants

VISIBLE_VARIABLE = "ASCEND_RT_VISIBLE_DEVICES"


class NoSuchDeviceError(Exception):
    """The device id names no visible chip."""


class OpenChip(NamedTuple):
    """A chip with a model in it.

    Attributes:
        board: Where it sits.
        device: Its logical id, before any renumbering.
        session: The loaded model.
        clock: Its device times.
    """

    board: Board
    device: int
    session: ChipSession
    clock: ChipClock

    def sharers(self) -> int:
        """How many other processes are on the chip now."""
        others = tenants(self.board.folder, self.board.state)
        return sum(row.device == self.device and row.pid != os.getpid() for row in others)


def find_chip(state: BoardState, device_id: int) -> Chip:
    """The chip that a tool means by a device id.

    ``ASCEND_RT_VISIBLE_DEVICES`` renumbers the chips; what follows an id that is invalid or not
    above the one before it is ignored (environment variable reference, CANN 6 to 8).

    Raises:
        NoSuchDeviceError: no visible chip has this id.
    """
    visible = _visible([chip.device for chip in state.chips])
    if not 0 <= device_id < len(visible):
        raise NoSuchDeviceError(str(device_id))
    return next(chip for chip in state.chips if chip.device == visible[device_id])


def _visible(devices: list[int]) -> list[int]:
    text = os.environ.get(VISIBLE_VARIABLE)
    if text is None:
        return devices
    chosen: list[int] = []
    for word in text.split(","):
        if not word.strip().isdigit() or int(word) not in devices:
            break
        if chosen and int(word) <= chosen[-1]:
            break
        chosen.append(int(word))
    return chosen


@contextmanager
def opened(board: Board, device_id: int, om_path: Path, name: str) -> Iterator[OpenChip]:
    """Load a model into a chip and be shown on it by npu-smi until the block ends.

    Raises:
        NoSuchDeviceError: the device id is wrong.
        OmError: the model cannot be loaded.
    """
    chip = find_chip(board.state, device_id)
    with on_chip(board.folder, chip.device, name):
        session = load(om_path, board.state, board.folder)
        board.faults.run = count_run(board.folder, chip.device)
        clock = ChipClock(board.state, session.model, chip.device, board.faults)
        yield OpenChip(board, chip.device, session, clock)
