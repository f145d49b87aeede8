"""Whose fault a failure of ATC is: the model's, the command line's or the machine's.

ATC's own list of codes and their texts is ``base/common/error_registry/error_registry.cc`` of
hicann/ge (2025); who prints E10001 for a dynamic input is ``CheckInputShapeNode`` in ``api/atc``.
Codes that begin with another letter than a digit after ``E`` come from other parts of CANN: Z from
the operator engines, E from the runtime, D from tuning (CANN fault manual).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from conformance.ascend.atc_text import AtcMessage

REPORT = "this ATC does not take the command above: report it, with the version of CANN"
REQUIREMENTS = (
    "install CANN's Python requirements (numpy below 2, decorator, attrs, sympy, psutil ...)"
)


@dataclass(frozen=True)
class Cause:
    """One row of the table.

    Attributes:
        code: Pattern of the first error's whole code; None: the row is about the whole log.
        words: Pattern of what must be said.
        fault: Whose fault it is; ``tuner`` means that ATC leaves tuning to AOE.
        what: What it means; for the model ATC's own words say it.
        remedy: What to do.
    """

    code: str | None
    words: str
    fault: Literal["model", "suite", "machine", "tuner"]
    what: str = ""
    remedy: str = ""


# The first row that fits decides.
TABLE = (
    # What speaks of the model, whatever else the log says.
    Cause("E10001", r"Value \[?-1\]? |contain -1 in the model", "model"),  # dynamic, not named
    Cause("E10016", "", "model"),  # a name in --input_shape is not in the graph
    Cause("E10049", "", "model"),  # --input_shape and the graph have different ranks
    Cause("E10003", r"parameter \[?--model\]?", "model"),  # our own copy of the file is no ONNX
    Cause("E10041", "", "model"),  # it cannot be loaded
    Cause("E1600[1245]", "", "model"),  # no input, opset too new, no graph, two domains
    Cause("EZ3003", "", "model"),  # an operator that no engine has
    # What any line of the log may say of the machine.
    Cause(
        None,
        r"--host_env_os",
        "machine",
        "CANN's operator package (OPP) is missing",
        "install the ops package",
    ),
    Cause(
        None,
        r"No space left on device",
        "machine",
        "the disk is full",
        "free space, or use another --scratch=",
    ),
    Cause(
        None,
        r"MemoryError|Cannot allocate memory|bad_alloc|bad memory allocation|out of memory",
        "machine",
        "memory ran out",
        "free memory; run alone",
    ),
    Cause(
        None,
        r"(?:\bgcc|g\+\+|\bccec|\bld\.lld).*(?:not found|No such file)"
        r"|No such file.*(?:\bgcc|g\+\+|\bccec|\bld\.lld)",
        "machine",
        "the compiler that ATC calls is missing",
        "install gcc and g++, and CANN's ccec_compiler with its PATH",
    ),
    Cause(
        None,
        r"np\.float_\b|ModuleNotFoundError|ImportError|No module named",
        "machine",
        "ATC's own Python lacks a package, or has numpy 2 or later",
        REQUIREMENTS,
    ),
    # Other first errors, by code.
    Cause(
        "E10001", r"--auto_tune_mode.*(?:\bAOE\b|deprecated)", "tuner", "ATC leaves tuning to AOE"
    ),
    Cause(
        "EE100[01]|E100(?:01|14)",
        r"[Ss]oc version|--soc_version",
        "suite",
        "ATC does not know this SoC",
        "correct --soc=",
    ),
    Cause("EE100[01]", "", "suite", "an argument is refused, as a wrong SoC is", "correct --soc="),
    Cause(
        "ED0001",
        "",
        "suite",
        "the chip cannot be tuned for this SoC",
        "tune on a chip of the SoC that --soc= names",
    ),
    Cause("E100\\d\\d", "", "suite", "an argument is refused", REPORT),
    Cause("E10410|E1300[0-4]|E13026", "", "machine", "a file cannot be used", "read the log"),
    Cause("E13024", "", "machine", "a variable of the environment is wrong", "correct it"),
    Cause("E40001", "", "machine", "ATC's own Python cannot import a module", REQUIREMENTS),
)


def cause_of(message: AtcMessage | None, text: str) -> Cause | None:
    """Return what a failure means; None where the table does not know.

    Args:
        message: The first coded error, None if there is none.
        text: The whole log.
    """
    return next((cause for cause in TABLE if _fits(cause, message, text)), None)


def _fits(cause: Cause, message: AtcMessage | None, text: str) -> bool:
    if cause.code is None:
        return bool(re.search(cause.words, text))
    if message is None or not re.fullmatch(cause.code, message.code):
        return False
    return bool(re.search(cause.words, message.text))
