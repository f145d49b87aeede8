"""What every run of the matrix changes: locks of its own, and less to wait for."""

from __future__ import annotations

import functools
from pathlib import Path

from selftest.fault_causes.scene import replace


def keep_to_itself(folder: Path) -> None:
    """Give the run locks of its own: its board is no other run's."""
    replace(
        "fixtures.machine",
        "MachineLocks",
        lambda locks: functools.partial(locks, folder / "locks"),
    )


def look_twice() -> None:
    """Let two looks at a loaded chip do for five, soon after each other: nothing changes."""
    _cut("conformance.ascend.occupancy:chip_use", "samples", 2)
    for name in ("chip_use", "first_idle"):
        _cut(f"conformance.ascend.occupancy:{name}", "between_s", 0.1)
    replace("conformance.ascend.run_chip", "SETTLING_S", lambda _: 0.1)


def hurry() -> None:
    """Cut time limits to what the small work of a row needs."""
    replace("conformance.ascend.inference", "LIMIT_AT_LEAST_S", lambda _: 1.5)
    replace("conformance.ascend.inference", "LIMIT_PER_IMAGE_S", lambda _: 0.0)
    replace("conformance.make_om", "ATC_LIMIT_S", lambda _: 2.0)
    replace("conformance.ascend.host", "NPU_SMI_LIMIT_S", lambda _: 1.5)
    _cut("conformance.ascend.supervisor:run", "grace_s", 0.5)


def _cut(place: str, name: str, value: float) -> None:
    replace(place, "__kwdefaults__", lambda old: old | {name: value})
