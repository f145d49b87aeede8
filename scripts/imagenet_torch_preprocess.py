"""Prepare a folder of images for a model: float32 CHW `.bin` files.

Usage: python scripts/imagenet_torch_preprocess.py squeezenet1_1 VAL OUT
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Run as a file, Python looks for modules beside this script and not in the checkout around it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.commands import exit_status
from conformance.imagenet.guide_commands import prepare_folder


def main() -> None:
    """Parse the arguments and prepare every image of VAL."""
    parser = argparse.ArgumentParser(description="Write one float32 input per image.")
    parser.add_argument("model", metavar="MODEL", help="name of a model spec, squeezenet1_1")
    parser.add_argument("source", metavar="VAL", type=Path, help="folder of images")
    parser.add_argument("target", metavar="OUT", type=Path, help="folder for the .bin files")
    given = parser.parse_args()
    prepare_folder(given.model, given.source, given.target, "float32")


if __name__ == "__main__":
    sys.exit(exit_status(main))
