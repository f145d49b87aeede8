"""``python -m conformance store list|check|pack|gc``: look after the artifact store."""

from __future__ import annotations

import argparse
import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from conformance.artifacts import Manifest, Store, damage
from conformance.config import default_artifacts_folder
from conformance.errors import ArtifactError

DAY_S = 24 * 3600


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``store`` and its four verbs to the command line."""
    store = commands.add_parser("store", help="look after the artifact store")
    verbs = store.add_subparsers(required=True, metavar="VERB")
    for name, run, text in (
        ("list", list_entries, "what the store holds"),
        ("check", check_entries, "compare every file with its digest; status 1 if one differs"),
        ("pack", pack, "write all sound artifacts to one archive, for another machine"),
        ("gc", collect_garbage, "remove leftovers, damaged and long unused artifacts"),
    ):
        verb = verbs.add_parser(name, help=text, description=text)
        verb.set_defaults(run=run)
        verb.add_argument(
            "--artifacts",
            metavar="DIR",
            type=Path,
            default=default_artifacts_folder(os.environ),
            help="the artifact store (default: %(default)s)",
        )
        if name == "pack":
            verb.add_argument(
                "archive", metavar="FILE.tar", type=Path, help="unpack with `tar -xf`"
            )
        if name == "gc":
            verb.add_argument(
                "--unused-days",
                metavar="N",
                type=_whole_days,
                default=30,
                help="remove what no run used for N days (default: %(default)s)",
            )


def _opened(folder: Path) -> Store:
    """Return the store in a folder that must be there: of a misspelt one all would seem well."""
    if folder.is_dir():
        return Store(folder)
    raise ArtifactError(
        "there is no artifact store",
        expected="a folder that a run has filled",
        where={"folder": folder},
        next_step="correct --artifacts=DIR, or fill it: `pytest tests/test_export.py`",
    )


def _whole_days(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"needs a whole number of days, got {text!r}")
    return int(text)


def list_entries(arguments: argparse.Namespace) -> int:
    """Print a table of the store's artifacts."""
    table = Table("artifact", "key", "MB", "last used", "facts", box=None)
    for folder, manifest in _opened(arguments.artifacts).entries():
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(folder.stat().st_mtime))
        size, facts = ("?", "damaged manifest") if manifest is None else _summary(manifest)
        table.add_row(folder.parent.name, folder.name[:12], size, used, facts)
    console = Console()
    console.print(table if table.row_count else "the store is empty", soft_wrap=True)
    console.print(f"store: {arguments.artifacts}", soft_wrap=True)
    return 0


def check_entries(arguments: argparse.Namespace) -> int:
    """Verify every digest in the store and name each file that differs."""
    entries = dict(_opened(arguments.artifacts).entries())
    bad = 0
    for folder, manifest in entries.items():
        for problem in ["damaged manifest"] if manifest is None else damage(folder, manifest):
            bad += 1
            print(f"{folder}: {problem}")
    print(f"{len(entries)} artifacts checked, {bad} problems found in {arguments.artifacts}")
    if bad:
        print("next: `python -m conformance store gc` removes what is damaged")
    return 1 if bad else 0


def pack(arguments: argparse.Namespace) -> int:
    """Write every sound artifact to a tar archive, under a temporary name first.

    Raises:
        ArtifactError: The store holds nothing sound, or the archive cannot be written.
    """
    store, archive = _opened(arguments.artifacts), arguments.archive
    sound = [folder for folder, made in store.entries() if made and not damage(folder, made)]
    if not sound:
        raise ArtifactError(
            "there is nothing to pack",
            where={"store": store.root},
            next_step="fill it first: `pytest tests/test_export.py`",
        )
    try:
        _write_archive(store, sound, archive)
    except OSError as error:
        raise ArtifactError(
            "archive cannot be written",
            got=error,
            where={"file": archive},
            next_step="name a file in a folder that this user may write, with room for the store",
        ) from error
    print(f"{len(sound)} artifacts packed into {archive}; unpack with `tar -xf` into a store")
    return 0


def _write_archive(store: Store, sound: list[Path], archive: Path) -> None:
    handle, name = tempfile.mkstemp(dir=archive.absolute().parent, prefix=f"{archive.name}.")
    try:
        with os.fdopen(handle, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as tar:
            for folder in sound:
                tar.add(folder, arcname=folder.relative_to(store.root).as_posix())
        Path(name).replace(archive)
    finally:
        Path(name).unlink(missing_ok=True)


def collect_garbage(arguments: argparse.Namespace) -> int:
    """Remove leftovers of killed builds, damaged artifacts and what was not used for long."""
    store = _opened(arguments.artifacts)
    oldest = time.time() - arguments.unused_days * DAY_S
    doomed = store.leftovers()
    doomed += [
        folder
        for folder, made in store.entries()
        if made is None or folder.stat().st_mtime < oldest or damage(folder, made)
    ]
    for folder in doomed:
        _remove(folder)
        print(f"removed {folder}")
    print(f"{len(doomed)} removed from {store.root}")
    return 0


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise ArtifactError(
            "artifact cannot be removed",
            got=error,
            where={"folder": folder},
            next_step="run as a user who may write the store",
        ) from error


def _summary(manifest: Manifest) -> tuple[str, str]:
    size = sum(stored.size for stored in manifest.files.values())
    facts = ", ".join(f"{name}={value}" for name, value in manifest.facts.items())
    return f"{size / 1e6:.1f}", facts
