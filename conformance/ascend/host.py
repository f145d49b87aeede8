"""What this machine offers of Ascend: board, chip, tools, all found on first use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from conformance.ascend.board import (
    AbsentBoard,
    Board,
    BoardClass,
    BrokenBoard,
    PresentBoard,
    find_board,
)
from conformance.ascend.board import board_class as derive_board_class
from conformance.ascend.devices import Device, acl_devices
from conformance.ascend.environment import VendorEnvironment, vendor_environment
from conformance.ascend.installed import InstalledTools
from conformance.ascend.locks import MachineLocks
from conformance.ascend.npu_smi import LIMIT_S as NPU_SMI_LIMIT_S
from conformance.ascend.run_chip import ChipChoice, RunChip
from conformance.ascend.socs import agreed_soc, soc_version_of_board
from conformance.ascend.tools import ATC_REMEDY, require_program, sound_program
from conformance.check import NotApplicable, SkipReason
from conformance.config import RunConfig
from conformance.errors import BoardError
from conformance.run_folder import work_folder

NO_BOARD_ASKED = AbsentBoard(("board to be used, because of --board=none",))


class AscendHost:
    """The Ascend side of this machine, as one run sees it.

    Args:
        config: The run's options.
        run_folder: Where workers of the run agree on the chip, and logs of failures are kept.
        variables: Environment variables from which the vendor's tools are found.
        locks: The machine's locks; default: those that all users of it share.
        root_pid: The process above all workers and tools of the run; default: this one.
    """

    def __init__(
        self,
        config: RunConfig,
        run_folder: Path,
        variables: Mapping[str, str],
        locks: MachineLocks | None = None,
        root_pid: int | None = None,
    ) -> None:
        self.config = config
        self.locks = locks or MachineLocks()
        self.run_folder = run_folder
        self._variables = variables
        self._root_pid = root_pid

    @cached_property
    def environment(self) -> VendorEnvironment:
        """The environment of vendor tools."""
        return vendor_environment(self._variables, time_factor=self.config.patience)

    @cached_property
    def tools(self) -> InstalledTools:
        """The vendor's tools that are installed."""
        return InstalledTools(self.config, self.environment)

    @property
    def stated_versions(self) -> dict[str, str]:
        """Versions of CANN, driver, firmware, npu-smi, converters and inference tools, by name."""
        told = self.tools.stated_versions
        if isinstance(self.board, PresentBoard) and self.board.npu_smi_version:
            told["npu-smi"] = self.board.npu_smi_version
        return told

    @cached_property
    def board(self) -> Board:
        """The board: absent, broken or present; npu-smi is asked once.

        Raises:
            BoardError: npu-smi speaks of an emulated board that was not asked for.
        """
        if self.config.board == "none":
            return NO_BOARD_ASKED
        limit_s = self.config.patience * NPU_SMI_LIMIT_S
        board = find_board(self.environment, locks=self.locks, limit_s=limit_s)
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
        return agreed_soc(None if self.missing else self._detected_soc(), self.config.soc)

    def _detected_soc(self) -> str | None:
        """Return the chip's SoC by its name in npu-smi's table, else by its board's fields."""
        device, npu_smi = self.device, self.present().npu_smi
        return device.soc_version or soc_version_of_board(
            npu_smi.board(device.chip.npu, device.chip.chip)
        )

    @cached_property
    def chip(self) -> RunChip:
        """The chip that the whole run uses, see ``RunChip.device``.

        Raises:
            NotApplicable: There is no board.
            BoardError: Something of a board is there, but no chip can be listed.
        """
        board = self.present()
        choice = ChipChoice(
            devices=acl_devices(board, self.environment.variables),
            wanted=self.config.chips or (),
            agreed=work_folder(self.run_folder) / "chip.json",
            say=self.locks.say,
        )
        return RunChip(board.npu_smi.table, self.locks, choice, self._root_pid)

    @property
    def device(self) -> Device:
        """The chip's names.

        Raises:
            NotApplicable: There is no board.
            BoardError: The wanted chip does not exist, or no chip is healthy and idle.
        """
        return self.chip.device

    def installed_atc(self) -> Path | None:
        """Return ATC, None where there is none and only the store can help, beside a board too.

        Raises:
            ToolError: It is there and not executable.
        """
        return sound_program("atc", self.environment)

    def atc(self) -> Path:
        """Return ATC.

        Raises:
            NotApplicable: There is neither ATC nor a board that it would belong to.
            ToolError: A board is there and ATC is missing, or ATC is there and not executable.
        """
        if self.installed_atc() is None and isinstance(self.board, AbsentBoard):
            raise NotApplicable(
                SkipReason.NO_ATC,
                f"no atc on PATH and no CANN in its usual folders\n  next: {ATC_REMEDY}",
            )
        return require_program("atc", self.environment)

    @property
    def board_class(self) -> BoardClass:
        """Class of the evidence that this machine can give, derived from facts.

        A tool or file that bears the emulator's mark without having been asked for is refused
        wherever it is met, and so is one of an emulated board without the mark.
        """
        return derive_board_class(self.board, self.tools.versions, marked=self.emulated)

    @property
    def board_facts(self) -> dict[str, str]:
        """What the class of the board is derived from."""
        nodes = self.board.device_nodes if isinstance(self.board, PresentBoard) else ()
        stated = {fact.component: fact.version for fact in self.tools.versions}
        return {
            "device_nodes": ", ".join(map(str, nodes)),
            "driver": stated.get("driver", ""),
            "marked": "npu-smi, tools and .om" if self.emulated else "",
        }
