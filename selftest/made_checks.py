"""The checks of a run in which everything holds, as the suite makes them of its predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from conformance.check import Check, at_least, at_most, equal, recorded
from conformance.evidence.gate import Requirement
from conformance.metrics.best import DEPTH, Best
from conformance.metrics.flip_rate import decide_flip_rate
from conformance.spec import ModelSpec

# What float32 explains of a decision in these bundles: twice what it may change of a score.
FLOAT32_GAP = 1e-4
ONNX = "1" * 64
Rest = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Answers:
    """What every engine of a made run says: the same, so that nothing differs anywhere."""

    labels: npt.NDArray[np.int64]
    best: Best

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.labels)

    def hits(self, n: int) -> int:
        """Count the images whose label is among the best N classes."""
        return int((self.best.ids[:, :n] == self.labels[:, np.newaxis]).sum())


def good_check(
    demand: Requirement, answers: Answers, spec: ModelSpec, fps: float, rest: Rest
) -> Check:
    """Make the check that a gate demands, so that it holds."""
    for part in (_of_words, _of_answers, _of_scores, _of_accuracy):
        if made := part(demand.id, answers, spec, rest):
            return made
    if demand.id.startswith("export.parity."):
        return _parity(demand.id, rest)
    return _of_rates(demand, spec, fps, rest)


def _of_words(check_id: str, _answers: Answers, spec: ModelSpec, rest: Rest) -> Check | None:
    size = spec.preprocess.crop
    words = {
        "atc.converts": "converted",
        "export.valid": "valid",
        "export.opset": f"ai.onnx {spec.export.opset}",
        "export.input": f"{spec.export.input}: float batchx3x{size}x{size}",
        "export.output": f"{spec.export.output}: float batchx{spec.export.classes}",
        "export.reproducible": ONNX,
    }
    word = words.get(check_id)
    return equal(check_id, word, word, **rest) if word else None


def _of_answers(check_id: str, answers: Answers, spec: ModelSpec, rest: Rest) -> Check | None:
    """Make what is counted of images and answers."""
    first, wanted = answers.best.ids[:, 0], len(np.unique(answers.labels))
    counts = {
        "dataset.images": answers.images,
        "om.images": answers.images,
        "dataset.classes": wanted,
        "accuracy.classes.largest_share": 100 * np.bincount(first).max() / len(first),
    }
    if check_id in counts:
        return recorded(check_id, counts[check_id], **rest)
    if check_id == "accuracy.classes":
        return at_least(check_id, len(np.unique(first)), max(1, round(wanted / 4)), **rest)
    if check_id == "accuracy.labels":
        moved = (
            Answers((answers.labels + step) % spec.export.classes, answers.best) for step in (-1, 1)
        )
        own, most = answers.hits(DEPTH), max(one.hits(DEPTH) for one in moved)
        return at_most(check_id, most - own, int(3 * (own + most + 1) ** 0.5), **rest)
    if check_id.startswith("accuracy.reference."):
        return at_most(check_id, 0, _movable(answers, int(check_id[-1])), **rest)
    return None


def _movable(answers: Answers, n: int) -> int:
    """Count labels so near to the N-th of the other classes that rounding can move them."""
    own = answers.best.ids == answers.labels[:, np.newaxis]
    others = np.where(own, -np.inf, answers.best.scores)
    nth = -np.sort(-others, axis=1)[:, n - 1]
    label = np.where(own, answers.best.scores, 0).sum(axis=1)
    return int((own.any(axis=1) & (np.abs(nth - label) <= np.float32(FLOAT32_GAP))).sum())


def _of_scores(check_id: str, answers: Answers, spec: ModelSpec, rest: Rest) -> Check | None:
    """Make what compares scores and decisions: none differs."""
    assert spec.float16
    group, _, claim = check_id.rpartition(".")
    allowed = spec.float16.epsilon if group.startswith("agreement") else FLOAT32_GAP / 2
    if check_id in {"agreement.rows.neighbours", "agreement.rows.partial"}:
        allowed = 2 * spec.float16.storage_error  # rows at the same place of a batch
    if check_id == "agreement.flips":
        rate = decide_flip_rate(0, answers.images)
        return at_most(check_id, rate.interval_pct.upper, rate.bound_pct, **rest)
    if group.endswith(".rows") or check_id == "agreement.scores":
        return at_most(check_id, 0.0, allowed, **rest)
    if group.endswith(".batch") and claim == "scores":
        return at_most(check_id, 0.0, 2 * allowed, **rest)
    return at_most(check_id, 0, 0, **rest) if group.endswith(".batch") and claim == "hits" else None


def _of_accuracy(check_id: str, answers: Answers, spec: ModelSpec, rest: Rest) -> Check | None:
    """Make what Top-N accuracy is stated as, or held to the published figure with."""
    group, accuracy = check_id.rpartition(".")[0], spec.accuracy
    named = ("accuracy.om", "accuracy.control", "accuracy.published", "accuracy.onnx")
    if group not in named:
        return None
    depth = int(check_id[-1])
    pct = 100 * answers.hits(depth) / answers.images
    published = {1: accuracy.top1_pct, 5: accuracy.top5_pct}[depth]
    if group == "accuracy.om":
        return recorded(check_id, pct, unit="%", **rest)
    if group == "accuracy.control":
        away, unit = abs(published - pct), "points from the published figure"
        return at_most(check_id, away, accuracy.control_points, unit=unit, **rest)
    unit = f"points below {published:g} %"
    return at_most(check_id, published - pct, accuracy.max_drop_points, unit=unit, **rest)


def _parity(check_id: str, rest: Rest) -> Check:
    if check_id.endswith(".ratio"):
        return recorded(check_id, 1.2, unit="times PyTorch float32", **rest)
    rms = check_id.endswith(".rms")
    return at_most(check_id, 1e-6 if rms else 1e-5, FLOAT32_GAP / (4 if rms else 2), **rest)


def _of_rates(demand: Requirement, spec: ModelSpec, fps: float, rest: Rest) -> Check:
    """Make a throughput, or else the check that its row of the gates asks for."""
    row, place = demand.row, demand.coordinates
    if not row.decides:
        return recorded(demand.id, fps, unit="fps", **rest)
    if row.figures:
        wanted = (place.get("batch"), place.get("tuned") == "yes")
        table = spec.throughput[0].figures
        figures = [figure.fps for figure in table if (figure.batch, figure.tuned) == wanted]
        return at_least(demand.id, fps, 0.95 * figures[0] if figures else 1.0, unit="fps", **rest)
    make: Callable[..., Check] = {"at most": at_most, "at least": at_least}.get(row.must_be, equal)
    return make(demand.id, 0, 0, **rest)
