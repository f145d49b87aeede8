"""``python -m conformance bounds``: every bound with its origin, and the headroom of a run."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

from conformance.bounds import decided_ids
from conformance.evidence.accepted_bounds import (
    RECORD_FILE,
    bounds_in_force,
    compare,
    read_record,
    tightened,
    waivers_of,
    write_record,
)
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.gate import GATES_FILE
from conformance.evidence.headroom import headroom_of
from conformance.spec import load_spec, model_names

LOOSENED = 1


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``bounds`` to the command line."""
    text = "list every bound with its origin; status 1 if one is looser than accepted"
    parser = commands.add_parser("bounds", help=text, description=text)
    parser.set_defaults(run=bounds)
    parser.add_argument(
        "bundle", metavar="BUNDLE", type=Path, nargs="?",
        help="instead, list the headroom that this run left, and what it proposes",
    )  # fmt: skip
    parser.add_argument(
        "--accept", action="store_true", help="accept what is new or stricter into the record"
    )
    parser.add_argument(
        "--record", metavar="FILE", type=Path, default=RECORD_FILE,
        help="the record of accepted bounds (default: %(default)s)",
    )  # fmt: skip


def bounds(arguments: argparse.Namespace) -> int:
    """List the bounds and compare them with the accepted ones, or accept them.

    Raises:
        EvidenceError: The record or the waivers are damaged, or a bound that is to be accepted is
            looser than before.
    """
    if arguments.bundle:
        checks = [made.check for made in read_evidence(arguments.bundle).checks]
        found = headroom_of(checks, decided_ids(map(load_spec, model_names())))
        print("\n".join(row.line for row in found) or "no check left headroom")
        return 0
    today, names = dt.datetime.now(dt.UTC).date(), model_names()
    in_force = bounds_in_force(map(load_spec, names))
    if arguments.accept:
        before = read_record(arguments.record) if arguments.record.exists() else None
        write_record(arguments.record, tightened(in_force, before, names, today))
        print(f"accepted: {len(in_force)} bounds in {arguments.record}")
        return 0
    for bound in in_force:
        print(bound.described())
    waivers = waivers_of(GATES_FILE.parent)
    compared = compare(in_force, read_record(arguments.record), waivers, today)
    for told, lines in vars(compared).items():
        if told != "waivers":
            print("".join(f"{told}: {line}\n" for line in lines), end="")
    return LOOSENED if compared.loosened else 0
