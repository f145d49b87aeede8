"""``atc``: ONNX model to offline model, as far as its open sources and documents say."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from emulator import fault_files, fault_runs
from emulator.atc_args import AtcArgs, AtcError, check_choices, read_args, require
from emulator.atc_build import build
from emulator.atc_show import show_json, show_summary
from emulator.board import Board, write_atomically
from emulator.marker import SENTENCE, say
from emulator.om import OfflineModel, pack

FAILED = 255
OM_MODE = 0o600
HELP = "Usage: atc --framework=5 --model=FILE --output=PREFIX --soc_version=NAME [options]"


def main(argv: Sequence[str], board: Board) -> int:
    """Convert a model, or show one.

    Args:
        argv: Arguments without the program's name.
        board: Where it runs: release of CANN, tuning bank, faults.

    Returns:
        0, or 255 for every failure.
    """
    say("ATC start working now, please wait for a moment.")
    say(SENTENCE)
    fault_runs.strike(board.faults.at("start"))
    try:
        args = read_args(argv)
        if "help" in args.values:
            say(HELP)
            return 0
        check_choices(args)
        remark = _work(args, board)
    except AtcError as error:
        _print_failure(error)
        return FAILED
    if board.state.cann_generation >= 6:
        say("...")
    say("ATC run success, welcome to the next use.")
    if remark:
        say(remark)
    fault_runs.strike(board.faults.at("end"))
    return 0


def _work(args: AtcArgs, board: Board) -> str:
    """Do what the mode says; returns what ATC remarks after its success."""
    mode = args["mode"] or "0"
    if mode == "6":
        require(args, "om")
        show_summary(Path(args["om"]))
    elif mode in {"1", "5"}:
        require(args, "om", "json")
        show_json(Path(args["om"]), Path(args["json"]))
    else:
        model = build(args, board, tune=bool(args["auto_tune_mode"]))
        if mode == "0":
            return _finish(args, board, model)
    return ""


def _finish(args: AtcArgs, board: Board, model: OfflineModel) -> str:
    target = Path(f"{args['output']}.om")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, pack(model), OM_MODE)
    except OSError as error:
        raise AtcError("E10001", f"Value [{args['output']}] for parameter [--output] is invalid. "
                       f"Reason: {error}") from error  # fmt: skip
    _write_log(args, board, model)
    fault_files.spoil([target], board.faults.at("om", model.batch))
    return _remark(model)


def _remark(model: OfflineModel) -> str:
    """A warning that follows some successes; which ones, the model and its batch decide."""
    if zlib.crc32(f"{model.name}{model.macs}".encode()) % 3:
        return ""
    return (
        "W11001: Op [TransData] does not hit the high-priority operator information library, "
        "which might result in compromised performance."
    )


def _write_log(args: AtcArgs, board: Board, model: OfflineModel) -> None:
    level = (args["log"] or "default").upper()
    lines = [
        f"[INFO] GE({os.getpid()},atc.bin): {SENTENCE}",
        f"[INFO] GE({os.getpid()},atc.bin): command line: {model.command}",
        f"[INFO] GE({os.getpid()},atc.bin): log level {level}, {model.macs} MACs per image",
    ]
    folder = board.folder / "log" / "debug" / "plog"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"plog-{os.getpid()}.log"
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    if os.environ.get("ASCEND_SLOG_PRINT_TO_STDOUT") == "1" and level in {"DEBUG", "INFO"}:
        for line in lines:
            say(line)


def _print_failure(error: AtcError) -> None:
    say("ATC run failed, Please check the detail log, Try 'atc --help' for more information")
    say(f"{error.code}: {error.text}")
    if error.solution:
        say(f"        Solution: {error.solution}")
    say("        TraceBack (most recent call last):")
    say(f"        {error.text}")
