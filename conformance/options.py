"""The options of a run: one table, from which help, parsing and documents follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.option_texts import (
    absolute_path,
    board_choice,
    chip_ids,
    counts,
    one_of,
    path_or_sample,
    positive_count,
    positive_factor,
    soc_name,
    some_name,
)

STANDARD_IMAGENET = Path("/root/datasets/imagenet")


@dataclass(frozen=True)
class Option:
    """One option of the command line: ``--name=METAVAR``, or its environment variable."""

    name: str
    metavar: str
    help: str
    parse: Callable[[str], Any]
    default_text: str
    variable: str | None = None
    repeatable: bool = False

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return f"--{self.name}"


OPTIONS = (
    Option(
        "model", "NAME", "spec in models/; repeatable; `all`", str, "squeezenet1_1",
        "CONFORMANCE_MODEL", repeatable=True,
    ),
    Option(
        "weights", "FILE", "a .pth, or `sample` for weights that the suite fits itself",
        path_or_sample, "the published file: store, torch's cache, download",
        "CONFORMANCE_WEIGHTS",
    ),
    Option(
        "imagenet", "DIR", "folder with val/ and val_label.txt, or `sample`",
        path_or_sample, f"{STANDARD_IMAGENET} where it can be read", "CONFORMANCE_IMAGENET",
    ),
    Option(
        "images", "N", "use only N images, always the same ones", positive_count, "all",
    ),
    Option(
        "looks", "HOW", "paired accuracy: `shared` error of several looks, or this number `once`",
        one_of("shared", "once"), "shared",
    ),
    Option(
        "batch", "1,16", "batch sizes", counts, "the spec's",
    ),
    Option(
        "board", "WHICH", "`auto`, `none`, `emulated` or `emulated:Ascend310P3`", board_choice,
        "auto", "CONFORMANCE_BOARD",
    ),
    Option(
        "soc", "NAME", "conversion target where npu-smi cannot say, such as Ascend310", soc_name,
        "what npu-smi says", "CONFORMANCE_SOC",
    ),
    Option(
        "chips", "0,1", "ACL device ids to use; the first idle one of several", chip_ids,
        "the first idle one",
        "CONFORMANCE_CHIPS",
    ),
    Option(
        "inference-tool", "NAME", "`auto`, `benchmark` or `ais_bench`",
        one_of("auto", "benchmark", "ais_bench"), "auto: that of the published figure",
    ),
    Option(
        "inference-tool-path", "FILE", "the program benchmark.<arch>", absolute_path,
        "in the current folder, then on PATH", "CONFORMANCE_BENCHMARK_TOOL",
    ),
    Option(
        "ascend-python", "FILE", "interpreter of CANN's Python tools", absolute_path,
        "the first python3 outside our environment that imports ais_bench",
        "CONFORMANCE_ASCEND_PYTHON",
    ),
    Option(
        "tune", "MODE", "`stored`: use tuned models of the store, `run`: tune (hours), `off`",
        one_of("stored", "run", "off"), "stored",
    ),
    Option(
        "atc-log", "LEVEL", "what ATC logs: `debug`, `info`, `warning`, `error` or `null`",
        one_of("debug", "info", "warning", "error", "null"), "error",
    ),
    Option(
        "time-limits", "FACTOR", "multiply the time limits of the vendor's tools by FACTOR",
        positive_factor, "1",
    ),
    Option(
        "profiling", "DIR", "folder with op_statistic_*.csv or op_summary_*.csv of a profiled run",
        absolute_path, "none",
    ),
    Option(
        "baseline-om", "DIR", "folder with .om files to be timed in turn with the run's, for "
        "instance squeezenet1_1-bs16.om",
        absolute_path, "none",
    ),
    Option(
        "artifacts", "DIR", "the artifact store", absolute_path,
        "in the user's cache folder", "CONFORMANCE_ARTIFACTS",
    ),
    Option(
        "scratch", "DIR", "where inputs and outputs of inference tools lie for a while",
        absolute_path, "the system's temporary folder", "CONFORMANCE_SCRATCH",
    ),
    Option(
        "evidence", "DIR", "where each run leaves its bundle", absolute_path,
        "evidence/ in the checkout", "CONFORMANCE_EVIDENCE",
    ),
    Option(
        "thumbnails", "WHETHER",
        "`on` or `off`: whether the report shows images whose decision changed",
        one_of("on", "off"), "on",
    ),
    Option(
        "gate", "NAME", "end with the verdict of a gate: `host`, `rehearsal`, `board`, `release`",
        some_name, "no gate",
    ),
)  # fmt: skip
