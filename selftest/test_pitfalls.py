"""Every known pitfall of the vendor's tools has its end, and that end is shown somewhere."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from selftest.fault_rows import known_rows
from selftest.suites import ROOT

PITFALLS = 27
ROW = re.compile(r"\| (\d+) \| (.+) \| (.+) \| (`.+`) \|")
ROWS = [
    match.groups()
    for line in (ROOT / "docs/pitfalls.md").read_text().splitlines()
    if (match := ROW.fullmatch(line))
]
RULED_OUT = "ruled out"


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / "selftest" / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_pitfall_has_a_row() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, PITFALLS + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_a_pitfall_ends_as_its_row_says(row: tuple[str, str, str, str]) -> None:
    _, _, ends_in, shown_by = row
    references = re.findall(r"`([^`]+)`", shown_by)
    faults = [name for name in references if "::" not in name]
    for test in set(references) - set(faults):
        file, _, name = test.partition("::")
        assert name in names_in(file), f"{test} does not exist"
    matrix = known_rows()
    assert all(matrix[name].says for name in faults), "a message that names the cause"
    statuses = {matrix[name].status.value for name in faults}
    if ends_in == RULED_OUT:
        assert not faults
    elif faults:
        assert statuses == set(ends_in.split(", "))
        assert statuses & {"FAIL", "ERROR"}
