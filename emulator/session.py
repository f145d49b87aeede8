"""A model loaded into an emulated chip."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from emulator.board import BoardState
from emulator.memory import Memory, Values
from emulator.om import OfflineModel, OmError, unpack

__all__ = ["ChipSession", "Values", "load"]


class ChipSession:
    """Runs an offline model with the chip's arithmetic.

    Args:
        model: What is loaded.
        seed: Seed of the chip's own rounding.
        threads: Threads of ONNX Runtime.
        memory: What was computed before; None computes everything.

    Attributes:
        model: What was loaded.
    """

    def __init__(
        self, model: OfflineModel, *, seed: int, threads: int = 1, memory: Memory | None = None
    ) -> None:
        self.model = model
        self._seed, self._threads, self._memory = seed, threads, memory
        self._making = Lock()

    @cached_property
    def _session(self) -> Any:
        # Both take a sixth of a second to import, which npu-smi must not pay.
        import onnxruntime

        from emulator.arithmetic import chip_graph

        model = self.model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # An optimiser may fold or fuse what must be rounded in between.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        content = chip_graph(model.onnx, batch=model.batch, seed=self._seed, aipp=model.aipp)
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def infer(self, feed: bytes) -> list[Values]:
        """Run one batch.

        Args:
            feed: The first input's bytes; further inputs are fed zeros.

        Returns:
            The outputs in the model's order, each with the batch first.
        """
        outputs = self._memory.recall(feed) if self._memory else None
        if outputs is None:
            outputs = self._computed(feed)
            if self._memory:
                self._memory.remember(feed, outputs)
        return outputs

    def _computed(self, feed: bytes) -> list[Values]:
        feeds = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.model.inputs}
        first = self.model.inputs[0]
        feeds[first.name] = np.frombuffer(feed, first.dtype).reshape(first.shape)
        names = [spec.name for spec in self.model.outputs]
        with self._making:  # several batches are computed at once
            session = self._session
        return [np.asarray(value) for value in session.run(names, feeds)]

    def infer_each(self, feeds: Iterable[bytes]) -> Iterator[list[Values]]:
        """Run many batches, in their order, on every processor that this process may use.

        One thread alone computes a batch, so that its bits do not depend on how many there are.
        """
        processors = len(os.sched_getaffinity(0))
        pool = ThreadPoolExecutor(processors)
        pending: deque[Future[list[Values]]] = deque()
        try:
            for feed in feeds:
                pending.append(pool.submit(self.infer, feed))
                if len(pending) > processors:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def load(path: Path, state: BoardState, folder: Path) -> ChipSession:
    """Load an ``.om`` into a chip of the board in a folder.

    Raises:
        OmError: the file cannot be read, is damaged or was built for another chip.
    """
    try:
        content = path.read_bytes()
        model = unpack(content)
    except OSError as error:
        raise OmError(str(error)) from error
    if model.soc != state.soc:
        raise OmError(f"built for {model.soc}, this is a {state.soc}")
    made_of = b"%d %d %s" % (state.seed, state.threads, content)
    memory = Memory(folder, made_of, model.batch)
    return ChipSession(model, seed=state.seed, threads=state.threads, memory=memory)
