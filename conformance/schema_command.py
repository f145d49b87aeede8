"""``python -m conformance schema``: print the JSON Schema of ``evidence.json``."""

from __future__ import annotations

import argparse
import json

from conformance.evidence.bundle import json_schema


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``schema`` to the command line."""
    text = "print the JSON Schema of evidence.json"
    parser = commands.add_parser("schema", help=text, description=text)
    parser.set_defaults(run=print_schema)


def print_schema(_arguments: argparse.Namespace) -> int:
    """Print the schema; ``docs/evidence.schema.json`` holds the same text."""
    print(json.dumps(json_schema(), indent=2))
    return 0
