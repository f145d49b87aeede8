"""Files that are no checkpoint of weights alone; nothing in them is ever run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.errors import CheckpointError
from conformance.export.safe_load import load_tensors
from conformance.export.state_dict import load_state_dict
from selftest.weights_files import SPEC, refusal, saved, untrained

# Files that are no checkpoint


def zip_of_texts() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"hello, these are no weights\n", "beginning b'hello"),
        (b"<!DOCTYPE html><html><body>Please log in", "an HTML page"),
        (b"<HTML><body>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "a PNG image"),
        (b"\xff\xd8\xff\xe0" + bytes(64), "a JPEG image"),
        (b"\x1f\x8b\x08" + bytes(64), "a gzip archive"),
        (zip_of_texts(), "a zip archive of other things, such as ['readme.txt']"),
        (bytes(1000), "something else"),
    ],
    ids=["text", "html", "html-upper", "lfs", "png", "jpeg", "gzip", "zip", "zeros"],
)
def test_other_kinds_of_file_are_named(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    assert kind in refusal(lambda: load_tensors(tmp_path / "w.pth"))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0.002, 0.5, 0.99, 0.9999])
def test_truncated(tmp_path: Path, legacy: bool, kept: float) -> None:
    path = saved(tmp_path / "w.pth", untrained(SPEC), legacy=legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "truncated or damaged" in refusal(lambda: load_state_dict(path, SPEC))


def test_one_flipped_bit_inside_the_archive(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", untrained(SPEC))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # torch itself does not see it
    assert "checksum" in refusal(lambda: load_state_dict(path, SPEC))


SMALL = io.BytesIO()
torch.save({"w": torch.arange(4.0)}, SMALL, _use_new_zipfile_serialization=False)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_of_any_kind_ends_in_a_clear_error_or_in_tensors(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(SMALL.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damage") / "w.pth"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        state = load_tensors(path)
    except CheckpointError:
        return
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())


# Pickles that would run code


class Hostile:
    """An object whose unpickling writes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (f"touch '{self.trace}'",))


def hostile_content(form: str, trace: Path) -> bytes:
    if form.startswith("pickle"):
        return pickle.dumps({"w": Hostile(trace)}, protocol=int(form[-1]))
    buffer = io.BytesIO()
    torch.save({"w": Hostile(trace)}, buffer, _use_new_zipfile_serialization=form == "zip")
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle0", "pickle2", "pickle4", "pickle5"])
def test_code_is_refused_and_never_run(tmp_path: Path, form: str) -> None:
    path, trace = tmp_path / "w.pth", tmp_path / "trace"
    path.write_bytes(hostile_content(form, trace))
    message = refusal(lambda: load_state_dict(path, SPEC))
    assert not trace.exists()
    if form != "pickle0":  # a text without any mark of a pickle
        assert "nothing of it was run" in message
    if form in ("zip", "legacy", "pickle2"):
        assert "posix.system" in message
    # The trap works: an unsafe loader does run it.
    if form.startswith("pickle"):
        pickle.loads(path.read_bytes())  # noqa: S301 - made above
    else:
        torch.load(path, weights_only=False)
    assert trace.exists()


def test_whole_module_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", torch.nn.Linear(2, 2))
    message = refusal(lambda: load_tensors(path))
    assert "torch.nn.modules.linear.Linear" in message
    assert "state_dict()" in message


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    traced = torch.jit.script(torch.nn.ReLU())
    torch.jit.save(traced, tmp_path / "w.pth")
    assert "TorchScript" in refusal(lambda: load_tensors(tmp_path / "w.pth"))


# Checkpoints that are no plain state dict


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([torch.zeros(2)], "one object of type list"),
        (torch.zeros(2), "one object of type Tensor"),
        ({}, "an empty mapping"),
        ({"epoch": 3, "opt": {"lr": 1}, "net": {"w": torch.zeros(1)}}, "state = state['net']"),
        ({"epoch": 3}, "an entry of type int"),
        ({1: torch.zeros(1)}, "key: 1"),
        ({"w": torch.zeros(1, device="meta")}, "device meta"),
        ({"w": torch.zeros(2, 2).to_sparse()}, "torch.sparse_coo"),
    ],
    ids=["list", "tensor", "empty", "wrapper", "number", "key", "meta", "sparse"],
)
def test_not_a_plain_state_dict(tmp_path: Path, content: object, told: str) -> None:
    path = saved(tmp_path / "w.pth", content)
    assert told in refusal(lambda: load_tensors(path))
