"""``python -m conformance accept BUNDLE``: make a conformant run the new baseline."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

from conformance.bundle_commands import verified
from conformance.errors import EvidenceError
from conformance.evidence.acceptance import (
    accepted_baseline,
    differences,
    measured_figures,
    read_waivers,
)
from conformance.evidence.baseline import FOLDER, baseline_path, read_baseline, write_baseline
from conformance.evidence.bundle import Evidence
from conformance.evidence.gate import GATES_FILE, read_gates
from conformance.evidence.verdict import Verdict, least_class
from conformance.spec import load_spec


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``accept`` to the command line."""
    text = "make the figures of a conformant run the new baseline"
    parser = commands.add_parser("accept", help=text, description=text)
    parser.set_defaults(run=accept)
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="folder that a run wrote")
    parser.add_argument(
        "--waivers", metavar="FILE", type=Path, help="TOML: leave to accept lower figures"
    )
    parser.add_argument(
        "--baselines", metavar="DIR", type=Path, default=GATES_FILE.parent / FOLDER,
        help="where baselines lie (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--gates", metavar="FILE", type=Path, default=GATES_FILE)


def accept(arguments: argparse.Namespace) -> int:
    """Accept one bundle, and print what changes.

    Raises:
        EvidenceError: The bundle contradicts itself or is not conformant, used no board, its gate
            does not require the figures, or it is worse than the baseline without a waiver.
    """
    gates = read_gates(arguments.gates)
    specs = {model: load_spec(model) for model in gates.models}
    found = verified(arguments.bundle, gates, specs)
    evidence = found.evidence
    if found.decision is None or found.decision.verdict != Verdict.CONFORMANT:
        raise EvidenceError(
            "only a conformant run can be accepted",
            got=found.decision.line if found.decision else "a run without a gate",
            next_step="run with --gate=board or --gate=release until it is conformant",
        )
    today = dt.datetime.now(dt.UTC).date()
    waivers = read_waivers(arguments.waivers, today) if arguments.waivers else ()
    board = _board(evidence)
    made = []
    for model in gates.models:
        soc = evidence.board.soc_version if evidence.board else ""
        path = baseline_path(arguments.baselines, board, soc, model)
        old = read_baseline(path)
        new = accepted_baseline(
            evidence, gates, old, model=model, board=board, waivers=waivers, today=today
        )
        made.append((path, old, new))
    for path, old, new in made:
        for line in differences(measured_figures(evidence, gates, new.model), new, old):
            print(line)
        for waiver in new.waivers:
            print(waiver.line)
        write_baseline(path, new)
        print(f"accepted: {path}")
    return 0


def _board(evidence: Evidence) -> str:
    return least_class("board", (c.value for c in evidence.classes if c.part == "board"))
