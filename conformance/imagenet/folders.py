"""Datasets on disk: the guide's ``val/`` with ``val_label.txt``, or one folder per synset."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from conformance.errors import DatasetError
from conformance.imagenet.dataset import Dataset, LabelledImage, shortened
from conformance.imagenet.labels import LABEL_FILE, read_labels
from conformance.obstacles import first_obstacle

IMAGE_EXTENSIONS = (".jpeg", ".jpg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def open_dataset(root: Path, classes: int, *, drawn: bool = False) -> Dataset:
    """Open a folder of labelled images, in one of two layouts.

    - ``root/val/`` with the images and ``root/val_label.txt`` with ``NAME LABEL`` lines. Every
      image must have a label and every label an image.
    - one folder per class, as torchvision's ``ImageFolder`` reads them, in ``root/val/`` or in
      ``root`` itself: the class is the folder's position in sorted order, so there must be exactly
      ``classes`` folders, none of them empty.

    Args:
        root: The folder.
        classes: Number of classes of the model.
        drawn: Whether this suite drew the images itself.

    Raises:
        DatasetError: The folder is missing, empty or may not be read; labels and images do not
            belong together; or the layout is neither of the two.
    """
    entries = {entry.name: entry for entry in _listed(root)}
    val = root / "val"
    if LABEL_FILE in entries:
        return labelled_folder(val, root / LABEL_FILE, classes, drawn=drawn)
    top = val if "val" in entries else root
    if files := [entry.name for entry in _listed(top) if not _is(entry.is_dir, entry)]:
        raise DatasetError(
            "images without labels",
            got=f"{shortened(files)} in {top}, and no {LABEL_FILE}",
            expected=f"{root / LABEL_FILE}, or {classes} folders of images, one per class",
            where={"folder": root},
            next_step=f"put the label file at {root / LABEL_FILE}",
        )
    return _synset_folders(top, classes, drawn=drawn)


def labelled_folder(
    images: Path, label_file: Path, classes: int, *, drawn: bool = False
) -> Dataset:
    """Open a flat folder of images with the label file that belongs to it.

    Raises:
        DatasetError: As for :func:`open_dataset`.
    """
    files = {path.name: path for path in image_files(images)}
    labels = read_labels(label_file, classes)
    where = {"folder": images, "labels": label_file}
    if unlabelled := sorted(files.keys() - labels.keys()):
        raise DatasetError(
            "images without a label",
            got=shortened(unlabelled),
            expected="a label for each image",
            where=where,
            next_step="remove what is no image of the set, or add its label",
        )
    if absent := sorted(labels.keys() - files.keys()):
        raise DatasetError(
            "labels without an image",
            got=shortened(absent),
            expected="an image for each label",
            where=where,
            next_step="restore the images, or remove their labels",
        )
    made = tuple(LabelledImage(name, path, labels[name]) for name, path in files.items())
    return Dataset(images.parent, made, classes, drawn)


def image_files(folder: Path) -> tuple[Path, ...]:
    """Return every entry of a flat folder, sorted by name; each must be a file.

    Whether a file is an image shows when it is decoded; nothing is left out here.

    Raises:
        DatasetError: The folder is missing, empty or may not be read, or holds something that is
            not a file.
    """
    entries = _listed(folder)
    if others := sorted(entry.name for entry in entries if not _is(entry.is_file, entry)):
        raise DatasetError(
            "a folder of images holds something that is not a file",
            got=shortened(others),
            expected="image files only",
            where={"folder": folder},
            next_step="move folders and dangling links elsewhere",
        )
    return tuple(sorted(folder / entry.name for entry in entries))


def _synset_folders(top: Path, classes: int, *, drawn: bool) -> Dataset:
    synsets = sorted(entry.name for entry in _listed(top))
    if len(synsets) != classes:
        raise DatasetError(
            "the number of class folders is wrong",
            got=f"{len(synsets)} folders: {shortened(synsets)}",
            expected=f"exactly {classes}: a class is its folder's position in sorted order",
            where={"folder": top},
            next_step=f"add the missing folders, or use val/ with a {LABEL_FILE}",
        )
    found = [
        (label, path) for label, name in enumerate(synsets) for path in image_files(top / name)
    ]
    if others := [str(path) for _, path in found if path.suffix.lower() not in IMAGE_EXTENSIONS]:
        raise DatasetError(
            "a class folder holds a file that is no image",
            got=shortened(others),
            expected=f"names ending in {', '.join(IMAGE_EXTENSIONS)}",
            where={"folder": top},
            next_step="move it elsewhere",
        )
    flat = _all_different(path.name for _, path in found)
    images = tuple(
        LabelledImage(path.name if flat else f"{path.parent.name}/{path.name}", path, label)
        for label, path in found
    )
    return Dataset(top, images, classes, drawn)


def _all_different(names: Iterable[str]) -> bool:
    every = list(names)
    return len(set(every)) == len(every)


def _is(kind: Callable[[], bool], entry: os.DirEntry[str]) -> bool:
    """Ask what an entry is, which follows links: in a circle, or to where nobody may look."""
    try:
        return kind()
    except OSError as error:
        raise DatasetError(
            "an entry of a folder of images cannot be looked at",
            got=error,
            expected="image files, or links to files that you may read",
            where={"entry": entry.path, **first_obstacle(Path(os.path.realpath(entry.path)))},
            next_step="remove the link, or have the permissions of what it names changed",
        ) from None


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    """List a folder that must be there, be readable and hold something."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError as error:
        raise DatasetError(
            "folder cannot be read",
            got=error,
            expected="a folder of images that you may enter and list",
            where={"folder": folder, **first_obstacle(folder)},
            next_step="give the right folder, or have its permissions changed",
        ) from None
    if not found:
        raise DatasetError(
            "folder is empty",
            got="no entries",
            expected="images",
            where={"folder": folder},
            next_step="give the right folder, or unpack the images into it",
        )
    return found
