"""Drive ATC: one ``.om`` per batch size, believed only as far as its file can be checked."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.ascend.aipp import CONFIG_NAME
from conformance.ascend.atc_causes import Cause, cause_of
from conformance.ascend.atc_text import (
    SUCCESS,
    AtcMessage,
    first_error,
    messages,
    succeeded,
    unclean_lines,
)
from conformance.ascend.chip_guard import AfterRun, nothing_to_do
from conformance.ascend.conversion import Conversion
from conformance.ascend.environment import VendorEnvironment
from conformance.ascend.marker import is_emulated
from conformance.ascend.om_header import OmHeader, read_om_header
from conformance.ascend.supervisor import run
from conformance.ascend.tool_run import Run
from conformance.ascend.work_folder import require_empty
from conformance.errors import ConformanceError, ToolError

LIMIT_S = 3600.0
LOG_NAME = "atc.log"


class ConversionRefused(ConformanceError):  # noqa: N818 - what happened, not a broken program
    """ATC refuses the model: the subject is wrong, not the machine.

    Attributes:
        message: ATC's code, text and solution.
        log_path: The whole log.
    """

    message: AtcMessage
    log_path: Path


class TuningLeftToAoe(ToolError):  # noqa: N818 - what happened, and AOE goes on
    """ATC takes no ``--auto_tune_mode`` any more: AOE tunes in its place."""


@dataclass(frozen=True)
class ConvertedModel:
    """An ``.om`` that ATC made just now, and what is known about it.

    Attributes:
        om: The file.
        header: Its sound header.
        conversion: What was asked for.
        run: The run of ATC: command, log, duration.
        warnings: Coded warnings, such as W11001.
        unclean: Lines of the log that speak of an error although ATC succeeded.
        emulated: Whether ATC or the file carries the mark of an emulated board.
    """

    om: Path
    header: OmHeader
    conversion: Conversion
    run: Run
    warnings: tuple[AtcMessage, ...]
    unclean: tuple[str, ...]
    emulated: bool


def convert(
    conversion: Conversion,
    *,
    atc: Path,
    environment: VendorEnvironment,
    folder: Path,
    limit_s: float = LIMIT_S,
    more_arguments: Sequence[str] = (),
    bank: Path | None = None,
    device_id: int | None = None,
    after_run: AfterRun = nothing_to_do,
) -> ConvertedModel:
    """Convert a model in an empty work folder.

    Args:
        conversion: What to convert.
        atc: The program.
        environment: The environment of vendor tools.
        folder: Where ATC runs and the ``.om`` and the log stay; must be empty or not exist.
        limit_s: Time limit.
        more_arguments: Further arguments, such as those for tuning.
        bank: Where tuned operators are kept (``TUNE_BANK_PATH``). Default: an empty folder, so
            that a bank in the user's home never leaks into an untuned model.
        device_id: ACL id of the chip that tuning uses (``ASCEND_DEVICE_ID``).
        after_run: Looks after that chip, see ``ChipGuard``.

    Raises:
        ConversionRefused: ATC says that it cannot convert this model.
        ToolError: ATC hangs, is killed, fails for another reason, or its ``.om`` is not sound.
    """
    prepare_folder(conversion, folder)
    bank = bank or folder / "bank"
    bank.mkdir(exist_ok=True)
    variables = {"TUNE_BANK_PATH": str(bank)}
    if device_id is not None:
        variables["ASCEND_DEVICE_ID"] = str(device_id)
    result = run(
        [atc, *conversion.arguments, *more_arguments],
        env=environment.with_variables(**variables),
        cwd=folder,
        log=folder / LOG_NAME,
        limit_s=limit_s,
    )
    after_run(result)
    require_success(result)
    return converted(conversion, result, folder / f"{conversion.name}.om")


def prepare_folder(conversion: Conversion, folder: Path) -> None:
    """Put the model and, for AIPP, its configuration into an empty work folder.

    Raises:
        ToolError: The folder is not empty: an old ``.om`` in it could be taken for a new one.
    """
    require_empty(folder, "ATC")
    shutil.copyfile(conversion.onnx, folder / conversion.onnx.name)
    if conversion.variant == "aipp":
        (folder / CONFIG_NAME).write_text(conversion.aipp, "utf-8")


def require_success(result: Run) -> None:
    """Refuse a run of ATC that failed, by its text as well as by its status.

    Raises:
        ConversionRefused: An error of the model, or an inner one without a better cause.
        TuningLeftToAoe: ATC does not tune any more.
        ToolError: Any other failure.
    """
    result.require_ended("ATC")
    text = result.text
    if succeeded(text) and result.status == 0:
        return
    message = first_error(text)
    cause = cause_of(message, text)
    if cause and cause.fault != "model":
        raise _failure(result, cause, message)
    if message is None or succeeded(text):
        raise result.error("ATC failed without naming a cause", expected=f"{SUCCESS}, status 0")
    raise _refusal(result, message)


def _failure(result: Run, cause: Cause, message: AtcMessage | None) -> ToolError:
    """Make the error for a failure that says nothing about the model."""
    said = f" ({message.code}: {message.text})" if message else ""
    what = f"ATC failed, not because of the model: {cause.what}{said}"
    if cause.fault == "tuner":
        return TuningLeftToAoe(what, where={"log": result.stdout_path})
    return result.error(what, expected=SUCCESS, next_step=cause.remedy)


def _refusal(result: Run, message: AtcMessage) -> ConversionRefused:
    error = ConversionRefused(
        "ATC refuses the model",
        got=f"{message.code}: {message.text}",
        expected=SUCCESS,
        where={"command": " ".join(result.argv), "log": result.stdout_path},
        next_step=message.solution or f"look {message.code} up in CANN's fault manual",
    )
    error.message = message
    error.log_path = result.stdout_path
    return error


def converted(conversion: Conversion, result: Run, om: Path) -> ConvertedModel:
    """Check the ``.om`` of a run that says it succeeded.

    Raises:
        ToolError: There is none, it is older than the run, or its header is not sound.
    """
    if not om.exists():
        others = sorted(str(path.relative_to(result.cwd)) for path in result.cwd.rglob("*.om"))
        got = f"no file; others: {', '.join(others) or 'none'}"
        raise _no_model(result, om, got)
    if om.stat().st_mtime < result.started_at - 2:  # coarse clocks of network file systems
        raise _no_model(result, om, "a file from before this run")
    header, text = read_om_header(om), result.text
    return ConvertedModel(
        om=om,
        header=header,
        conversion=conversion,
        run=result,
        warnings=tuple(message for message in messages(text) if not message.is_error),
        unclean=unclean_lines(text),
        emulated=header.emulated or is_emulated(text),
    )


def _no_model(result: Run, om: Path, got: str) -> ToolError:
    return ToolError(
        "ATC says that it succeeded, but there is no new .om",
        got=got,
        expected=om,
        where={"command": " ".join(result.argv), "log": result.stdout_path},
        next_step=f"read {result.stdout_path}; is `atc` a wrapper that hides failures?",
    )
