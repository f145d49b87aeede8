"""Arguments of ATC, and how it refuses them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

FLAGS = frozenset(
    """auto_tune_mode check_report compress_weight_conf core_type debug_dir disable_reuse_memory
    display_model_info dynamic_batch_size dynamic_dims dynamic_image_size enable_small_channel
    enable_scope_fusion_passes framework fusion_switch_file help input_format input_fp16_nodes
    input_shape input_shape_range insert_op_conf is_input_adjust_hw_layout
    is_output_adjust_hw_layout json log mode model om op_compiler_cache_dir op_compiler_cache_mode
    op_debug_level op_select_implmode optypelist_for_implmode out_nodes output output_type
    precision_mode precision_mode_v2 soc_version weight
    """.split()  # noqa: SIM905  a list of 40 quoted words reads worse
)
MODES = ("0", "1", "3", "5", "6")
BUILDING_MODES = ("0", "3")
LOG_LEVELS = ("debug", "info", "warning", "error", "null", "default")
FRAMEWORKS = ("0", "1", "3", "5")
HALF_MODES = ("force_fp16", "allow_fp32_to_fp16", "allow_mix_precision", "fp16", "mixed_float16")
WHOLE_MODES = ("must_keep_origin_dtype", "force_fp32", "origin")
DYNAMIC = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims", "input_shape_range")


class AtcError(Exception):
    """A conversion that ATC refuses.

    Args:
        code: ATC's code.
        text: Its message.
        solution: What it advises, if anything.
    """

    def __init__(self, code: str, text: str, solution: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.solution = solution


@dataclass(frozen=True)
class AtcArgs:
    """ATC's arguments by name, underscores for hyphens.

    Attributes:
        values: What was given.
        command: The command line, as ATC keeps it in the model.
    """

    values: dict[str, str]
    command: str
    known: frozenset[str] = field(default=FLAGS)

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")


def invalid(value: str, parameter: str, reason: str) -> AtcError:
    """The error that ATC uses for most wrong values."""
    text = f"Value [{value}] for parameter [{parameter}] is invalid. Reason: {reason}"
    return AtcError("E10001", text, "Try again with a valid argument.")


def read_args(
    argv: Sequence[str], program: str = "atc", more: frozenset[str] = frozenset()
) -> AtcArgs:
    """Read ``--name=value`` and ``--name value``; hyphens and underscores are the same.

    Args:
        argv: Arguments without the program's name.
        program: Name that the kept command line begins with.
        more: Flags besides ATC's own.

    Raises:
        AtcError: a flag is unknown.
    """
    values: dict[str, str] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if not word.startswith("-") or name not in FLAGS | more:
            raise invalid(word, "command line", "unknown command line flag")
        if not equals and name != "help" and words and not words[0].startswith("-"):
            value = words.pop(0)
        values[name] = value
    return AtcArgs(values, " ".join([program, *argv]))


def check_choices(args: AtcArgs) -> None:
    """Check every flag that takes one of a few words.

    Raises:
        AtcError: a word is none of them.
    """
    _one_of(args, "mode", MODES)
    if args["log"] and args["log"] not in LOG_LEVELS:
        raise AtcError(
            "E10010",
            f"Value [{args['log']}] for parameter [--log] is invalid. "
            f"It must be one of {', '.join(LOG_LEVELS)}.",
        )
    _one_of(args, "framework", FRAMEWORKS)
    _one_of(args, "enable_small_channel", ("0", "1"))
    _one_of(args, "input_format", ("NCHW", "ND", "NHWC"))
    _one_of(args, "op_select_implmode", ("high_performance", "high_precision"))
    _one_of(args, "precision_mode", HALF_MODES + WHOLE_MODES)
    _one_of(args, "precision_mode_v2", HALF_MODES + WHOLE_MODES)
    for names in (DYNAMIC, ("precision_mode", "precision_mode_v2")):
        given = [f"--{name}" for name in names if args[name]]
        if len(given) > 1:
            raise AtcError("E10009", f"Parameters [{', '.join(given)}] are mutually exclusive.")
    _only_when_shown(args)


def _only_when_shown(args: AtcArgs) -> None:
    """Refuse what names a finished model where one is to be built."""
    for name in ("om", "json"):
        if args[name] and (args["mode"] or "0") in BUILDING_MODES:
            raise invalid(args[name], f"--{name}", "it is for --mode=1, 5 and 6")


def _one_of(args: AtcArgs, name: str, choices: tuple[str, ...]) -> None:
    if args[name] and args[name] not in choices:
        raise invalid(args[name], f"--{name}", f"it must be one of {', '.join(choices)}")


def require(args: AtcArgs, *names: str) -> None:
    """Check that flags have a value.

    Raises:
        AtcError: one is empty or absent.
    """
    for name in names:
        if not args[name]:
            raise AtcError("E10004", f"Value for --{name} is empty.")


def read_shapes(text: str) -> dict[str, list[int]]:
    """Read ``name:1,3,224,224;other:...``.

    Raises:
        AtcError: the text has another form.
    """
    shapes = {}
    for part in filter(None, text.split(";")):
        name, colon, numbers = part.rpartition(":")
        if not colon or not name or not re.fullmatch(r"-?\d+(,-?\d+)*", numbers):
            raise AtcError(
                "E10002",
                f"Value [{text}] for parameter [--input_shape] is invalid. "
                'It must be in the form of "input_name1:n1,c1,h1,w1;input_name2:n2,c2,h2,w2".',
            )
        shapes[name] = [int(number) for number in numbers.split(",")]
    return shapes


def check_dynamic(args: AtcArgs, shapes: dict[str, list[int]]) -> None:
    """Check dynamic profiles against the shapes; the emulator itself builds static models only.

    Raises:
        AtcError: always, if any is asked for.
    """
    profiles = args["dynamic_batch_size"]
    if profiles:
        if not any(shape[0] == -1 for shape in shapes.values()):
            text = "When --dynamic_batch_size is set, N of --input_shape must be -1."
            raise AtcError("E10031", text)
        count = len(profiles.split(","))
        if count < 2:
            raise AtcError("E10035", f"--dynamic_batch_size has {count} profiles, at least 2.")
        if count > 100:
            raise AtcError("E10036", f"--dynamic_batch_size has {count} profiles, at most 100.")
    asked = [name for name in DYNAMIC if args[name]]
    if asked:
        raise AtcError("E19999", f"Inner Error! The emulated ATC does not build --{asked[0]}.")
    for name, shape in shapes.items():
        if min(shape) < 1:
            raise AtcError(
                "E10011", f"Value {shape} of input [{name}] in --input_shape is not positive."
            )
