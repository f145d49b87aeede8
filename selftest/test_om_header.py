"""The header of an .om is read as the loader reads it, and an unsound file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.ascend.om_header import read_om_header
from conformance.errors import ToolError
from selftest.published import om_bytes


def write(folder: Path, content: bytes) -> Path:
    path = folder / "m.om"
    path.write_bytes(content)
    return path


def test_a_sound_header_is_read(tmp_path: Path) -> None:
    content = om_bytes(b"x" * 1000, name=b"net", user=b"mine", platform=b"1.0")
    header = read_om_header(write(tmp_path, content))
    assert (header.version, header.payload_size, header.encrypted) == (0x10000000, 1000, False)
    assert (header.name, header.user_info, header.platform_version) == ("net", "mine", "1.0")
    assert (header.ir_version, header.model_count, header.emulated) == (1, 1, False)


def test_the_mark_of_an_emulated_board_is_seen(tmp_path: Path) -> None:
    content = om_bytes(name=b"EMU-net", user=b"ASCEND-EMULATOR", platform=b"EMU-1")
    assert read_om_header(write(tmp_path, content)).emulated


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "a header of 256 bytes"),
        (om_bytes()[:255], "a header of 256 bytes"),
        (om_bytes(magic=b"ONNX"), "IMOD"),
        (om_bytes(head_size=64), "256"),
        (om_bytes(b"whole model")[:-1], "267 bytes, as its header says"),
        (om_bytes(b"whole model") + b"\n", "267 bytes, as its header says"),
        (om_bytes(b""), "a model"),
    ],
)
def test_an_unsound_file_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(ToolError, match="not sound") as caught:
        read_om_header(write(tmp_path, content))
    assert expected in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="not sound"):
        read_om_header(tmp_path / "gone.om")


def test_files_with_several_models_may_be_longer_than_the_first(tmp_path: Path) -> None:
    path = write(tmp_path, om_bytes(b"first" + b"second", length=5, model_count=2))
    assert read_om_header(path).model_count == 2


@settings(max_examples=50, deadline=None)
@given(payload=st.binary(min_size=1, max_size=64), cut=st.integers(0, 319))
def test_any_cut_of_an_om_is_refused(
    tmp_path_factory: pytest.TempPathFactory, payload: bytes, cut: int
) -> None:
    whole = om_bytes(payload)
    folder = tmp_path_factory.mktemp("om")
    assert read_om_header(write(folder, whole)).payload_size == len(payload)
    if cut < len(whole):
        with pytest.raises(ToolError):
            read_om_header(write(folder, whole[:cut]))
