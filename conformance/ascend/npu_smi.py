"""Ask npu-smi: one call at a time on the whole machine, with a time limit."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from conformance.ascend.environment import VendorEnvironment
from conformance.ascend.locks import MachineLocks
from conformance.ascend.npu_lists import MappedChip, parse_board, parse_mapping
from conformance.ascend.npu_table import NpuTable, parse_npu_table
from conformance.ascend.supervisor import run
from conformance.errors import BoardError

LIMIT_S = 30.0
# Others may ask first, each until its time limit is over.
QUEUE_S = 300.0
QUEUE_CALLS = 10


@dataclass(frozen=True)
class Answer:
    """What npu-smi said to one question.

    Attributes:
        text: Standard output and standard error.
        status: Exit status; it alone proves nothing.
        ending: How the call ended, in words.
        timed_out: Whether it had to be stopped.
    """

    text: str
    status: int
    ending: str
    timed_out: bool


@dataclass(frozen=True)
class NpuSmi:
    """The tool, and what it takes to call it.

    Attributes:
        path: The program.
        environment: The environment of vendor tools.
        locks: The machine's locks: npu-smi must not run twice at a time.
        limit_s: Time limit of one call.
    """

    path: Path
    environment: VendorEnvironment
    locks: MachineLocks = field(default_factory=MachineLocks)
    limit_s: float = LIMIT_S

    def ask(self, *arguments: str) -> Answer:
        """Call ``npu-smi`` with these arguments.

        Raises:
            ToolError: It cannot be executed. A bad answer is not raised.
        """
        with (
            tempfile.TemporaryDirectory(prefix="npu-smi-") as folder,
            self.locks.npu_smi(wait_s=max(QUEUE_S, QUEUE_CALLS * self.limit_s)),
        ):
            result = run(
                [self.path, *arguments],
                env=self.environment.variables,
                cwd=Path(folder),
                log=Path(folder) / "npu-smi.log",
                limit_s=self.limit_s,
                grace_s=1.0,
            )
            return Answer(result.text, result.status, result.ending, result.timed_out)

    def table(self) -> NpuTable:
        """Return what ``npu-smi info`` lists.

        Raises:
            BoardError: It lists no chip, hangs, or its table cannot be read.
        """
        answer = self.ask("info")
        table = parse_npu_table(answer.text)
        if answer.timed_out or not table.chips:
            raise BoardError(
                "npu-smi lists no chip",
                got=f"{answer.ending}: {answer.text.strip()}",
                expected="a table of chips",
                next_step="run `npu-smi info` by hand as this user",
            )
        return table

    def mapping(self) -> tuple[MappedChip, ...]:
        """Return the logical ids of ``npu-smi info -m``; empty where it does not answer."""
        answer = self.ask("info", "-m")
        return () if answer.timed_out or answer.status else parse_mapping(answer.text)

    def board(self, npu: int, chip: int) -> dict[str, str]:
        """Return the fields of ``npu-smi info -t board``; empty where it is not supported."""
        answer = self.ask("info", "-t", "board", "-i", str(npu), "-c", str(chip))
        return {} if answer.timed_out or answer.status else parse_board(answer.text)
