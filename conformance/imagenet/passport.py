"""Preprocessing passports: what each step must make of a few small pictures, as digests.

A passport belongs to one geometry and normalisation (a model's ``[preprocess]`` table) and names
the builds of Pillow and libjpeg that it was confirmed on. ``input.digest`` holds our preparation
against torchvision's in one installation, where both decode and resize with the same library; a
passport sees that library itself change.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import platform
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec

from conformance.errors import DatasetError
from conformance.imagenet.passport_images import DRAWINGS, FOLDER
from conformance.imagenet.preprocess import prepare_steps
from conformance.imagenet.steps import STEPS, Step, Steps
from conformance.spec import Preprocess
from conformance.spec_tables import Channels
from conformance.whole_files import write_whole

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table: no field may be unknown."""


class Geometry(_Table, frozen=True):
    """What a passport is for: a ``[preprocess]`` table without its source."""

    interpolation: str
    resize: int
    crop: int
    mean: Channels
    std: Channels


class Build(_Table, frozen=True):
    """The packages and the machine that prepared the pictures; the date is UTC."""

    pillow: str
    libjpeg: str
    numpy: str
    machine: str
    date: str

    @property
    def decoder(self) -> str:
        """Pillow and libjpeg, which decode and resize."""
        return f"Pillow {self.pillow} with {self.libjpeg}"


class PassportImage(_Table, frozen=True):
    """One picture: its file, the file's digest and that of each step."""

    file: str
    sha256: Sha256
    digests: dict[Step, Sha256]


class Passport(_Table, frozen=True):
    """The digests, what they are for and the builds on which they were found."""

    preprocess: Geometry
    builds: Annotated[tuple[Build, ...], msgspec.Meta(min_length=1)]
    images: tuple[PassportImage, ...]

    def knows(self, build: Build) -> bool:
        """Whether the digests were found with this Pillow and libjpeg before."""
        return build.decoder in {known.decoder for known in self.builds}


def this_build() -> Build:
    """Return the packages and the machine at work."""
    import numpy as np
    import PIL
    from PIL import features

    turbo = features.version_feature("libjpeg_turbo")
    libjpeg = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version_codec('jpg')}"
    return Build(
        pillow=PIL.__version__,
        libjpeg=libjpeg,
        numpy=np.__version__,
        machine=platform.machine(),
        date=dt.datetime.now(dt.UTC).date().isoformat(),
    )


def passport_file(preprocess: Preprocess, folder: Path = FOLDER) -> Path:
    """Return where the passport of a geometry and normalisation lies, whether or not it exists."""
    digest = hashlib.sha256(msgspec.json.encode(_geometry(preprocess))).hexdigest()
    geometry = f"{preprocess.interpolation}-{preprocess.resize}-{preprocess.crop}"
    return folder / f"{geometry}-{digest[:8]}.toml"


def _geometry(preprocess: Preprocess) -> Geometry:
    return Geometry(
        interpolation=preprocess.interpolation,
        resize=preprocess.resize,
        crop=preprocess.crop,
        mean=preprocess.mean,
        std=preprocess.std,
    )


def read_passport(preprocess: Preprocess, folder: Path = FOLDER) -> Passport:
    """Decode the passport of a geometry, which must hold every picture and every step.

    Raises:
        DatasetError: It cannot be read, a field is wrong, a picture or step is missing, or it is
            about another geometry.
    """
    path = passport_file(preprocess, folder)
    try:
        found = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Passport, strict=True)
    except (OSError, ValueError) as error:  # msgspec's, TOML's and Unicode's errors are ValueErrors
        expected = "a table that `python -m conformance passport write` wrote"
        raise _damaged(path, error, expected) from None
    if found.preprocess != _geometry(preprocess):
        raise _damaged(path, found.preprocess, str(_geometry(preprocess)))
    held = [image.file for image in found.images]
    if held != [drawing.file for drawing in DRAWINGS]:
        raise _damaged(path, held, f"{len(DRAWINGS)} pictures in the order they were drawn")
    for image in found.images:
        if tuple(image.digests) != STEPS:
            raise _damaged(path, f"{image.file}: {list(image.digests)}", f"the steps {STEPS}")
    return found


def prepare_pictures(preprocess: Preprocess, folder: Path = FOLDER) -> dict[str, Steps]:
    """Prepare every picture step by step on this build; returns them by file name.

    Raises:
        DatasetError: A picture is missing or cannot be decoded.
    """
    return {d.file: prepare_steps(folder / d.file, preprocess) for d in DRAWINGS}


def file_digest(path: Path) -> str:
    """Return the sha256 of a picture's file.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise _damaged(path, error, "a picture of the passport") from None


def demand_same_files(passport: Passport, folder: Path = FOLDER) -> None:
    """Refuse pictures that are not, byte for byte, those that the passport is about.

    Raises:
        DatasetError: A file is missing or holds other bytes; names it.
    """
    for image in passport.images:
        if (found := file_digest(folder / image.file)) != image.sha256:
            raise _damaged(folder / image.file, f"sha256 {found}", f"sha256 {image.sha256}")


def make_passport(
    preprocess: Preprocess, builds: tuple[Build, ...], folder: Path = FOLDER
) -> Passport:
    """Return the passport that this build would write, confirmed by ``builds``.

    Raises:
        DatasetError: A picture is missing or cannot be decoded.
    """
    made = prepare_pictures(preprocess, folder)
    images = tuple(
        PassportImage(file=file, sha256=file_digest(folder / file), digests=steps.digests())
        for file, steps in made.items()
    )
    return Passport(preprocess=_geometry(preprocess), builds=builds, images=images)


def write_passport(passport: Passport, path: Path) -> None:
    """Write a passport as TOML.

    Raises:
        ConformanceError: The file cannot be written.
    """
    lines = [
        "# Preprocessing passport: sha256 of what each step makes of the pictures beside it.",
        "# Written by `python -m conformance passport write`, which adds builds that agree.",
        "",
        "[preprocess]",
        *_pairs(msgspec.to_builtins(passport.preprocess)),
    ]
    for build in passport.builds:
        lines += ["", "[[builds]]", *_pairs(msgspec.to_builtins(build))]
    for image in passport.images:
        lines += ["", "[[images]]", *_pairs({"file": image.file, "sha256": image.sha256})]
        lines += ["[images.digests]", *_pairs(image.digests)]
    write_whole(("\n".join(lines) + "\n").encode(), path)


def _pairs(table: dict[Any, Any]) -> list[str]:
    # Text, numbers and lists of numbers are written alike in JSON and in TOML.
    return [f"{name} = {json.dumps(value)}" for name, value in table.items()]


def _damaged(path: Path, got: object, expected: str) -> DatasetError:
    return DatasetError(
        "the preprocessing passport is damaged",
        got=got,
        expected=expected,
        where={"file": path},
        next_step="restore the file from the project's sources",
    )
