"""A model loaded into an emulated chip."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from emulator.board import BoardState
from emulator.memory import Memory
from emulator.om import OfflineModel, OmError, unpack
from emulator.tensor import Tensor, tensor

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


ARITHMETIC = Path(__file__).with_name("arithmetic.py")


class ChipSession:
    """Runs an offline model with the chip's arithmetic.

    Args:
        model: What is loaded.
        seed: Seed of the chip's own rounding.
        threads: Threads of ONNX Runtime.
        folder: The board's, which keeps what was computed before; None computes everything.

    Attributes:
        model: What was loaded.
    """

    def __init__(
        self, model: OfflineModel, *, seed: int, threads: int = 1, folder: Path | None = None
    ) -> None:
        self.model = model
        self._seed, self._threads = seed, threads
        made_of = repr((seed, threads, model.inputs, model.outputs, model.aipp)).encode()
        made_of += ARITHMETIC.read_bytes() + model.onnx
        self._memory = Memory(folder, made_of, model.batch) if folder else None
        self._making = Lock()

    @cached_property
    def _session(self) -> Any:
        # Takes a sixth of a second to import, which a run of remembered images need not pay.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # An optimiser may fold or fuse what must be rounded in between.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        content = self._memory.graph(self._graph) if self._memory else self._graph()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def _graph(self) -> bytes:
        from emulator.arithmetic import chip_graph  # needs onnx, which takes longer than all else

        model = self.model
        return chip_graph(model.onnx, batch=model.batch, seed=self._seed, aipp=model.aipp)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(_processors())

    def infer(self, feed: bytes) -> list[Tensor]:
        """Run one batch.

        Args:
            feed: The first input's bytes; further inputs are fed zeros.

        Returns:
            The outputs in the model's order, each with the batch first.
        """
        return self._remembered(feed) or self._computed(feed)

    def _remembered(self, feed: bytes) -> list[Tensor] | None:
        return self._memory.recall(feed) if self._memory else None

    def _computed(self, feed: bytes) -> list[Tensor]:
        import numpy as np

        feeds = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.model.inputs}
        first = self.model.inputs[0]
        feeds[first.name] = np.frombuffer(feed, first.dtype).reshape(first.shape)
        names = [spec.name for spec in self.model.outputs]
        with self._making:  # several batches are computed at once
            session = self._session
        outputs = [tensor(value) for value in session.run(names, feeds)]
        if self._memory:
            self._memory.remember(feed, outputs)
        return outputs

    def infer_each(self, feeds: Iterable[bytes]) -> Iterator[list[Tensor]]:
        """Run many batches, in their order, on every processor that this process may use.

        One thread alone computes a batch, so that its bits do not depend on how many there are.
        """
        pending: deque[Callable[[], list[Tensor]]] = deque()
        try:
            for feed in feeds:
                pending.append(self._begun(feed))
                if len(pending) > _processors():
                    yield pending.popleft()()
            while pending:
                yield pending.popleft()()
        finally:
            if "_pool" in vars(self):
                self._pool.shutdown(cancel_futures=True)
                del self._pool

    def _begun(self, feed: bytes) -> Callable[[], list[Tensor]]:
        known = self._remembered(feed)
        return (lambda: known) if known else self._pool.submit(self._computed, feed).result


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def load(path: Path, state: BoardState, folder: Path) -> ChipSession:
    """Load an ``.om`` into a chip of the board in a folder.

    Raises:
        OmError: the file cannot be read, is damaged or was built for another chip.
    """
    try:
        model = unpack(path.read_bytes())
    except OSError as error:
        raise OmError(str(error)) from error
    if model.soc != state.soc:
        raise OmError(f"built for {model.soc}, this is a {state.soc}")
    return ChipSession(model, seed=state.seed, threads=state.threads, folder=folder)
