"""The run's configuration: the frozen object into which the options are resolved.

An option wins over its environment variable, and that over the default. An option that is given
empty is refused; an empty variable counts as not given, for that is how a shell leaves one out for
one command.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.errors import ConfigError
from conformance.obstacles import first_obstacle
from conformance.option_texts import SAMPLE, PathOrSample, absolute_path, path_or_sample
from conformance.options import OPTIONS, STANDARD_IMAGENET, Option
from conformance.spec import load_spec, model_names

__all__ = [
    "OPTIONS",
    "SAMPLE",
    "STANDARD_IMAGENET",
    "Option",
    "RunConfig",
    "default_artifacts_folder",
    "resolve",
]


@dataclass(frozen=True)
class RunConfig:
    """What one run is to do, resolved once. Fields are spelt like their options."""

    model: tuple[str, ...]
    weights: PathOrSample | None
    imagenet: PathOrSample | None
    images: int | None
    looks: str
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
    baseline_om: Path | None
    artifacts: Path
    scratch: Path
    evidence: Path
    thumbnails: str
    gate: str | None = None

    @property
    def patience(self) -> float:
        """What the limits of tools that only answer a question are multiplied by.

        Their work does not shrink, so that a factor below 1 leaves them as they are.
        """
        return max(1.0, self.time_limits)


def default_artifacts_folder(environ: Mapping[str, str]) -> Path:
    """Return the artifact store in the user's cache folder, or where the environment says."""
    if given := environ.get("CONFORMANCE_ARTIFACTS"):
        return absolute_path(given)
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return absolute_path(cache) / "ascend-conformance"


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
        looks=chosen["looks"] or "shared",
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
        baseline_om=chosen["baseline-om"],
        scratch=chosen["scratch"] or Path(tempfile.gettempdir()),
        artifacts=chosen["artifacts"] or default_artifacts_folder(environ),
        evidence=chosen["evidence"] or rootdir / "evidence",
        thumbnails=chosen["thumbnails"] or "on",
        gate=chosen["gate"],
    )
    _require(config.weights, "weights", os.path.isfile, "a checkpoint file (.pth)")
    _require(config.imagenet, "imagenet", os.path.isdir, "a folder with val/ and val_label.txt")
    _require(config.profiling, "profiling", os.path.isdir, "a folder with profiling files")
    _require(config.baseline_om, "baseline-om", os.path.isdir, "a folder with .om files")
    return config


def _chosen(
    option: Option, given: Mapping[str, str | Sequence[str] | None], environ: Mapping[str, str]
) -> Any:
    texts = given.get(option.name)
    if texts is not None:
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
        where=first_obstacle(Path(path)),
        next_step=f"{correct}, or give --{option}=sample" if parse is path_or_sample else correct,
    )
