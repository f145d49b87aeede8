"""Baselines: the last accepted figures of a model on a board, in a file under version control.

``baselines/<device|emulated>/<soc>/<model>.json``. Which figures are kept, which way is better and
how much noise they have stands in ``gates.toml``.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from conformance.bounds import suite_bound
from conformance.check import Check, Status, at_least, at_most
from conformance.errors import EvidenceError
from conformance.evidence.bundle import (
    Coordinates,
    MadeCheck,
    Waiver,
)
from conformance.evidence.bundle_files import read_limited, write_whole
from conformance.evidence.gate import Gates, Row

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


class AcceptedFigure(_Part, frozen=True):
    """One figure: the check and test it comes from, its value, the spread of a round in percent."""

    id: str
    coordinates: Coordinates
    value: float
    unit: str
    test: str
    better: Literal["higher", "lower"]
    spread_pct: float = 0.0

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
        run: The run they come from.
        accepted: When they were accepted.
        verdict: That run's verdict.
        versions: Its versions.
        figures: The figures.
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
    if not path.exists():
        return None
    try:
        baseline = msgspec.json.decode(read_limited(path, MAX_BYTES), type=Baseline)
    except msgspec.MsgspecError as error:
        raise EvidenceError(
            "the baseline cannot be read",
            got=error,
            where={"file": path},
            next_step="take the file back from version control, or accept a run again",
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
    write_whole(path, msgspec.json.format(msgspec.json.encode(baseline), indent=1) + b"\n")


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
        key = (check.id, figure_key(check.coordinates))
        found = _figure(entry, row, _spread_of(check, spreads))
        if key not in figures or is_worse(found.value, figures[key]):
            figures[key] = found
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


def regression_checks(
    figures: Sequence[AcceptedFigure], baseline: Baseline, gates: Gates
) -> list[Check]:
    """Compare a run's figures with the baseline, each within its noise.

    Args:
        figures: The run's, from :func:`kept_figures`.
        baseline: The accepted ones.
        gates: They say how much noise a figure has.

    Returns:
        One check for each figure that is in both, with the command that measures it again.
    """
    now = {(figure.id, figure_key(figure.coordinates)): figure for figure in figures}
    checks = []
    for old in baseline.figures:
        if new := now.get((old.id, figure_key(old.coordinates))):
            row = gates.row(old.id)
            make = at_least if old.better == "higher" else at_most
            checks.append(
                make(
                    REGRESSION + old.id,
                    new.value,
                    old.bound(row.noise_pct if row else 0.0, new.spread_pct),
                    unit=new.unit,
                    coordinates=new.coordinates,
                    source=f"baseline of {baseline.accepted}, run {baseline.run}: {old.value:g}, "
                    f"spread {old.spread_pct:.2g} %, now {new.spread_pct:.2g} %",
                    hint=f"measure again: pytest {new.test!r}",
                )
            )
    return checks
