"""Tuning: hours on a real chip, with a bank of tuned operators that is never shared."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from conformance.ascend.atc import (
    ConvertedModel,
    TuningLeftToAoe,
    convert,
    converted,
    prepare_folder,
)
from conformance.ascend.chip_guard import AfterRun, nothing_to_do
from conformance.ascend.conversion import Conversion
from conformance.ascend.environment import VendorEnvironment
from conformance.ascend.supervisor import run
from conformance.ascend.tool_run import Run
from conformance.ascend.tuning_needs import TuningNeeds, require_room
from conformance.ascend.work_folder import require_empty
from conformance.errors import ToolError

LIMIT_S = 12 * 3600.0
AUTO_TUNE = "--auto_tune_mode=RL,GA"
# AOE advises this order: 1 tunes subgraphs, 2 operators.
AOE_JOBS = (1, 2)
# `Aoe process finished`, or a task's line; `[ERROR] process finished abnormally` is neither.
AOE_SUCCESS = re.compile(
    r"^(?!.*(?:error|abnormal|fail)).*\bprocess finished\b", re.IGNORECASE | re.MULTILINE
)
AOE_FAILURE = re.compile(r"process failed|finished abnormally", re.IGNORECASE)
# What `bank_sha256` says of the private bank that every untuned model is built with.
EMPTY_BANK_SHA256 = hashlib.sha256().hexdigest()


@dataclass(frozen=True)
class TunedModel:
    """A tuned ``.om`` and how it came about.

    Attributes:
        model: The ``.om``.
        method: ATC's own tuner, or AOE where ATC does not take that flag any more.
        bank: The folder of tuned operators.
        bank_sha256: Its digest; the tuned model is asked for by it.
        improvement: What the tuner says it gained, empty if nothing.
    """

    model: ConvertedModel
    method: Literal["auto_tune", "aoe"]
    bank: Path
    bank_sha256: str
    improvement: str


def tune(
    conversion: Conversion,
    *,
    atc: Path,
    aoe: Path | None,
    environment: VendorEnvironment,
    folder: Path,
    device_id: int,
    after_run: AfterRun = nothing_to_do,
    needs: TuningNeeds | None = None,
    limit_s: float = LIMIT_S,
) -> TunedModel:
    """Tune a model on a chip: with ATC where it takes ``--auto_tune_mode``, else with AOE.

    Args:
        conversion: What to convert.
        atc: The program.
        aoe: AOE, None where it is not installed.
        environment: The environment of vendor tools.
        folder: Empty work folder; the bank lies in it.
        device_id: ACL id of the chip, which must be leased.
        after_run: Looks after the chip, see ``ChipGuard``.
        needs: Memory and disk that must be there.
        limit_s: Time limit of the whole.

    Raises:
        ConversionRefused: The model cannot be converted.
        ToolError: The machine is too small, a tool fails, or AOE is needed and missing.
    """
    require_room(folder, needs or TuningNeeds())
    require_empty(folder, "tuning")
    bank, ends = folder / "bank", time.monotonic() + limit_s
    bank.mkdir()
    with contextlib.suppress(TuningLeftToAoe):
        model = convert(
            conversion,
            atc=atc,
            environment=environment,
            folder=folder / "auto_tune",
            limit_s=limit_s,
            more_arguments=(AUTO_TUNE,),
            bank=bank,
            device_id=device_id,
            after_run=after_run,
        )
        return _tuned(model, "auto_tune", bank)
    env = environment.with_variables(TUNE_BANK_PATH=str(bank), ASCEND_DEVICE_ID=str(device_id))
    runs = _run_aoe(
        conversion,
        aoe=_require_aoe(aoe),
        env=env,
        folder=folder / "aoe",
        ends=ends,
        after_run=after_run,
    )
    if not conversion.aipp:
        return _tuned(_model_of_aoe(conversion, folder / "aoe", runs), "aoe", bank)
    # AOE takes no AIPP. Its guide lets ATC convert again from the bank that AOE filled
    # (CANN 8.0 AOE guide, "Performance Verification").
    model = convert(
        conversion,
        atc=atc,
        environment=environment,
        folder=folder / "with_aipp",
        limit_s=max(1.0, ends - time.monotonic()),
        bank=bank,
        device_id=device_id,
        after_run=after_run,
    )
    return _tuned(model, "aoe", bank, runs[-1])


def _tuned(
    model: ConvertedModel,
    method: Literal["auto_tune", "aoe"],
    bank: Path,
    tuner: Run | None = None,
) -> TunedModel:
    told = (tuner or model.run).text
    return TunedModel(model, method, bank, bank_sha256(bank), _improvement(told))


def _require_aoe(aoe: Path | None) -> Path:
    if aoe is None:
        raise ToolError(
            "ATC does not tune any more, and aoe is missing",
            expected="aoe on PATH",
            next_step="install CANN's toolkit with AOE, or use --tune=off",
        )
    return aoe


def bank_sha256(bank: Path) -> str:
    """Return the digest of everything in a bank of tuned operators, names included."""
    digest = hashlib.sha256()
    for path in sorted(path for path in bank.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(bank)} {content}\n".encode())
    return digest.hexdigest()


def _run_aoe(
    conversion: Conversion,
    *,
    aoe: Path,
    env: dict[str, str],
    folder: Path,
    ends: float,
    after_run: AfterRun,
) -> list[Run]:
    """Tune subgraphs, then operators: both fill the bank."""
    prepare_folder(conversion, folder)
    runs: list[Run] = []
    for job in AOE_JOBS:
        result = run(
            [str(aoe), *_aoe_arguments(conversion, job)],
            env=env,
            cwd=folder,
            log=folder / f"aoe-job{job}.log",
            limit_s=max(1.0, ends - time.monotonic()),
        )
        after_run(result)
        _require_success(result)
        runs.append(result)
    return runs


def _require_success(result: Run) -> None:
    """Refuse a run of AOE that failed, by its text as well as by its status."""
    result.require_ended("AOE")
    text = result.text
    if result.status or AOE_FAILURE.search(text) or not AOE_SUCCESS.search(text):
        raise result.error("AOE failed", expected="`Aoe process finished`, status 0")


def _model_of_aoe(conversion: Conversion, folder: Path, runs: Sequence[Run]) -> ConvertedModel:
    om = _newest_tuned(folder, runs[-1])
    # Not every job writes a model: the newest one belongs to the last job that did.
    made_it = runs[-1] if om.stat().st_mtime >= runs[-1].started_at else runs[0]
    return converted(conversion, made_it, om)


def _aoe_arguments(conversion: Conversion, job: int) -> Iterator[str]:
    yield from ("--framework=5", f"--model={conversion.onnx.name}", f"--job_type={job}")
    yield from (word for word in conversion.arguments if word.startswith("--input_shape="))


def _newest_tuned(folder: Path, last: Run) -> Path:
    """Return the newest model that AOE left in its work space.

    Raises:
        ToolError: It left none.
    """
    pattern = "aoe_workspace/*/tunespace/result/*_tune.om"
    if found := sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime):
        return found[-1]
    raise last.error("AOE says that it finished, but left no model", expected=pattern)


def _improvement(text: str) -> str:
    found = re.search(r"[Pp]erformance improved by\s*\S+", text)
    return found[0] if found else ""
