"""An Ascend board in a folder: npu-smi, atc, aoe, benchmark and ais_bench as programs.

The programs behave at the process boundary as the vendor's do, compute with ONNX Runtime in the
chip's float16, and mark everything they make, so that nothing of it can pass for a board's.
"""

from emulator.board import BoardError, BoardState, Chip, Tenant
from emulator.faults import Fault, known_faults
from emulator.install import EmulatedBoard, install
from emulator.marker import MARK

__all__ = [
    "MARK",
    "BoardError",
    "BoardState",
    "Chip",
    "EmulatedBoard",
    "Fault",
    "Tenant",
    "install",
    "known_faults",
]
