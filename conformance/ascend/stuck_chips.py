"""Marks on chips that must not be used, because a tool on them could not be killed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from conformance.ascend.lock_files import LockFolder, read_json, write_text
from conformance.ascend.tool_run import Survivor
from conformance.errors import BoardError


@dataclass(frozen=True)
class StuckMark:
    """The mark on one chip; it counts as long as one of the processes in it runs.

    Attributes:
        files: The folder of the machine's locks.
        npu: The card's id in npu-smi.
        chip: The chip's id on its card.
    """

    files: LockFolder
    npu: int
    chip: int

    def write(self, survivors: Sequence[Survivor]) -> None:
        """Note the processes that could not be killed.

        Raises:
            BoardError: There is no room for it. What is left of the mark bars the chip too.
        """
        descriptor = self.files.open(self._name)
        try:
            write_text(descriptor, json.dumps([asdict(survivor) for survivor in survivors]))
        except OSError as error:
            raise BoardError(
                f"a tool on the chip cannot be killed, and that cannot be noted: {error.strerror}",
                got=_told(survivors),
                expected="room for the note",
                where={**self._where, "file": self._path},
                next_step="make room, use another chip with --chips=, or restart the machine",
            ) from None
        finally:
            os.close(descriptor)

    def error(self) -> BoardError | None:
        """Return why the chip must not be used; None if nothing speaks against it."""
        if not self._path.exists():
            return None
        descriptor = self.files.open(self._name)
        try:
            survivors = msgspec.convert(read_json(descriptor), list[Survivor])
        except msgspec.ValidationError as error:
            return self._damaged(error)
        finally:
            os.close(descriptor)
        stuck = [survivor for survivor in survivors if survivor.is_running()]
        return self._stuck(stuck) if stuck else None

    @property
    def _name(self) -> str:
        return f"chip-{self.npu}-{self.chip}-unusable"

    @property
    def _path(self) -> Path:
        return self.files.path / f"{self._name}.lock"

    @property
    def _where(self) -> dict[str, object]:
        return {"NPU": self.npu, "chip": self.chip}

    def _stuck(self, stuck: Sequence[Survivor]) -> BoardError:
        return BoardError(
            "chip is used by a tool that could not be killed",
            got=_told(stuck),
            expected="no process on it",
            where=self._where,
            next_step="use another chip with --chips=, or restart the machine",
        )

    def _damaged(self, error: msgspec.ValidationError) -> BoardError:
        return BoardError(
            "chip may be used by a tool that could not be killed: the note about it is damaged",
            got=error,
            expected="a list of processes",
            where={**self._where, "file": self._path},
            next_step=f"see that no process uses the chip and have {self._path} removed, or use "
            "another chip with --chips=",
        )


def _told(survivors: Sequence[Survivor]) -> str:
    return "; ".join(f"{s.pid} ({s.state}) {s.command}" for s in survivors)
