"""Run the benchmarks and write their table: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import collection, memory, preprocessing, reference_evaluation, scoring
from benchmarks.material import Material, gather
from benchmarks.measurement import Row
from benchmarks.table import comparison, markdown, page, section, with_part
from conformance.commands import exit_status
from conformance.whole_files import write_whole


class Benchmark(NamedTuple):
    """One benchmark: a section of the page."""

    title: str
    note: str
    rows: Callable[[Material], Iterator[Row]]


# To add one, write a module with TITLE, NOTE and rows(material), and name it here.
BENCHMARKS = {
    module.__name__.rpartition(".")[2]: Benchmark(module.TITLE, module.NOTE, module.rows)
    for module in (collection, preprocessing, scoring, memory, reference_evaluation)
}
CHECKOUT = Path(__file__).resolve().parents[1]
PAGE, README = CHECKOUT / "docs" / "benchmarks.md", CHECKOUT / "README.md"
# Sections whose opponent is what a user would run instead.
COMPARED = ("preprocessing", "scoring", "reference_evaluation")


def main() -> None:
    """Parse the options, run what was chosen, print each row, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--imagenet", type=Path, metavar="DIR", help="photographs; default: drawn")
    parser.add_argument("--weights", type=Path, metavar="FILE", help=".pth; default: random ones")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where files go; default: /tmp")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where the page goes; default: the sections of docs/benchmarks.md that were measured, "
        "and the table in README.md",
    )
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="repeatable")
    parser.add_argument("--quick", action="store_true", help="little work, figures mean little")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        material = gather(given.imagenet, given.weights, Path(scratch), quick=given.quick)
        rows = {name: list(_shown(BENCHMARKS[name], material)) for name in given.only or BENCHMARKS}
        subject = material.described()
    sections = [
        section(
            BENCHMARKS[name].title, BENCHMARKS[name].note, rows[name], subject, quick=given.quick
        )
        for name in rows
    ]
    if given.output:
        write_whole(page(sections).encode(), given.output)
    elif given.quick:
        print("nothing written: a quick run is no page; --output=FILE keeps it")
    else:
        _write_pages(page(sections, PAGE.read_text("utf-8")))


def _write_pages(measured: str) -> None:
    write_whole(measured.encode(), PAGE)
    shown = comparison(measured, {BENCHMARKS[name].title for name in COMPARED})
    write_whole(with_part(README.read_text("utf-8"), "benchmarks", shown).encode(), README)


def _shown(benchmark: Benchmark, material: Material) -> Iterator[Row]:
    print(f"{benchmark.title} ...", flush=True)
    for row in benchmark.rows(material):
        print(markdown([row]).splitlines()[-1], flush=True)
        yield row


if __name__ == "__main__":
    sys.exit(exit_status(main))
