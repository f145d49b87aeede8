"""How ais_bench turns files into batches and outputs into files.

Facts from ais_bench's open sources of 2023: ``io_oprations.py``, ``utils.py``, ``summary.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from emulator.marker import say
from emulator.tensor import Tensor

SUFFIXES = ("*.npy", "*.NPY", "*.bin", "*.BIN")


def list_inputs(text: str) -> list[Path]:
    """The files of one model input, digits in their names sorted as numbers.

    Raises:
        RuntimeError: a folder holds no such file, or there is neither file nor folder.
    """
    path = Path(text)
    files = [file for suffix in SUFFIXES for file in path.glob(suffix)]
    if path.is_file():
        files = [path]
    if not files:
        text = f"{path} not find valid file,valid file format:[{' '.join(SUFFIXES)}]"
        say(f"[ERROR] {text}")
        raise RuntimeError(text)
    return sorted(set(files), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    words = re.split(r"(\d+)", path.name)
    return [(int(word), "") if word.isdigit() else (-1, word) for word in words]


def file_size(path: Path) -> int:
    """Bytes of the tensor in a file; a ``.npy`` file's header does not count."""
    return len(read_tensor(path)) if path.suffix.lower() == ".npy" else path.stat().st_size


def read_tensor(path: Path) -> bytes:
    """The bytes of a tensor in a ``.bin`` or ``.npy`` file."""
    if path.suffix.lower() == ".npy":
        import numpy as np  # takes longer to import than most runs last

        array: bytes = np.load(path, allow_pickle=False).tobytes()
        return array
    return path.read_bytes()


def files_per_batch(files: Sequence[Path], tensor_bytes: int) -> int:
    """How many files make one batch: the tensor's size over the first file's.

    Raises:
        RuntimeError: the sizes do not divide.
    """
    size = file_size(files[0])
    if size == 0 or tensor_bytes % size:
        text = f"arg0 tensorsize: {tensor_bytes} filesize: {size} not match"
        say(f"[ERROR] {text}")
        raise RuntimeError(text)
    count = tensor_bytes // size
    say(
        f"[INFO] get filesperbatch files0 size:{size} tensor0size:{tensor_bytes} "
        f"filesperbatch:{count} runcount:{-(-len(files) // count)}"
    )
    return count


def batches(files: Sequence[Path], count: int) -> Iterator[bytes]:
    """The content of each batch; the last one is filled up with its own first file.

    Raises:
        RuntimeError: files of one batch differ in size.
    """
    for start in range(0, len(files), count):
        parts = [read_tensor(path) for path in files[start : start + count]]
        parts += parts[:1] * (count - len(parts))
        if any(len(part) != len(parts[0]) for part in parts):
            text = f"ndata size:{len(parts[0])} not match {[len(part) for part in parts]}"
            say(f"[ERROR] {text}")
            raise RuntimeError(text)
        yield b"".join(parts)


def write_outputs(folder: Path, source: Path, parts: Sequence[Tensor], outfmt: str) -> list[Path]:
    """Write the outputs of one input file.

    Args:
        folder: Where to.
        source: The input file; its name up to the first dot goes into the outputs' names.
        parts: For each output of the model, the rows that belong to the file.
        outfmt: ``TXT``, ``BIN`` or ``NPY``.
    """
    stem = source.name.partition(".")[0]
    paths = [folder / f"{stem}_{number}.{outfmt.lower()}" for number in range(len(parts))]
    for path, values in zip(paths, parts, strict=True):
        _write_output(path, values)
    return paths


def _write_output(path: Path, output: Tensor) -> None:
    if path.suffix == ".npy":
        import numpy as np

        np.save(path, output.array())
    elif path.suffix == ".bin":
        path.write_bytes(output.content)
    else:
        style = "{:f} " if output.dtype.startswith("float") else "{:d} "
        values, width = output.values(), output.shape[-1]
        rows = [values[start : start + width] for start in range(0, len(values), width)]
        text = "".join("".join(map(style.format, row)) + "\n" for row in rows)
        path.write_text(text, encoding="ascii")
