"""How long collecting the claims takes, beside a bare pytest that collects as many empty tests."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.material import Material
from benchmarks.measurement import Row, duel

TITLE = "Collection"
NOTE = (
    "`pytest --collect-only` as a whole process, with this suite's plugins and with none. The "
    "ratio says how many times longer collecting this suite takes; it imports no framework."
)
CHECKOUT = Path(__file__).resolve().parents[1]
MOST = 1.5
COLLECT = (sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider")


def rows(material: Material) -> Iterator[Row]:
    """Yield the one line of this section."""
    bare = material.scratch / "bare"
    bare.mkdir()
    names = "".join(f"def test_{number}(): pass\n" for number in range(_collect(CHECKOUT)))
    (bare / "test_nothing.py").write_text(names, "utf-8")
    (bare / "pytest.ini").write_text("[pytest]\n", "utf-8")
    rounds = 1 if material.quick else 5
    timed = duel([lambda: _collect(bare)] * 2, [lambda: _collect(CHECKOUT)] * 2, rounds=rounds)
    slower = sorted(1 / ratio for ratio in timed.ratios)
    median = slower[len(slower) // 2]
    yield Row(
        f"collecting {_collect(CHECKOUT)} claims",
        ours=f"{sorted(timed.ours_s)[len(slower) // 2] / 2:.2f} s",
        theirs=f"{sorted(timed.theirs_s)[len(slower) // 2] / 2:.2f} s",
        ratio=f"{median:.2f} ({slower[0]:.2f} to {slower[-1]:.2f}) times longer",
        goal=f"≤ {MOST:g} times longer",
        met=median <= MOST,
    )


def _collect(folder: Path) -> int:
    """Collect the tests of a folder in a process of its own and return their number."""
    done = subprocess.run(  # noqa: S603 - our own interpreter, an argument list
        COLLECT, cwd=folder, capture_output=True, text=True, check=True
    )
    return int(re.findall(r"(\d+) tests? collected", done.stdout)[0])
