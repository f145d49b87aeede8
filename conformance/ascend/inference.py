"""What every run of an inference tool has in common: its inputs, outputs, limits and failures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.ascend.tool_run import Run
from conformance.errors import BoardError, DatasetError, DumpError, ToolError

# The slowest published run, batch 32 on an Ascend310, took 8.3 ms an image, host included.
LIMIT_AT_LEAST_S = 600.0
LIMIT_PER_IMAGE_S = 0.1
SHOWN = 5
# What speaks of an error though the tool returns 0: its own lines, coded messages of the runtime,
# and the last words of C++ and Python.
ERROR = re.compile(
    r"\[ERROR\]|^\s*E[A-Z0-9]\d{2,5}:|^terminate called|\bstd::\w+|^Traceback|Segmentation fault"
)
# (pattern in a tool's text, what it means, what to do, whether the board is to blame)
FAILURES = (
    (
        r"open device \d+ failed|SetDevice failed|507033",
        "the chip cannot be opened",
        "check --chips= and `npu-smi info`; is another process holding the chip?",
        True,
    ),
    (
        r"load model from file failed",
        "the model cannot be loaded: built for another SoC, or damaged",
        "convert it again for this chip; see --soc=",
        False,
    ),
    (
        r"tensorsize:\s*\d+ filesize:\s*\d+ not match|ndata size",
        "the inputs do not have the size that the model takes",
        "float32 inputs belong to float32 models and uint8 inputs to AIPP models",
        False,
    ),
    (
        r"save out files error",
        "outputs cannot be cut into images: the inputs have the wrong size",
        "float32 inputs belong to float32 models and uint8 inputs to AIPP models",
        False,
    ),
    (
        r"dynamic_batch_size parameter is not specified",
        "the model was not converted for one batch size",
        "convert it again",
        False,
    ),
    (
        r"(?i)aicore (?:timeout|exception|error)|50701[458]",
        "an AI core stopped answering",
        "see the chip's health in `npu-smi info` and the driver's log; reset the chip",
        True,
    ),
    (
        r"bad_alloc|[Oo]ut of memory",
        "the tool ran out of memory",
        "see `free` and `dmesg`; run alone, with fewer --images= or a smaller --batch=",
        False,
    ),
    (r"No space left on device", "the disk is full", "use another --scratch=", False),
    (r"path:.* is illegal|soft link", "the tool refuses a path", "use another --scratch=", False),
    (r"init failed", "the tool could not be initialised", "check model, inputs and chip", False),
)


@dataclass(frozen=True)
class Outputs:
    """What a run left behind: a folder with exactly one file an image.

    Attributes:
        folder: Where they are; nothing else is in it.
        names: The files, one for each input and in the order of the inputs.
        started_at: When the run began, seconds since the epoch: none of them is older.
        output_number: The number in their names, ``<stem>_<number>``: tools count from 0 or 1.
    """

    folder: Path
    names: tuple[str, ...]
    started_at: float
    output_number: int


def inference_limit_s(images: int) -> float:
    """Return a time limit that scales with the work, 12 times what the slowest chip took."""
    return LIMIT_AT_LEAST_S + LIMIT_PER_IMAGE_S * images


def require_inputs(inputs: Sequence[Path], input_bytes: int) -> tuple[str, ...]:
    """Check the inputs of a run and return the stems that its outputs will be named by.

    Args:
        inputs: One ``.bin`` an image.
        input_bytes: Size of each: 602,112 for float32 3 x 224 x 224, 150,528 for uint8. A tool
            may take files of four times the size for four images without a word.

    Raises:
        DatasetError: There are none, one is missing or of another size, or two share a stem.
    """
    if not inputs:
        raise _bad_inputs("nothing to infer", "0 files", "at least one input")
    stems: dict[str, Path] = {}
    for path in inputs:
        size = path.stat().st_size if path.is_file() else None
        if size != input_bytes:
            got = f"{path.name}: {'missing' if size is None else f'{size} bytes'}"
            raise _bad_inputs("an input has the wrong size", got, f"{input_bytes} bytes")
        stem = path.name.split(".", 1)[0]
        if stem in stems:
            got = f"{stems[stem]} and {path}"
            raise _bad_inputs("two inputs would share one output", got, "unique stems")
        stems[stem] = path
    return tuple(stems)


def _bad_inputs(what: str, got: str, expected: str) -> DatasetError:
    return DatasetError(what, got=got, expected=expected, next_step="prepare the inputs again")


def require_good_run(result: Run, tool: str, outputs: Outputs | None = None) -> None:
    """Refuse a run that was stopped, that failed, or that speaks of errors in spite of status 0.

    Args:
        result: The run.
        tool: The tool's name, for messages.
        outputs: What it should have written; says how far it came.

    Raises:
        BoardError: The chip cannot be used.
        ToolError: Any other failure.
    """
    text = result.text
    errors = [line.strip() for line in text.splitlines() if ERROR.search(line)]
    failed = result.timed_out or result.survivors or result.status or errors
    if not failed:
        return
    progress = f"; {written(outputs)}" if outputs else ""
    for pattern, cause, remedy, board in FAILURES:
        if re.search(pattern, text):
            error = result.error(f"{tool}: {cause}{progress}", expected="success", next_step=remedy)
            raise _blamed_on_board(error) if board else error
    if result.timed_out or result.survivors or result.status < 0:
        result.require_ended(f"{tool}{progress}")
    words = f": {errors[0]}" if errors else ""
    raise result.error(f"{tool} failed{words}{progress}", expected="status 0 and no error told")


def _blamed_on_board(error: ToolError) -> BoardError:
    return BoardError(
        error.what,
        got=error.got,
        expected=error.expected,
        where=error.where,
        next_step=error.next_step,
    )


def warnings_in(text: str) -> tuple[str, ...]:
    """Return the tool's own warnings, each once: they go into the record as notes."""
    lines = (line.strip() for line in text.splitlines() if "[WARNING]" in line)
    return tuple(dict.fromkeys(lines))[:SHOWN]


def written(outputs: Outputs) -> str:
    """Say how many of the outputs are there: a crash half way keeps what was written."""
    present = _present(outputs.folder) & set(outputs.names)
    return f"{len(present)} of {len(outputs.names)} outputs written to {outputs.folder}"


def require_outputs(outputs: Outputs, result: Run) -> None:
    """Check that a run left exactly the expected files, none of them older than the run.

    Raises:
        DumpError: Names what is missing, extra or stale, and results for other devices.
    """
    present, expected = _present(outputs.folder), set(outputs.names)
    problems = {
        "missing": sorted(expected - present),
        "extra": sorted(present - expected),
        "stale": [
            name
            for name in sorted(present & expected)
            if (outputs.folder / name).stat().st_mtime < outputs.started_at - 2
        ],
    }
    if not any(problems.values()):
        return
    others = [path.name for path in outputs.folder.parent.glob("*") if path != outputs.folder]
    raise DumpError(
        "the inference tool did not leave one result for each input",
        got="; ".join(f"{len(n)} {kind}: {_shown(n)}" for kind, n in problems.items() if n),
        expected=f"{len(expected)} files",
        where={"folder": outputs.folder, "beside it": ", ".join(sorted(others)) or "nothing"}
        | {"log": result.stdout_path},
        next_step=f"read {result.stdout_path}",
    )


def _present(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _shown(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
