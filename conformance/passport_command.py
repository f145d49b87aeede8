"""``python -m conformance passport``: what each step makes of a few embedded pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.errors import DatasetError
from conformance.spec import load_spec

if TYPE_CHECKING:
    from conformance.imagenet.passport import Build


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``passport`` to the command line."""
    text = "digests of the embedded pictures after decode, resize, crop and normalise"
    passport = commands.add_parser("passport", help=text, description=text)
    actions = passport.add_subparsers(required=True, metavar="ACTION")
    check = _action(
        actions, "check", "compare this build with the passport; status 1 if it differs"
    )
    check.set_defaults(run=check_build)
    write = _action(actions, "write", "write a passport, or add this build to one that agrees")
    write.set_defaults(run=write_build)
    for action in (check, write):
        action.add_argument("--model", metavar="NAME", default="squeezenet1_1")
    draw = _action(actions, "draw", "draw the embedded pictures again, into a folder")
    draw.set_defaults(run=draw_pictures)
    draw.add_argument("--output", metavar="DIR", type=Path, required=True)


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    return actions.add_parser(name, help=text, description=text)


def check_build(arguments: argparse.Namespace) -> int:
    """Say whether this build prepares the pictures as the passport of a model says.

    Raises:
        ConformanceError: There is no such model, or passport or pictures are damaged.
    """
    from conformance.check import Status
    from conformance.imagenet.passport_checks import passport_check

    made = passport_check(load_spec(arguments.model).preprocess)
    print(made.describe())
    return 0 if made.status is Status.PASS else 1


def write_build(arguments: argparse.Namespace) -> int:
    """Write a model's passport from this build; one that exists must agree, and names it then too.

    Raises:
        ConformanceError: There is no such model, the passport that exists says something else,
            or a file is damaged or cannot be written.
    """
    from conformance.imagenet.passport import (
        make_passport,
        passport_file,
        read_passport,
        this_build,
        write_passport,
    )
    from conformance.imagenet.passport_checks import inspect_build

    preprocess = load_spec(arguments.model).preprocess
    path = passport_file(preprocess)
    builds: tuple[Build, ...] = (this_build(),)
    if path.exists():
        kept = read_passport(preprocess)
        found = inspect_build(preprocess, kept)
        if found.step is not None:
            raise _disagrees(path, found.describe())
        others = tuple(build for build in kept.builds if build.decoder != found.build.decoder)
        builds = (*others, found.build)
    write_passport(make_passport(preprocess, builds), path)
    print(f"{path}: {builds[-1].decoder}, {len(builds)} builds")
    return 0


def _disagrees(path: Path, got: str) -> DatasetError:
    return DatasetError(
        "this build does not agree with the passport, and is not added to it",
        got=got,
        expected="the same digests",
        where={"file": path},
        next_step="remove the file first if it is to be replaced",
    )


def draw_pictures(arguments: argparse.Namespace) -> int:
    """Draw and encode every picture; only the build that drew the embedded ones gives their bytes.

    Raises:
        ConformanceError: The folder cannot be written.
    """
    from conformance.imagenet.passport_images import DRAWINGS, draw
    from conformance.whole_files import write_whole

    for drawing in DRAWINGS:
        write_whole(draw(drawing), arguments.output / drawing.file)
        print(f"{arguments.output / drawing.file}: {drawing.about}")
    return 0
