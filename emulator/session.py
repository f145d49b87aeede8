"""A model loaded into an emulated chip."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emulator.board import BoardState
from emulator.om import OfflineModel, OmError, unpack

Values = npt.NDArray[np.float32]


class ChipSession:
    """Runs an offline model with the chip's arithmetic.

    Attributes:
        model: What was loaded.
    """

    def __init__(self, model: OfflineModel, *, seed: int, threads: int = 1) -> None:
        # Both take a sixth of a second to import, which npu-smi must not pay.
        import onnxruntime

        from emulator.arithmetic import chip_graph

        self.model = model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # An optimiser may fold or fuse what must be rounded in between.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        content = chip_graph(model.onnx, batch=model.batch, seed=seed, aipp=model.aipp)
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )

    def infer(self, feed: bytes) -> list[Values]:
        """Run one batch.

        Args:
            feed: The first input's bytes; further inputs are fed zeros.

        Returns:
            The outputs in the model's order, each with the batch first.
        """
        feeds = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.model.inputs}
        first = self.model.inputs[0]
        feeds[first.name] = np.frombuffer(feed, first.dtype).reshape(first.shape)
        names = [spec.name for spec in self.model.outputs]
        return [np.asarray(value) for value in self._session.run(names, feeds)]

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


def load(path: Path, state: BoardState) -> ChipSession:
    """Load an ``.om`` into a chip of this board.

    Raises:
        OmError: the file cannot be read, is damaged or was built for another chip.
    """
    try:
        model = unpack(path.read_bytes())
    except OSError as error:
        raise OmError(str(error)) from error
    if model.soc != state.soc:
        raise OmError(f"built for {model.soc}, this is a {state.soc}")
    return ChipSession(model, seed=state.seed, threads=state.threads)
