"""Baselines: the last accepted figures of a model on a board, in a file under version control.

``baselines/<device|emulated>/<soc>/<model>.json``. Which figures are kept, which way is better and
how much noise they have stands in ``gates.toml``.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from conformance.bounds import suite_bound
from conformance.check import Check, Status
from conformance.errors import ConformanceError, EvidenceError
from conformance.evidence.bundle import (
    Coordinates,
    MadeCheck,
    Waiver,
)
from conformance.evidence.bundle_files import read_limited
from conformance.evidence.gate import Gates, Row
from conformance.whole_files import write_whole_with_folder

FOLDER = "baselines"
MAX_BYTES = 4 * 1024 * 1024
REGRESSION = "regression."
# The check that states the spread of a group of figures, such as ``throughput.spread``: the
# standard deviation of one round in percent of the mean.
SPREAD = "spread"
# Two means of five rounds, the fewest that decide, differ by chance by less than
# t(0.99, 8 degrees) * sqrt(2 / 5) = 1.83 spreads in 99 of 100 cases; rounded up.
SPREADS_APART = suite_bound("baseline.spreads_apart")
MEASURED = (Status.PASS, Status.FAIL)


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a baseline: what is not in the schema is refused."""


class Origin(_Part, frozen=True):
    """The run that a figure was measured in, when it was accepted, and the run's versions."""

    run: str
    accepted: dt.date
    versions: dict[str, str]


class AcceptedFigure(_Part, frozen=True, omit_defaults=True):
    """One figure: the check and test it comes from, its value, the spread of a round in percent.

    It has an origin of its own where it stayed because a later run was lower, but only by noise.
    """

    id: str
    coordinates: Coordinates
    value: float
    unit: str
    test: str
    better: Literal["higher", "lower"]
    spread_pct: float = 0.0
    origin: Origin | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Id and coordinates, the same for the same figure of another run."""
        return self.id, figure_key(self.coordinates)

    @property
    def label(self) -> str:
        """The figure's id and coordinates."""
        return Check(id=self.id, status=Status.PASS, coordinates=self.coordinates).label

    def bound(self, floor_pct: float, spread_pct: float | None = None) -> float:
        """Return the worst value that noise explains.

        Args:
            floor_pct: Least noise of such a figure, in percent of it.
            spread_pct: Spread of the run that is compared; None counts this figure's own twice.
        """
        other = self.spread_pct if spread_pct is None else spread_pct
        both = math.sqrt((self.spread_pct**2 + other**2) / 2)
        share = max(floor_pct, SPREADS_APART * both) / 100
        return self.value * (1 - share if self.better == "higher" else 1 + share)


class Baseline(_Part, frozen=True):
    """The last accepted figures of one model on one kind of board.

    Attributes:
        model: The model.
        board: ``device`` or ``emulated``.
        soc_version: Such as ``Ascend310``.
        run: The run that was accepted last.
        accepted: When that was.
        verdict: That run's verdict.
        versions: Its versions.
        figures: The figures; each that has no origin of its own was measured in that run.
        waivers: Leave to accept figures that were lower than before.
    """

    model: str
    board: Literal["device", "emulated"]
    soc_version: str
    run: str
    accepted: dt.date
    verdict: str
    versions: dict[str, str]
    figures: tuple[AcceptedFigure, ...]
    waivers: tuple[Waiver, ...] = ()

    def origin_of(self, figure: AcceptedFigure) -> Origin:
        """Return where one of the figures was measured."""
        return figure.origin or Origin(run=self.run, accepted=self.accepted, versions=self.versions)


def baseline_path(folder: Path, board: str, soc_version: str, model: str) -> Path:
    """Return where a baseline lies.

    Raises:
        EvidenceError: A name has a path in it, or there is no baseline for such a board.
    """
    plain = all(part.replace("_", "").replace("-", "").isalnum() for part in (soc_version, model))
    if board in {"device", "emulated"} and plain:
        return folder / board / soc_version / f"{model}.json"
    raise EvidenceError(
        "there is no baseline for such a run",
        got=f"board={board}, SoC {soc_version or 'none'}, {model}",
        expected="a run on a board of class device or emulated",
        next_step="accept a run that used a board",
    )


