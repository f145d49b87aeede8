"""Who is on which chip: a file per running tool in the board's folder, seen by npu-smi."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emulator.board import BoardState, Tenant, write_atomically

RUN_FOLDER = "run"
USED_MARK = "used"
"""Present once an inference tool has opened a chip of the board."""


@contextmanager
def on_chip(folder: Path, device: int, name: str, memory_mb: int = 120) -> Iterator[None]:
    """Be shown on a chip for as long as the block runs.

    A tool that is killed leaves its file; it is passed over because its process is gone.
    """
    (folder / RUN_FOLDER / USED_MARK).touch()
    note = folder / RUN_FOLDER / f"{os.getpid()}-{device}.json"
    row = {
        "device": device,
        "pid": os.getpid(),
        "name": name,
        "memory_mb": memory_mb,
        "born": _birth(os.getpid()),
    }
    write_atomically(note, json.dumps(row).encode())
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def count_run(folder: Path, device: int) -> int:
    """Count a run on a chip; returns how many there were before it."""
    with (folder / RUN_FOLDER / f"runs-{device}").open("a+", encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        before = int(stream.read() or 0)
        stream.truncate(0)
        stream.write(str(before + 1))
    return before


def forget_runs(folder: Path) -> None:
    """Let a board be as fresh as one that no inference tool has used."""
    for note in [folder / RUN_FOLDER / USED_MARK, *(folder / RUN_FOLDER).glob("runs-*")]:
        note.unlink(missing_ok=True)


def tenants(folder: Path, state: BoardState) -> list[Tenant]:
    """Everyone on the board's chips: the processes of its state and the tools that run now."""
    running = []
    for note in sorted((folder / RUN_FOLDER).glob("[0-9]*.json")):
        try:
            row = json.loads(note.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue  # the tool ended between the listing and the reading
        if row.pop("born") == _birth(row["pid"]):
            running.append(Tenant(**row))
    return [*state.processes, *running]


def was_used(folder: Path) -> bool:
    """Whether an inference tool has opened a chip since the board was made."""
    return (folder / RUN_FOLDER / USED_MARK).exists()


def _birth(pid: int) -> str:
    """When a process started, so that a number used again is not taken for the same process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return "gone"
    return text.rpartition(")")[2].split()[19]
