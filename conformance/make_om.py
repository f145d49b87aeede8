"""Make an ``.om`` for the store: ATC and the tuner, under the machine's locks."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from conformance.ascend.atc import LIMIT_S as ATC_LIMIT_S
from conformance.ascend.atc import LOG_NAME, ConvertedModel, convert
from conformance.ascend.conversion import Conversion
from conformance.ascend.host import AscendHost
from conformance.ascend.locks import WAIT_S
from conformance.ascend.om_description import LIMIT_S as DESCRIBING_LIMIT_S
from conformance.ascend.om_description import OmDescription, describe_om
from conformance.ascend.tuning import LIMIT_S as TUNING_LIMIT_S
from conformance.ascend.tuning import TunedModel, tune
from conformance.ascend.tuning_needs import TuningNeeds
from conformance.ascend.work_folder import work_place
from conformance.progress import at_most, step
from conformance.run_folder import logs_folder

OM_FILE = "model.om"
BANK_FOLDER = "bank"
# The emulated tuner needs none of what the real one takes.
NO_NEEDS = TuningNeeds(memory_gib=0, disk_gib=0)


class OmMaker:
    """Runs ATC and the tuner on this machine; each result is left in a folder of the store."""

    def __init__(self, host: AscendHost) -> None:
        self._host = host

    def convert(self, name: str, conversion: Conversion, into: Path) -> Mapping[str, str]:
        """Convert a model and return the facts to keep beside it.

        Args:
            name: What the user calls it.
            conversion: What is asked of ATC.
            into: Folder for the model and ATC's log.

        Raises:
            NotApplicable: There is no ATC.
            ConversionRefused: ATC refuses the model.
            ToolError: ATC fails for another reason.
        """
        limit_s = self._host.config.time_limits * ATC_LIMIT_S
        shown = step(f"convert {name} with ATC", lasts=f"minutes, {at_most(limit_s)}")
        with self._alone(), shown, self._work() as folder:
            model = convert(
                conversion,
                atc=self._host.atc(),
                environment=self._host.environment,
                folder=folder / "work",
                limit_s=limit_s,
            )
            return self._kept(model, into)

    def tune(self, name: str, conversion: Conversion, into: Path) -> Mapping[str, str]:
        """Tune a model on the run's chip; keep the ``.om`` that tuning leaves, and its bank.

        Args:
            name: What the user calls it.
            conversion: What is asked of ATC.
            into: Folder for the model, its bank and the log.

        Raises:
            NotApplicable: There is no board.
            ConversionRefused: The model cannot be converted.
            ToolError: The machine is too small, or a tool fails.
        """
        device = self._host.device
        chip = self._host.locks.chips([device.chip.key], wait_s=WAIT_S)
        limit_s = self._host.config.time_limits * TUNING_LIMIT_S
        shown = step(f"tune {name}", lasts=f"hours on a real chip, {at_most(limit_s)}")
        with self._alone(chip), shown, self._work() as folder:
            tuned = self._tuned(conversion, folder / "work", limit_s)
            shutil.copytree(tuned.bank, into / BANK_FOLDER)
            return {
                **self._kept(tuned.model, into),
                "tuned_by": tuned.method,
                "bank_sha256": tuned.bank_sha256,
                "improvement": tuned.improvement,
            }

    def describe(self, om: Path) -> OmDescription:
        """Ask ATC what an ``.om`` holds.

        Raises:
            NotApplicable: There is no ATC.
            ToolError: ATC hangs, or cannot read the file.
        """
        atc = self._host.atc()
        with self._alone(), self._work() as folder:
            return describe_om(
                om,
                atc=atc,
                environment=self._host.environment,
                folder=folder / "work",
                limit_s=self._host.config.patience * DESCRIBING_LIMIT_S,
            )

    def _tuned(self, conversion: Conversion, folder: Path, limit_s: float) -> TunedModel:
        return tune(
            conversion,
            atc=self._host.atc(),
            aoe=self._host.tools.aoe,
            environment=self._host.environment,
            folder=folder,
            device_id=self._host.device.acl_id,
            after_run=self._host.chip.guard(),
            needs=NO_NEEDS if self._host.present().emulated else None,
            limit_s=limit_s,
        )

    @contextlib.contextmanager
    def _alone(self, chip: contextlib.AbstractContextManager[None] | None = None) -> Iterator[None]:
        """Run no second ATC beside this one, and nothing of it beside a timed measurement."""
        locks = self._host.locks
        with locks.atc(wait_s=WAIT_S), chip or contextlib.nullcontext(), locks.heavy_step():
            yield

    def _work(self) -> contextlib.AbstractContextManager[Path]:
        records = logs_folder(self._host.run_folder) / "failed"
        return work_place(self._host.config.scratch, "atc-", records)

    def _kept(self, model: ConvertedModel, into: Path) -> Mapping[str, str]:
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
