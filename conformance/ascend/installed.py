"""Which of the vendor's tools are installed, and which of the two inference tools a run takes."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

from conformance.artifacts import file_sha256
from conformance.ascend.environment import VendorEnvironment
from conformance.ascend.tools import (
    AscendPython,
    find_ascend_python,
    find_benchmark,
    find_program,
)
from conformance.ascend.versions import VersionFact, read_versions
from conformance.check import NotApplicable, SkipReason
from conformance.config import RunConfig

ToolName = Literal["benchmark", "ais_bench"]


class InstalledTools:
    """The vendor's tools on this machine, each looked for on first use.

    Args:
        config: The run's options.
        environment: The environment of vendor tools.
    """

    def __init__(self, config: RunConfig, environment: VendorEnvironment) -> None:
        self._config = config
        self._environment = environment

    @cached_property
    def versions(self) -> tuple[VersionFact, ...]:
        """What the installed software states about itself."""
        return read_versions(self._environment)

    @property
    def stated_versions(self) -> dict[str, str]:
        """Versions of CANN, driver, firmware, ATC, AOE and the inference tools, by name.

        ATC, AOE and ``benchmark`` state none: they are told by the beginning of their digest.
        """
        told: dict[str, str] = {fact.component: fact.version for fact in self.versions}
        if self.ascend_python:
            packages = self.ascend_python.versions.items()
            told |= {f"ascend-python {name}": version for name, version in packages}
        programs = {"atc": find_program("atc", self._environment), "aoe": self.aoe}
        for name, program in {**programs, "benchmark": self.benchmark}.items():
            if program:
                told[name] = f"sha256 {file_sha256(program)[:16]}"
        return told

    @property
    def aoe(self) -> Path | None:
        """AOE, None where it is not installed."""
        return find_program("aoe", self._environment)

    @cached_property
    def benchmark(self) -> Path | None:
        """The program ``benchmark.<arch>``."""
        return find_benchmark(self._environment, given=self._config.inference_tool_path)

    @cached_property
    def ascend_python(self) -> AscendPython | None:
        """The interpreter that imports ais_bench."""
        return find_ascend_python(
            self._environment,
            given=self._config.ascend_python,
            time_factor=self._config.patience,
        )

    def choose(self, preferred: ToolName) -> ToolName:
        """Return the inference tool to use: the one asked for, else the preferred, else the other.

        Raises:
            NotApplicable: There is no inference tool, or not the one that was asked for.
        """
        asked = self._config.inference_tool
        names: tuple[ToolName, ...] = (preferred, "benchmark", "ais_bench")
        for name in names:
            if asked in {"auto", name} and self._has(name):
                return name
        raise NotApplicable(
            SkipReason.NO_INFERENCE_TOOL,
            f"no {'benchmark or ais_bench' if asked == 'auto' else asked} was found\n"
            "  next: put benchmark.<arch> into the current folder or name it with "
            "--inference-tool-path=FILE, or install ais_bench and name its Python with "
            "--ascend-python=FILE",
        )

    def _has(self, tool: ToolName) -> bool:
        found = self.benchmark if tool == "benchmark" else self.ascend_python
        return found is not None
