"""A failure of ATC is blamed on the model only where it is the model's."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from conformance.ascend.atc import ConversionRefused, TuningLeftToAoe, require_success
from conformance.ascend.tool_run import Run
from conformance.errors import ToolError

FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information\n"


def failed(folder: Path, text: str) -> Run:
    log, errors = folder / "atc.log", folder / "atc.stderr.log"
    log.write_text(FAILED + text)
    errors.touch()
    now = time.time()
    return Run(("atc",), folder, 255, "itself", now, 1.0, 60.0, log, errors, (), ())


@pytest.mark.parametrize(
    "text",
    [
        (
            "E10001: Value [-1] for parameter [image] is invalid. Reason: maybe you should set "
            "input_shape to specify its shape"
        ),
        (
            "E10001: Value NULL for parameter --input_shape is invalid. Reason: The shapes of "
            "inputs contain -1 in the model. You may need to set input shape to specify its shape."
        ),
        "E10016: Opname [image] specified in [--input_shape] is not found in the model",
        (
            "E10049: Dimension count 4 configured in --input_shape does not match dimension count "
            "2 of the node."
        ),
        "E10003: Value [x.onnx] for parameter [--model] is invalid. Reason: not an ONNX model",
        "E10041: Failed to load the model from x.onnx.",
        "E16002: No ONNX parser is registered for optype [ai.onnx::13::Resize].",
        "E16004: ONNX model has no graph.",
        "E16005: The model has 2 domain_version fields, but only one is allowed.",
        "EZ3003: No supported Ops kernel and engine are found for [Resize_117], optype [Resize].",
        "E19999: Inner Error!",
        "EZ9999: Inner Error!",
        "E40021: Failed to compile Op [Conv_0].",
        (
            "E16002: No ONNX parser is registered for optype [x].\n"
            "ModuleNotFoundError: No module named 'sympy'"
        ),
    ],
)
def test_what_speaks_of_the_model_is_its_failure(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConversionRefused, match="refuses the model"):
        require_success(failed(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("E10002: Value [image:16,3] for parameter [--input_shape] is invalid",
         "an argument is refused", "report it"),
        ("E10001: Value [Ascend310X] for parameter [--soc_version] is invalid.",
         "does not know this SoC", "--soc="),
        ("E10014: Value Ascend310X for parameter --soc_version is invalid.",
         "does not know this SoC", "--soc="),
        ("EE1001: The argument is invalid.Reason: Soc version [Ascend310B4] is invalid",
         "does not know this SoC", "--soc="),
        ("E10001: Value [x] for parameter [--enable_small_channel] is invalid.",
         "an argument is refused", "report it"),
        ("E10004: Value for --output is empty.", "an argument is refused", "report it"),
        ("E10010: invalid value for --log:x", "an argument is refused", "report it"),
        ("E10011: Value [0,3] for parameter --input_shape is invalid.", "refused", "report it"),
        ("E10031: none of the nodes has a batch size equaling -1.", "refused", "report it"),
        ("E10035: --dynamic_batch_size has 1 profiles, which is less than the minimum 2.",
         "an argument is refused", "report it"),
        (("E10036: --dynamic_batch_size, --dynamic_image_size, or --dynamic_dims has 101 profiles, "
         "which is greater than the maximum 100."), "an argument is refused", "report it"),
        ("E10410: Value [aipp.config] for parameter [--insert_op_conf]: file not found",
         "a file cannot be used", "read the log"),
        ("E13001: Failed to open file x. Reason: Permission denied.", "cannot be used", "log"),
        ("E13024: Value x for environment variable y is invalid.", "environment", "correct"),
        ("E19999: Inner Error, rtMalloc device out of memory", "memory ran out", "free memory"),
        ("bad memory allocation occur !", "memory ran out", "free memory"),
        ("E40021: Failed to compile Op. /usr/bin/gcc: No such file", "compiler", "install gcc"),
        (("E40021: Failed to compile Op.\nFileNotFoundError: [Errno 2] No such file or directory: "
         "'g++'"), "compiler", "install gcc"),
        ("sh: 1: gcc: not found", "compiler", "install gcc"),
        ("E40001: Failed to import Python module [AttributeError].", "import", "numpy"),
        ("E10001: Value [linux] for parameter [--host_env_os] is invalid.", "OPP", "install"),
        ("ED0001: Soc mismatch with device.", "cannot be tuned", "--soc="),
        ("E19999: Inner Error!\nNo space left on device", "the disk is full", "--scratch="),
    ],
)  # fmt: skip
def test_command_line_and_machine_are_not_blamed_on_the_model(
    tmp_path: Path, text: str, what: str, remedy: str
) -> None:
    with pytest.raises(ToolError, match="not because of the model") as caught:
        require_success(failed(tmp_path, text))
    assert what in caught.value.what
    assert remedy in caught.value.next_step
    assert str(tmp_path / "atc.log") in str(caught.value)
    assert text.splitlines()[0] in str(caught.value), "ATC's own words are told"


def test_atc_that_leaves_tuning_to_aoe_says_so(tmp_path: Path) -> None:
    text = (
        "E10001: Value [RL,GA] for parameter [--auto_tune_mode] is invalid. Reason: Auto Tune is "
        "deprecated. Please use the AOE tool"
    )
    with pytest.raises(TuningLeftToAoe):
        require_success(failed(tmp_path, text))
