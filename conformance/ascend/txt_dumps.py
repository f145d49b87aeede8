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


@dataclasses.dataclass(frozen=True, slots=True)
class _Portion:
    """Rows of some files, whether any file ends properly, and the first one that does not."""

    rows: list[Row]
    any_ended: bool
    first_unended: str | None


def txt_rows(paths: Sequence[str], workers: int) -> Iterator[Row]:
    """Yield the scores of each TXT result, in order, and at last refuse numbers cut short.

    Whether a tool puts a blank behind the last number is its habit; then each of its files has one.

    Args:
        paths: The files.
        workers: Processes that read, at most; few results are read in this one.

    Raises:
        DumpError: A file is unreadable, empty, cut short or of several lines, or holds what is no
            finite number; names it.
    """
    workers = min(workers, 1 + len(paths) // _WORTH_A_PROCESS)
    ended, unended = False, None
    for portion in each_in_order(_read_portion, paths, workers=workers, chunk=_PORTION):
        ended |= portion.any_ended
        unended = unended or portion.first_unended
        yield from portion.rows
    if ended and unended:
        raise _cut(unended)


def _read_portion(paths: Sequence[str]) -> _Portion:
    rows: list[Row] = []
    unended: list[str] = []
    for path in paths:
        line, complete = read_txt(path)
        if not complete:
            if looks_cut(line):
                raise _cut(path)
            unended.append(path)
        rows.append(parse_line(line, path))
    return _Portion(rows, len(unended) < len(paths), unended[0] if unended else None)


def _cut(path: str) -> DumpError:
    return dump_error(
        "a dump is cut in the middle of a number",
        path,
        "nothing behind the last digit",
        "a blank or line end, as in the other files, or as many decimals as its neighbours",
    )
