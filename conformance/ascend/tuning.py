"""Tuning: hours on a real chip, with a bank of tuned operators that is never shared."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from conformance.ascend.atc import (
    ConversionRefused,
    ConvertedModel,
    convert,
    converted,
    prepare_folder,
)
from conformance.ascend.chip_guard import AfterRun, nothing_to_do
from conformance.ascend.conversion import Conversion
from conformance.ascend.environment import VendorEnvironment
from conformance.ascend.supervisor import run
from conformance.ascend.tool_run import Run
from conformance.ascend.work_folder import require_empty
from conformance.errors import ToolError

LIMIT_S = 12 * 3600.0
AUTO_TUNE = "--auto_tune_mode=RL,GA"
# AOE advises this order: 1 tunes subgraphs, 2 operators.
AOE_JOBS = (1, 2)
AOE_SUCCESS = re.compile(r"process finished", re.IGNORECASE)
GIB = 2**30


@dataclass(frozen=True)
class TuningNeeds:
    """What tuning takes, as the AOE user guide says of AOE.

    Attributes:
        memory_gib: Memory of the machine.
        disk_gib: Free space in the work folder.
    """

    memory_gib: float = 32.0
    disk_gib: float = 20.0


@dataclass(frozen=True)
class TunedModel:
    """A tuned ``.om`` and how it came about.

    Attributes:
        model: The ``.om``.
        method: ATC's own tuner, or AOE where ATC does not take that flag any more.
        bank_sha256: Digest of the bank of tuned operators; belongs into the artifact's facts.
        improvement: What the tuner says it gained, empty if nothing.
    """

    model: ConvertedModel
    method: Literal["auto_tune", "aoe"]
    bank_sha256: str
    improvement: str


def require_room(folder: Path, needs: TuningNeeds) -> None:
    """Refuse to begin hours of work that must fail for want of memory or disk.

    Raises:
        ToolError: Names everything that is short.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = (
        ("memory", psutil.virtual_memory().total / GIB, needs.memory_gib),
        (f"free disk in {folder}", shutil.disk_usage(folder).free / GIB, needs.disk_gib),
    )
    # A machine of 32 GiB reports a little less.
    if short := [row for row in found if row[1] < 0.9 * row[2]]:
        raise ToolError(
            "tuning cannot begin: the machine is too small",
            got="; ".join(f"{name} {got:.1f} GiB" for name, got, _ in short),
            expected="; ".join(f"{name} at least {least:g} GiB" for name, _, least in short),
            next_step="tune on a larger machine and bring its store here, or use --tune=off",
        )


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
    try:
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
    except ConversionRefused as refusal:
        if not wants_aoe(refusal):
            raise
    env = environment.with_variables(TUNE_BANK_PATH=str(bank), ASCEND_DEVICE_ID=str(device_id))
    model = _tune_with_aoe(
        conversion,
        aoe=_require_aoe(aoe, conversion),
        env=env,
        folder=folder / "aoe",
        ends=ends,
        after_run=after_run,
    )
    return _tuned(model, "aoe", bank)


def _tuned(model: ConvertedModel, method: Literal["auto_tune", "aoe"], bank: Path) -> TunedModel:
    return TunedModel(model, method, bank_sha256(bank), _improvement(model.run.text))


def _require_aoe(aoe: Path | None, conversion: Conversion) -> Path:
    if aoe is None:
        raise ToolError(
            "ATC does not tune any more, and aoe is missing",
            expected="aoe on PATH",
            next_step="install CANN's toolkit with AOE, or use --tune=off",
        )
    if conversion.variant != "float32":
        raise ToolError(
            "AOE is not known to tune a model with AIPP",
            got=conversion.variant,
            expected="float32",
            next_step="use --tune=off for this variant",
        )
    return aoe


def wants_aoe(refusal: ConversionRefused) -> bool:
    """Whether ATC refuses only the tuning flag: E10001 "deprecated ... use the AOE tool"."""
    words = f"{refusal.message.text} {refusal.message.solution}"
    return refusal.message.code == "E10001" and bool(re.search(r"\bAOE\b|deprecated", words))


def bank_sha256(bank: Path) -> str:
    """Return the digest of everything in a bank of tuned operators, names included."""
    digest = hashlib.sha256()
    for path in sorted(path for path in bank.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(bank)} {content}\n".encode())
    return digest.hexdigest()


def _tune_with_aoe(
    conversion: Conversion,
    *,
    aoe: Path,
    env: dict[str, str],
    folder: Path,
    ends: float,
    after_run: AfterRun,
) -> ConvertedModel:
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
        result.require_ended("AOE")
        if not AOE_SUCCESS.search(result.text):
            raise result.error("AOE failed", expected="`Aoe process finished`")
        runs.append(result)
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
