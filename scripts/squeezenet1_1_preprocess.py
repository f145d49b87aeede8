"""Prepare a folder of images for SqueezeNet1_1 with AIPP: uint8 HWC `.bin` files.

Usage: python scripts/squeezenet1_1_preprocess.py VAL OUT
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
    parser = argparse.ArgumentParser(description="Write one uint8 input per image, for AIPP.")
    parser.add_argument("source", metavar="VAL", type=Path, help="folder of images")
    parser.add_argument("target", metavar="OUT", type=Path, help="folder for the .bin files")
    given = parser.parse_args()
    prepare_folder("squeezenet1_1", given.source, given.target, "uint8")


if __name__ == "__main__":
    sys.exit(exit_status(main))
