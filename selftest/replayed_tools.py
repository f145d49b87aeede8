"""What the emulated board's tools did, done again without a process, and spoilt.

A tool runs once for each command; what it printed and wrote is kept. The same command later gets
copies of it, which a test spoils as no sound tool would: with another exit status, another text,
or files that are missing, old or wrong.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conformance.ascend import supervisor
from conformance.ascend.tool_run import Run

Argv = tuple[str, ...]
MODULES = ("ais_bench", "atc", "benchmark", "om_description", "tuning")
"""Modules of ``conformance.ascend`` that run a tool of CANN."""


def as_printed(text: str) -> str:
    """Leave what a tool printed as it is."""
    return text


def as_written(_: Path) -> None:
    """Leave what a tool wrote as it is."""


def says(text: str) -> Callable[[str], str]:
    """Print this and nothing else."""
    return lambda _: text


def adds(text: str) -> Callable[[str], str]:
    """Print this after all else."""
    return lambda printed: f"{printed}{text}\n"


@dataclass(frozen=True, kw_only=True)
class Spoil:
    """What goes wrong with a run.

    Attributes:
        text: Makes another text of what the tool printed.
        status: Its exit status, minus the number of a signal that killed it.
        stopped: Whether it ran into its time limit.
        edit: Changes what it wrote; gets the folder in which it ran.
    """

    text: Callable[[str], str] = as_printed
    status: int = 0
    stopped: bool = False
    edit: Callable[[Path], object] = as_written


@dataclass(frozen=True)
class Recording:
    """What a tool printed and wrote: contents by path, below one of the folders it writes to."""

    run: Run
    text: str
    files: dict[tuple[int, str], bytes]


@dataclass
class Replay:
    """Stands in for the supervisor's ``run``.

    Attributes:
        recordings: What each command did the first time.
        spoils: How its next runs go wrong, by a word of the command; the first that fits.
        calls: Commands so far, with their environments.
    """

    recordings: dict[Argv, Recording]
    spoils: dict[str, Spoil] = field(default_factory=dict)
    calls: list[tuple[Argv, Mapping[str, str]]] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        limit_s: float,
        grace_s: float = supervisor.GRACE_S,
    ) -> Run:
        """Do what the tool did, see ``conformance.ascend.supervisor.run``."""
        command = tuple(map(str, argv))
        self.calls.append((command, env))
        # Folders of inputs differ from test to test; what is in them does not.
        key = tuple(word.replace(str(cwd.parent), "") for word in command)
        roots = [cwd, Path(env.get("TUNE_BANK_PATH", cwd))]
        if key not in self.recordings:
            before = _files(roots)
            run = supervisor.run(argv, env=env, cwd=cwd, log=log, limit_s=limit_s, grace_s=grace_s)
            text, written = log.read_text("utf-8"), _files(roots)
            files = {at: content for at, content in written.items() if before.get(at) != content}
            self.recordings[key] = Recording(run, text, files)
        return self._again(self.recordings[key], command, roots, log)

    def _again(self, made: Recording, command: Argv, roots: list[Path], log: Path) -> Run:
        spoil = next((how for word, how in self.spoils.items() if _fits(word, command)), Spoil())
        started_at = time.time() - made.run.duration_s
        for (root, name), content in made.files.items():
            (roots[root] / name).parent.mkdir(parents=True, exist_ok=True)
            (roots[root] / name).write_bytes(content)
        stderr_log = log.with_name(f"{log.stem}.stderr.log")
        log.write_text(spoil.text(made.text), "utf-8")
        stderr_log.write_text("", "utf-8")
        spoil.edit(roots[0])
        return dataclasses.replace(
            made.run,
            argv=command,
            cwd=roots[0],
            status=spoil.status or made.run.status,
            ended_by="time limit" if spoil.stopped else "itself",
            started_at=started_at,
            stdout_path=log,
            stderr_path=stderr_log,
        )


def _fits(word: str, command: Argv) -> bool:
    return any(word in (part, Path(part).name) or part.startswith(f"{word}=") for part in command)


def _files(roots: list[Path]) -> dict[tuple[int, str], bytes]:
    return {
        (number, str(path.relative_to(root))): path.read_bytes()
        for number, root in enumerate(dict.fromkeys(roots))
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".log"
    }
