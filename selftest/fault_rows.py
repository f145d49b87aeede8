"""The rows of the fault matrix: what goes wrong, and which check must say so."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from conformance.check import Status
from emulator import known_faults
from selftest.suites import ROOT

TABLE = Path(__file__).with_name("fault_matrix.toml")
MODEL = "squeezenet1_1"
# Claims about one .om; the others are about the model.
OF_ONE_OM = ("atc.", "om.", "throughput.", "agreement.", "accuracy.paired.")
# Claims about one batch size of the ONNX model, the same as the ``.om`` that the row names.
OF_ONE_BATCH = ("accuracy.batch.", "accuracy.rows.")
# Claims about one pool of inputs, of one batch size and scale.
OF_ONE_POOL = ("export.parity.", "export.finite", "export.decisions")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way in which a port goes wrong.

    Attributes:
        name: Unique; of a row without ``cause``, the fault of the emulated board.
        stage: Part of the chain that it belongs to.
        symptom: What a user would have seen.
        check: Id of the check that must catch it.
        status: What this check must say.
        says: What the check's message must contain, so that a reader knows the cause;
            ``{first}``, ``{second}`` and ``{last}`` stand for the photographs' stems.
        cause: What goes wrong on the host; empty for a fault of the board.
        test: The test of one ``.om`` that must catch it, where another states the check too.
        om: Which ``.om`` the test is about, such as ``bs16-tuned``.
        soc: System on chip of the board.
        clock: What the board's clock does without the fault, as fields of its state.
        batch: Batch sizes of the run.
        fresh: Kinds of artifacts that the store must not have yet.
        more: Further options of the run.
        hasty: Whether time limits are cut to seconds.
        gap: Why this row is not caught; then it must not be.
    """

    name: str
    stage: str
    symptom: str
    check: str
    status: Status
    says: str
    cause: str = ""
    test: str = ""
    om: str = "bs16"
    soc: str = "Ascend310"
    clock: Mapping[str, float] = field(default_factory=dict)
    batch: str = "1,16"
    fresh: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    hasty: bool = False
    gap: str = ""

    @property
    def node(self) -> str:
        """The test that makes the check, for pytest."""
        suffix = f"[{MODEL}-{self.om}]" if self.check.startswith(OF_ONE_OM + OF_ONE_BATCH) else ""
        if self.test:
            return next(
                f"{node}[{MODEL}-{self.om}]"
                for node in stating()[self.check]
                if node.endswith(f"::{self.test}")
            )
        of_one_pool = self.check.startswith(OF_ONE_POOL)
        return stating()[self.check][0] + (f"[x1-bs1-{MODEL}]" if of_one_pool else suffix)


@cache
def known_rows() -> dict[str, Row]:
    """Every row by its name."""
    tables = tomllib.loads(TABLE.read_text("utf-8"))
    rows = [_board_row(table) for table in tables["board"]]
    rows += [_row(table) for table in tables["host"]]
    found = {row.name: row for row in rows}
    assert len(found) == len(rows), "two rows have one name"
    return found


def _board_row(table: dict[str, object]) -> Row:
    fault = known_faults()[str(table["name"])]
    return _row({"stage": fault.stage, "symptom": fault.symptom, "check": fault.check, **table})


def _row(table: dict[str, object]) -> Row:
    status = Status(str(table.pop("status")))
    lists = {name: tuple(value) for name, value in table.items() if isinstance(value, list)}
    return Row(status=status, **{**table, **lists})  # type: ignore[arg-type]  # TOML's types


@cache
def stating() -> dict[str, list[str]]:
    """Return the tests that state each check, in their order, as ``tests/FILE.py::NAME``."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for function, check_ids in _stated_in(path):
            for check_id in check_ids:
                found.setdefault(check_id, []).append(f"tests/{path.name}::{function}")
    return found


def _stated_in(path: Path) -> Iterator[tuple[str, list[str]]]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            marks = [mark for mark in node.decorator_list if ast.unparse(mark).startswith(STATES)]
            yield (
                node.name,
                [
                    argument.value
                    for mark in marks
                    if isinstance(mark, ast.Call)
                    for argument in mark.args
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                ],
            )


STATES = "pytest.mark.states("
