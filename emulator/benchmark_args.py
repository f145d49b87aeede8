"""Arguments of ``benchmark.<arch>``: ten flags with one dash, ``-name=value``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MODEL_TYPES = ("vision", "nmt", "widedeep", "nlp", "yolocaffe", "bert", "deepfm")
FLAGS = (
    "model_type",
    "device_id",
    "batch_size",
    "om_path",
    "input_text_path",
    "input_width",
    "input_height",
    "output_binary",
    "useDvpp",
    "round",
)
MOST_ROUNDS = 1024


class BadArgumentError(Exception):
    """A flag is unknown, missing or has an impossible value."""


class BenchmarkArgs(NamedTuple):
    """What the flags say.

    Attributes:
        model_type: Kind of model; part of the performance file's name.
        device: Chip to use.
        batch: Images of one inference.
        om: The offline model.
        info: The info file; empty in pure inference.
        binary: Whether outputs are written as ``.bin``.
        use_dvpp: Whether the chip is to decode JPEG files.
        rounds: Number of pure inferences; 0 for a run over a dataset.
    """

    model_type: str
    device: int
    batch: int
    om: str
    info: str
    binary: bool
    use_dvpp: bool
    rounds: int


def parse(argv: Sequence[str]) -> BenchmarkArgs:
    """Read the arguments.

    Raises:
        BadArgumentError: an argument is unknown, missing or has an impossible value.
    """
    values = dict(_pair(word) for word in argv)
    rounds = _number(values, "round", 0)
    if not 0 <= rounds <= MOST_ROUNDS or ("round" in values and rounds == 0):
        raise BadArgumentError(f"-round must be in 1..{MOST_ROUNDS}")
    args = BenchmarkArgs(
        model_type=_chosen(values),
        device=_number(values, "device_id", 0),
        batch=_number(values, "batch_size", 1),
        om=values.get("om_path", ""),
        info=values.get("input_text_path", ""),
        binary=_truth(values, "output_binary"),
        use_dvpp=_truth(values, "useDvpp"),
        rounds=rounds,
    )
    for name in ("input_width", "input_height"):
        _number(values, name, 1)
    _require(args)
    return args


def _pair(word: str) -> tuple[str, str]:
    name, equals, value = word.lstrip("-").partition("=")
    if not word.startswith("-") or not equals or name not in FLAGS:
        raise BadArgumentError(f"unknown parameter {word}; known: -{' -'.join(FLAGS)}")
    return name, value


def _require(args: BenchmarkArgs) -> None:
    if not args.om:
        raise BadArgumentError("-om_path is missing")
    if not args.rounds and not args.info:
        raise BadArgumentError("-input_text_path is missing")
    if args.rounds and args.info:
        raise BadArgumentError("-round is inference without input: leave out -input_text_path")
    if args.batch < 1:
        raise BadArgumentError("-batch_size must be at least 1")


def _chosen(values: dict[str, str]) -> str:
    kind = values.get("model_type", MODEL_TYPES[0])
    if kind not in MODEL_TYPES:
        raise BadArgumentError(f"-model_type must be one of {', '.join(MODEL_TYPES)}")
    return kind


def _number(values: dict[str, str], name: str, default: int) -> int:
    try:
        return int(values.get(name, default))
    except ValueError:
        raise BadArgumentError(f"-{name} must be a number, not {values[name]}") from None


def _truth(values: dict[str, str], name: str) -> bool:
    word = values.get(name, "false").lower()
    if word not in {"true", "false"}:
        raise BadArgumentError(f"-{name} must be true or false")
    return word == "true"
