"""``python -m conformance report BUNDLE``: the page for readers, made where there is no board."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from conformance.build import drawn_images
from conformance.bundle_commands import add_gates, joint_decision
from conformance.config import SAMPLE, STANDARD_IMAGENET, default_artifacts_folder
from conformance.evidence.report.page import write_report

VARIABLE = "CONFORMANCE_IMAGENET"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``report`` to the command line."""
    text = "write one HTML file that shows what is in a bundle, or in several on one subject"
    parser = commands.add_parser("report", help=text, description=text)
    parser.set_defaults(run=report_bundle)
    parser.add_argument(
        "bundles", metavar="BUNDLE", type=Path, nargs="+", help="folder that a run wrote"
    )
    parser.add_argument("--gate", metavar="NAME", help="that joins several; default: the runs' own")
    add_gates(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="default: BUNDLE.html beside the bundle, whose own files a statement names; of "
        "several beside the first, with every name",
    )
    parser.add_argument(
        "--imagenet",
        metavar="DIR",
        type=Path,
        help=f"where the images lie (default: ${VARIABLE}, else {STANDARD_IMAGENET} if readable, "
        "else the sample's in the artifact store)",
    )
    parser.add_argument(
        "--no-thumbnails", action="store_true", help="show no image: some may not be handed on"
    )


def report_bundle(arguments: argparse.Namespace) -> int:
    """Write the report and say where it is.

    Raises:
        EvidenceError: A bundle cannot be read, the page cannot be written, or several bundles
            contradict themselves or are not on one subject.
        DatasetError: The named folder of images is not there.
    """
    bundles = [bundle.absolute() for bundle in arguments.bundles]
    decision = None
    if len(bundles) > 1:
        decision = joint_decision(bundles, arguments.gate or "", arguments.gates)
    name = "+".join(bundle.name for bundle in bundles)
    path = write_report(
        *bundles,
        output=arguments.output or bundles[0].with_name(f"{name}.html"),
        images=arguments.imagenet or _known_images(),
        thumbnails=not arguments.no_thumbnails,
        decision=decision,
    )
    print(f"report: {path}")
    return 0


def _known_images() -> Path | None:
    """Return the images that the user names for every run, the standard ones, or the sample's."""
    named = os.environ.get(VARIABLE, "")
    if named and named != SAMPLE:
        return Path(named)
    if not named and os.access(STANDARD_IMAGENET, os.R_OK):
        return STANDARD_IMAGENET
    return drawn_images(default_artifacts_folder(os.environ))
