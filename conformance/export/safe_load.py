"""Tensors read from a weights file of unknown origin, without running code that it may hold."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from conformance.errors import CheckpointError
from conformance.export.checkpoint import check_weights_file

if TYPE_CHECKING:
    import torch

_ZIP_START = b"PK\x03\x04"
_PICKLE_START = b"\x80"  # the opcode PROTO, first byte of every pickle since protocol 2
_KNOWN_STARTS = (
    (b"<!doctype html", "an HTML page, perhaps of a proxy or a login"),
    (b"<html", "an HTML page, perhaps of a proxy or a login"),
    (b"version https://git-lfs", "a Git LFS pointer in place of the file"),
    (b"\x89png", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x1f\x8b", "a gzip archive"),
)
_SAVE = "torch.save(state, 'plain.pth')"


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the named tensors of a file of ``torch.save``, as they are stored, on the CPU.

    Raises:
        CheckpointError: The file is missing, damaged, not a checkpoint, would run code, or holds
            anything besides names and tensors. Nothing in it is executed.
    """
    check_weights_file(path)
    return _only_tensors(path, _read(path))


def resave_step(source: str) -> str:
    """Return the advice to save ``source``, an expression of ``state``, as a plain state dict."""
    return (
        f"save the weights alone: state = torch.load(path, weights_only=True); state = {source};"
        f" {_SAVE}"
    )


def _read(path: Path) -> object:
    import torch

    with path.open("rb") as stream:
        head = stream.read(512)
    if head.startswith(_ZIP_START):
        _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of them is in the error below
            return torch.load(path, weights_only=True, map_location="cpu")
    # The unpickler raises whatever the damaged byte leads to: KeyError, RuntimeError, EOFError...
    except Exception as error:  # noqa: BLE001
        _explain(path, head, error)


def _check_archive(path: Path) -> None:
    """Demand a whole zip archive of torch.save. torch itself does not look at the checksums."""
    again = "copy or download it again"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        got = f"a truncated or damaged archive of {path.stat().st_size} bytes ({error})"
        _refuse(path, got, again)
    if damaged:
        _refuse(path, f"a damaged archive: the checksum of {damaged} does not match", again)
    members = {name.rpartition("/")[2] for name in names}
    if "data.pkl" not in members:
        got = f"a zip archive of other things, such as {names[:3]}"
        _refuse(path, got, "name the .pth file: --weights=FILE")
    if "constants.pkl" in members:
        step = "save the weights alone: torch.save(module.state_dict(), 'plain.pth')"
        _refuse(path, "a TorchScript program, which holds code", step)


def _explain(path: Path, head: bytes, error: Exception) -> NoReturn:
    """Raise what torch's error means. Its own text advises to run the code, so it is not shown."""
    for start, kind in _KNOWN_STARTS:
        if head.lower().startswith(start):
            _refuse(path, kind, "fetch the file itself, or pass another: --weights=FILE")
    if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
        _refuse_code(path, f"Python code or objects besides tensors: {named[1].rstrip('.')}")
    if "Unsupported operand" in str(error) and head.startswith(_PICKLE_START):
        _refuse_code(path, "a pickle of Python objects that PyTorch did not write")
    if head.startswith((_ZIP_START, _PICKLE_START)):
        got = f"a truncated or damaged file of {path.stat().st_size} bytes"
        _refuse(path, got, "copy or download it again")
    _refuse(path, f"something else, beginning {head[:24]!r}", "name the .pth file: --weights=FILE")


def _refuse_code(path: Path, got: str) -> NoReturn:
    step = (
        "nothing of it was run; if you trust its maker, load it where it was made and save the"
        " weights alone: torch.save(model.state_dict(), 'plain.pth')"
    )
    _refuse(path, got, step)


def _refuse(path: Path, got: object, next_step: str, **where: object) -> NoReturn:
    raise CheckpointError(
        "the file is not a PyTorch checkpoint of weights alone",
        got=got,
        expected="a state dict as torch.save(model.state_dict(), path) writes it",
        where={"file": path, **where},
        next_step=next_step,
    )


def _only_tensors(path: Path, loaded: object) -> dict[str, torch.Tensor]:
    """Demand a flat mapping from names to ordinary tensors."""
    import torch

    if not isinstance(loaded, Mapping):
        _refuse(path, f"one object of type {type(loaded).__name__}", resave_step("state[...]"))
    for key, value in loaded.items():
        if isinstance(value, Mapping) and any(isinstance(v, torch.Tensor) for v in value.values()):
            got = f"weights wrapped in a mapping of {len(loaded)} keys"
            _refuse(path, got, resave_step(f"state[{key!r}]"), key=key)
    state: dict[str, torch.Tensor] = {}
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            got = f"an entry of type {type(value).__name__}"
            _refuse(path, got, resave_step("state[...]"), key=repr(name))
        # A tensor of the meta device has no values, and a sparse one hides its zeros.
        if value.device.type != "cpu" or value.layout != torch.strided:
            kind = f"a tensor of device {value.device} and layout {value.layout}"
            _refuse(path, kind, "save ordinary tensors: " + _SAVE, key=name)
        state[name] = value
    if not state:
        _refuse(path, "an empty mapping", "save the model again after its weights were loaded")
    return state
