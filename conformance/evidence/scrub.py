"""Take out of texts what identifies people and machines, before they are written anywhere.

Left out are host names, user names and serial numbers. Evidence is handed to strangers, and none
of these says anything about a model.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Accounts that name nobody; taking them out would spoil texts for nothing.
IMPERSONAL = {"root", "user", "users", "admin", "administrator", "ubuntu", "debian", "runner"}
IMPERSONAL |= {"nobody", "jenkins", "docker", "test", "build", "builder", "hwhiaiuser"}
IMPERSONAL |= {"localhost", "localdomain", "host", "removed", "ascend", "atc", "npu", "onnx"}
IMPERSONAL |= {"torch", "model", "batch", "data", "imagenet", "benchmark", "conformance"}
SHORTEST = 3
# Variables that name whoever runs, also behind sudo.
ACCOUNTS = ("USER", "LOGNAME", "USERNAME", "SUDO_USER")
# What vendor tools print: `Serial Number : 2102312N`, `SN: ...`, `VDie ID : 9A1C 33F0`.
SERIAL = re.compile(
    r"\b((?:serial[ _-]?(?:number|no\b\.?)|(?:\w+[ _-])?s/?n|uuid|[nv]?die[ _-]?id"
    r"|mac[ _-]?addr\w*)\"?\s*[:=]\s*)(?:(\")[^\"\n]*\"|[^\s|\"][^\n|]*)",
    re.IGNORECASE,
)
MAC = re.compile(r"\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b", re.IGNORECASE)
HOMES = re.compile(r"((?:/home|/Users|/export/home|[A-Za-z]:\\Users)[/\\])[^/\\\s\"':]+")
# Fields whose words belong to the suite; everything else may quote the machine.
OWN_WORDS = frozenset({"id", "status", "direction", "unit", "coordinates", "classes", "reason"})
OWN_WORDS |= {"test", "record", "fact", "kind", "sha256", "part", "engine", "name", "model"}


class Scrubber:
    """Takes out the names of one machine and its users.

    Args:
        hosts: Names of the machine.
        users: Names of accounts.
        home: Home folder of the account that runs.
    """

    def __init__(self, hosts: Iterable[str], users: Iterable[str], home: str = "") -> None:
        shown = {name.partition(".")[0] for name in hosts} | set(hosts)
        self._host = _words(shown, r"(?:\.[A-Za-z0-9-]+)*")
        self._user = _words(users, "")
        self._home = home if len(Path(home).parts) > 2 else ""  # not "/", and not "/root"

    def text(self, text: str) -> str:
        """Return a text without names of hosts and users, serial numbers and MAC addresses."""
        if self._home:
            text = text.replace(self._home, "~")
        text = SERIAL.sub(_without_value, text)
        text = MAC.sub("[removed]", text)
        text = HOMES.sub(r"\1[user]", text)
        if self._host:
            text = self._host.sub("[host]", text)
        return self._user.sub("[user]", text) if self._user else text

    def record(self, value: Any) -> Any:
        """Return built-in data with every text scrubbed, but for the suite's own words."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            return [self.record(part) for part in value]
        if isinstance(value, dict):
            return {
                name: part if name in OWN_WORDS else self.record(part)
                for name, part in value.items()
            }
        return value


def without_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of images as evidence states them, each still once."""
    given = tuple(names)
    clean = tuple(map(this_machine().text, given))
    if len(set(clean)) == len(set(given)):
        return clean
    return tuple(f"{place} {name}" for place, name in enumerate(clean))


@functools.cache
def this_machine() -> Scrubber:
    """Return the scrubber for the machine and the account that run."""
    home = Path("~").expanduser()
    users = {home.name, *(os.environ.get(name, "") for name in ACCOUNTS)}
    with contextlib.suppress(KeyError, OSError):  # some containers' accounts have no name
        users.add(getpass.getuser())
    return Scrubber({platform.node(), os.environ.get("HOSTNAME", "")}, users, str(home))


def _without_value(found: re.Match[str]) -> str:
    """Keep what a serial number is called, and the quotes that it stands in."""
    quote = found[2] or ""
    return f"{found[1]}{quote}[removed]{quote}"


def _words(names: Iterable[str], tail: str) -> re.Pattern[str] | None:
    telling = sorted(
        {name for name in names if len(name) >= SHORTEST and name.lower() not in IMPERSONAL},
        key=len,
        reverse=True,
    )
    if not telling:
        return None
    choice = "|".join(map(re.escape, telling))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{choice}){tail}(?![A-Za-z0-9])", re.IGNORECASE)
