"""Build Ascend models: onnx_model ─► om_model[batch, variant, tuned].

A tuned model takes two steps: tuning on the chip leaves a bank of tuned operators and an ``.om``,
and the digest of that bank is part of what the tuned model is asked for by.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.artifacts import Artifact, Request, Value, file_sha256
from conformance.ascend.aipp import CONFIG_NAME
from conformance.ascend.atc import LOG_NAME
from conformance.ascend.conversion import Conversion, conversion_of
from conformance.ascend.host import AscendHost
from conformance.ascend.om_description import OmDescription
from conformance.ascend.tools import ATC_REMEDY
from conformance.ascend.tuning import EMPTY_BANK_SHA256
from conformance.build import Builder
from conformance.check import NotApplicable, SkipReason
from conformance.errors import ArtifactError
from conformance.evidence.facts import attach
from conformance.make_om import OM_FILE, OmMaker
from conformance.om_key import OmKey
from conformance.run_folder import LOGS
from conformance.spec import ModelSpec


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
        self._maker = OmMaker(host)

    def om_model(self, spec: ModelSpec, key: OmKey) -> OmModel:
        """Return the ``.om``, converting it if the store has none.

        Raises:
            NotApplicable: There is no target, or no tuned model and no leave to tune.
            ConversionRefused: ATC refuses the model.
            ToolError: ATC fails for another reason.
            ArtifactError: The store has no such model, and there is no ATC to make one.
        """
        return self._builder.once(f"om {spec.name} {key}", lambda: self._om_model(spec, key))

    def describe(self, om: OmModel) -> OmDescription:
        """Ask ATC what an ``.om`` holds.

        Raises:
            NotApplicable: There is no ATC, with or without a board.
            ToolError: ATC hangs, or cannot read the file.
        """
        if self._host.installed_atc() is None:
            raise NotApplicable(
                SkipReason.NO_ATC,
                "atc is missing, which alone reads back what an .om holds\n"
                "  next: install CANN here, or check the model on the host that converted it",
            )
        return self._maker.describe(om.path)

    def _om_model(self, spec: ModelSpec, key: OmKey) -> OmModel:
        conversion = conversion_of(
            spec,
            self._builder.onnx_model(spec),
            batch=key.batch,
            soc_version=self._host.soc,
            variant=key.variant,
            log_level=self._host.config.atc_log,
        )
        make = self._tuned if key.tuned else self._untuned
        artifact = make(f"{spec.name}-{key}", conversion)
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

    def _untuned(self, name: str, conversion: Conversion) -> Artifact:
        inputs = {**self._inputs(conversion), "tuned": False, "bank": EMPTY_BANK_SHA256}
        request = Request(kind="om_model", inputs=inputs, makers=self._makers())
        self._demand_atc_or_stored(request)
        return self._builder.store.get(
            request, lambda into: self._maker.convert(name, conversion, into), heavy=False
        )

    def _tuned(self, name: str, conversion: Conversion) -> Artifact:
        """Return the model that tuning left, an artifact asked for by the bank it was built from.

        Its makers are those of the tuning, wherever that was, so that a board finds both.
        """
        tuning = self._tuning(name, conversion)

        def copy(into: Path) -> Mapping[str, str]:
            for file in (OM_FILE, LOG_NAME):
                shutil.copyfile(tuning.path(file), into / file)
            return tuning.facts

        inputs = {**self._inputs(conversion), "tuned": True, "bank": tuning.facts["bank_sha256"]}
        makers = tuning.manifest.request.makers
        return self._builder.store.get(Request(kind="om_model", inputs=inputs, makers=makers), copy)

    def _tuning(self, name: str, conversion: Conversion) -> Artifact:
        """Return what tuning left, tuning only with leave to do so."""
        mode, store, aoe = self._host.config.tune, self._builder.store, self._host.tools.aoe
        makers = self._makers()
        if makers is not None and aoe:
            makers["aoe"] = file_sha256(aoe)
        request = Request(kind="tuning", inputs=self._inputs(conversion), makers=makers)
        if mode != "off" and (found := store.find(request, any_of=() if aoe else ("aoe",))):
            return found
        if mode != "run":
            raise NotApplicable(
                SkipReason.NOT_TUNED,
                f"the store has no tuned model, and --tune={mode}\n"
                "  next: --tune=run tunes on the chip, which takes hours on a real one",
            )
        self._demand_atc_or_stored(request)
        # It leases a chip, which comes before the machine.
        return store.get(
            request, lambda into: self._maker.tune(name, conversion, into), heavy=False
        )

    def _inputs(self, conversion: Conversion) -> dict[str, Value]:
        return {
            "onnx": file_sha256(conversion.onnx),
            "arguments": " ".join(conversion.arguments),
            CONFIG_NAME: conversion.aipp,
            "emulated": self._host.emulated,
        }

    def _makers(self) -> dict[str, str] | None:
        """Return what identifies ATC here, or None where there is none."""
        atc = self._host.installed_atc()
        if atc is None:
            return None
        stated = {fact.component: fact.version for fact in self._host.tools.versions}
        return {"atc": file_sha256(atc), "cann": stated.get("cann", "unknown")}

    def _demand_atc_or_stored(self, request: Request) -> None:
        """Refuse to go on where neither the store nor ATC can help."""
        store = self._builder.store
        if request.makers is not None or store.find(request):
            return
        raise ArtifactError(
            f"atc is missing, and the store has no {request.kind} that was made elsewhere",
            got=f"no atc on {self._host.environment.path or 'an empty PATH'}",
            expected=f"atc, or a {request.kind} made from {request.inputs}",
            where={"store": store.root, "set_env.sh": self._host.environment.origin},
            next_step=f"{ATC_REMEDY}; or convert on a build host and bring its store here: "
            "`python -m conformance store pack FILE.tar`",
        )
