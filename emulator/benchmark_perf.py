"""Performance figures of ``benchmark.<arch>``: six significant digits, as a C++ stream prints."""

from __future__ import annotations

from pathlib import Path

from emulator import fault_files
from emulator.benchmark_args import BenchmarkArgs
from emulator.faults import ActiveFaults
from emulator.marker import say

SUMMARY = "-----------------Performance Summary------------------"
PURE_SUMMARY = "-----------------PureInfer Performance Summary------------------"
# In the published files the stages of the pipeline end within a thousandth of one another.
READ_LEAD, PREPROCESS_LEAD, INFER_LEAD = 1.0004, 0.9996, 1.00003
HOST_SHARE_MS = 1.45


def figures_of(
    *, images: int, batches: int, total_s: float, pipeline_s: float, interface_fps: float
) -> dict[str, float]:
    """The figures of a run over a dataset.

    Args:
        images: Images in the info file.
        batches: Inferences made.
        total_s: From the start of the program, loading included.
        pipeline_s: From the loaded model to the last output.
        interface_fps: Device rate.

    Returns:
        Rates in images per second (``post`` in batches per second), latencies in milliseconds.
    """
    rate = images / pipeline_s
    return {
        "e2e": images / total_s,
        "latency": total_s * 1000,
        "read": rate * READ_LEAD,
        "preprocess": rate * PREPROCESS_LEAD,
        "infer": rate * INFER_LEAD,
        "interface": interface_fps,
        "infer_latency": 1000 / interface_fps + HOST_SHARE_MS,
        "post": batches / pipeline_s,
    }


def perf_lines(figures: dict[str, float]) -> list[str]:
    """The five lines of the performance file."""
    stages = {
        stage: f"throughputRate: {figures[key]:g}, moduleLatency: {_inverse(figures[key]):g}"
        for stage, key in (("data read", "read"), ("preprocess", "preprocess"), ("post", "post"))
    }
    infer = (
        f"throughputRate: {figures['infer']:g}, "
        f"Interface throughputRate: {figures['interface']:g}, "
        f"moduleLatency: {figures['infer_latency']:g}"
    )
    return [
        f"[e2e] throughputRate: {figures['e2e']:g}, latency: {figures['latency']:g}",
        f"[data read] {stages['data read']}",
        f"[preprocess] {stages['preprocess']}",
        f"[infer] {infer}",
        f"[post] {stages['post']}",
    ]


def _inverse(rate: float) -> float:
    return 1000 / rate if rate else 0.0


def write_perf(
    result: Path, args: BenchmarkArgs, figures: dict[str, float], faults: ActiveFaults
) -> None:
    """Print the summary and write the performance file into the result folder."""
    lines = perf_lines(_spoilt(figures, faults, args.batch))
    for line in (SUMMARY, *lines, "-" * len(SUMMARY)):
        say(line)
    name = f"perf_{args.model_type}_batchsize_{args.batch}_device_{args.device}.txt"
    path = result / name
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    fault_files.spoil([path], faults.at("perf", args.batch))


def pure_report(result: Path, args: BenchmarkArgs, batch_ms: float, faults: ActiveFaults) -> None:
    """Print and write the figures of pure inference; latency is per sample."""
    figures = _spoilt({"interface": 1000 * args.batch / batch_ms}, faults, args.batch)
    rate, latency = figures["interface"], _inverse(figures["interface"])
    result.mkdir(exist_ok=True)
    name = f"PureInfer_perf_of_{Path(args.om).stem}_in_device_{args.device}.txt"
    path = result / name
    path.write_text(
        f"ave_throughputRate = {rate:g}samples/s, ave_latency = {latency:g}ms\n", encoding="ascii"
    )
    say(f"[INFO] PureInfer result saved in ./{path}")
    say(PURE_SUMMARY)
    say(f"[INFO] ave_throughputRate: {rate:g}samples/s, ave_latency: {latency:g}ms")
    say("-" * len(PURE_SUMMARY))
    fault_files.spoil([path], faults.at("perf", args.batch))


def _spoilt(figures: dict[str, float], faults: ActiveFaults, batch: int) -> dict[str, float]:
    for fault in faults.at("figures", batch):
        factor = float(fault.options["factor"])
        grow = fault.options.get("fields", list(figures))
        shrink = fault.options.get("inverse", [])
        factors = dict.fromkeys(grow, factor) | dict.fromkeys(shrink, 1 / factor if shrink else 1)
        figures = {name: value * factors.get(name, 1) for name, value in figures.items()}
    return figures
