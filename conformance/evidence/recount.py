"""Counts of one engine's predictions, made again: images, classes, labels and hits."""

from __future__ import annotations

import numpy as np

from conformance.bounds import suite_bound
from conformance.check import Check
from conformance.evidence.orders import near_ranks
from conformance.evidence.remade import Book, Remade, Rule, exactly
from conformance.metrics.best import DEPTH


def _images(book: Book, _check: Check) -> Remade | None:
    count = len(book.predictions.names)
    return Remade(exactly(count)) if count else None


def _om_images(book: Book, check: Check) -> Remade | None:
    return _images(book, check) if book.om(check) else None


def _classes(book: Book, _check: Check) -> Remade:
    return Remade(exactly(len(np.unique(book.predictions.labels))))


def _reference(book: Book, check: Check) -> Remade | None:
    """Hits of ONNX Runtime and PyTorch lie no further apart than rounding can move them."""
    spec, n = book.spec(check), int(check.id[-1])
    torch, onnx = book.torch(check), book.onnx(check, spec.batch.first if spec else 0)
    if torch is None or onnx is None:
        return None
    labels = book.predictions.labels[:, np.newaxis]
    hits = [int((best.ids[:, :n] == labels).sum()) for best in (onnx, torch)]
    gap = book.gap(check, "onnxruntime")
    near = None if gap is None else near_ranks(torch, book.predictions.labels, gap)
    return Remade(exactly(abs(hits[0] - hits[1])), bound=near[n - 1] if near else None)


def _labels(book: Book, check: Check) -> Remade | None:
    """PyTorch finds no more images right with every label moved by a class."""
    torch, spec = book.torch(check), book.spec(check)
    if torch is None or spec is None:
        return None
    own, *moved = (
        int((torch.ids[:, :DEPTH] == labels[:, np.newaxis]).sum())
        for labels in (
            (book.predictions.labels + step) % spec.export.classes for step in (0, -1, 1)
        )
    )
    most = max(moved)
    return Remade(exactly(most - own), bound=exactly(int(3 * (own + most + 1) ** 0.5)))


def _answers(book: Book, check: Check) -> Remade | None:
    """The answers are about as many classes as the labels."""
    spec = book.spec(check)
    onnx = book.onnx(check, spec.batch.first if spec else 0)
    if onnx is None:
        return None
    wanted = len(np.unique(book.predictions.labels))
    least = max(1, round(suite_bound("accuracy.distinct_share") * wanted))
    return Remade(exactly(len(np.unique(onnx.ids[:, 0]))), bound=exactly(least))


def _largest_share(book: Book, check: Check) -> Remade | None:
    spec = book.spec(check)
    onnx = book.onnx(check, spec.batch.first if spec else 0)
    if onnx is None:
        return None
    times = np.unique(onnx.ids[:, 0], return_counts=True)[1].max()
    return Remade(exactly(100 * int(times) / len(onnx.ids)))


RECOUNTS: dict[str, Rule] = {
    "om.images": _om_images,
    "accuracy.labels": _labels,
    "accuracy.classes": _answers,
    "accuracy.classes.largest_share": _largest_share,
    **{f"accuracy.reference.top{n}": _reference for n in range(1, DEPTH + 1)},
}
# Checks that need no predictions to be made: compared where there are any.
OF_DATASET: dict[str, Rule] = {"dataset.images": _images, "dataset.classes": _classes}
