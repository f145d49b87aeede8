"""Predictions of an ONNX model by ONNX Runtime on the CPU, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.errors import ExportError
from conformance.imagenet.batches import InputBatch
from conformance.predictions import Labels, Predictions, ScoreCollector

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnxruntime


def infer_with_onnxruntime(
    model: Path,
    batches: Iterable[InputBatch],
    names: tuple[str, ...],
    labels: Labels,
    *,
    threads: int = 1,
) -> Predictions:
    """Return the model's float32 scores of every image.

    The batches are taken one at a time, so that only the scores stay in memory.

    Args:
        model: An ONNX file with one input (N x 3 x H x W, float32) and one output (N x classes).
        batches: The inputs, in the order of ``names``.
        names: Every image that must be inferred, in order.
        labels: int64, the class of each.
        threads: Threads that compute.

    Raises:
        ExportError: The model cannot be loaded, has other inputs or outputs, or refuses a batch.
        DumpError: The batches do not hold exactly ``names``, the output has the wrong shape, or a
            score is not finite.
    """
    session = open_session(model, threads)
    collector = ScoreCollector(names, labels, "float32")
    for batch in batches:
        collector.add(batch.names, run_session(session, model, batch.tensors))
    return collector.finish()


def run_session(
    session: onnxruntime.InferenceSession, model: Path, images: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the scores of one batch, shape (images, classes).

    Raises:
        ExportError: ONNX Runtime refuses the batch, for instance of another size than is written.
    """
    (source,), (target,) = session.get_inputs(), session.get_outputs()
    try:
        (scores,) = session.run([target.name], {source.name: images})
    except Exception as error:  # noqa: BLE001 - its exceptions share no base class
        raise _refused(model, f"the ONNX model refuses a batch of {len(images)}", error) from None
    return scores  # type: ignore[no-any-return] # the package has no types


def open_session(model: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """Load an ONNX model with one input and one output on the CPU.

    Raises:
        ExportError: The model cannot be loaded, or has other inputs or outputs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Waiting threads would otherwise burn the cores on which the next images are prepared.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # what matters is raised; the rest are hints for developers
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - its exceptions share no base class
        raise _refused(model, "the ONNX model cannot be loaded", error) from None
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        raise ExportError(
            "the ONNX model is no classifier",
            got=f"{len(session.get_inputs())} inputs, {len(session.get_outputs())} outputs",
            expected="one input and one output",
            where={"file": model},
            next_step="export the model again",
        )
    return session


def _refused(model: Path, what: str, error: Exception) -> ExportError:
    return ExportError(
        what,
        got=error,
        expected="an ONNX model that ONNX Runtime can run on float32 images",
        where={"file": model},
        next_step="export the model again",
    )
