"""A build that prepares pictures otherwise is told, by its first step that differs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.deviations import PAGE, with_table
from conformance.__main__ import main
from conformance.check import SkipReason, Status, equal
from conformance.errors import DatasetError
from conformance.imagenet import passport as passports
from conformance.imagenet import passport_checks
from conformance.imagenet.deviations import CORRECT, DEVIATIONS, Deviation, deviant_steps
from conformance.imagenet.effects import EFFECTS_FILE, read_effects
from conformance.imagenet.passport import (
    Build,
    make_passport,
    passport_file,
    read_passport,
    this_build,
    write_passport,
)
from conformance.imagenet.passport_checks import blame_inputs, inspect_build, passport_check
from conformance.imagenet.passport_images import DRAWINGS, FOLDER
from conformance.imagenet.preprocess import prepare_steps
from conformance.imagenet.steps import first_difference
from conformance.spec import load_spec

MODEL = "squeezenet1_1"
SPEC = load_spec(MODEL).preprocess
SHIPPED = passport_file(SPEC)
DRAWN_BY = "Pillow 13.0.0 with libjpeg-turbo 3.2.0"
UNKNOWN = Build(pillow="99.0", libjpeg="libjpeg 9", numpy="1", machine="vax", date="2026-11-23")
GREY_RESIZED = next(
    image.digests["resize"] for image in read_passport(SPEC).images if image.file == "grey.jpg"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of passport and pictures that may be spoilt."""
    return Path(shutil.copytree(FOLDER, tmp_path / "passport"))


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / SHIPPED.name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_this_build_agrees() -> None:
    made = passport_check(SPEC)
    assert (made.status, made.value) == (Status.PASS, 0), made.describe()
    assert "all 25 digests" in made.detail


def test_without_a_deviation_every_step_is_ours() -> None:
    for drawing in DRAWINGS:
        other = deviant_steps(FOLDER / drawing.file, SPEC, CORRECT)
        assert first_difference(prepare_steps(FOLDER / drawing.file, SPEC), other) is None


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda deviation: deviation.name)
def test_every_known_deviation_is_named_with_its_step_and_effect(
    deviation: Deviation, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {d.file: deviant_steps(FOLDER / d.file, SPEC, deviation) for d in DRAWINGS}
    monkeypatch.setattr(passport_checks, "prepare_pictures", lambda *_: made)
    found = inspect_build(SPEC, read_passport(SPEC))
    assert found.step == deviation.step
    assert f"{deviation.step} differs" in found.describe()
    assert read_effects().told(deviation.name) in found.describe()


@pytest.mark.parametrize(
    ("build", "status", "hint"),
    [
        (this_build(), Status.ERROR, "install them anew"),
        (UNKNOWN, Status.INCONCLUSIVE, "install a Pillow that the passport names"),
    ],
    ids=["known", "unknown"],
)
def test_a_difference_never_fails_a_model(
    folder: Path, build: Build, status: Status, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = read_passport(SPEC)
    known = (*kept.builds, this_build())
    write_passport(make_passport(SPEC, known), folder / SHIPPED.name)
    edit(folder, GREY_RESIZED, "0" * 64)
    monkeypatch.setattr(passport_checks, "this_build", lambda: build)
    made = passport_check(SPEC, folder)
    assert (made.status, made.value) == (status, 1)
    assert f"resize differs on {build.decoder}, the first step to do so, in grey.jpg" in made.detail
    assert "like no known deviation" in made.detail
    assert hint in made.hint


def test_an_unknown_build_that_agrees_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passport_checks, "this_build", lambda: UNKNOWN)
    made = passport_check(SPEC)
    assert made.status is Status.PASS
    assert "passport write" in made.hint


def test_another_picture_is_an_error(folder: Path) -> None:
    shutil.copyfile(folder / "grey.jpg", folder / "cmyk.jpg")
    with pytest.raises(DatasetError, match=r"damaged[\s\S]*cmyk\.jpg"):
        passport_check(SPEC, folder)


def test_a_missing_picture_is_an_error(folder: Path) -> None:
    (folder / "palette.png").unlink()
    with pytest.raises(DatasetError, match=r"damaged[\s\S]*palette\.png"):
        passport_check(SPEC, folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("crop = 224", "crop = 225"),
        ("grey.jpg", "gray.jpg"),
        (f'resize = "{GREY_RESIZED}"\n', ""),
        ("[images.digests]", "[images.digest]"),
        ("[[images]]", "[[images]"),
    ],
    ids=["geometry", "picture", "step", "field", "syntax"],
)
def test_a_damaged_passport_is_an_error(folder: Path, old: str, new: str) -> None:
    edit(folder, old, new)
    with pytest.raises(DatasetError, match=f"damaged[\\s\\S]*{SHIPPED.name}"):
        passport_check(SPEC, folder)


