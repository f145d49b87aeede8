"""``python -m conformance``: the commands that are not tests."""

from __future__ import annotations

import argparse
import sys

from conformance import (
    accept_command,
    board_bundle_command,
    bounds_command,
    bundle_commands,
    epsilon_command,
    passport_command,
    report_command,
    schema_command,
    store_command,
)
from conformance.errors import ConformanceError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; a user's mistake ends with its message and status 2, not a traceback."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (
        store_command,
        bundle_commands,
        accept_command,
        bounds_command,
        report_command,
        epsilon_command,
        passport_command,
        board_bundle_command,
        schema_command,
    ):
        command.add_parser(commands)
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except ConformanceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
