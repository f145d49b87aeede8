"""What no model spec can truly say, though each of its fields is well-formed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from conformance.spec import ModelSpec


def impossible(spec: ModelSpec, stem: str) -> Iterator[tuple[str, object, str]]:
    """Yield (key, got, expected) of every field that cannot be true.

    Args:
        spec: What was decoded.
        stem: The file's name without its ending.
    """
    yield from _infinite(msgspec.to_builtins(spec))
    prep = spec.preprocess
    if spec.export.input == spec.export.output:
        yield "export.output", spec.export.output, "another name than export.input"
    if spec.name != stem:
        yield "name", spec.name, f"the file's own name, {stem}"
    if prep.crop > prep.resize:
        yield "preprocess.crop", prep.crop, f"at most preprocess.resize = {prep.resize}"
    if min(prep.std) <= 0:
        yield "preprocess.std", prep.std, "three numbers above 0"
    if not all(0 <= mean <= 1 for mean in prep.mean):
        yield "preprocess.mean", prep.mean, "three numbers between 0 and 1"
    yield from _impossible_figures(spec)
    yield from _without_origin(spec)


def _without_origin(spec: ModelSpec) -> Iterator[tuple[str, object, str]]:
    named = [key for row in spec.bounds for key in row.keys]
    for key in spec.bound_keys:
        if named.count(key) != 1:
            yield "bounds", f"{named.count(key)} rows for {key}", "one [[bounds]] row that names it"
    for key in sorted(set(named) - set(spec.bound_keys)):
        yield "bounds", f"a row for {key}", f"one of {', '.join(spec.bound_keys)}"


def _impossible_figures(spec: ModelSpec) -> Iterator[tuple[str, object, str]]:
    batch, accuracy = spec.batch, spec.accuracy
    if sorted(set(batch.sizes)) != list(batch.sizes):
        yield "batch.sizes", batch.sizes, "rising numbers without repetition"
    if not set(batch.compared) <= set(batch.sizes) or len(set(batch.compared)) != 2:
        yield "batch.compared", batch.compared, f"two of batch.sizes {batch.sizes}"
    if batch.first != batch.sizes[0]:
        yield "batch.compared", batch.compared, f"the smallest batch size first, {batch.sizes[0]}"
    if accuracy.top1_pct > accuracy.top5_pct:
        yield "accuracy.top1_pct", accuracy.top1_pct, f"at most top5_pct = {accuracy.top5_pct}"
    for number, table in enumerate(spec.throughput):
        if strange := [f.batch for f in table.figures if f.gate and f.batch not in batch.sizes]:
            yield f"throughput[{number}].figures", strange, f"gated ones among {batch.sizes}"
        keys = [(figure.batch, figure.tuned) for figure in table.figures]
        if len(set(keys)) != len(keys):
            yield f"throughput[{number}].figures", keys, "each (batch, tuned) once"


def _infinite(content: object, key: str = "") -> Iterator[tuple[str, object, str]]:
    """Yield (key, got, expected) of every NaN and infinity, which TOML can write."""
    if isinstance(content, float) and not math.isfinite(content):
        yield key, content, "a finite number"
    elif isinstance(content, dict):
        for name, part in content.items():
            yield from _infinite(part, f"{key}.{name}".lstrip("."))
    elif isinstance(content, list | tuple):
        for number, part in enumerate(content):
            yield from _infinite(part, f"{key}[{number}]")
