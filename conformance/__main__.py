"""``python -m conformance``: the commands that are not tests."""

from __future__ import annotations

import argparse
import os
import signal
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

# What a shell says of a program that the signal of a closed pipe ended.
PIPE_CLOSED = 128 + signal.SIGPIPE


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
        status = int(chosen.run(chosen))
        sys.stdout.flush()  # else Python finds out about a closed pipe when nobody can catch it
        return status
    except BrokenPipeError:
        # Whoever read has seen enough, such as `head`; what is left goes nowhere.
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, and its number is needed
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return PIPE_CLOSED
    except ConformanceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
