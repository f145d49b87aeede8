"""What an ``.om`` holds, as ATC itself reads it back: batch, input and SoC."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from conformance.ascend.atc_text import FAILURE, first_error
from conformance.ascend.environment import VendorEnvironment
from conformance.ascend.supervisor import run
from conformance.ascend.tool_run import Run

LIMIT_S = 300.0
# `E10001: Value [6] for parameter [--mode] is invalid. Reason: only support 0(model to ...` is
# what ATC says of a mode that it does not have (hicann/ge, api/atc/main_impl.cc, kModeSupport).
NO_SUCH_MODE = re.compile(r"^\s*E10001:.*--mode\b", re.MULTILINE)


@dataclass(frozen=True)
class OmDescription:
    """What an ``.om`` says of itself through ATC; None where it does not say it.

    Attributes:
        soc_version: The SoC that it is for.
        input_name: Its first input.
        input_shape: That input's shape, the batch first.
        atc_version: The version of ATC that built it.
        lacking: Modes that this ATC does not have, such as ``--mode=6``.
    """

    soc_version: str | None = None
    input_name: str | None = None
    input_shape: tuple[int, ...] | None = None
    atc_version: str | None = None
    lacking: tuple[str, ...] = ()

    @property
    def batch(self) -> int | None:
        """The first input's batch size."""
        return self.input_shape[0] if self.input_shape else None

    @property
    def unsaid(self) -> tuple[str, ...]:
        """What of batch, input and SoC is not said."""
        told = {"batch": self.batch, "input": self.input_name, "SoC": self.soc_version}
        return tuple(name for name, value in told.items() if value is None)


def describe_om(
    om: Path,
    *,
    atc: Path,
    environment: VendorEnvironment,
    folder: Path,
    limit_s: float = LIMIT_S,
) -> OmDescription:
    """Ask ATC what an ``.om`` holds: its graph (``--mode=1``), and for gaps its display (``6``).

    What neither of them says stays None: older versions do not have the display, and the graph is
    not always complete.

    Args:
        om: The model.
        atc: The program.
        environment: The environment of vendor tools.
        folder: A work folder, where logs and the graph stay.
        limit_s: Time limit of each question.

    Raises:
        ToolError: ATC cannot be started, hangs, or cannot read the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graph = folder / "om-graph.json"
    read_back = partial(run, env=environment.variables, cwd=folder, limit_s=limit_s)
    asked = ["--mode=1", f"--om={om}", f"--json={graph}"]
    found, lacking = OmDescription(), list[str]()
    if _has_read(read_back([atc, *asked], log=folder / "om-graph.log")):
        found = describe_from_graph(_read(graph))
    else:
        lacking.append("--mode=1")
    if found.unsaid:
        display = read_back([atc, "--mode=6", f"--om={om}"], log=folder / "om-info.log")
        if _has_read(display):
            found = _merged(found, describe_from_info(display.text))
        else:
            lacking.append("--mode=6")
    return replace(found, lacking=tuple(lacking))


def _has_read(result: Run) -> bool:
    """Whether ATC read the file; False where it does not have the mode that was asked for.

    Raises:
        ToolError: It hangs, is killed, or cannot read the file.
    """
    result.require_ended("ATC")
    text = result.text
    if NO_SUCH_MODE.search(text):
        return False
    if result.status or FAILURE in text or first_error(text):
        raise result.error("ATC cannot read the .om back", expected="status 0 and no error")
    return True


def describe_from_info(text: str) -> OmDescription:
    """Read the display of ``atc --mode=6``: ``system   info: atc_version[...], soc_version[...]``.

    Its ``Original Atc command line`` repeats what was asked for, not what came of it, and proves
    nothing (CANN ATC user guide, --mode).
    """
    named = dict(re.findall(r"\b(atc_version|soc_version)\[([^\]]+)\]", text))
    return OmDescription(soc_version=named.get("soc_version"), atc_version=named.get("atc_version"))


def describe_from_graph(graph: Any) -> OmDescription:
    """Read the graph of ``atc --mode=1``: its ``Data`` operator and attribute ``soc_version``.

    The graph is the model's protobuf as JSON: attributes are lists of ``key`` and ``value``.
    """
    objects = list(_objects(graph))
    inputs = [found for found in objects if found.get("type") == "Data"]
    shapes = [shape for found in inputs for shape in _shapes(found)]
    socs = [_text(found.get("value")) for found in objects if found.get("key") == "soc_version"]
    return OmDescription(
        soc_version=next((soc for soc in socs if soc.startswith("Ascend")), None),
        input_name=str(inputs[0]["name"]) if inputs and "name" in inputs[0] else None,
        input_shape=shapes[0] if shapes else None,
    )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a JSON value, outer ones first."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from _objects(part)
    elif isinstance(value, list):
        for part in value:
            yield from _objects(part)


def _shapes(operator: dict[str, Any]) -> Iterator[tuple[int, ...]]:
    for found in _objects(operator.get("output_desc")):
        dims = found.get("dim")
        if isinstance(dims, list) and dims and all(str(dim).isdecimal() for dim in dims):
            yield tuple(int(dim) for dim in dims)


def _text(value: Any) -> str:
    return str(value.get("s", "")) if isinstance(value, dict) else ""


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8", errors="replace"))
    except (OSError, ValueError):
        return None


def _merged(first: OmDescription, second: OmDescription) -> OmDescription:
    """Fill the gaps of the first description from the second."""
    gaps = {name: value for name, value in vars(second).items() if getattr(first, name) is None}
    return replace(first, **gaps)
