"""Images and labels are not what they should be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from selftest.fault_causes.scene import IMAGENET, MORE, Scene, cause


def _spoilt_images(scene: Scene, spoil: Callable[[Path], object]) -> MORE:
    folder = scene.images()
    spoil(folder)
    return [f"{IMAGENET}{folder}"]


def _lines(folder: Path, change: Callable[[list[str]], list[str]]) -> None:
    path = folder / "val_label.txt"
    path.write_text("\n".join(change(path.read_text("utf-8").splitlines())) + "\n", "utf-8")


def _first(folder: Path) -> Path:
    return min((folder / "val").iterdir())


@cause
def labels_shifted(scene: Scene) -> MORE:
    def shifted(lines: list[str]) -> list[str]:
        pairs = [line.split() for line in lines]
        return [f"{name} {(int(label) + 1) % 1000}" for name, label in pairs]

    return _spoilt_images(scene, lambda folder: _lines(folder, shifted))


@cause
def label_missing(scene: Scene) -> MORE:
    return _spoilt_images(scene, lambda folder: _lines(folder, lambda lines: lines[:-1]))


@cause
def label_repeated(scene: Scene) -> MORE:
    return _spoilt_images(scene, lambda folder: _lines(folder, lambda lines: [*lines, lines[0]]))


@cause
def label_out_of_range(scene: Scene) -> MORE:
    def edit(lines: list[str]) -> list[str]:
        return [*lines[1:], f"{lines[0].split()[0]} 1000"]

    return _spoilt_images(scene, lambda folder: _lines(folder, edit))


@cause
def labels_empty(scene: Scene) -> MORE:
    return _spoilt_images(scene, lambda folder: (folder / "val_label.txt").write_text(""))


@cause
def image_missing(scene: Scene) -> MORE:
    return _spoilt_images(scene, lambda folder: _first(folder).unlink())


@cause
def image_without_label(scene: Scene) -> MORE:
    def edit(folder: Path) -> None:
        shutil.copyfile(_first(folder), folder / "val" / "ILSVRC2012_val_00000000.JPEG")

    return _spoilt_images(scene, edit)


@cause
def image_twice_under_two_names(scene: Scene) -> MORE:
    def edit(folder: Path) -> None:
        first, second, *_ = sorted((folder / "val").iterdir())
        shutil.copyfile(first, second)

    return _spoilt_images(scene, edit)


@cause
def image_twice_with_a_byte_more(scene: Scene) -> MORE:
    def edit(folder: Path) -> None:
        first, second, *_ = sorted((folder / "val").iterdir())
        second.write_bytes(first.read_bytes() + b"\0")

    return _spoilt_images(scene, edit)


@cause
def two_images_of_one_stem(scene: Scene) -> MORE:
    def edit(folder: Path) -> None:
        first = _first(folder)
        shutil.copyfile(first, first.with_suffix(".jpg"))
        _lines(folder, lambda lines: [*lines, f"{first.stem}.jpg 3"])

    return _spoilt_images(scene, edit)


@cause
def image_truncated(scene: Scene) -> MORE:
    def edit(folder: Path) -> None:
        os.truncate(_first(folder), _first(folder).stat().st_size // 2)

    return _spoilt_images(scene, edit)


@cause
def image_is_text(scene: Scene) -> MORE:
    return _spoilt_images(scene, lambda folder: _first(folder).write_text("gone"))


@cause
def val_folder_missing(scene: Scene) -> MORE:
    return _spoilt_images(scene, lambda folder: shutil.rmtree(folder / "val"))
