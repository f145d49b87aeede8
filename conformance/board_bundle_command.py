"""``python -m conformance board-bundle``: one archive for a board without network."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from conformance.board_bundle import CHECKOUT, Contents, write_bundle
from conformance.board_wheels import Wanted
from conformance.config import OPTIONS, resolve

# Options of a run that say what the store is to be filled with.
SHARED = ("model", "weights", "imagenet", "images", "artifacts")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``board-bundle`` to the command line."""
    text = "write the suite, wheels and a filled store to one archive for a board without network"
    parser = commands.add_parser("board-bundle", help=text, description=text)
    parser.set_defaults(run=bundle)
    parser.add_argument("--arch", choices=("aarch64", "x86_64"), required=True)
    parser.add_argument("--output", metavar="FILE.tar.gz", type=Path)
    parser.add_argument(
        "--python",
        metavar="3.11",
        type=_release,
        action="append",
        help=f"bring wheels for this Python; repeatable (default: {', '.join(PYTHONS)})",
    )
    parser.add_argument("--wheels", metavar="DIR", type=Path, help="take wheels from this folder")
    parser.add_argument("--with-images", action="store_true", help="bring the images along")
    for option in OPTIONS:
        if option.name in SHARED:
            action = "append" if option.repeatable else "store"
            parser.add_argument(
                option.flag, metavar=option.metavar, action=action, help=option.help
            )


def _release(text: str) -> str:
    if not re.fullmatch(r"3\.\d+", text) or int(text.split(".")[1]) < 11:
        raise argparse.ArgumentTypeError(f"needs 3.11 or a later release, got {text!r}")
    return text


def bundle(arguments: argparse.Namespace) -> int:
    """Fill the store and write the archive.

    Raises:
        ConformanceError: Options, weights, images or wheels cannot be used.
    """
    config = resolve({name: getattr(arguments, name) for name in SHARED}, rootdir=CHECKOUT)
    contents = Contents(
        wheels=Wanted(arguments.arch, tuple(arguments.python or PYTHONS), arguments.wheels),
        with_images=arguments.with_images,
    )
    name = f"dist/ascend-conformance-{arguments.arch}.tar.gz"
    archive = (arguments.output or Path(name)).absolute()
    write_bundle(config, contents, archive)
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB; on the board: tar -xzf, install.sh")
    return 0
