"""Read what ais_bench prints and its summary, in the versions of 2022 to 2026."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.bounds import suite_bound
from conformance.errors import ToolError

NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
# `throughput 1000*batchsize.mean(1)/NPU_compute_time.mean(0.66): 1512.8`, `throughput
# (1000*batchsize/NPU_compute_time): 1281.4`, and `Throughput ...` of a table: the last number.
THROUGHPUT = re.compile(rf"^.*\bthroughput\b.*?({NUMBER})[\s|]*$", re.IGNORECASE | re.MULTILINE)
BATCHES = re.compile(r"filesperbatch:\s*(\d+)\s+runcount:\s*(\d+)")
LOADED_BATCH = re.compile(r"try get model batchsize:\s*(\d+)")
# Times are printed to a thousandth of a millisecond.
SAME = suite_bound("throughput.formula_pct") / 100
PRINTED_MS = 0.001
# Figures that are printed, as the list of times gives them.
LISTED: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "min": min,
    "max": max,
}
TIMES = re.compile(rf"(min|max|mean|median|percentile\(99%\)) = ({NUMBER})")


@dataclass(frozen=True)
class AisBenchPerf:
    """What ais_bench measured on one chip.

    Attributes:
        throughput_fps: Images per second by device time alone: 1000 * batch / mean time.
        compute_time_ms: Statistics of the device's time for one batch, as far as they are said:
            min, max, mean, median, percentile(99%).
        batch: Batch size that the tool itself found in the model, None if it does not say.
        run_count: Batches that were run, None if it does not say.
        times_ms: Time of every batch, warm-up left out; empty without a summary.
    """

    throughput_fps: float
    compute_time_ms: dict[str, float]
    batch: int | None
    run_count: int | None
    times_ms: tuple[float, ...] = ()


def parse_printed(text: str, where: Mapping[str, object] | None = None) -> AisBenchPerf:
    """Parse what ais_bench printed.

    Raises:
        ToolError: There is no throughput, it is not above 0, or there are two that differ.
    """
    rates = [float(number) for number in THROUGHPUT.findall(text)]
    if not rates:
        raise _unusable("no line with a throughput", "one", where)
    if not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise _unusable(rates, "a throughput above 0", where)
    if max(rates) > min(rates) * (1 + 1e-6):
        raise _unusable(rates, "one throughput", where)
    times = re.search(r"NPU_compute_time \(ms\):(.*)", text)
    batches = BATCHES.search(text)
    loaded = LOADED_BATCH.search(text)
    known_batch = batches[1] if batches else loaded[1] if loaded else None
    return AisBenchPerf(
        throughput_fps=rates[-1],
        compute_time_ms={n: float(v) for n, v in TIMES.findall(times[1])} if times else {},
        batch=int(known_batch) if known_batch else None,
        run_count=int(batches[2]) if batches else None,
    )


def find_summary(outputs: Path) -> Path | None:
    """Return the summary of a run, None if there is none.

    It lies beside the outputs (``<name>_summary.json``); older versions wrote ``summary.json`` or
    ``sumary.json`` among them.
    """
    beside = outputs.with_name(f"{outputs.name}_summary.json")
    places = (beside, outputs / "summary.json", outputs / "sumary.json")
    return next((path for path in places if path.is_file()), None)


def read_summary(path: Path) -> dict[str, Any]:
    """Read a summary.

    Raises:
        ToolError: It is no JSON object.
    """
    try:
        summary = json.loads(path.read_text("utf-8", errors="replace"))
    except (OSError, ValueError) as error:
        raise _unusable(error, "a JSON object", {"file": path}) from None
    if not isinstance(summary, dict):
        raise _unusable(type(summary).__name__, "a JSON object", {"file": path})
    return summary


def times_of(summary: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the time of every batch in ms (``npu_compute_time_list``), empty if not there.

    Entries that are no numbers, as some versions' pairs of start and end, are not understood.
    """
    times = summary.get("npu_compute_time_list")
    if not isinstance(times, list) or not all(isinstance(time, int | float) for time in times):
        return ()
    return tuple(float(time) for time in times)


def check_formula(
    perf: AisBenchPerf, *, batch: int, where: Mapping[str, object] | None = None
) -> None:
    """Hold the throughput against the mean time: ais_bench's ``--batchsize`` is only a factor.

    Raises:
        ToolError: The model holds another batch size, or the throughput was computed for another.
    """
    if perf.batch not in (None, batch):
        raise _unusable(f"batch {perf.batch}", f"batch {batch}", where)
    mean = perf.compute_time_ms.get("mean")
    if mean and not _agree(1000 * batch / mean, perf.throughput_fps):
        got = f"{perf.throughput_fps:g} images/s at {mean:g} ms for each batch"
        raise _unusable(got, f"1000 x {batch} / {mean:g} = {1000 * batch / mean:g}", where)


def check_times(
    perf: AisBenchPerf,
    *,
    batch: int,
    batches: int,
    wall_clock_s: float = math.inf,
    where: Mapping[str, object] | None = None,
) -> None:
    """Hold the list of times against everything else that is known of the run, if there is one.

    Rounds are cut from this list, so it must be the one that the printed figures sum up.

    Args:
        perf: What was printed, and the list.
        batch: Images per batch.
        batches: Batches that were run, warm-up left out.
        wall_clock_s: How long the tool ran by our own clock, where rounds are cut from the list.
        where: Log and summary, for the error.

    Raises:
        ToolError: The list has another length, a time that is not above 0, another mean, median or
            extreme than was printed, or more time in all than the tool ran.
    """
    times = perf.times_ms
    if not times:
        return
    if len(times) != batches:
        raise _unusable(
            f"a list of {len(times)} times", f"one for each of {batches} batches", where
        )
    if not all(math.isfinite(time) and time > 0 for time in times):
        raise _unusable(f"a list of times from {min(times):g} ms", "times above 0", where)
    printed = {"mean": 1000 * batch / perf.throughput_fps, **perf.compute_time_ms}
    for name, of_list in LISTED.items():
        got, said = of_list(times), printed.get(name)
        if said is not None and not _agree(got, said):
            text = f"a list of times with a {name} of {got:g} ms"
            raise _unusable(text, f"{said:g} ms, as printed", where)
    if sum(times) / 1000 > wall_clock_s:
        got_s = f"a list of times of {sum(times) / 1000:g} s in all"
        raise _unusable(got_s, f"at most the {wall_clock_s:g} s that the tool ran", where)


def _agree(one: float, other: float) -> bool:
    """Whether two figures are the same to 1 %, or to the microsecond that is printed."""
    return abs(one - other) <= max(SAME * abs(other), PRINTED_MS)


def _unusable(got: object, expected: object, where: Mapping[str, object] | None) -> ToolError:
    return ToolError(
        "the performance that ais_bench reports cannot be used",
        got=got,
        expected=expected,
        where=where,
        next_step="does the .om hold this batch size? Run again alone on the chip",
    )
