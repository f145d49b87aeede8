"""Arguments of ``python -m ais_bench``, with the checks of its later versions on paths."""

from __future__ import annotations

import argparse
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

LEGAL_PATH = re.compile(r"[-_./0-9a-zA-Z]+")
LONGEST_PATH = 4096
NOT_EMULATED = (
    "dymBatch",
    "dymHW",
    "dymDims",
    "dymShape",
    "dymShape_range",
    "outputSize",
    "auto_set_dymshape_mode",
    "auto_set_dymdims_mode",
    "profiler",
    "dump",
    "acl_json_path",
)
"""Flags that the real tool has and this one refuses, because nothing behind them is emulated."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the arguments; argparse ends the program with status 2 where they are wrong."""
    parser = argparse.ArgumentParser(prog="__main__.py", allow_abbrev=False)
    parser.add_argument("--model", "-m", type=_model_path, required=True)
    parser.add_argument("--input", "-i")
    parser.add_argument("--output", "-o")
    parser.add_argument("--output_dirname")
    parser.add_argument("--outfmt", choices=["NPY", "BIN", "TXT"], default="BIN")
    parser.add_argument("--loop", "-l", type=_positive, default=1)
    parser.add_argument("--debug", type=_truth, default=False)
    parser.add_argument("--device", "-d", type=_devices, default=[0])
    parser.add_argument("--batchsize", type=_positive)
    parser.add_argument("--pure_data_type", choices=["zero", "random"], default="zero")
    parser.add_argument("--output_batchsize_axis", type=int, choices=[0], default=0)
    parser.add_argument("--run_mode", choices=["array", "files", "tensor", "full"], default="array")
    parser.add_argument("--display_all_summary", type=_truth, default=False)
    parser.add_argument("--warmup_count", type=_not_negative, default=1)
    for name in NOT_EMULATED:
        parser.add_argument(f"--{name}")
    return parser.parse_args(argv)


def _model_path(text: str) -> str:
    path = Path(text)
    if not _is_legal(path) or path.suffix != ".om":
        raise argparse.ArgumentTypeError(f"om path:{text} is illegal. Please check.")
    return text


def _is_legal(path: Path) -> bool:
    """A plain file of this user that nobody else may change, with a harmless name."""
    if not LEGAL_PATH.fullmatch(str(path)) or len(str(path)) > LONGEST_PATH:
        return False
    if path.is_symlink() or not path.is_file():
        return False
    status = path.stat()
    is_ours = status.st_uid in {0, os.getuid()}
    return is_ours and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _positive(text: str) -> int:
    value = _not_negative(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is an invalid positive int value")
    return value


def _not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is an invalid int value")
    return int(text)


def _truth(text: str) -> bool:
    if text.lower() in {"yes", "true", "t", "y", "1"}:
        return True
    if text.lower() in {"no", "false", "f", "n", "0"}:
        return False
    raise argparse.ArgumentTypeError("Boolean value expected true, 1, false, 0 with case")


def _devices(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isdecimal() and int(word) <= 255 for word in words):
        raise argparse.ArgumentTypeError(f"{text} is invalid: devices are numbers of 0..255")
    return [int(word) for word in words]
