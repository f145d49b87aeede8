"""``junit.xml``: the tests of a run for programs that read that format.

It is made from the run's own records, so that it is there after an interruption too, and holds no
host name, which pytest's own file does.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from conformance.check import Status
from conformance.evidence.bundle import Evidence, Outcome

ELEMENTS = {Status.FAIL: "failure", Status.ERROR: "error"}
# What XML 1.0 cannot hold, not even escaped.
FORBIDDEN = {code: " " for code in range(32) if chr(code) not in "\t\n\r"}
FORBIDDEN |= {0xFFFE: " ", 0xFFFF: " "} | dict.fromkeys(range(0xD800, 0xE000), " ")


def junit_xml(evidence: Evidence) -> bytes:
    """Return the tests of a run as JUnit's XML."""
    tests = evidence.tests
    suite = ET.Element(
        "testsuite",
        name="conformance",
        timestamp=evidence.started,
        tests=str(len(tests)),
        failures=str(_count(tests, Status.FAIL)),
        errors=str(_count(tests, Status.ERROR)),
        skipped=str(_count(tests, Status.SKIP, Status.INCONCLUSIVE, Status.BLOCKED)),
        time=f"{sum(test.seconds for test in tests):.3f}",
    )
    for test in tests:
        suite.append(_case(test))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _case(test: Outcome) -> ET.Element:
    path, _, name = test.test.partition("::")
    classname = path.removesuffix(".py").replace("/", ".")
    case = ET.Element("testcase", classname=classname, name=name, time=f"{test.seconds:.3f}")
    if test.status is not Status.PASS:
        message = test.message.translate(FORBIDDEN)
        first = message.partition("\n")[0]
        element = ELEMENTS.get(test.status, "skipped")
        ET.SubElement(case, element, type=test.status.value, message=first).text = message
    return case


def _count(tests: Iterable[Outcome], *statuses: Status) -> int:
    return sum(test.status in statuses for test in tests)