def read_baseline(path: Path) -> Baseline | None:
    """Read a baseline; None if there is none.

    Raises:
        EvidenceError: It is damaged.
    """
    try:
        path.lstat()
        baseline = msgspec.json.decode(read_limited(path, MAX_BYTES), type=Baseline)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, EvidenceError, msgspec.MsgspecError) as error:
        raise EvidenceError(
            "the baseline cannot be read",
            got=error.got if isinstance(error, EvidenceError) else error,
            expected=f"a file of at most {MAX_BYTES} bytes that `accept` wrote",
            where={"file": path},
            next_step="take the file back from version control; if it was never there, remove it "
            "and accept a run again",
        ) from None
    if path.parts[-3:] == (baseline.board, baseline.soc_version, f"{baseline.model}.json"):
        return baseline
    raise EvidenceError(
        "the baseline is of something else than its path says",
        got=f"{baseline.board}/{baseline.soc_version}/{baseline.model}",
        where={"file": path},
        next_step="take the file back from version control",
    )


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline, whole or not at all.

    Raises:
        EvidenceError: It cannot be written.
    """
    encoded = msgspec.json.format(msgspec.json.encode(baseline), indent=1) + b"\n"
    try:
        write_whole_with_folder(encoded, path)
    except ConformanceError as error:
        raise EvidenceError(
            "the baseline cannot be written",
            got=error.got,
            where={"file": path},
            next_step="name a folder with room that this user may write with --baselines=DIR",
        ) from error


def kept_figures(
    checks: Iterable[MadeCheck], gates: Gates, model: str
) -> tuple[AcceptedFigure, ...]:
    """Return the figures of one model that a baseline keeps; of repeated ones the worst.

    A figure that fails its own bound is measured too: it must not escape the comparison.
    """
    made = list(checks)
    spreads = [entry.check for entry in made if entry.check.id.endswith(f".{SPREAD}")]
    figures: dict[tuple[str, str], AcceptedFigure] = {}
    for entry in made:
        check, row = entry.check, gates.row(entry.check.id)
        if not row or not row.baseline or check.coordinates.get("model") != model:
            continue
        if check.status not in MEASURED or isinstance(check.value, str | bool | None):
            continue
        found = _figure(entry, row, _spread_of(check, spreads))
        if found.place not in figures or is_worse(found.value, figures[found.place]):
            figures[found.place] = found
    return tuple(figures.values())


def _spread_of(check: Check, spreads: Iterable[Check]) -> float:
    """Return the largest spread stated for the group of a check at its place; 0 if none is."""
    group = check.id.partition(".")[0]
    return max(
        (
            float(stated.value)
            for stated in spreads
            if stated.id.startswith(f"{group}.")
            and isinstance(stated.value, int | float)
            and all(check.coordinates.get(n, v) == v for n, v in stated.coordinates.items())
        ),
        default=0.0,
    )


def _figure(entry: MadeCheck, row: Row, spread_pct: float) -> AcceptedFigure:
    check = entry.check
    return AcceptedFigure(
        id=check.id,
        coordinates=check.coordinates,
        value=float(check.value or 0),
        unit=check.unit,
        test=entry.test,
        better="lower" if row.baseline == "lower" else "higher",
        spread_pct=spread_pct,
    )


def figure_key(coordinates: Coordinates) -> str:
    """Return coordinates as text, the same for the same places."""
    return msgspec.json.encode(coordinates, order="sorted").decode()


def is_worse(value: float, than: AcceptedFigure) -> bool:
    """Whether a value is worse than an accepted figure, by whatever little."""
    return value < than.value if than.better == "higher" else value > than.value
