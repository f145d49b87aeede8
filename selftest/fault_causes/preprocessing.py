"""An image is prepared in another way."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from selftest.fault_causes.scene import MORE, Scene, cause, replace


def _prepared(name: str, make: Callable[[Any], Any]) -> MORE:
    """Replace a step of the preparation wherever it was imported."""
    for module in ("conformance.imagenet.preprocess", "conformance.imagenet.batches"):
        if hasattr(importlib.import_module(module), name):
            replace(module, name, make)
    return []


@cause
def channels_swapped(scene: Scene) -> MORE:
    return _prepared("crop_planes", lambda planes: lambda *given: planes(*given)[::-1])


@cause
def picture_mirrored(scene: Scene) -> MORE:
    return _prepared("crop_planes", lambda planes: lambda *given: planes(*given)[:, :, ::-1])


@cause
def crop_one_pixel_off(scene: Scene) -> MORE:
    def cropped(image: Any, preprocess: Any) -> Any:
        from PIL import Image

        from conformance.imagenet.preprocess import resized_size

        size = resized_size(image.size, preprocess.resize)
        resized = image.resize(size, Image.Resampling.BILINEAR)
        left, top = (round((side - preprocess.crop) / 2) for side in size)
        left += 1
        return resized.crop((left, top, left + preprocess.crop, top + preprocess.crop))

    return _prepared("_cropped", lambda _: cropped)


@cause
def resize_rounds_up(scene: Scene) -> MORE:
    def rounded(size: tuple[int, int], short: int) -> tuple[int, int]:
        scale = short / min(size)
        return round(size[0] * scale), round(size[1] * scale)

    return _prepared("resized_size", lambda _: rounded)


@cause
def resize_to_a_square(scene: Scene) -> MORE:
    return _prepared("resized_size", lambda _: lambda _size, short: (short, short))


@cause
def resize_bicubic(scene: Scene) -> MORE:
    from PIL.Image import Resampling

    def bicubic(resize: Any) -> Any:
        # The independent side resizes with a word of its own, and so keeps what it asks for.
        return lambda image, size, how, **more: resize(
            image, size, Resampling.BICUBIC if how is Resampling.BILINEAR else how, **more
        )

    replace("PIL.Image:Image", "resize", bicubic)
    return []


@cause
def resizer_differs(scene: Scene) -> MORE:
    from PIL.Image import Resampling

    def bicubic(resize: Any) -> Any:
        # However the filter is asked for: as a member by us, as a number by torchvision.
        return lambda image, size, how=None, *more, **named: resize(
            image, size, Resampling.BICUBIC if how == Resampling.BILINEAR else how, *more, **named
        )

    replace("PIL.Image:Image", "resize", bicubic)
    return []


@cause
def resizer_of_an_unknown_build(scene: Scene) -> MORE:
    replace("PIL", "__version__", lambda _: "99.0")
    return resizer_differs(scene)


@cause
def decoder_shrinks(scene: Scene) -> MORE:
    def shrinking(opening: Any) -> Any:
        def opened(*given: Any, **named: Any) -> Any:
            image = opening(*given, **named)
            image.draft("RGB", (256, 256))
            return image

        return opened

    replace("PIL.Image", "open", shrinking)
    return []


def _normalisation(**changes: Any) -> MORE:
    import msgspec

    def other(normalised: Any) -> Any:
        return lambda planes, preprocess, *more: normalised(
            planes, msgspec.structs.replace(preprocess, **changes), *more
        )

    return _prepared("normalised", other)


@cause
def mean_of_half(scene: Scene) -> MORE:
    return _normalisation(mean=(0.5, 0.5, 0.5))


@cause
def deviation_forgotten(scene: Scene) -> MORE:
    return _normalisation(std=(1.0, 1.0, 1.0))


@cause
def pixels_not_divided(scene: Scene) -> MORE:
    return _prepared("normalised", lambda planes: lambda *given: planes(*given) * np.float32(255))


def _written(prepare: Callable[[Any], Any]) -> MORE:
    """Replace what is written for the inference tool alone; engines in memory are fed as ever."""
    replace("conformance.imagenet.input_files", "prepare_file", prepare)
    return []


@cause
def written_inputs_shifted(scene: Scene) -> MORE:
    from conformance.imagenet.deviations import Deviation, deviant_steps

    def shifted(path: Path, preprocess: Any, kind: str) -> Any:
        steps = deviant_steps(path, preprocess, Deviation("shifted", "crop", shift=1))
        return steps.normalise if kind == "float32" else steps.uint8

    return _written(lambda _: shifted)


@cause
def written_inputs_with_one_wrong_bit(scene: Scene) -> MORE:
    def spoiling(prepare: Any) -> Any:
        def spoilt(path: Path, *given: Any) -> Any:
            made = prepare(path, *given).copy()
            made.reshape(-1).view(np.uint8)[5] ^= 1
            return made

        return spoilt

    return _written(spoiling)
