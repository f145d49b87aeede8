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
    """The model is for the batch size, the input and the SoC that it was converted for.

    What ATC does not say of the file is not proved: SKIP where this ATC cannot say it, else ERROR.
    """
    wrong, unsaid = contradictions(conversion, found), " and ".join(found.unsaid)
    if unsaid and not wrong and found.lacking:
        modes = " and ".join(found.lacking)
        return skipped(
            "atc.identity",
            SkipReason.NOT_STATED,
            f"the .om's {unsaid}: this ATC has no {modes}; the tool that loads it will tell",
        )
    unproved = f"ATC reads the .om, but does not say its {unsaid}" if unsaid else ""
    return equal(
        "atc.identity",
        len(wrong) if wrong or not unsaid else None,
        0,
        unit="contradictions",
        source="what atc --mode=1 and --mode=6 read from the .om",
        detail="; ".join(wrong) or unproved or str(found),
        hint="the store may hold a model of another conversion: remove it and convert again",
    )
