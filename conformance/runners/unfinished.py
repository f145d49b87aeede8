"""What a run over all images keeps when it fails half way, and what it says of how far it came.

Nothing reads it again: it is there for whoever looks for the cause.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from conformance.ascend.work_folder import INPUTS
from conformance.errors import ConformanceError
from conformance.predictions import ScoreCollector

FOLDER = "unfinished"


@dataclass(frozen=True)
class Shard:
    """Where in the run a shard lies.

    Attributes:
        number: Counted from 1.
        count: How many shards the run has.
        size: Images of each but the last.
        images: Images of the whole run.
    """

    number: int
    count: int
    size: int
    images: int


@contextlib.contextmanager
def kept_on_failure(
    shard: Shard, finished: ScoreCollector, folder: Path, records: Path
) -> Iterator[None]:
    """Keep what was measured and written when the shard in this block fails.

    Args:
        shard: The shard.
        finished: Scores of the shards before it.
        folder: The shard's own folder, with what the tool has written.
        records: Where the run keeps its logs.
    """
    try:
        yield
    except ConformanceError as error:
        kept = records / FOLDER
        failed = f"shard {shard.number} of {shard.count} failed"
        error.where["so far"] = f"{finished.filled} of {shard.images} images; {failed}"
        error.where["kept"] = _kept(shard, finished, folder, kept)
        raise


def _kept(shard: Shard, finished: ScoreCollector, folder: Path, kept: Path) -> str:
    """Write scores and partial outputs; a full disk must not hide the failure itself."""
    try:
        kept.mkdir(parents=True, exist_ok=True)
        rows = finished.rows()
        for number in range(1, shard.number):
            _write_scores(islice(rows, shard.size), kept / f"shard{number}-scores.txt")
        outputs = kept / f"shard{shard.number}-outputs"
        leave = shutil.ignore_patterns("*.om", INPUTS, "*.log")  # logs are kept beside it
        shutil.copytree(folder, outputs, symlinks=True, ignore=leave, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        return f"not everything, in {kept}: {error}"
    return str(kept)


def _write_scores(rows: Iterable[tuple[str, list[float]]], path: Path) -> None:
    """Write a line an image: its name, then its scores, as text that can be scrubbed."""
    with path.open("w", encoding="utf-8") as stream:
        for name, scores in rows:
            stream.write(f"{name} {' '.join(f'{score:.9g}' for score in scores)}\n")
