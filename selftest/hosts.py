"""A machine with an emulated board, and runs of the suite's library on it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
from onnx import ModelProto

from conformance.ascend.host import AscendHost
from conformance.ascend.locks import MachineLocks
from conformance.build import Builder
from conformance.config import RunConfig, resolve
from conformance.imagenet.dataset import Dataset
from conformance.spec import ModelSpec, load_spec
from emulator import EmulatedBoard, install
from selftest.emulated import SIDE, classifier


def small_spec() -> ModelSpec:
    """SqueezeNet's spec for images of the emulator's small classifier."""
    spec = load_spec("squeezenet1_1")
    small = msgspec.structs.replace(spec.preprocess, resize=SIDE + 4, crop=SIDE)
    return msgspec.structs.replace(spec, preprocess=small)


@dataclass(frozen=True)
class Machine:
    """A machine whose only board is an emulated one."""

    folder: Path
    board: EmulatedBoard
    root_pid: int | None = None

    def config(self, **given: str) -> RunConfig:
        options = {
            "board": "emulated",
            "artifacts": str(self.folder / "store"),
            "scratch": str(self.folder / "scratch"),
            "evidence": str(self.folder / "evidence"),
            **given,
        }
        named = {name.replace("_", "-"): text for name, text in options.items()}
        return resolve(named, rootdir=self.folder, environ={})

    @property
    def locks(self) -> MachineLocks:
        """Locks of its own: its board is no other machine's."""
        return MachineLocks(self.folder / "locks")

    def host(self, run: str = "run", **given: str) -> AscendHost:
        base = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "OMP_NUM_THREADS": "1"}
        base |= {"LANG": os.environ.get("LANG", "C.UTF-8")}
        variables = self.board.environment(base)
        config, folder = self.config(**given), self.folder / run
        return AscendHost(config, folder, variables, self.locks, self.root_pid)

    def remove(self, program: str) -> None:
        (self.board.bin / program).unlink()

    def set_chip(self, number: int = 0, **changes: object) -> None:
        """Change what npu-smi says of one chip."""
        chips = [chip._asdict() for chip in self.board.state.chips]
        chips[number] |= changes
        self.board.configure(chips=chips)

    def occupy(self, device: int, pid: int = 4242) -> None:
        """Let a process run on a chip; by default a stranger's."""
        others = [tenant._asdict() for tenant in self.board.state.processes]
        stranger = {"device": device, "pid": pid, "name": "stranger", "memory_mb": 100}
        self.board.configure(processes=[*others, stranger])


class SmallBuilder(Builder):
    """Builds the emulator's small classifier in place of PyTorch's network."""

    def __init__(
        self,
        config: RunConfig,
        run_folder: Path,
        model: ModelProto | None = None,
        locks: MachineLocks | None = None,
    ) -> None:
        super().__init__(config, run_folder, locks)
        self._small = run_folder / "model.onnx"
        run_folder.mkdir(parents=True, exist_ok=True)
        self._small.write_bytes((model or classifier()).SerializeToString())

    def onnx_model(self, spec: ModelSpec) -> Path:  # noqa: ARG002 - there is one model
        return self._small


class DrawnBuilder(SmallBuilder):
    """Infers a few pictures that are drawn for the test."""

    images: Dataset

    def dataset(self, spec: object) -> Dataset:  # noqa: ARG002 - there is one set
        return self.images


def machine(folder: Path, soc: str = "Ascend310", cann: str | None = None) -> Machine:
    folder.mkdir(parents=True, exist_ok=True)
    return Machine(folder, install(folder / "board", soc, cann=cann))
