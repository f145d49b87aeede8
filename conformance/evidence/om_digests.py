"""Which ``.om`` a check is about, and what a run says of that file: its digest, its outputs'."""

from __future__ import annotations

import re
from collections.abc import Iterator

from conformance.check import Check, Status
from conformance.evidence.bundle import Coordinates, Evidence
from conformance.evidence.gate import Gates
from conformance.om_key import OmKey
from conformance.spec import Variant

# What is recorded of each .om that inferred, by its kind.
KINDS = ("om_model", "dumps", "performance")
MEASURED = (Status.PASS, Status.FAIL, Status.INCONCLUSIVE)
CONVERSION, CONVERTED = "atc.", "atc.converts"
TIMED, AIPP = "throughput.", "aipp"
SHA256 = re.compile(r"[0-9a-f]{64}")
# A model and the name of one of its .om, such as bs16-tuned.
Om = tuple[str, str]


def om_of(coordinates: Coordinates) -> Om | None:
    """Return which ``.om`` is at a place; None where the place names no batch size."""
    batch = coordinates.get("batch")
    if not isinstance(batch, int):
        return None
    variant: Variant = "aipp" if coordinates.get("variant") == AIPP else "float32"
    key = OmKey(batch, variant, coordinates.get("tuned") == "yes")
    return str(coordinates.get("model", "")), str(key)


def om_digests(evidence: Evidence, kind: str = "om_model") -> dict[Om, str]:
    """Return the digest of each ``.om`` that inferred, or of what it left behind.

    Args:
        evidence: The run.
        kind: One of ``KINDS``.
    """
    return {
        (digest.model, words[1]): digest.sha256
        for name, digest in evidence.digests.items()
        if digest.kind == kind and len(words := name.rpartition("/")[2].split()) > 1
    }


def converted_digests(evidence: Evidence) -> dict[Om, str]:
    """Return the digest of each ``.om`` as ATC left it, which the check of its conversion tells."""
    return {
        om: made.check.detail
        for made in evidence.checks
        if made.check.id == CONVERTED
        and SHA256.fullmatch(made.check.detail)
        and (om := om_of(made.check.coordinates))
    }


def checks_of_om(evidence: Evidence, gates: Gates) -> Iterator[tuple[Om, Check]]:
    """Yield every measured check that rests on a board, with the ``.om`` that it is about."""
    for made in evidence.checks:
        row, om = gates.row(made.check.id), om_of(made.check.coordinates)
        if row and om and "board" in row.rests_on and made.check.status in MEASURED:
            yield om, made.check


def om_problems(evidence: Evidence, gates: Gates) -> Iterator[str]:
    """Yield each ``.om`` that was measured without the digests of its file and its outputs.

    One that was only converted leaves no outputs, and its digest in the check alone.
    """
    inferring = {
        om: check.id
        for om, check in checks_of_om(evidence, gates)
        if not check.id.startswith(CONVERSION)
    }
    inferring |= {
        om: "predictions"
        for found in evidence.predictions
        if found.engine == "om" and (om := om_of(found.coordinates))
    }
    for kind in KINDS:
        known = set(om_digests(evidence, kind))
        for (model, key), what in inferring.items():
            # A SoC's rate is that of its published variant, whichever the test was made for.
            named = {key, f"{key}-{AIPP}"} if what.startswith(TIMED) else {key}
            if not known & {(model, name) for name in named}:
                yield f"om {key} of {model}: {what} of it, and no digest of its {kind}"
    inferred = om_digests(evidence)
    for om, sha256 in converted_digests(evidence).items():
        if inferred.get(om, sha256) != sha256:
            yield f"om {om[1]} of {om[0]}: ATC made {sha256}, and {inferred[om]} was measured"
    real = any((c.part, c.value) == ("board", "device") for c in evidence.classes)
    if inferring and real and not evidence.versions.get("cann"):
        yield "versions: an .om was measured on a device without a version of CANN"
