"""Known SoCs: ATC's names for the chips that npu-smi lists."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from conformance.errors import ConfigError

FILE = Path(__file__).with_name("socs.toml")


class Soc(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One SoC.

    Attributes:
        npu_smi: Its names in npu-smi.
        source: Where that is published.
        cards: Chips per card, by the card's name, where published.
    """

    npu_smi: tuple[str, ...]
    source: str
    cards: dict[str, int] = {}


@cache
def known_socs() -> dict[str, Soc]:
    """Return every known SoC by its ``soc_version``."""
    return msgspec.convert(tomllib.loads(FILE.read_text("utf-8")), dict[str, Soc], strict=True)


def soc_version_of(npu_smi_name: str) -> str | None:
    """Return ATC's name for a chip as npu-smi names it, None where the name is ambiguous.

    A name that is not listed follows the rule ``Ascend<name>``. npu-smi calls every chip of the
    910 family that it does not tell apart ``Ascend910``: no soc_version follows from that.
    """
    for soc_version, soc in known_socs().items():
        if npu_smi_name in soc.npu_smi:
            return soc_version
    return f"Ascend{npu_smi_name}" if re.fullmatch(r"\d\w+", npu_smi_name) else None


def soc_version_of_board(fields: Mapping[str, str]) -> str | None:
    """Return ATC's name for a chip whose name alone is ambiguous, as the 910C's ``Ascend910``.

    It is ``<Chip Name>_<NPU Name>``, such as ``Ascend910_9392`` (Ascend's documents on A3).

    Args:
        fields: What ``npu-smi info -t board -i N -c M`` says; may be empty.
    """
    chip, npu = fields.get("Chip Name", ""), fields.get("NPU Name", "")
    return f"{chip}_{npu}" if chip.startswith("Ascend") and npu.isdecimal() else None


def agreed_soc(detected: str | None, given: str | None) -> str:
    """Return the conversion target from what npu-smi says and what the user says.

    Raises:
        ConfigError: They contradict each other, or neither says anything.
    """
    if detected and given and detected != given:
        raise ConfigError(
            "--soc= contradicts the board",
            got=given,
            expected=f"{detected}, as npu-smi says",
            next_step="leave --soc= away, or convert on a host without this board",
        )
    if soc := detected or given:
        return soc
    raise ConfigError(
        "the conversion target is not known",
        expected=f"one of {', '.join(known_socs())}, or another name that ATC takes",
        next_step="name it with --soc=, such as --soc=Ascend310",
    )
