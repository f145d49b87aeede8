"""What the guide's scoring command does, for ``scripts/`` to call."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from conformance.ascend.dumps import read_dumps
from conformance.imagenet.labels import read_labels
from conformance.imagenet.parallel import usable_cores
from conformance.metrics.topn import TopN, count_topn, result_json
from conformance.whole_files import demand_apart, remove_earlier, write_whole

IMAGENET_CLASSES = 1000


def evaluate_dumps(dumps: Path, label_file: Path, target: Path) -> str:
    """Score every labelled image's result, write the guide's JSON, and return a summary.

    What an earlier run left at ``target`` is removed first: nobody shall read it as this result.
    It may be neither the label file nor lie among the results.

    Raises:
        DatasetError: The label file is wrong.
        DumpError: Results and labels do not belong together, or a result is wrong.
        ConformanceError: The result file cannot be written, or an earlier one not be removed.
    """
    demand_apart(target, files=[label_file], folder=dumps)
    remove_earlier(target)
    labels = read_labels(label_file, IMAGENET_CLASSES)
    classes = np.array(list(labels.values()), np.int64)
    predictions = read_dumps(
        dumps,
        tuple(labels),
        classes,
        IMAGENET_CLASSES,
        keep_background=True,
        workers=usable_cores(),
    )
    found = count_topn(predictions)
    write_whole(result_json(found).encode(), target)
    return _summary(found)


def _summary(found: TopN) -> str:
    lines = [f"{found.images} images, {found.classes} classes"]
    for n, hits in enumerate(found.hits, start=1):
        low, high = found.worst[n - 1], found.best[n - 1]
        ties = "" if low == high else f", {low} to {high} as equal scores are ordered"
        lines.append(f"Top{n}: {hits} hits, {found.accuracy_pct(n):.3f}%{ties}")
    return "\n".join(lines)
