"""The one shape of every error that a user can cause, so that each message teaches.

An error says what went wrong, what was got, what was expected, where, and what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping


class ConformanceError(Exception):
    """Something could not be measured: a tool, the data or this suite is wrong (status ERROR).

    Args:
        what: One sentence that names the problem.
        got: What was found.
        expected: What should have been found.
        where: File, image, batch size, device and the like, by name.
        next_step: What the reader can do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        expected: object = None,
        where: Mapping[str, object] | None = None,
        next_step: str = "",
    ) -> None:
        super().__init__(what)
        self.what = what
        self.got = got
        self.expected = expected
        self.where = dict(where or {})
        self.next_step = next_step

    def __str__(self) -> str:
        rows = [*self.where.items(), ("got", self.got), ("expected", self.expected)]
        lines = [self.what]
        lines += [f"  {name}: {value}" for name, value in rows if value is not None]
        if self.next_step:
            lines.append(f"  next: {self.next_step}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own pickling drops keyword arguments, and errors cross process borders.
        return (_rebuild, (type(self), self.what, self.__dict__))


def _rebuild(kind: type[ConformanceError], what: str, state: dict[str, object]) -> ConformanceError:
    error = kind(what)
    error.__dict__.update(state)
    return error


class ConfigError(ConformanceError):
    """An option or an environment variable is wrong."""


class SpecError(ConformanceError):
    """A model's TOML is wrong."""


class CheckpointError(ConformanceError):
    """A weights file cannot be used, or none could be had."""


class DownloadError(CheckpointError):
    """The published weights could not be reached; without a board the sample takes their place."""


class ExportError(ConformanceError):
    """The ONNX model could not be written or read."""


class ArtifactError(ConformanceError):
    """The artifact store cannot be used, or an entry in it is damaged."""


class DatasetError(ConformanceError):
    """Images or labels are missing, unreadable or contradict each other."""


class DumpError(ConformanceError):
    """What an inference tool left behind is not a whole, fresh set of results."""


class ToolError(ConformanceError):
    """A vendor tool is missing, failed, or cannot be believed."""


class BoardError(ConformanceError):
    """A board is there in part, but no chip of it can be used."""


class EvidenceError(ConformanceError):
    """A bundle of evidence, a baseline or the gates cannot be read, written or believed."""
