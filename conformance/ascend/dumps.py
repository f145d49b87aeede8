"""Predictions from what an inference tool leaves behind, if it is the whole of this run.

Both tools write one file per image and output: ``benchmark`` counts outputs from 1
(``NAME_1.txt``), ``ais_bench`` from 0 (``NAME_0.txt``). Neither empties its folder first, so that
files of an earlier run survive; and a lost image only shows if every name is asked for.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from conformance.ascend.dump_formats import Row, dump_error, read_bin, read_npy, unreadable
from conformance.ascend.txt_dumps import txt_rows
from conformance.errors import DumpError
from conformance.image_names import stems_by_name
from conformance.predictions import Labels, Predictions, not_finite

Format = Literal["txt", "bin", "npy"]

_NAMES_SHOWN = 5
_FLOAT32 = 4
# The kernel stamps files with a clock that ticks every few milliseconds and lags time.time().
_CLOCK_TICK_S = 0.02


@dataclasses.dataclass(frozen=True, slots=True)
class DumpLayout:
    """How a tool names its results: number of the first output, and the format.

    Attributes:
        index: 1 for ``benchmark``, 0 for ``ais_bench``.
        format: ``txt``, ``bin`` or ``npy``.
    """

    index: int
    format: Format

    def file_name(self, stem: str) -> str:
        """Return the name of the result file of one image."""
        return f"{stem}_{self.index}.{self.format}"


_FORMATS: tuple[Format, ...] = ("txt", "bin", "npy")
_LAYOUTS = tuple(DumpLayout(index, form) for index in (0, 1) for form in _FORMATS)


def read_dumps(
    folder: Path,
    names: Sequence[str],
    labels: Labels,
    classes: int,
    *,
    layout: DumpLayout | None = None,
    started: float | None = None,
    keep_background: bool = False,
    workers: int = 1,
) -> Predictions:
    """Read one result for each image, and demand that there is nothing else.

    Args:
        folder: The tool's result folder.
        names: Image names, in order; results are found by :func:`result_stem`.
        labels: int64, the class of each image, from 0.
        classes: Number of classes. Outputs with one more have a background class first.
        layout: How results are named; None takes the one that is there.
        started: When the inference was started, in seconds since the epoch by the clock that
            stamps the files; older files are refused. None accepts any age.
        keep_background: Keep the background class of wider outputs and count labels from 1, as
            the guide's scorer does, in place of dropping it.
        workers: Processes that read TXT results, if there are many.

    Raises:
        DumpError: A result is missing, extra, repeated, older than ``started``, empty, cut short,
            of several lines or of the wrong width, or holds what is no finite number; or results
            come in two layouts. Names the files.
    """
    if not names:
        raise DumpError("no results to read", got="no image", expected="at least one image")
    found = _listed(folder)
    stems = tuple(stems_by_name(names).values())
    layout = layout or _layout(found, stems, folder)
    files = [layout.file_name(stem) for stem in stems]
    _demand_exactly(found, files, folder)
    if started is not None:
        _demand_fresh(found, files, started, folder)
    scores = _scores([found[file].path for file in files], layout.format, classes, workers)
    _demand_finite(scores, files, names, folder)
    if scores.shape[1] > classes:
        if keep_background:
            return Predictions(tuple(names), scores, labels + 1)
        scores = np.ascontiguousarray(scores[:, 1:])
    return Predictions(tuple(names), scores, labels)


def _listed(folder: Path) -> dict[str, os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry for entry in entries}
    except OSError as error:
        raise DumpError(
            "result folder cannot be read",
            got=error,
            expected="the folder in which the inference tool left its results",
            where={"folder": folder},
            next_step="run the inference first, or give its result folder",
        ) from None


def _layout(found: Mapping[str, object], stems: Sequence[str], folder: Path) -> DumpLayout:
    """Return the layout of the first image that has a result; all others must then share it."""
    for stem in stems:
        there = [layout for layout in _LAYOUTS if layout.file_name(stem) in found]
        if len(there) == 1:
            return there[0]
        if there:
            raise DumpError(
                "an image has several results",
                got=", ".join(layout.file_name(stem) for layout in there),
                expected="one result for each image",
                where={"folder": folder},
                next_step="empty the result folder and run the inference again",
            )
    raise DumpError(
        "no results of these images",
        got=_shortened(sorted(found)) or "an empty folder",
        expected="NAME_1.* (benchmark) or NAME_0.* (ais_bench), txt, bin or npy, of each image",
        where={"folder": folder},
        next_step="run the inference first, or give its result folder",
    )


def _demand_exactly(found: Mapping[str, object], files: Sequence[str], folder: Path) -> None:
    missing = [file for file in files if file not in found]
    extra = sorted(found.keys() - set(files))
    for what, wrong in (("results are missing", missing), ("files are extra", extra)):
        if wrong:
            raise DumpError(
                f"{what} in the result folder",
                got=f"{len(wrong)}: {_shortened(wrong)}",
                expected=f"exactly one file for each of {len(files)} images",
                where={"folder": folder},
                next_step="empty the result folder, move summaries elsewhere, and infer again",
            )


def _demand_fresh(
    found: Mapping[str, os.DirEntry[str]], files: Sequence[str], started: float, folder: Path
) -> None:
    written = {file: _written(found[file]) for file in files}
    if stale := [file for file in files if written[file] < started - _CLOCK_TICK_S]:
        age_s = started - min(written[file] for file in stale)
        raise DumpError(
            "results are older than this run",
            got=f"{len(stale)}: {_shortened(stale)}, up to {age_s:.1f} s older than its start",
            expected="files written after the inference was started",
            where={"folder": folder},
            next_step="empty the result folder first; on a network disk compare the clocks",
        )


def _written(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_mtime
    except OSError as error:
        raise unreadable(entry.path, error) from None


def _demand_finite(
    scores: npt.NDArray[np.float32], files: Sequence[str], names: Sequence[str], folder: Path
) -> None:
    """Name the files of scores that are no finite numbers, as BIN and NPY may hold them."""
    bad = np.flatnonzero(not_finite(scores))
    if len(bad):
        raise DumpError(
            "scores are not finite",
            got=f"{len(bad)}: "
            + _shortened([f"{files[index]} (of {names[index]})" for index in bad.tolist()]),
            expected="finite numbers only",
            where={"folder": folder},
            next_step="look at these outputs; if they are whole, the model overflows on the chip",
        )


def _scores(
    paths: Sequence[str], form: Format, classes: int, workers: int
) -> npt.NDArray[np.float32]:
    if form == "bin":
        return _from_bin(paths, classes)
    rows = txt_rows(paths, workers) if form == "txt" else map(read_npy, paths)
    return _from_rows(rows, paths, classes)


def _from_rows(rows: Iterable[Row], paths: Sequence[str], classes: int) -> npt.NDArray[np.float32]:
    scores = np.empty((len(paths), 0), np.float32)
    for number, (row, path) in enumerate(zip(rows, paths, strict=True)):
        if number == 0:
            _demand_width(len(row), classes, path)
            scores = np.empty((len(paths), len(row)), np.float32)
        if len(row) != scores.shape[1]:
            raise _mixed_widths(path, len(row), paths[0], scores.shape[1])
        scores[number] = row
    return scores


def _from_bin(paths: Sequence[str], classes: int) -> npt.NDArray[np.float32]:
    try:
        first_bytes = os.stat(paths[0]).st_size  # noqa: PTH116 - text
    except OSError as error:
        raise unreadable(paths[0], error) from None
    with_background = first_bytes == (classes + 1) * _FLOAT32
    scores = np.empty((len(paths), classes + with_background), "<f4")
    for path, row in zip(paths, scores, strict=True):
        read_bin(path, row)
    return scores


def _demand_width(width: int, classes: int, path: str) -> None:
    if width not in {classes, classes + 1}:
        raise dump_error(
            "a dump has the wrong width",
            path,
            f"{width} numbers",
            f"{classes}, or {classes + 1} with a background class first",
        )


def _mixed_widths(path: str, width: int, first: str, usual: int) -> DumpError:
    return dump_error(
        "a dump has the wrong width",
        path,
        f"{width} numbers, cut short or joined",
        f"{usual} numbers, as in {first}",
    )


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown}, ..."
