"""Preprocessing: bit-equal to the guide's algorithm and to torchvision, or a named error."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conformance.errors import DatasetError
from conformance.imagenet import preprocess as prepared
from conformance.imagenet.batches import cropped_chunk
from conformance.imagenet.dataset import ImageFile
from conformance.imagenet.independent import independent_input
from conformance.imagenet.preprocess import prepare_file, prepare_image, prepare_uint8
from conformance.spec import Preprocess, load_spec
from selftest.photographs import needs_photographs, noise, real_photographs

SPEC = load_spec("squeezenet1_1").preprocess


def by_the_guide(image: Image.Image, spec: Preprocess = SPEC) -> npt.NDArray[np.float32]:
    """Prepare a picture as the guide says, step by step, as plainly as possible."""
    width, height = image.size
    if width < height:
        size = (spec.resize, int(spec.resize * height / width))
    else:
        size = (int(spec.resize * width / height), spec.resize)
    resized = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    top = int(round((size[1] - spec.crop) / 2.0))  # noqa: RUF046 - as the guide writes it
    left = int(round((size[0] - spec.crop) / 2.0))  # noqa: RUF046 - as the guide writes it
    pixels = np.array(resized, dtype=np.float32)[top : top + spec.crop, left : left + spec.crop]
    tensor = pixels.transpose(2, 0, 1) / 255.0
    tensor -= np.array(spec.mean, dtype=np.float32)[:, None, None]
    tensor /= np.array(spec.std, dtype=np.float32)[:, None, None]
    return tensor.astype(np.float32)


def pictures() -> dict[str, Image.Image]:
    rgb = noise(90, 70)
    deep = (np.asarray(rgb.convert("L"), np.uint16) * 257).astype(np.uint16)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    turned = io.BytesIO()
    rgb.save(turned, "JPEG", exif=rotated)
    return {
        "rgb": rgb,
        "greyscale": rgb.convert("L"),
        "palette": rgb.quantize(32),
        "transparent": rgb.convert("RGBA"),
        "cmyk": rgb.convert("CMYK"),
        "one-bit": rgb.convert("1"),
        "16-bit": Image.fromarray(deep),
        "1x1": noise(1, 1),
        "1-wide": noise(1, 300),
        "square": noise(300, 300),
        "already-256": noise(256, 256),
        "short-side-256": noise(256, 400),
        "exif-rotated": Image.open(turned),
    }


SAVED = {"cmyk": "JPEG", "exif-rotated": "JPEG", "16-bit": "PNG"}


@pytest.mark.parametrize("name", pictures())
@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_unusual_pictures_equal_torchvision_and_the_guide(
    tmp_path: Path, name: str, kind: prepared.Prepared
) -> None:
    path = tmp_path / "picture"
    picture = pictures()[name]
    extra = {"exif": picture.getexif()} if name == "exif-rotated" else {}
    picture.save(path, SAVED.get(name, "PNG"), **extra)
    made = prepare_file(path, SPEC, kind)
    assert made.tobytes() == independent_input(path, SPEC, kind).tobytes()
    if kind == "float32":
        assert made.tobytes() == by_the_guide(Image.open(path)).tobytes()


def test_exif_rotation_is_ignored(tmp_path: Path) -> None:
    plain, turned = tmp_path / "plain.JPEG", tmp_path / "turned.JPEG"
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(90, 70).save(plain)
    noise(90, 70).save(turned, exif=exif)
    assert Image.open(turned).getexif()[0x0112] == 6
    assert prepare_file(plain, SPEC, "uint8").tobytes() == (
        prepare_file(turned, SPEC, "uint8").tobytes()
    )


def test_forms_and_sizes() -> None:
    tensor, pixels = prepare_image(noise(90, 70), SPEC), prepare_uint8(noise(90, 70), SPEC)
    assert (tensor.shape, tensor.nbytes) == ((3, 224, 224), 602_112)
    assert (pixels.shape, pixels.nbytes) == ((224, 224, 3), 150_528)
    assert tensor.flags.c_contiguous
    assert prepared.input_bytes(SPEC, "float32") == 602_112
    assert prepared.input_bytes(SPEC, "uint8") == 150_528


def test_every_pixel_value_is_normalised_as_the_guide_does() -> None:
    values = np.broadcast_to(np.arange(256, dtype=np.uint8), (1, 3, 1, 256))
    expected = values[0].astype(np.float32) / 255.0
    expected -= np.array(SPEC.mean, dtype=np.float32)[:, None, None]
    expected /= np.array(SPEC.std, dtype=np.float32)[:, None, None]
    assert prepared.normalised(np.ascontiguousarray(values), SPEC)[0].tobytes() == (
        expected.tobytes()
    )


@settings(deadline=None, max_examples=25)
@given(width=st.integers(1, 400), height=st.integers(1, 400), seed=st.integers(0, 3))
def test_any_size_equals_the_guide(width: int, height: int, seed: int) -> None:
    picture = noise(width, height, seed)
    assert prepare_image(picture, SPEC).tobytes() == by_the_guide(picture).tobytes()


@needs_photographs
def test_photographs_equal_the_guide_and_torchvision() -> None:
    different = []
    for image in real_photographs().subset(60).images:
        made = prepare_file(image.path, SPEC, "float32").tobytes()
        guide = by_the_guide(Image.open(image.path)).tobytes()
        if not made == guide == independent_input(image.path, SPEC, "float32").tobytes():
            different.append(image.name)
    assert different == []


def jpeg() -> bytes:
    buffer = io.BytesIO()
    noise(200, 160).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"this is text\n", jpeg()[: len(jpeg()) // 2], jpeg()[:20], b"\xff\xd8\xff\xe0"],
    ids=["zero-byte", "text", "half", "header", "magic"],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ILSVRC2012_val_00000007.JPEG"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"image: ILSVRC2012_val_00000007\.JPEG"):
        prepare_file(path, SPEC, "float32")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"image: gone\.JPEG"):
        prepare_file(tmp_path / "gone.JPEG", SPEC, "float32")


@given(cut=st.integers(0, 2000), flip=st.integers(0, 2000), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=60)
def test_damage_is_an_input_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, bit: int
) -> None:
    content = bytearray(jpeg())
    content[flip % len(content)] ^= 1 << bit
    path = tmp_path_factory.mktemp("damage") / "x.JPEG"
    path.write_bytes(content[: len(content) - cut])
    refusal = "image: x.JPEG"
    try:
        assert prepare_file(path, SPEC, "float32").shape == (3, 224, 224)
    except DatasetError as error:
        refusal = str(error)
    assert "image: x.JPEG" in refusal


def test_a_png_under_a_jpeg_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.JPEG"
    noise(90, 70).save(path, "PNG")
    assert prepare_file(path, SPEC, "uint8").tobytes() == (
        prepare_uint8(noise(90, 70), SPEC).tobytes()
    )


def test_a_30000_pixel_wide_picture_is_prepared(tmp_path: Path) -> None:
    path = tmp_path / "wide.JPEG"
    noise(30_000, 200).save(path)
    assert prepare_file(path, SPEC, "uint8").shape == (224, 224, 3)


@pytest.mark.parametrize("size", [(30_000, 10), (10, 30_000)])
def test_a_picture_too_long_to_resize_is_named(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "long.JPEG"
    noise(*size).save(path)
    with pytest.raises(DatasetError, match=r"too large[\s\S]*image: long\.JPEG"):
        prepare_file(path, SPEC, "float32")


def claiming(side: int) -> bytes:
    """Return a PNG that claims side x side pixels and holds next to none of them."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header) - 4) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + b"\0" * 8


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 40_000])
def test_a_decompression_bomb_is_refused_undecoded(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.JPEG"
    path.write_bytes(claiming(side))
    with pytest.raises(DatasetError, match=r"image: bomb\.JPEG") as caught:
        prepare_file(path, SPEC, "float32")
    assert "too large" in str(caught.value) or "DecompressionBombError" in str(caught.value)


@pytest.mark.parametrize("form", ["EPS", "PCX"])
def test_other_formats_are_refused(tmp_path: Path, form: str) -> None:
    # Pillow reads EPS with the help of a program, and any format it knows if not told otherwise.
    path = tmp_path / "page.JPEG"
    noise(20, 20).save(path, form)
    with pytest.raises(DatasetError, match=r"image: page\.JPEG"):
        prepare_file(path, SPEC, "float32")


def no_memory(*_given: object, **_named: object) -> Image.Image:
    raise MemoryError


@pytest.mark.parametrize("kind", ["float32", "uint8", "stream"])
def test_without_memory_to_resize_the_image_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "a.JPEG"
    noise(90, 70).save(path, "JPEG")
    monkeypatch.setattr(Image.Image, "resize", no_memory)
    made: dict[str, Callable[[], object]] = {
        "float32": lambda: prepare_file(path, SPEC, "float32"),
        "uint8": lambda: prepare_file(path, SPEC, "uint8"),
        "stream": lambda: cropped_chunk([ImageFile(path.name, path)], SPEC),
    }
    with pytest.raises(DatasetError, match=r"no memory[\s\S]*image: a\.JPEG"):
        made[kind]()
