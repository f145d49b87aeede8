"""Versions of CANN, driver and firmware, read from the vendor's own files, with provenance."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from conformance.ascend.environment import VendorEnvironment

Component = Literal["cann", "driver", "firmware"]
STANDARD = Path("/usr/local/Ascend")


@dataclass(frozen=True)
class VersionFact:
    """A version and the file that states it.

    Attributes:
        component: ``cann``, ``driver`` or ``firmware``.
        version: The version as written there.
        file: Where it is written.
    """

    component: Component
    version: str
    file: Path


def read_versions(
    environment: VendorEnvironment, *, standard: Path = STANDARD
) -> tuple[VersionFact, ...]:
    """Read the versions that the installed software states; what is not installed is left out.

    Sources: ``ascend_toolkit_install.info`` of CANN 6 to 9, ``version.cfg`` of CANN 5, and
    ``version.info`` of driver and firmware. The first file of each component counts.
    """
    places: tuple[tuple[Component, Iterator[Path], str], ...] = (
        ("cann", _cann_files(environment, standard), r"^version=(.+)$"),
        ("cann", _old_cann_files(environment, standard), r"^runtime_running_version=\[(.+)\]"),
        ("driver", iter([standard / "driver/version.info"]), r"^Version=(.+)$"),
        ("firmware", iter([standard / "firmware/version.info"]), r"^Version=(.+)$"),
    )
    found: dict[Component, VersionFact] = {}
    for component, files, pattern in places:
        for file in files:
            if component not in found and (version := _stated(file, pattern)):
                found[component] = VersionFact(component, version, file)
    return tuple(found.values())


def _cann_folders(environment: VendorEnvironment, standard: Path) -> Iterator[Path]:
    """Yield CANN's folder, the one in use first: a machine may have several."""
    for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"):
        if folder := environment.variables.get(name):
            yield Path(folder)
    if script := environment.set_env:
        yield script.parent
        yield script.parent / "latest"
    yield standard / "ascend-toolkit/latest"
    yield standard / "cann"


def _cann_files(environment: VendorEnvironment, standard: Path) -> Iterator[Path]:
    for folder in _cann_folders(environment, standard):
        yield from sorted(folder.glob("*-linux/ascend_toolkit_install.info"))
        yield folder / "ascend_toolkit_install.info"


def _old_cann_files(environment: VendorEnvironment, standard: Path) -> Iterator[Path]:
    for folder in _cann_folders(environment, standard):
        yield folder / "version.cfg"


def _stated(file: Path, pattern: str) -> str | None:
    """Return the version that a file states, None where it is missing or unreadable."""
    try:
        text = file.read_text("utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(pattern, text, re.MULTILINE)
    return match[1].strip() if match else None
