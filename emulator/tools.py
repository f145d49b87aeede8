"""What a launcher starts: one tool of the board that ``ASCEND_EMULATOR_BOARD`` names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from emulator.board import Board, BoardError, board_folder, read_state
from emulator.faults import ActiveFaults


def run_tool(tool: str, argv: Sequence[str]) -> int:
    """Run a tool and return its exit status.

    Args:
        tool: ``atc``, ``aoe``, ``npu-smi``, ``ais_bench`` or ``benchmark.<arch>``.
        argv: Arguments without the program's name.
    """
    try:
        folder = board_folder()
        state = read_state(folder)
        board = Board(folder, state, ActiveFaults(state, tool.partition(".")[0]))
        return _run(tool, argv, board)
    except BoardError as error:
        sys.stderr.write(f"emulated {tool}: {error}\n")
        return 70


def _run(tool: str, argv: Sequence[str], board: Board) -> int:
    # Each tool imports only what it needs: npu-smi is called often and must be quick.
    if tool == "npu-smi":
        from emulator import npu_smi

        return npu_smi.main(argv, board)
    if tool == "atc":
        from emulator import atc

        return atc.main(argv, board)
    if tool == "aoe":
        from emulator import aoe

        return aoe.main(argv, board)
    if tool == "ais_bench":
        from emulator import ais_bench

        return ais_bench.main(argv, board)
    from emulator import benchmark

    return benchmark.main(argv, board, Path(tool).name)
