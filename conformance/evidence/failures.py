"""First failures of a run, kept in its folder so that every worker meets the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from filelock import FileLock

from conformance.check import NotApplicable, SkipReason
from conformance.errors import ConformanceError
from conformance.evidence.record import writing

Made = TypeVar("Made")


class KeptFailure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failure in a form that other processes can read."""

    step: str
    kind: str
    what: str
    got: str | None = None
    expected: str | None = None
    where: dict[str, str] = {}
    next_step: str = ""


class KeptFailures:
    """The steps of one run that failed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def first(self, step: str, make: Callable[[], Made]) -> Made:
        """Make something, unless it failed before in this run; then raise that failure again.

        Only failures that can be told as data are kept; a defect of this suite is raised as it is.

        Raises:
            ConfigError: The run's folder cannot be written.
        """
        file = self._folder / f"{hashlib.sha256(step.encode()).hexdigest()[:16]}.json"
        lock = FileLock(file.with_suffix(".lock"))
        with writing(file):
            self._folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            if file.exists():
                raise _revived(msgspec.json.decode(file.read_bytes(), type=KeptFailure))
            return _made_or_kept(file, step, make)
        finally:
            lock.release()


def _made_or_kept(file: Path, step: str, make: Callable[[], Made]) -> Made:
    try:
        return make()
    except (ConformanceError, NotApplicable) as error:
        _keep(file, _kept(step, error))
        raise


def _keep(file: Path, failure: KeptFailure) -> None:
    unfinished = file.with_suffix(".new")  # the lock is held, so nobody else writes it
    with writing(file):
        unfinished.write_bytes(msgspec.json.encode(failure))
        unfinished.replace(file)


def _kept(step: str, error: ConformanceError | NotApplicable) -> KeptFailure:
    if isinstance(error, NotApplicable):
        return KeptFailure(step, "NotApplicable", error.detail, got=error.reason.value)
    return KeptFailure(
        step=step,
        kind=type(error).__name__,
        what=error.what,
        got=None if error.got is None else str(error.got),
        expected=None if error.expected is None else str(error.expected),
        where={name: str(value) for name, value in error.where.items()},
        next_step=error.next_step,
    )


def _revived(kept: KeptFailure) -> ConformanceError | NotApplicable:
    if kept.kind == "NotApplicable":
        return NotApplicable(SkipReason(str(kept.got)), kept.what)
    kinds = {kind.__name__: kind for kind in _kinds(ConformanceError)}
    return kinds.get(kept.kind, ConformanceError)(
        kept.what,
        got=kept.got,
        expected=kept.expected,
        where=kept.where,
        next_step=kept.next_step,
    )


def _kinds(base: type[ConformanceError]) -> Iterator[type[ConformanceError]]:
    """Yield a class of errors and all derived from it, wherever they are defined."""
    yield base
    for derived in base.__subclasses__():
        yield from _kinds(derived)
