"""Score the results of an inference tool against the labels: Top1 to Top5.

Usage: python scripts/imagenet_acc_eval.py DUMPS LABELS OUTDIR JSON
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

# Run as a file, Python looks for modules beside this script and not in the checkout around it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.commands import exit_status
from conformance.metrics.guide_commands import evaluate_dumps


def main() -> None:
    """Parse the arguments and write the result file."""
    parser = argparse.ArgumentParser(description="Count Top1 to Top5 hits and write them as JSON.")
    parser.add_argument("dumps", metavar="DUMPS", type=Path, help="result folder of the tool")
    parser.add_argument("labels", metavar="LABELS", type=Path, help="label file")
    parser.add_argument("folder", metavar="OUTDIR", type=Path, help="folder for the result file")
    parser.add_argument("name", metavar="JSON", help="name of the result file, result.json")
    given = parser.parse_args()
    start = time.monotonic()
    print(evaluate_dumps(given.dumps, given.labels, given.folder / given.name))
    print("Time used:", time.monotonic() - start)


if __name__ == "__main__":
    sys.exit(exit_status(main))