def test_a_geometry_without_passport_is_skipped(tmp_path: Path) -> None:
    made = passport_check(SPEC, tmp_path)
    assert (made.status, made.reason) == (Status.SKIP, SkipReason.NO_PASSPORT)
    assert "passport write --model" in made.detail


def test_the_command_writes_what_is_shipped_and_adds_builds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / SHIPPED.name
    monkeypatch.setattr(passports, "passport_file", lambda *_: path)
    shipped = path.read_bytes()
    write_passport(make_passport(SPEC, read_passport(SPEC).builds), path)
    assert path.read_bytes() == shipped
    path.unlink()
    for _ in range(2):
        assert main(["passport", "write"]) == 0
        assert read_passport(SPEC).builds == (this_build(),)
    assert main(["passport", "check"]) == 0
    edit(folder, GREY_RESIZED, "0" * 64)
    kept = path.read_bytes()
    assert main(["passport", "write"]) == 2
    assert "resize differs" in capsys.readouterr().err
    assert path.read_bytes() == kept


@pytest.mark.skipif(
    this_build().decoder != DRAWN_BY, reason=f"only {DRAWN_BY} need write the same bytes"
)
def test_the_pictures_can_be_drawn_again(tmp_path: Path) -> None:
    assert main(["passport", "draw", f"--output={tmp_path}"]) == 0
    for drawing in DRAWINGS:
        assert (tmp_path / drawing.file).read_bytes() == (FOLDER / drawing.file).read_bytes()


def test_a_bad_check_about_photographs_tells_of_its_inputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = {"coordinates": {"model": MODEL}}
    checks = [
        equal("agreement.flips", 9, 0, detail="9 flips", **place),
        equal("agreement.flips", 0, 0, **place),
        equal("throughput.card", 1, 2, **place),
    ]
    sound = blame_inputs(checks)
    assert sound[0].detail.startswith("9 flips\ninputs: all 25 digests")
    assert "not the cause" in sound[0].detail
    assert sound[1:] == checks[1:]
    bicubic = next(d for d in DEVIATIONS if d.name == "bicubic")
    made = {d.file: deviant_steps(FOLDER / d.file, SPEC, bicubic) for d in DRAWINGS}
    monkeypatch.setattr(passport_checks, "prepare_pictures", lambda *_: made)
    assert "inputs: resize differs on Pillow" in blame_inputs(checks)[0].detail


def test_the_page_shows_the_table_that_the_suite_reads() -> None:
    page = PAGE.read_text("utf-8")
    assert with_table(page, read_effects()) == page


@pytest.mark.parametrize(
    ("old", "new"), [('name = "bicubic"', 'name = "cubic"'), ("inputs = ", "input = ")]
)
def test_a_damaged_table_of_effects_is_an_error(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "deviations.toml"
    path.write_text(EFFECTS_FILE.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(DatasetError, match="measured deviations cannot be read"):
        read_effects(path)
