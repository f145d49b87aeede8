"""Many TXT results at a time, over processes: reading decimal texts is what scoring spends."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from conformance.ascend.dump_formats import Row, dump_error, looks_cut, parse_line, read_txt
from conformance.errors import DumpError
from conformance.imagenet.parallel import each_in_order

# A result takes some 50 microseconds: a few hundred make crossing a process border cheap, and a
# few thousand make starting a process so.
_PORTION = 512
_WORTH_A_PROCESS = 8192


@dataclasses.dataclass(slots=True)
class _Ending:
    """What stands behind the last number of some files: of how many, and the first of them."""

    count: int
    first: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Portion:
    """Rows of some files, and how these end."""

    rows: list[Row]
    endings: dict[bytes, _Ending]


def txt_rows(paths: Sequence[str], workers: int) -> Iterator[Row]:
    """Yield the scores of each TXT result, in order, and at last refuse numbers cut short.

    What a tool puts behind the last number is its habit; then each of its files ends alike.

    Args:
        paths: The files.
        workers: Processes that read, at most; few results are read in this one.

    Raises:
        DumpError: A file is unreadable, empty, cut short or of several lines, holds what is no
            finite number, or ends otherwise than the others; names it.
    """
    workers = min(workers, 1 + len(paths) // _WORTH_A_PROCESS)
    endings: dict[bytes, _Ending] = {}
    for portion in each_in_order(_read_portion, paths, workers=workers, chunk=_PORTION):
        for blanks, found in portion.endings.items():
            _note(endings, blanks, found.first, found.count)
        yield from portion.rows
    if len(endings) > 1:
        raise _odd_one(endings)


def _read_portion(paths: Sequence[str]) -> _Portion:
    rows: list[Row] = []
    endings: dict[bytes, _Ending] = {}
    for path in paths:
        line, blanks = read_txt(path)
        if looks_cut(line):
            raise _cut(path, blanks)
        _note(endings, blanks, path)
        rows.append(parse_line(line, path))
    return _Portion(rows, endings)


def _note(endings: dict[bytes, _Ending], blanks: bytes, path: str, count: int = 1) -> None:
    endings.setdefault(blanks, _Ending(0, path)).count += count


def _odd_one(endings: dict[bytes, _Ending]) -> DumpError:
    """Blame a file that ends in nothing, else one of those that are fewest."""
    blanks = min(endings, key=lambda one: (one != b"", endings[one].count, len(one)))
    return _cut(endings[blanks].first, blanks)


def _cut(path: str, blanks: bytes) -> DumpError:
    return dump_error(
        "a dump is cut in the middle of a number",
        path,
        f"{blanks[:8]!r} behind the last digit" if blanks else "nothing behind the last digit",
        "a blank or line end, as in the other files, or as many decimals as its neighbours",
    )
