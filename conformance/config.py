"""The run's options: one table of them, and the frozen object they are resolved into.

An option wins over its environment variable, and that over the default. Every parser refuses bad
text early, with a message of its own.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from conformance.errors import ConfigError
from conformance.spec import load_spec, model_names

SAMPLE: Literal["sample"] = "sample"
STANDARD_IMAGENET = Path("/root/datasets/imagenet")
PathOrSample = Path | Literal["sample"]


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


@dataclass(frozen=True)
class RunConfig:
    """What one run is to do, resolved once. Fields are spelt like their options."""

    model: tuple[str, ...]
    weights: PathOrSample | None
    imagenet: PathOrSample | None
    images: int | None
    batch: tuple[int, ...] | None
    board: str
    soc: str | None
    chips: tuple[int, ...] | None
    inference_tool: str
    inference_tool_path: Path | None
    ascend_python: Path | None
    tune: str
    atc_log: str
    time_limits: float
    profiling: Path | None
    artifacts: Path
    scratch: Path
    evidence: Path
    thumbnails: str
    gate: str | None = None


def absolute_path(text: str) -> Path:
    """Parse a path; it is made absolute, because workers and tools may run elsewhere."""
    if not text:
        raise ValueError("needs a path, got nothing")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # a home folder that nobody has
        raise ValueError(f"needs a path, got {text!r}: {error}") from None


def path_or_sample(text: str) -> PathOrSample:
    """Parse a path, or the word ``sample`` for what the suite draws and fits itself."""
    return SAMPLE if text == SAMPLE else absolute_path(text)


def positive_count(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"needs a whole number of at least 1, got {text!r}")
    return int(text)


def positive_factor(text: str) -> float:
    """Parse a finite number above 0, such as 2 or 0.5."""
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not float(text):
        raise ValueError(f"needs a number above 0 such as 2 or 0.5, got {text!r}")
    return float(text)


def counts(text: str) -> tuple[int, ...]:
    """Parse whole numbers of at least 1, joined by commas, each once."""
    found = tuple(positive_count(word) for word in text.split(","))
    return _each_once(found, text)


def chip_ids(text: str) -> tuple[int, ...]:
    """Parse ACL device ids: whole numbers from 0, joined by commas, each once."""
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise ValueError(f"needs device ids such as 0 or 0,1, got {text!r}")
    return _each_once(tuple(map(int, words)), text)


def _each_once(found: tuple[int, ...], text: str) -> tuple[int, ...]:
    if len(set(found)) != len(found):
        raise ValueError(f"needs each number once, got {text!r}")
    return found


def soc_name(text: str) -> str:
    """Parse ATC's name of a SoC, such as Ascend310P3."""
    if not re.fullmatch(r"Ascend\w+", text):
        raise ValueError(f"needs a name such as Ascend310, got {text!r}")
    return text


def board_choice(text: str) -> str:
    """Parse which board to use: auto, none, emulated or emulated:SOC."""
    kind, colon, soc = text.partition(":")
    if colon and kind == "emulated":
        return f"emulated:{soc_name(soc)}"
    return one_of("auto", "none", "emulated")(text)


def one_of(*words: str) -> Callable[[str], str]:
    """Make a parser that takes one of the words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"needs one of {', '.join(words)}, got {text!r}")
        return text

    return parse


def default_artifacts_folder(environ: Mapping[str, str]) -> Path:
    """Return the artifact store in the user's cache folder, or where the environment says."""
    if given := environ.get("CONFORMANCE_ARTIFACTS"):
        return absolute_path(given)
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return absolute_path(cache) / "ascend-conformance"


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
        str, "no gate",
    ),
)  # fmt: skip


def resolve(
    given: Mapping[str, str | Sequence[str] | None],
    *,
    rootdir: Path,
    environ: Mapping[str, str] = os.environ,
) -> RunConfig:
    """Resolve parsed options and the environment into one frozen object.

    Args:
        given: Text by option name, a list of texts for repeatable ones; None where not given.
        rootdir: The checkout, for defaults inside it.
        environ: The environment.

    Raises:
        ConfigError: A variable cannot be parsed, a model is unknown or a named path is missing.
        SpecError: A named model's spec is wrong.
    """
    chosen = {option.name: _chosen(option, given, environ) for option in OPTIONS}
    config = RunConfig(
        model=_models(chosen["model"]),
        weights=chosen["weights"],
        imagenet=chosen["imagenet"],
        images=chosen["images"],
        batch=chosen["batch"],
        board=chosen["board"] or "auto",
        soc=chosen["soc"],
        chips=chosen["chips"],
        inference_tool=chosen["inference-tool"] or "auto",
        inference_tool_path=chosen["inference-tool-path"],
        ascend_python=chosen["ascend-python"],
        tune=chosen["tune"] or "stored",
        atc_log=chosen["atc-log"] or "error",
        time_limits=chosen["time-limits"] or 1.0,
        profiling=chosen["profiling"],
        scratch=chosen["scratch"] or Path(tempfile.gettempdir()),
        artifacts=chosen["artifacts"] or default_artifacts_folder(environ),
        evidence=chosen["evidence"] or rootdir / "evidence",
        thumbnails=chosen["thumbnails"] or "on",
        gate=chosen["gate"],
    )
    _require(config.weights, "weights", os.path.isfile, "a checkpoint file (.pth)")
    _require(config.imagenet, "imagenet", os.path.isdir, "a folder with val/ and val_label.txt")
    _require(config.profiling, "profiling", os.path.isdir, "a folder with profiling files")
    return config


def _chosen(
    option: Option, given: Mapping[str, str | Sequence[str] | None], environ: Mapping[str, str]
) -> Any:
    if texts := given.get(option.name):
        return _parsed(option, texts, option.flag)
    if option.variable and (text := environ.get(option.variable)):
        texts = [text] if option.repeatable else text
        return _parsed(option, texts, f"environment variable {option.variable}")
    return None


def _parsed(option: Option, texts: str | Sequence[str], origin: str) -> Any:
    try:
        return option.parse(texts) if isinstance(texts, str) else [option.parse(t) for t in texts]
    except ValueError as error:
        raise ConfigError(
            f"{origin} {error}", next_step=f"give {option.flag}={option.metavar}: {option.help}"
        ) from None


def _models(names: Sequence[str] | None) -> tuple[str, ...]:
    wanted = tuple(names or ("squeezenet1_1",))
    if "all" in wanted:
        wanted = model_names()
    for name in wanted:
        load_spec(name)
    return tuple(dict.fromkeys(wanted))


def _require(
    path: PathOrSample | None, option: str, exists: Callable[[Path], bool], expected: str
) -> None:
    if path is None or path == SAMPLE or exists(Path(path)):
        return
    metavar, parse = next((o.metavar, o.parse) for o in OPTIONS if o.name == option)
    correct = f"correct --{option}={metavar}"
    raise ConfigError(
        f"--{option} names nothing that can be read",
        got=path,
        expected=expected,
        next_step=f"{correct}, or give --{option}=sample" if parse is path_or_sample else correct,
    )
