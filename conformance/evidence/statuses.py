"""Statuses, decided again: of each check from value and bound, of each test from its checks."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

from conformance.check import Check, Direction, Status, holds, worst
from conformance.evidence.bundle import Evidence

# Checks that may be undecided although the value lies beyond the bound: an interval decides them,
# and the value is one of its ends or its middle; or the order of equal scores does.
INTERVALS = (
    *("agreement.flips", "accuracy.published.", "accuracy.onnx.", "accuracy.control."),
    *("throughput.", "regression.throughput."),
)
# What is said of a check that contradicts its status.
SAID = {
    Status.PASS: "its value does not meet its bound",
    Status.FAIL: "its value meets its bound",
    Status.INCONCLUSIVE: "its value does not meet its bound, which is FAIL",
    Status.SKIP: "it states a value or no reason: {0.value}, {0.direction} {0.bound}",
    Status.BLOCKED: "it states a value: {0.value}",
}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def status_problems(evidence: Evidence) -> Iterator[str]:
    """Yield every check whose status its value and bound contradict, in either direction."""
    for made in evidence.checks:
        if problem := _contradiction(made.check):
            yield f"{made.check.label}: {made.check.status}, and {problem}"


def _contradiction(check: Check) -> str:
    """Return how a check contradicts its own status; empty if it does not."""
    bounded = check.direction is not Direction.RECORDED
    stated = check.value is not None or check.bound is not None or bounded
    decided = check.id.startswith(INTERVALS) or holds(check)
    # What could not be measured, an ERROR, may have left any numbers.
    found = {
        Status.PASS: check.value is None or not holds(check),
        Status.FAIL: bounded and holds(check),
        Status.INCONCLUSIVE: not decided,
        Status.SKIP: stated or check.reason is None,
        Status.BLOCKED: check.value is not None,
    }
    if not found.get(check.status, False):
        return ""
    return SAID[check.status].format(check)


def outcome_problems(evidence: Evidence) -> Iterator[str]:
    """Yield every test that ended otherwise than its checks say.

    A test whose checks hold may still be an ERROR: it can crash after its claim.
    """
    ends: dict[str, list[Status]] = {}
    for test in evidence.tests:
        ends.setdefault(test.test, []).append(test.status)
    made: dict[str, list[Status]] = {}
    for entry in evidence.checks:
        made.setdefault(entry.test, []).append(entry.check.status)
        if entry.test not in ends:
            yield f"{entry.check.label}: made by a test that did not end: {entry.test}"
    for name, statuses in ends.items():
        ended, checks = worst(statuses), made.get(name, [])
        if not checks and ended is Status.PASS:
            yield f"{name}: ended as PASS without a check: nothing was measured"
        elif checks and ended not in {_given(checks), Status.ERROR}:
            yield f"{name}: ended as {ended}, its checks give {_given(checks)}"


def _given(statuses: list[Status]) -> Status:
    """Return how a test with these checks ends: what does not apply leaves the others standing."""
    if Status.PASS in statuses and set(statuses) <= {Status.PASS, Status.SKIP}:
        return Status.PASS
    return worst(statuses)


def time_problems(evidence: Evidence) -> Iterator[str]:
    """Yield what start and end of the run cannot be."""
    for name, moment in (("started", evidence.started), ("ended", evidence.ended)):
        if not _is_moment(moment):
            yield f"{name}: {moment!r} is no time in UTC such as 2026-11-01T12:00:00Z"
    if evidence.ended < evidence.started:
        yield "the run ended before it started"


def _is_moment(text: str) -> bool:
    try:
        dt.datetime.fromisoformat(text)
    except ValueError:
        return False
    return MOMENT.fullmatch(text) is not None
