"""Export a SqueezeNet 1.1 checkpoint to ONNX.

Usage: python scripts/squeezenet1_1_pth2onnx.py PTH ONNX
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Run as a file, Python looks for modules beside this script and not in the checkout around it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.commands import exit_status
from conformance.export.guide_commands import export_checkpoint


def main() -> None:
    """Parse the arguments and write the ONNX file."""
    parser = argparse.ArgumentParser(description="Export a checkpoint to ONNX, opset 11.")
    parser.add_argument("checkpoint", metavar="PTH", type=Path, help="weights, a state dict")
    parser.add_argument("model", metavar="ONNX", type=Path, help="file to write")
    given = parser.parse_args()
    print(export_checkpoint("squeezenet1_1", given.checkpoint, given.model))


if __name__ == "__main__":
    sys.exit(exit_status(main))
