"""Classes of evidence, derived again from the facts that a bundle states and the files it holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from conformance.ascend.marker import is_emulated
from conformance.evidence.bundle import Evidence, EvidenceClass
from conformance.evidence.bundle_files import inside, read_limited
from conformance.evidence.prediction_file import Predictions
from conformance.evidence.tidy import TEXT_BYTES
from conformance.spec import ModelSpec

# Classes of a board that is none of ours, and the option that asks for one of ours.
REAL = ("device", "unverified")
BOARD_OPTION = "--board"


def class_problems(
    folder: Path,
    evidence: Evidence,
    specs: Mapping[str, ModelSpec],
    predictions: Predictions | None,
) -> Iterator[str]:
    """Yield every class that its own facts, digests or files contradict.

    Raises:
        EvidenceError: A file that the evidence names cannot be read.
    """
    for found in evidence.classes:
        if found.part == "weights":
            yield from _weights_problems(found, evidence, specs)
        elif found.part == "images":
            yield from _images_problems(found, evidence, predictions)
        elif found.part == "board":
            yield from _board_problems(folder, found, evidence)
    yield from _text_problems(folder, evidence)
    yield from _check_problems(evidence)


def _weights_problems(
    found: EvidenceClass, evidence: Evidence, specs: Mapping[str, ModelSpec]
) -> Iterator[str]:
    facts, spec = found.facts, specs.get(found.model)
    used = [d.sha256 for d in evidence.digests.values() if _is(d.kind, "weights", d.model, found)]
    if used != [facts.get("sha256")]:
        yield f"weights of {found.model}: class made from another file than was used"
    if spec is None:
        yield f"weights of {found.model}: no spec of that model here"
    elif found.value == "published" and not _is_published(facts, spec):
        yield f"weights of {found.model}: called published, and no digest is a published one"


def _is(kind: str, wanted: str, model: str, found: EvidenceClass) -> bool:
    return (kind, model) == (wanted, found.model)


def _is_published(facts: Mapping[str, str], spec: ModelSpec) -> bool:
    """Whether a whole digest is that of a published file, and no other digest contradicts it."""
    sha256, md5 = facts.get("sha256", ""), facts.get("md5", "")
    return any(
        weights.provable
        and sha256.startswith(weights.sha256_prefix)
        and (weights.md5 in (None, md5))
        for weights in spec.weights
    )


def _images_problems(
    found: EvidenceClass, evidence: Evidence, predictions: Predictions | None
) -> Iterator[str]:
    used = [d.sha256 for d in evidence.digests.values() if _is(d.kind, "dataset", d.model, found)]
    if used != [found.facts.get("list_sha256")]:
        yield f"images of {found.model}: class made from another list than was used"
    if predictions is None:
        return
    if found.facts.get("count") != str(len(predictions.names)):
        yield (
            f"images of {found.model}: count is {found.facts.get('count')}, and the predictions "
            f"are of {len(predictions.names)}"
        )
    if predictions.list_sha256 != found.facts.get("list_sha256"):
        yield f"images of {found.model}: the predictions are of another list of images"
    if found.value == "full" and not _is_full(predictions):
        yield f"images of {found.model}: called full, and the predictions are not of the full set"


def _is_full(predictions: Predictions) -> bool:
    from conformance.imagenet.dataset import FULL_CLASSES, Dataset, ImageClass, LabelledImage

    images = tuple(
        LabelledImage(name, Path(name), label)
        for name, label in zip(predictions.names, predictions.labels.tolist(), strict=True)
    )
    return Dataset(Path(), images, FULL_CLASSES).image_class is ImageClass.FULL


def _board_problems(folder: Path, found: EvidenceClass, evidence: Evidence) -> Iterator[str]:
    facts, board = found.facts, evidence.board
    marked = [name for name in _texts(folder) if is_emulated((folder / name).read_bytes())]
    if found.value != "emulated" and (marked or facts.get("marked")):
        told = ", ".join(marked) or facts["marked"]
        yield f"board: called {found.value}, and {told} carries the emulator's mark"
    if found.value in REAL and _asks_for_emulated(evidence.command):
        yield f"board: called {found.value}, and the command asks for an emulated one"
    if found.value != "device":
        return
    for fact in ("device_nodes", "driver"):
        if not facts.get(fact):
            yield f"board: called device without {fact}"
    if board is None or not board.npu_smi_before or not board.npu_smi_after:
        yield "board: called device without what npu-smi printed before and after"


def _asks_for_emulated(command: Sequence[str]) -> bool:
    """Tell what the last ``--board`` of a command line asks for, written with = or without."""
    words = "\0".join(command)
    asked = re.findall(rf"(?:^|\0){BOARD_OPTION}[=\0]([^\0]*)", words)
    return bool(asked) and asked[-1].startswith("emulated")


def _text_problems(folder: Path, evidence: Evidence) -> Iterator[str]:
    """Read what npu-smi printed, on whatever board: it is in the bundle, and lists the SoC.

    Afterwards it may list nothing: a board can break while the run goes on.
    """
    board = evidence.board
    if board is None:
        return
    if board.npu_smi_after:
        read_limited(inside(folder, board.npu_smi_after), TEXT_BYTES)
    if board.npu_smi_before:
        path = inside(folder, board.npu_smi_before)
        text = read_limited(path, TEXT_BYTES).decode(errors="replace")
        # Of `Ascend910_9392` the table lists `Ascend910`; the rest stands in `-t board`.
        soc = re.escape(board.soc_version.removeprefix("Ascend").partition("_")[0])
        if not re.search(rf"(?<![A-Za-z0-9])(?:Ascend)?{soc}(?![A-Za-z0-9])", text):
            yield f"board: npu-smi does not list a {board.soc_version}"


def _texts(folder: Path) -> Iterator[str]:
    """Yield the bundle's texts in which a tool of an emulated board would leave its mark."""
    for part in ("board", "logs"):
        for path in sorted((folder / part).rglob("*")):
            if path.is_file() and path.stat().st_size <= TEXT_BYTES:
                yield path.relative_to(folder).as_posix()


def _check_problems(evidence: Evidence) -> Iterator[str]:
    stated = {(found.part, found.model): found.value for found in evidence.classes}
    for made in evidence.checks:
        model = str(made.check.coordinates.get("model", ""))
        for part, value in made.check.classes.items():
            known = stated.get((part, model), stated.get((part, "")))
            if value != known:
                yield f"{made.check.label}: rests on {part}={value}, the run on {known}"
