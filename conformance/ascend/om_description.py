"""What an ``.om`` holds, as ATC itself reads it back: batch, input and SoC."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from conformance.ascend.environment import VendorEnvironment
from conformance.ascend.supervisor import run

LIMIT_S = 300.0


@dataclass(frozen=True)
class OmDescription:
    """What an ``.om`` says of itself through ATC; None where it does not say it.

    Attributes:
        soc_version: The SoC that it is for.
        input_name: Its first input.
        input_shape: That input's shape, the batch first.
        atc_version: The version of ATC that built it.
    """

    soc_version: str | None = None
    input_name: str | None = None
    input_shape: tuple[int, ...] | None = None
    atc_version: str | None = None

    @property
    def batch(self) -> int | None:
        """The first input's batch size."""
        return self.input_shape[0] if self.input_shape else None


def describe_om(
    om: Path,
    *,
    atc: Path,
    environment: VendorEnvironment,
    folder: Path,
    limit_s: float = LIMIT_S,
) -> OmDescription:
    """Ask ATC what an ``.om`` holds: its graph (``--mode=1``) and its display (``--mode=6``).

    The graph comes first: the display repeats the command line, and so what was asked for, not
    what came of it. What neither of them says stays None: older versions do not have the display,
    and the graph is not always complete.

    Args:
        om: The model.
        atc: The program.
        environment: The environment of vendor tools.
        folder: A work folder, where logs and the graph stay.
        limit_s: Time limit of each question.

    Raises:
        ToolError: ATC cannot be started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log, graph = folder / "om-info.log", folder / "om-graph.json"
    read_back = partial(run, env=environment.variables, cwd=folder, limit_s=limit_s)
    read_back([atc, "--mode=1", f"--om={om}", f"--json={graph}"], log=folder / "om-graph.log")
    display = read_back([atc, "--mode=6", f"--om={om}"], log=log)
    return _merged(describe_from_graph(_read(graph)), describe_from_info(display.text))


def describe_from_info(text: str) -> OmDescription:
    """Read the display of ``atc --mode=6``, which repeats what is stored in the ``.om``.

    ``Original Atc command line: ... --input_shape=image:16,3,224,224 ...`` and ``system   info:
    atc_version[...], soc_version[Ascend310], framework_type[...].`` (CANN ATC user guide, --mode).
    """
    named = dict(re.findall(r"\b(atc_version|soc_version)\[([^\]]+)\]", text))
    command = re.search(r"Original Atc command line:(.*)", text)
    pattern = r"--input[_-]shape[= ]\"?([\w./-]+):(\d+(?:,\d+)*)"
    shape = re.search(pattern, command[1]) if command else None
    return OmDescription(
        soc_version=named.get("soc_version"),
        input_name=shape[1] if shape else None,
        input_shape=tuple(map(int, shape[2].split(","))) if shape else None,
        atc_version=named.get("atc_version"),
    )


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
