"""Whether this build prepares pictures as the passport says, and what that means for a failure."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec

from conformance.check import Check, SkipReason, Status, equal, skipped
from conformance.errors import ConformanceError
from conformance.imagenet.deviations import DEVIATIONS, named_deviation
from conformance.imagenet.effects import read_effects
from conformance.imagenet.passport import (
    Build,
    Passport,
    demand_same_files,
    passport_file,
    prepare_pictures,
    read_passport,
    this_build,
)
from conformance.imagenet.passport_images import FOLDER
from conformance.imagenet.steps import STEPS, Step, Steps, content_sha256
from conformance.spec import Preprocess, load_spec, model_names

# Checks of what models say about photographs: where they are bad, the inputs are a suspect.
ABOUT_PHOTOGRAPHS = ("accuracy.", "agreement.", "input.digest")
_CHECK = "input.passport"


@dataclasses.dataclass(frozen=True)
class Inspection:
    """This build against a passport.

    Attributes:
        build: What prepared the pictures here.
        known: Whether the passport was confirmed on this Pillow and libjpeg.
        compared: Digests compared.
        differing: Picture and step of each digest that differs.
        like: The known deviation that makes just these pictures, and its measured effect.
    """

    build: Build
    known: bool
    compared: int
    differing: tuple[tuple[str, Step], ...]
    like: str = ""

    @property
    def step(self) -> Step | None:
        """The first step that differs on any picture; None if none does."""
        steps = {step for _, step in self.differing}
        return next((step for step in STEPS if step in steps), None)

    def describe(self) -> str:
        """Return the first step that differs and on which pictures, or that none does."""
        named = self.build.decoder
        if self.step is None:
            return f"all {self.compared} digests of the passport hold on {named}"
        files = [file for file, step in self.differing if step == self.step]
        told = f"{self.step} differs on {named}, the first step to do so, in {', '.join(files)}"
        return f"{told}; {self.like or 'like no known deviation'}"


def inspect_build(preprocess: Preprocess, passport: Passport, folder: Path = FOLDER) -> Inspection:
    """Prepare the pictures here and compare every digest with the passport.

    Raises:
        DatasetError: A picture is missing, is not the passport's or cannot be decoded, or the
            measured deviations cannot be read.
    """
    demand_same_files(passport, folder)
    made = prepare_pictures(preprocess, folder)
    differing = tuple(
        (image.file, step)
        for image in passport.images
        for step, digest in made[image.file].digests().items()
        if digest != image.digests[step]
    )
    build = this_build()
    compared = len(passport.images) * len(STEPS)
    found = Inspection(build, passport.knows(build), compared, differing)
    if found.step is None:
        return found
    return dataclasses.replace(found, like=_like(made, found.step, preprocess, folder))


def _like(made: dict[str, Steps], step: Step, preprocess: Preprocess, folder: Path) -> str:
    contents = [
        (folder / file, content_sha256(getattr(steps, step))) for file, steps in made.items()
    ]
    among = [deviation for deviation in DEVIATIONS if deviation.step == step]
    found = named_deviation(contents, preprocess, step, among)
    return read_effects().told(found.name) if found else ""


def passport_check(preprocess: Preprocess, folder: Path = FOLDER) -> Check:
    """Every step makes of the embedded pictures what it made when the passport was written.

    PASS on any build where it does. Where not, no model and no board is at fault: on a build that
    the passport names this suite or its packages are damaged, ERROR; on another nobody knows yet
    what its inputs do to the figures, INCONCLUSIVE.

    Raises:
        DatasetError: Passport or pictures are damaged.
    """
    path = passport_file(preprocess, folder)
    if not path.exists():
        return skipped(
            _CHECK,
            SkipReason.NO_PASSPORT,
            f"there is no passport for this [preprocess] table: {path.name}\n"
            "  next: python -m conformance passport write --model=NAME",
        )
    passport = read_passport(preprocess, folder)
    found = inspect_build(preprocess, passport, folder)
    made = equal(
        _CHECK,
        len(found.differing),
        0,
        unit=f"of {found.compared} digests differ",
        source=f"passport of {passport.builds[0].date}, confirmed on "
        + "; ".join(build.decoder for build in passport.builds),
        detail=f"{found.describe()}\nthis build is {'' if found.known else 'not '}in the passport",
        hint=_hint(found),
    )
    if made.status is Status.PASS:
        return made
    status = Status.ERROR if found.known else Status.INCONCLUSIVE
    return msgspec.structs.replace(made, status=status)


def _hint(found: Inspection) -> str:
    if found.step is None:
        return "" if found.known else "add this build: python -m conformance passport write"
    if found.known:
        return "the suite's preparation, Pillow or numpy was changed: install them anew"
    return (
        "install a Pillow that the passport names; to keep this one, show on the full set that "
        "accuracy.control holds with it, and begin a new passport"
    )


def blame_inputs(checks: list[Check]) -> list[Check]:
    """Return the checks, each bad one about photographs with what the passport says of inputs.

    A failure then says «resize differs» where it does, and else that the preparation is sound.

    Args:
        checks: Checks that carry their model among the coordinates.
    """
    lines: dict[str, str] = {}
    return [_blamed(check, lines) if _is_suspect(check) else check for check in checks]


def _is_suspect(check: Check) -> bool:
    bad = check.status in {Status.FAIL, Status.ERROR}
    about = check.id.startswith(ABOUT_PHOTOGRAPHS)
    return bad and about and check.coordinates.get("model") in model_names()


def _blamed(check: Check, lines: dict[str, str]) -> Check:
    model = str(check.coordinates["model"])
    if model not in lines:
        lines[model] = f"inputs: {_told(load_spec(model).preprocess)}"
    detail = f"{check.detail}\n{lines[model]}".strip()
    return msgspec.structs.replace(check, detail=detail)


def _told(preprocess: Preprocess) -> str:
    path = passport_file(preprocess)
    if not path.exists():
        return f"no passport says whether this build prepares them rightly ({path.name})"
    try:
        found = inspect_build(preprocess, read_passport(preprocess))
    except ConformanceError as error:
        return f"the passport cannot say whether they are right: {error.what}"
    if found.step is None:
        return f"{found.describe()}; decoder and resizer are not the cause"
    return f"{found.describe()}; look at {_CHECK} before the model or the board"
