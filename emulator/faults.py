"""Faults on demand: each is a row of faults.toml, switched on by its name in the board's state.

A row says where it strikes (``at``) and what it does there (``do``), with what options. The places:

===========  ==============================================================================
``start``    a tool has begun
``middle``   half of the outputs are written
``end``      the tool has done its work and is about to return
``model``    ATC has read the ONNX model
``om``       ATC has written the offline model
``scores``   the outputs of a run, one row per image, before they are written
``outputs``  the output files are written
``perf``     the performance figures are about to be written, or were
``times``    ais_bench is about to list the time of each batch
``clock``    the chip's rate is looked up
``npu-smi``  npu-smi has been called
===========  ==============================================================================
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from emulator.board import BoardError, BoardState
from emulator.tables import read_table

if TYPE_CHECKING:
    import numpy as np


class Fault(NamedTuple):
    """One way in which a board goes wrong.

    Attributes:
        name: What the board's state calls it.
        stage: Part of the chain that it belongs to.
        symptom: What a user would have seen.
        check: Id of the check that must catch it.
        at: Place where it strikes, see above.
        do: Effect at that place.
        tools: Tools that it strikes; empty means all that pass the place.
        batches: Batch sizes that it strikes; empty means all.
        from_run: Runs on the chip that it spares first, such as the one that is judged.
        options: Arguments of the effect.
    """

    name: str
    stage: str
    symptom: str
    check: str
    at: str
    do: str
    tools: tuple[str, ...] = ()
    batches: tuple[int, ...] = ()
    from_run: int = 0
    options: Mapping[str, Any] = MappingProxyType({})


@cache
def known_faults() -> dict[str, Fault]:
    """Every fault of faults.toml by its name."""
    faults = [_fault(row) for row in read_table("faults")["fault"]]
    return {fault.name: fault for fault in faults}


def _fault(row: dict[str, Any]) -> Fault:
    tools, batches = tuple(row.pop("tools", ())), tuple(row.pop("batches", ()))
    return Fault(tools=tools, batches=batches, **row)


def chosen_faults(state: BoardState) -> list[Fault]:
    """The faults that a board's state switches on, some with numbers of their own.

    Raises:
        BoardError: it names an unknown one.
    """
    unknown = [name for name in state.faults if name.partition(":")[0] not in known_faults()]
    if unknown:
        raise BoardError(f"unknown faults: {', '.join(unknown)}")
    return [_with_options(name) for name in state.faults]


def _with_options(text: str) -> Fault:
    """Return a fault by its name, with other numbers if it has any: ``NAME:share=0.05``."""
    name, *given = text.split(":")
    fault = known_faults()[name]
    options = dict(fault.options)
    for word in given:
        key, _, value = word.partition("=")
        try:
            options[key] = type(options[key])(value)
        except (KeyError, ValueError):
            raise BoardError(f"fault {name} takes no {word}: {options}") from None
    return fault._replace(options=options)


class ActiveFaults:
    """The faults of a board that strike one tool.

    Args:
        state: The board's state.
        tool: ``atc``, ``aoe``, ``benchmark``, ``ais_bench`` or ``npu-smi``.

    Attributes:
        run: How many runs of inference tools the chip has seen before this one.

    Raises:
        BoardError: the state names an unknown fault.
    """

    def __init__(self, state: BoardState, tool: str) -> None:
        faults = chosen_faults(state)
        self._faults = [fault for fault in faults if not fault.tools or tool in fault.tools]
        self._seed = state.seed
        self.run = 0

    def at(self, place: str, batch: int | None = None) -> list[Fault]:
        """The faults that strike at a place; those for some batch sizes only need the batch."""
        return [
            fault
            for fault in self._faults
            if fault.at == place
            and (not fault.batches or batch in fault.batches)
            and self.run >= fault.from_run
        ]

    def random(self, fault: Fault) -> np.random.Generator:
        """A generator that depends on the board's seed and the fault alone."""
        import numpy as np  # takes longer than all else that npu-smi does, which draws nothing

        return np.random.default_rng([self._seed, zlib.crc32(fault.name.encode())])
