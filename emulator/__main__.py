"""``python -m emulator install FOLDER``: make an emulated board from the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from emulator import install, known_faults
from emulator.board import BoardError
from emulator.soc import known_socs


def main(argv: list[str]) -> int:
    """Make a board, or list the faults.

    Returns:
        0, or 2 for wrong use.
    """
    parser = argparse.ArgumentParser(prog="python -m emulator", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("install", help="make a board in a folder")
    maker.add_argument("folder", type=Path)
    maker.add_argument("--soc", default="Ascend310", choices=sorted(known_socs()))
    maker.add_argument("--seed", type=int, default=0)
    maker.add_argument("--cann", help="release that ATC plays; default: that of the soc's figures")
    maker.add_argument("--python", type=Path, default=Path(sys.executable))
    maker.add_argument("--fault", metavar="NAME", help="fault to switch on; see: faults")
    commands.add_parser("faults", help="list the faults that a board can have")
    args = parser.parse_args(argv)
    return _list_faults() if args.command == "faults" else _install(args)


def _install(args: argparse.Namespace) -> int:
    try:
        board = install(
            args.folder,
            args.soc,
            args.python,
            seed=args.seed,
            cann=args.cann,
            fault=args.fault,
        )
    except BoardError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"source {board.set_env}\n")
    return 0


def _list_faults() -> int:
    for fault in known_faults().values():
        sys.stdout.write(f"{fault.name:<32} {fault.stage:<18} {fault.check:<24} {fault.symptom}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
