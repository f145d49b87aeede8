"""What must hold of a conversion, as checks."""

from __future__ import annotations

from conformance.ascend.conversion import Conversion, contradictions
from conformance.ascend.om_description import OmDescription
from conformance.check import Check, SkipReason, Status, equal, skipped
from conformance.errors import ConformanceError

ATC_SOURCE = "ATC's success line, status 0 and a fresh .om with a sound header"


def converted_check(sha256: str) -> Check:
    """ATC made a model."""
    return equal("atc.converts", "converted", "converted", source=ATC_SOURCE, detail=sha256)


def refused_check(refusal: ConformanceError) -> Check:
    """ATC refused the model: the subject is wrong."""
    return Check(
        id="atc.converts",
        status=Status.FAIL,
        value="refused",
        bound="converted",
        source=ATC_SOURCE,
        detail=str(refusal),
        hint=refusal.next_step,
    )


def log_check(unclean: str, warnings: str, log: str) -> Check:
    """ATC's log speaks of no error and of no lesser model; W11001 is neither."""
    return equal(
        "atc.log",
        len(unclean.splitlines()),
        0,
        unit="lines speak of an error or of a lesser model",
        source="ATC's own output; progress dots, import warnings and W11001 are no errors",
        detail="\n".join(filter(None, (unclean, warnings, log))),
    )


def identity_check(conversion: Conversion, found: OmDescription) -> Check:
    """The model is for the batch size, the input and the SoC that it was converted for."""
    if found.batch is None and found.soc_version is None:
        return skipped(
            "atc.identity",
            SkipReason.NOT_STATED,
            "this ATC does not read back what an .om holds; the tool that loads it will",
        )
    wrong = contradictions(conversion, found)
    return equal(
        "atc.identity",
        len(wrong),
        0,
        unit="contradictions",
        source="atc --mode=6 and --mode=1 on the .om",
        detail="; ".join(wrong) or str(found),
        hint="the store may hold a model of another conversion: remove it and convert again",
    )
