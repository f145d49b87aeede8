"""What this machine offers of Ascend: board, chip, tools, all found on first use."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

from filelock import FileLock

from conformance.artifacts import file_sha256
from conformance.ascend.board import (
    AbsentBoard,
    Board,
    BoardClass,
    BrokenBoard,
    PresentBoard,
    find_board,
)
from conformance.ascend.board import board_class as derive_board_class
from conformance.ascend.chip_guard import ChipGuard
from conformance.ascend.devices import Device, acl_devices, choose_devices, require_usable
from conformance.ascend.environment import VendorEnvironment, vendor_environment
from conformance.ascend.locks import MachineLocks
from conformance.ascend.npu_table import HOT_C, Chip, NpuTable
from conformance.ascend.occupancy import ChipUse, Occupancy, chip_use, first_idle
from conformance.ascend.socs import agreed_soc
from conformance.ascend.tools import (
    AscendPython,
    find_ascend_python,
    find_benchmark,
    find_program,
    require_program,
)
from conformance.ascend.versions import VersionFact, read_versions
from conformance.check import NotApplicable, SkipReason
from conformance.config import RunConfig
from conformance.errors import BoardError

ToolName = Literal["benchmark", "ais_bench"]
NO_BOARD_ASKED = AbsentBoard(("board to be used, because of --board=none",))
# npu-smi lists a process for a moment after it has ended.
SETTLING_S = 2.0


class AscendHost:
    """The Ascend side of this machine, as one run sees it.

    Args:
        config: The run's options.
        run_folder: Where workers of the run agree on the chip, and logs of failures are kept.
        variables: Environment variables from which the vendor's tools are found.
    """

    def __init__(self, config: RunConfig, run_folder: Path, variables: Mapping[str, str]) -> None:
        self.config = config
        self.locks = MachineLocks()
        self.run_folder = run_folder
        self._variables = variables

    @cached_property
    def environment(self) -> VendorEnvironment:
        """The environment of vendor tools."""
        return vendor_environment(self._variables)

    @cached_property
    def versions(self) -> tuple[VersionFact, ...]:
        """What the installed software states about itself."""
        return read_versions(self.environment)

    @property
    def stated_versions(self) -> dict[str, str]:
        """Versions of CANN, driver, firmware, npu-smi and the inference tools, by name.

        ``benchmark`` states none, so that it is told by the beginning of its digest.
        """
        told: dict[str, str] = {fact.component: fact.version for fact in self.versions}
        if isinstance(self.board, PresentBoard) and self.board.npu_smi_version:
            told["npu-smi"] = self.board.npu_smi_version
        if self.ascend_python:
            packages = self.ascend_python.versions.items()
            told |= {f"ascend-python {name}": version for name, version in packages}
        if self.benchmark:
            told["benchmark"] = f"sha256 {file_sha256(self.benchmark)[:16]}"
        return told

    @cached_property
    def board(self) -> Board:
        """The board: absent, broken or present; npu-smi is asked once.

        Raises:
            BoardError: npu-smi speaks of an emulated board that was not asked for.
        """
        if self.config.board == "none":
            return NO_BOARD_ASKED
        board = find_board(self.environment, locks=self.locks)
        if isinstance(board, PresentBoard):
            self.demand_expected(board.emulated, f"npu-smi at {board.npu_smi.path}")
        return board

    @property
    def emulated(self) -> bool:
        """Whether an emulated board was asked for."""
        return self.config.board.startswith("emulated")

    def demand_expected(self, marked: bool, what: str) -> None:
        """Refuse tools of an emulated board that was not asked for, and the other way round.

        Raises:
            BoardError: What a tool printed or wrote is not of the board that was asked for.
        """
        if marked == self.emulated:
            return
        raise BoardError(
            "an emulated board was found, but not asked for"
            if marked
            else "a tool of the emulated board does not carry its mark",
            got=what,
            expected=f"tools that fit --board={self.config.board}",
            next_step="remove the emulator from PATH, or ask for it with --board=emulated",
        )

    def demand_not_broken(self) -> None:
        """Refuse a board of which only a part is there: nothing on this machine can be believed.

        Raises:
            BoardError: Says what is there, who asked and what to do.
        """
        if isinstance(self.board, BrokenBoard):
            raise self.board.error()

    def present(self) -> PresentBoard:
        """Return the board, for callers that need one.

        Raises:
            NotApplicable: There is no board.
            BoardError: Something of a board is there, but no chip can be listed.
        """
        self.demand_not_broken()
        if isinstance(self.board, PresentBoard):
            return self.board
        raise NotApplicable(SkipReason.NO_BOARD, self.missing)

    @property
    def missing(self) -> str:
        """What of a board is missing and would provide it; empty where there is one."""
        return self.board.detail if isinstance(self.board, AbsentBoard) else ""

    @cached_property
    def soc(self) -> str:
        """The conversion target, from npu-smi or ``--soc=``.

        Raises:
            NotApplicable: There is no board, and no ``--soc=``.
            ConfigError: They contradict each other.
        """
        self.demand_not_broken()
        if self.missing and not self.config.soc:
            raise NotApplicable(
                SkipReason.NO_BOARD,
                f"{self.missing}\n  next: or name the target, to convert here: --soc=Ascend310",
            )
        detected = None if self.missing else self.device.soc_version
        return agreed_soc(detected, self.config.soc)

    @cached_property
    def device(self) -> Device:
        """The chip that the whole run uses; its workers agree on it through the run's folder.

        One batch size on another chip than the next would mistake a bad chip for a bad batch size.
        A single chip of ``--chips=`` is used as it is; of several the first idle one.

        Raises:
            NotApplicable: There is no board.
            BoardError: The wanted chip does not exist, or no chip is healthy and idle.
        """
        board = self.present()
        devices = acl_devices(board, self.environment.variables)
        if self.config.chips:
            devices = choose_devices(devices, self.config.chips)
            if len(devices) == 1:
                return devices[0]
        self.run_folder.mkdir(parents=True, exist_ok=True)
        agreed = self.run_folder / "chip.json"
        with FileLock(agreed.with_suffix(".lock")):
            if agreed.exists():
                return choose_devices(devices, [json.loads(agreed.read_text("utf-8"))])[0]
            chosen, _ = first_idle(devices, board.npu_smi.table)
            agreed.write_text(json.dumps(chosen.acl_id), "utf-8")
        return chosen

    def spoils_timing(self) -> str:
        """Return why the chip cannot be timed right now; empty if nothing speaks against it.

        To be asked by whoever holds the chip, or another worker is taken for a stranger.

        Raises:
            BoardError: The chip is gone, or its health forbids its use.
        """
        chip, use = self._look()
        if use.occupancy is Occupancy.BUSY:
            time.sleep(SETTLING_S)
            chip, use = self._look()
        if not chip.health.fit_for_timing:
            return f"the chip's health is {chip.health}"
        if chip.hot:
            return f"hot chip: {chip.temperature_c:g} °C, it must stay below {HOT_C:g} °C"
        return "" if use.occupancy is Occupancy.IDLE else f"chip {use.occupancy}: {use.detail}"

    def _look(self) -> tuple[Chip, ChipUse]:
        """Ask npu-smi how the chip is now, and who uses it."""
        tables: list[NpuTable] = []

        def read() -> NpuTable:
            tables.append(self.present().npu_smi.table())
            return tables[-1]

        key = self.device.chip.key
        use = chip_use(read, key)
        chip = next(chip for chip in tables[-1].chips if chip.key == key)
        require_usable(chip)
        return chip, use

    def guard(self) -> ChipGuard:
        """Return what looks after the chip when a tool on it had to be stopped."""
        return ChipGuard(self.device, self.locks, self.present().npu_smi.table)

    def atc(self) -> Path:
        """Return ATC.

        Raises:
            NotApplicable: There is neither ATC nor a board that it would belong to.
            ToolError: A board is there and ATC is missing, or it is not executable.
        """
        found = find_program("atc", self.environment)
        if found is None and isinstance(self.board, AbsentBoard):
            raise NotApplicable(
                SkipReason.NO_ATC,
                "no atc on PATH and no CANN in its usual folders\n"
                "  next: install CANN, or source its set_env.sh first",
            )
        return found or require_program("atc", self.environment)

    def aoe(self) -> Path | None:
        """Return AOE, None where it is not installed."""
        return find_program("aoe", self.environment)

    @cached_property
    def benchmark(self) -> Path | None:
        """The program ``benchmark.<arch>``."""
        given = self.config.inference_tool_path
        return find_benchmark(self.environment, given=given)

    @cached_property
    def ascend_python(self) -> AscendPython | None:
        """The interpreter that imports ais_bench."""
        return find_ascend_python(self.environment, given=self.config.ascend_python)

    def tool(self, preferred: ToolName) -> ToolName:
        """Return the inference tool to use: the one asked for, else the preferred, else the other.

        Raises:
            NotApplicable: There is no inference tool, or not the one that was asked for.
        """
        asked = self.config.inference_tool
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

    @property
    def board_class(self) -> BoardClass:
        """Class of the evidence that this machine can give, derived from facts.

        A tool or file that bears the emulator's mark without having been asked for is refused
        wherever it is met, and so is one of an emulated board without the mark.
        """
        return derive_board_class(self.board, self.versions, marked=self.emulated)

    @property
    def board_facts(self) -> dict[str, str]:
        """What the class of the board is derived from."""
        nodes = self.board.device_nodes if isinstance(self.board, PresentBoard) else ()
        stated = {fact.component: fact.version for fact in self.versions}
        return {
            "device_nodes": ", ".join(map(str, nodes)),
            "driver": stated.get("driver", ""),
            "marked": "npu-smi, tools and .om" if self.emulated else "",
        }
