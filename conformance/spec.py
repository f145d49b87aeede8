"""Model specs: what each model must meet, decoded strictly from ``models/*.toml``."""

from __future__ import annotations

import difflib
import functools
import hashlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from conformance.errors import ConfigError, SpecError
from conformance.spec_rules import impossible
from conformance.spec_tables import (
    Accuracy,
    Architecture,
    Batch,
    Export,
    Figure,
    Float16,
    Preprocess,
    Provenance,
    PublishedWeights,
    Table,
    Throughput,
    Variant,
)

__all__ = [
    "MODELS_FOLDER",
    "Accuracy",
    "Architecture",
    "Figure",
    "Float16",
    "ModelSpec",
    "Preprocess",
    "PublishedWeights",
    "Throughput",
    "Variant",
    "load_spec",
    "model_names",
    "read_spec",
]

MODELS_FOLDER = Path(__file__).resolve().parent.parent / "models"


class ModelSpec(Table, frozen=True):
    """Everything that one model must meet."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_]*$")]
    task: Literal["imagenet_classification"]
    architecture: Architecture
    weights: Annotated[tuple[PublishedWeights, ...], msgspec.Meta(min_length=1)]
    export: Export
    preprocess: Preprocess
    batch: Batch
    accuracy: Accuracy
    bounds: tuple[Provenance, ...]
    throughput: tuple[Throughput, ...] = ()
    float16: Float16 | None = None

    def origin_of(self, key: str) -> Provenance:
        """Return where a bound comes from; that of a whole table is named by the table."""
        named = {name: row for row in self.bounds for name in row.keys}
        return next(named[name] for name in _enclosing(key) if name in named)

    @property
    def bound_keys(self) -> tuple[str, ...]:
        """What must have its unit, source, method, SoC and date."""
        accuracy = (
            *("top1_pct", "top5_pct", "max_drop_points"),
            *("suspicious_gain_points", "control_points"),
        )
        float16 = ("epsilon", "decision_epsilon") if self.float16 else ()
        return (
            *(f"accuracy.{name}" for name in accuracy),
            *(f"float16.{name}" for name in float16),
            *(f"throughput.{table.soc}" for table in self.throughput),
        )

    def throughput_of(self, soc: str) -> Throughput | None:
        """Return the published throughput of a SoC, None where there is none."""
        return next((table for table in self.throughput if table.soc == soc), None)

    @property
    def tuned_batches(self) -> tuple[int, ...]:
        """Batch sizes for which a tuned model has a published figure."""
        figures = (figure for table in self.throughput for figure in table.figures)
        return tuple(sorted({figure.batch for figure in figures if figure.tuned}))

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Variants of the model: as exported, and those that a published figure is for."""
        found = dict.fromkeys(table.variant for table in self.throughput)
        return tuple(dict.fromkeys(("float32", *found)))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one input tensor: channels, height, width."""
        return (3, self.preprocess.crop, self.preprocess.crop)

    @property
    def sha256(self) -> str:
        """Digest of the whole spec."""
        return self.digest(*self.__struct_fields__)

    def digest(self, *sections: str) -> str:
        """Return the sha256 of the named sections, so that an artifact depends on no others."""
        parts = {section: msgspec.to_builtins(getattr(self, section)) for section in sections}
        return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def model_names(folder: Path = MODELS_FOLDER) -> tuple[str, ...]:
    """Return the names of all model specs, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def load_spec(name: str, folder: Path = MODELS_FOLDER) -> ModelSpec:
    """Read the spec of one model.

    Raises:
        ConfigError: There is no spec of that name.
        SpecError: The file is not a valid spec; the error names file, key and what was expected.
    """
    known = model_names(folder)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(
            f"unknown model {name!r}",
            expected=", ".join(known) or "at least one TOML file",
            where={"folder": folder},
            next_step=f"did you mean {near[0]!r}?" if near else f"add {folder / name}.toml",
        )
    return read_spec(folder / f"{name}.toml")


def read_spec(path: Path) -> ModelSpec:
    """Decode and check one spec file.

    Raises:
        SpecError: The file cannot be read, is not TOML, or a field is missing, misspelt, of the
            wrong type or impossible.
    """
    try:
        return _checked(path, path.read_text("utf-8"))
    except msgspec.ValidationError as error:
        raise _decoding_error(path, str(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SpecError(
            "model spec cannot be read",
            got=error,
            expected="a TOML file in UTF-8",
            where={"file": path},
            next_step="compare it with models/squeezenet1_1.toml",
        ) from None


@functools.lru_cache  # a run asks some thirty times; other text in the file is read anew
def _checked(path: Path, text: str) -> ModelSpec:
    spec = msgspec.convert(tomllib.loads(text), ModelSpec, strict=True)
    for key, got, expected in impossible(spec, path.stem):
        raise SpecError(
            "model spec is impossible",
            got=got,
            expected=expected,
            where={"file": path, "key": key},
            next_step="correct the value; each figure's source says what it must be",
        )
    return spec


def _decoding_error(path: Path, message: str) -> SpecError:
    """Turn msgspec's message into file, key and what was expected."""
    text, _, location = message.partition(" - at `$")
    key = location.strip("`").lstrip(".")
    if field := re.search(r"(?:unknown|missing required) field `(\w+)`", text):
        key = f"{key}.{field[1]}".lstrip(".")
    unknown = "unknown field" in text
    near = difflib.get_close_matches(key.rpartition(".")[2], _field_names(), n=1) if unknown else []
    return SpecError(
        "model spec is wrong",
        got="a field that does not exist" if unknown else None,
        expected=f"`{near[0]}`?" if near else text.removeprefix("Expected "),
        where={"file": path, "key": key or "(top level)"},
        next_step="compare it with models/squeezenet1_1.toml",
    )


def _field_names() -> set[str]:
    tables: list[type[msgspec.Struct]] = list(Table.__subclasses__())
    return {name for table in tables for name in table.__struct_fields__}


def _enclosing(key: str) -> Iterator[str]:
    """Yield a dotted key and those of the tables around it, the nearest first."""
    while key:
        yield key
        key = key.rpartition(".")[0]
