"""Build Ascend models: onnx_model ─► om_model[batch, variant, tuned]."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from conformance.artifacts import Request, Value, file_sha256
from conformance.ascend.aipp import CONFIG_NAME
from conformance.ascend.atc import LIMIT_S as ATC_LIMIT_S
from conformance.ascend.atc import LOG_NAME, ConvertedModel, convert
from conformance.ascend.conversion import Conversion, conversion_of
from conformance.ascend.host import AscendHost
from conformance.ascend.locks import WAIT_S
from conformance.ascend.om_description import LIMIT_S as DESCRIBING_LIMIT_S
from conformance.ascend.om_description import OmDescription, describe_om
from conformance.ascend.tuning import LIMIT_S as TUNING_LIMIT_S
from conformance.ascend.tuning import tune
from conformance.ascend.tuning_needs import TuningNeeds
from conformance.ascend.work_folder import work_place
from conformance.build import Builder
from conformance.check import NotApplicable, SkipReason
from conformance.evidence.facts import attach
from conformance.om_key import OmKey
from conformance.progress import at_most, step
from conformance.run_folder import LOGS, logs_folder
from conformance.spec import ModelSpec

OM_FILE = "model.om"
# The emulated tuner needs none of what the real one takes.
NO_NEEDS = TuningNeeds(memory_gib=0, disk_gib=0)


@dataclass(frozen=True)
class OmModel:
    """An ``.om`` of the store.

    Attributes:
        path: The file.
        sha256: Its digest.
        conversion: What was asked for.
        warnings: ATC's coded warnings.
        unclean: Lines of ATC's log that speak of an error although it succeeded.
        log: ATC's log.
        emulated: Whether it was made by an emulated ATC.
        facts: What its making left on record.
    """

    path: Path
    sha256: str
    conversion: Conversion
    warnings: str
    unclean: str
    log: Path
    emulated: bool
    facts: Mapping[str, str]


class OmBuilder:
    """Converts and tunes models, on first use."""

    def __init__(self, builder: Builder, host: AscendHost) -> None:
        self._builder = builder
        self._host = host

    def om_model(self, spec: ModelSpec, key: OmKey) -> OmModel:
        """Return the ``.om``, converting it if the store has none.

        Raises:
            NotApplicable: There is no ATC, no target, or no tuned model and no leave to tune.
            ConversionRefused: ATC refuses the model.
            ToolError: ATC fails for another reason.
        """
        return self._builder.once(f"om {spec.name} {key}", lambda: self._om_model(spec, key))

    def describe(self, model: OmModel, folder: Path) -> OmDescription:
        """Ask ATC what an ``.om`` holds, in a folder where its answers stay.

        Raises:
            NotApplicable: There is no ATC.
            ToolError: ATC cannot be started.
        """
        atc = self._host.atc()
        with self._host.locks.heavy_step():
            return describe_om(
                model.path,
                atc=atc,
                environment=self._host.environment,
                folder=folder,
                limit_s=self._host.config.patience * DESCRIBING_LIMIT_S,
            )

    def _om_model(self, spec: ModelSpec, key: OmKey) -> OmModel:
        conversion = conversion_of(
            spec,
            self._builder.onnx_model(spec),
            batch=key.batch,
            soc_version=self._host.soc,
            variant=key.variant,
            log_level=self._host.config.atc_log,
        )
        request = self._request(conversion, key)
        if key.tuned:
            self._demand_leave_to_tune(request)
        make = self._tune if key.tuned else self._convert
        # It leases a chip to tune, which comes before the machine.
        artifact = self._builder.store.get(
            request, lambda into: make(f"{spec.name}-{key}", conversion, into), heavy=False
        )
        facts = artifact.facts
        emulated = facts["emulated"] == "yes"
        self._host.demand_expected(emulated, f"the .om in {artifact.folder}")
        log = artifact.path(LOG_NAME)
        told = log.read_text("utf-8", errors="replace")
        attach(self._host.run_folder, f"{LOGS}/{spec.name}-{key}-{LOG_NAME}", told)
        return OmModel(
            path=artifact.path(OM_FILE),
            sha256=artifact.sha256(OM_FILE),
            conversion=conversion,
            warnings=facts["warnings"],
            unclean=facts["unclean"],
            log=log,
            emulated=emulated,
            facts=facts,
        )

    def _request(self, conversion: Conversion, key: OmKey) -> Request:
        inputs: dict[str, Value] = {
            "onnx": file_sha256(conversion.onnx),
            "arguments": " ".join(conversion.arguments),
            CONFIG_NAME: conversion.aipp,
            "tuned": key.tuned,
            "emulated": self._host.emulated,
        }
        return Request(kind="om_model", inputs=inputs, makers=self._makers())

    def _makers(self) -> dict[str, str] | None:
        """Return what identifies ATC here, or None where there is none."""
        try:
            atc = self._host.atc()
        except NotApplicable:
            return None
        stated = {fact.component: fact.version for fact in self._host.tools.versions}
        return {"atc": file_sha256(atc), "cann": stated.get("cann", "unknown")}

    def _demand_leave_to_tune(self, request: Request) -> None:
        mode = self._host.config.tune
        if mode == "run" or (mode == "stored" and self._builder.store.find(request)):
            return
        raise NotApplicable(
            SkipReason.NOT_TUNED,
            f"the store has no tuned model, and --tune={mode}\n"
            "  next: --tune=run tunes on the chip, which takes hours on a real one",
        )

    def _convert(self, name: str, conversion: Conversion, into: Path) -> Mapping[str, str]:
        # One ATC at a time: each takes gigabytes and all cores.
        limit_s = self._host.config.time_limits * ATC_LIMIT_S
        shown = step(f"convert {name} with ATC", lasts=f"minutes, {at_most(limit_s)}")
        with self._one_at_a_time(), self._host.locks.heavy_step(), shown:
            return self._made(
                into,
                lambda folder: convert(
                    conversion,
                    atc=self._host.atc(),
                    environment=self._host.environment,
                    folder=folder,
                    limit_s=limit_s,
                ),
            )

    def _tune(self, name: str, conversion: Conversion, into: Path) -> Mapping[str, str]:
        device, board = self._host.device, self._host.present()
        limit_s = self._host.config.time_limits * TUNING_LIMIT_S
        facts: dict[str, str] = {}

        def made(folder: Path) -> ConvertedModel:
            tuned = tune(
                conversion,
                atc=self._host.atc(),
                aoe=self._host.tools.aoe,
                environment=self._host.environment,
                folder=folder,
                device_id=device.acl_id,
                after_run=self._host.chip.guard(),
                needs=NO_NEEDS if board.emulated else None,
                limit_s=limit_s,
            )
            facts.update(tuned_by=tuned.method, bank_sha256=tuned.bank_sha256)
            facts.update(improvement=tuned.improvement)
            return tuned.model

        chip = self._host.locks.chips([device.chip.key], wait_s=WAIT_S)
        shown = step(f"tune {name}", lasts=f"hours on a real chip, {at_most(limit_s)}")
        with self._one_at_a_time(), chip, self._host.locks.heavy_step(), shown:
            return {**self._made(into, made), **facts}

    def _made(self, into: Path, make: Callable[[Path], ConvertedModel]) -> Mapping[str, str]:
        records = logs_folder(self._host.run_folder) / "failed"
        with work_place(self._host.config.scratch, "atc-", records) as folder:
            model = make(folder / "work")
            # Before it is kept: a board without ATC would find it, whoever made it.
            self._host.demand_expected(model.emulated, f"the .om of {model.run.argv[0]}")
            shutil.copyfile(model.om, into / OM_FILE)
            shutil.copyfile(model.run.stdout_path, into / LOG_NAME)
            return {
                "emulated": "yes" if model.emulated else "no",
                "warnings": "\n".join([*map(str, model.warnings), *model.run.strays]),
                "unclean": "\n".join(model.unclean),
                "soc_version": model.conversion.soc_version,
                "om_header": f"{model.header}",
            }

    def _one_at_a_time(self) -> FileLock:
        folder = self._builder.store.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / "atc.lock")
