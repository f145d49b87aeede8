"""Tuning banks: where tuning leaves its results, and whether a conversion finds any.

As documented for CANN 5.0.4: a bank lies in ``$TUNE_BANK_PATH`` or under the user's home, and
later conversions use it without being asked. Here the board's folder takes the place of the home,
so that no emulated bank can meet a real ATC.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from onnx import ModelProto

from emulator.atc_args import AtcArgs, AtcError, invalid
from emulator.board import Board, write_atomically
from emulator.marker import MARK

KINDS = ("cube", "vector")
TUNE_MODES = frozenset({"RL", "GA"})


def check_mode(args: AtcArgs, board: Board) -> None:
    """Check ``--auto_tune_mode`` against the release of CANN and the board.

    Raises:
        AtcError: the release has no such tuning, the value is wrong, or there is no chip.
    """
    mode = args["auto_tune_mode"]
    if not mode:
        return
    if board.state.cann_generation >= 6:
        reason = "Auto Tune is deprecated. Please use the AOE tool"
        raise invalid(mode, "--auto_tune_mode", reason)
    if not set(mode.split(",")) <= TUNE_MODES:
        raise invalid(mode, "--auto_tune_mode", "it must be RL, GA or both")
    if not board.state.chips:
        raise AtcError("ED0001", "Tuning needs a device, and none was found.")


def decide(board: Board, soc: str, model: ModelProto, batch: int, *, tune: bool) -> bool:
    """Whether the model is built from a bank.

    Args:
        board: Whose bank to use where no other is named.
        soc: The system on chip that is built for.
        model: The model as it was read.
        batch: Its batch size.
        tune: Whether to fill the bank first.
    """
    if tune:
        _fill(board, soc, model, batch)
        return True
    if os.environ.get("ENABLE_TUNE_BANK", "True").lower() == "false":
        return False
    return all(path.exists() for path in _banks(board, soc, model, batch))


def _fill(board: Board, soc: str, model: ModelProto, batch: int) -> None:
    entry = json.dumps({"made_by": MARK, "soc": soc, "batch": batch}).encode()
    for path in _banks(board, soc, model, batch):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, entry)


def _banks(board: Board, soc: str, model: ModelProto, batch: int) -> Iterator[Path]:
    given = os.environ.get("TUNE_BANK_PATH")
    home = board.folder / "ascend" / "latest" / "data" / "aoe" / "custom" / "op"
    root = Path(given) if given else home
    digest = hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()
    for kind in KINDS:
        yield root / soc / kind / f"{digest[:16]}_bs{batch}.json"
