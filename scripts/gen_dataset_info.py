"""Write the info file of the benchmark tool: `INDEX PATH WIDTH HEIGHT` per input.

Usage: python scripts/gen_dataset_info.py bin OUT INFO 224 224
       python scripts/gen_dataset_info.py jpg DIR INFO
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Run as a file, Python looks for modules beside this script and not in the checkout around it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.commands import exit_status
from conformance.imagenet.info_file import (
    bin_entries,
    input_folder,
    jpg_entries,
    jpg_folder,
    write_info,
)
from conformance.whole_files import demand_apart


def main() -> None:
    """Parse the arguments and write the info file."""
    parser = argparse.ArgumentParser(description="Write the info file of the benchmark tool.")
    modes = parser.add_subparsers(dest="mode", required=True, metavar="bin|jpg")
    for mode, what in (("bin", "prepared .bin files"), ("jpg", "JPEG files")):
        chosen = modes.add_parser(mode, help=f"list {what}")
        chosen.add_argument("source", metavar="DIR", help=f"folder of {what}")
        chosen.add_argument("target", metavar="INFO", type=Path, help="info file to write")
        if mode == "bin":
            chosen.add_argument("width", metavar="WIDTH", type=int, help="of each input, 224")
            chosen.add_argument("height", metavar="HEIGHT", type=int, help="of each input, 224")
    given = parser.parse_args()
    source = Path(given.source)
    demand_apart(given.target, folder=source)
    if given.mode == "bin":
        paths = input_folder(source)
        lines = bin_entries(paths, given.width, given.height, spelt=given.source)
    else:
        lines = jpg_entries(jpg_folder(source), spelt=given.source)
    write_info(lines, given.target)
    print(f"{len(lines)} lines written to {given.target}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
