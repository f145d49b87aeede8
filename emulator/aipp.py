"""ATC's ``--insert_op_conf`` file: static image preprocessing in the chip."""

from __future__ import annotations

import re
from pathlib import Path

from emulator.atc_args import AtcError, invalid
from emulator.om import Aipp

ENTRY = re.compile(r"^\s*(\w+)\s*:\s*([^#\s]+)", re.MULTILINE)
KNOWN = re.compile(
    r"(aipp_mode|related_input_rank|input_format|src_image_size_[wh]|crop|csc_switch"
    r"|rbuv_swap_switch|(min|mean)_chn_[012]|var_reci_chn_[012])"
)
DEFAULTS = {
    "aipp_mode": "static",
    "related_input_rank": "0",
    "crop": "false",
    "csc_switch": "false",
    "rbuv_swap_switch": "false",
}


def read_aipp(path: Path, channels: int, height: int, width: int) -> Aipp:
    """Read a configuration for a model input of the given size.

    The chip computes ``(pixel - mean_chn - min_chn) * var_reci_chn`` for each channel.

    Raises:
        AtcError: the file is missing, does not fit the input, or asks for what is not emulated.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise AtcError("E10003", f"Value [{path}] for parameter [--insert_op_conf] is invalid. "
                       f"Reason: {error.strerror}") from error  # fmt: skip
    if not re.match(r"\s*(#.*\s*)*aipp_op\s*\{", text):
        raise invalid(str(path), "--insert_op_conf", "it holds no aipp_op")
    values = {**DEFAULTS, **dict(ENTRY.findall(text))}
    _check(values, channels, {"src_image_size_h": height, "src_image_size_w": width})
    mean, factor = zip(*(_channel(values, index) for index in range(channels)), strict=True)
    return Aipp(mean, factor, values["rbuv_swap_switch"] == "true")


def _check(values: dict[str, str], channels: int, sizes: dict[str, int]) -> None:
    for name, value in values.items():
        if not KNOWN.fullmatch(name):
            raise invalid(value, name, "the emulated AIPP does not know it")
    wanted = {"aipp_mode": "static", "input_format": "RGB888_U8", "crop": "false"}
    wanted |= {"csc_switch": "false", "related_input_rank": "0"}
    for name, word in wanted.items():
        if values.get(name, "") != word:
            raise invalid(values.get(name, ""), name, f"the emulated AIPP takes {word} only")
    for name, size in sizes.items():
        if values.get(name, str(size)) != str(size):
            raise invalid(values[name], name, f"the model's input has {size}")
    if channels != 3:
        raise invalid(str(channels), "input_format", "RGB888_U8 needs a model of three channels")


def _channel(values: dict[str, str], index: int) -> tuple[float, float]:
    names = (f"mean_chn_{index}", f"min_chn_{index}", f"var_reci_chn_{index}")
    numbers = []
    for name, default in zip(names, ("0", "0", "1"), strict=True):
        try:
            numbers.append(float(values.get(name, default)))
        except ValueError:
            raise invalid(values[name], name, "it is no number") from None
    mean, lowest, factor = numbers
    return mean + lowest, factor
