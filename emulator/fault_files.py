"""How files go wrong after they were written."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from emulator.faults import Fault

A_DAY_S = 86_400
AN_HOUR_S = 3_600


def spoil(files: Sequence[Path], faults: list[Fault]) -> None:
    """Apply faults to the files of one step, in the order in which they were written."""
    for fault in faults:
        EFFECTS[fault.do](files, **fault.options)


def remove(files: Sequence[Path], *, count: int = 0) -> None:
    """Remove the last files, or all."""
    for path in files[-count:]:
        path.unlink()


def age(files: Sequence[Path], *, count: int = 0) -> None:
    """Make files look as if they had been written yesterday."""
    yesterday = time.time() - A_DAY_S
    for path in files[-count:]:
        os.utime(path, (yesterday, yesterday))


def postdate(files: Sequence[Path]) -> None:
    """Make the last file look as if it were written in an hour."""
    later = time.time() + AN_HOUR_S
    os.utime(files[-1], (later, later))


def cut(files: Sequence[Path], *, keep: float = 0.5) -> None:
    """Keep only the beginning of the last file."""
    size = files[-1].stat().st_size
    os.truncate(files[-1], int(size * keep))


def corrupt(files: Sequence[Path], *, offset: int = 0, text: str = "????") -> None:
    """Overwrite some bytes of the last file."""
    with files[-1].open("r+b") as stream:
        stream.seek(offset)
        stream.write(text.encode())


def damage(files: Sequence[Path], *, size: int = 4096) -> None:
    """Overwrite a stretch in the middle of the last file."""
    offset = files[-1].stat().st_size // 2
    corrupt(files, offset=offset, text="?" * size)


def misstate(files: Sequence[Path], *, name: str, factor: float) -> None:
    """Write another number behind a name than the tool has printed."""
    content = files[-1].read_text(encoding="utf-8")
    changed = re.sub(
        rf"({re.escape(name)}\W*)([\d.e+]+)", lambda m: f"{m[1]}{float(m[2]) * factor:g}", content
    )
    files[-1].write_text(changed, encoding="utf-8")


def add_copy(files: Sequence[Path], *, pattern: str = "padding_{}") -> None:
    """Leave a file more than there are images."""
    last = files[-1]
    shutil.copyfile(last, last.with_name(pattern.format(last.name)))


def repeat_lines(files: Sequence[Path], *, times: int = 4) -> None:
    """Repeat the only line of each text file."""
    for path in files:
        path.write_bytes(path.read_bytes() * times)


def move_folder(files: Sequence[Path], *, suffix: str = "_elsewhere") -> None:
    """Write everything into a folder of another name."""
    folder = files[0].parent
    folder.replace(folder.with_name(folder.name + suffix))


def replace_text(files: Sequence[Path], *, old: str, new: str) -> None:
    """Write something else in the last file."""
    content = files[-1].read_text(encoding="utf-8")
    files[-1].write_text(content.replace(old, new), encoding="utf-8")


def rename(files: Sequence[Path], *, old: str, new: str) -> None:
    """Give the last file another name."""
    files[-1].replace(files[-1].with_name(files[-1].name.replace(old, new)))


EFFECTS: dict[str, Callable[..., None]] = {
    effect.__name__: effect
    for effect in (
        remove,
        postdate,
        age,
        cut,
        corrupt,
        damage,
        misstate,
        add_copy,
        repeat_lines,
        move_folder,
        replace_text,
        rename,
    )
}
