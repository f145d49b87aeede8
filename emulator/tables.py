"""The tables beside the programs: TOML to be written by hand, and in a board JSON.

Every tool reads them at its start, and a board's npu-smi would spend half of its time on TOML.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def read_table(name: str) -> dict[str, Any]:
    """Return the content of ``<name>.json`` beside this file, or else of ``<name>.toml``."""
    quick = HERE / f"{name}.json"
    if quick.exists():
        table: dict[str, Any] = json.loads(quick.read_text(encoding="utf-8"))
        return table
    import tomllib

    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


def tables_as_json() -> dict[str, bytes]:
    """Return every table that is written as TOML, by the name of its file as JSON."""
    stems = sorted(path.stem for path in HERE.glob("*.toml"))
    return {f"{stem}.json": json.dumps(read_table(stem)).encode() for stem in stems}
