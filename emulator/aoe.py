"""``aoe``: tuning in the releases of CANN where ATC's own has gone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from emulator import fault_files, fault_runs
from emulator.atc_args import AtcArgs, AtcError, invalid, read_args, require
from emulator.atc_build import build
from emulator.board import Board, write_atomically
from emulator.marker import MARK, SENTENCE, say
from emulator.om import OfflineModel, pack

JOBS = {"1": ("SGAT", "sgat"), "2": ("OPAT", "opat")}
OWN_FLAGS = frozenset({"job_type", "tune_ops_file", "reload", "aicore_num", "Fop", "Fdeeper_opat"})
FAILED = 255


def main(argv: Sequence[str], board: Board) -> int:
    """Tune a model for the board's own chip and build it.

    Args:
        argv: Arguments without the program's name.
        board: Where it runs.

    Returns:
        0, or 255 for every failure.
    """
    say(SENTENCE)
    fault_runs.strike(board.faults.at("start"))
    try:
        _tune(read_args(argv, "aoe", OWN_FLAGS), board)
    except AtcError as error:
        say(f"{error.code}: {error.text}")
        say("Aoe process failed")
        return FAILED
    say("Aoe process finished")
    fault_runs.strike(board.faults.at("end"))
    return 0


def _tune(args: AtcArgs, board: Board) -> None:
    require(args, "framework", "model", "job_type")
    if args["job_type"] not in JOBS:
        raise invalid(args["job_type"], "--job_type", f"it must be one of {', '.join(JOBS)}")
    if not board.state.chips:
        raise AtcError("ED0001", "Tuning needs a device, and none was found.")
    stem = Path(args["model"]).stem
    stamp = time.strftime("%Y%m%d%H%M%S")
    folder = Path("aoe_workspace", f"{stem}_{stamp}", "tunespace", "result")
    target = folder / f"{stem}_{stamp}_tune.om"
    values = {**args.values, "soc_version": board.state.soc, "output": str(target.with_suffix(""))}
    values.pop("job_type")
    model = build(AtcArgs(values, args.command), board, tune=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(target, pack(model), 0o600)
    fault_files.spoil([target], board.faults.at("om", model.batch))
    _report(args, board, model, stamp)


def _report(args: AtcArgs, board: Board, model: OfflineModel, stamp: str) -> None:
    title, short = JOBS[args["job_type"]]
    fps = board.state.facts.squeezenet_fps(model.batch)
    before_ms = 1000 * model.batch / fps
    after_ms = before_ms / board.state.facts.tuned_gain
    document = {
        "basic": {"tuning_name": model.name, "tuning_time(s)": 1, "made_by": MARK},
        title: {
            "model_baseline_performance(ms)": round(before_ms, 6),
            "model_performance_improvement": f"{100 * (before_ms / after_ms - 1):.2f}%",
            "model_result_performance(ms)": round(after_ms, 6),
        },
    }
    name = f"aoe_result_{short}_{stamp}_{os.getpid()}.json"
    Path(name).write_text(json.dumps([document], indent=4), encoding="utf-8")
    gain = 100 * (before_ms / after_ms - 1)
    say(f"{title} process finished. Performance improved by {gain:.2f}%")
