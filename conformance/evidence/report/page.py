"""``report.html``: one self-contained page from a bundle, without any network."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from conformance.bounds import decided_ids
from conformance.check import Status
from conformance.errors import EvidenceError
from conformance.evidence.bundle import REPORT_FILE, Decision
from conformance.evidence.bundle_files import read_limited, write_whole
from conformance.evidence.headroom import Headroom, headroom_of
from conformance.evidence.report import shown
from conformance.evidence.report.accuracy_chart import accuracy_chart
from conformance.evidence.report.error_chart import error_chart
from conformance.evidence.report.flips import changed_decisions
from conformance.evidence.report.joined import joined
from conformance.evidence.report.source import Source, read_source
from conformance.evidence.report.stages import MAX_ROWS, stages_of
from conformance.evidence.report.summary import banner, headline, rests_on, tiles
from conformance.evidence.report.throughput_chart import throughput_chart
from conformance.evidence.report.thumbnails import demand_folder, thumbnail
from conformance.evidence.report.times import times_of
from conformance.spec import load_spec, model_names

FOLDER = Path(__file__).parent
MAX_PAGE = 16 * 1024 * 1024
# How the page shows an image: its picture, and its name behind that.
PICTURE = re.compile(
    r'<img src="(data:image/jpeg;base64,[A-Za-z0-9+/=]*)" alt="[^"]*">\s*'
    r'<div><h3 class="path"><bdi>([^<]*)</bdi>'
)
LEFT_OUT = "Images are left out on request."


def write_report(
    bundle: Path,
    *more: Path,
    output: Path | None = None,
    images: Path | None = None,
    thumbnails: bool = True,
    decision: Decision | None = None,
) -> Path:
    """Write the report of a bundle, or of several as one; the same input gives the same bytes.

    A run that seals its bundle calls this before the statement is written, which names every file.

    Args:
        bundle: Folder with ``evidence.json``, or with the records of a run that was killed.
        more: Other bundles on the same subject.
        output: Where to write; default ``report.html`` in the bundle.
        images: Folder of the images or the one above their ``val``, for thumbnails.
        thumbnails: Whether images may be shown.
        decision: What a gate makes of all of them, if there are several.

    Returns:
        The file.

    Raises:
        EvidenceError: The bundle cannot be read, the page cannot be written, or the package that
            renders it is not installed.
        DatasetError: ``images`` is not there.
    """
    demand_folder(images if thumbnails else None)
    source = read_source(bundle)
    if decision:
        source = joined([source, *map(read_source, more)], decision)
    page = render(source, lambda name: thumbnail(images, name), thumbnails=thumbnails)
    # Names of files may hold bytes that are no text; they are spelt out before they come here.
    return write_whole(output or bundle / REPORT_FILE, page.encode("utf-8", errors="replace"))


def page_problems(bundle: Path) -> Iterator[str]:
    """Yield a sentence if the report in a bundle is not the one that its evidence gives.

    Its thumbnails are taken as they are: the images are not in the bundle. Where the package that
    renders reports is not installed, or was not for the run, there is nothing to compare.
    """
    path = bundle / REPORT_FILE
    if not path.exists() or find_spec("jinja2") is None:
        return
    from markupsafe import escape

    stated = read_limited(path, MAX_PAGE).decode("utf-8", errors="replace")
    pictures = {found[2]: found[1] for found in PICTURE.finditer(stated)}
    thumbnails = LEFT_OUT not in stated
    again = render(
        read_source(bundle),
        lambda name: pictures.get(str(escape(shown.visible(name))), ""),
        thumbnails=thumbnails,
    )
    if again.encode("utf-8", errors="replace").decode("utf-8") != stated:
        yield f"{REPORT_FILE}: not the page that the evidence gives"


def render(source: Source, picture: Callable[[str], str], *, thumbnails: bool = True) -> str:
    """Return the page of what was read from a bundle.

    Args:
        source: What was read.
        picture: Gives an image's thumbnail as a ``data:`` address by its name; empty if none.
        thumbnails: Whether images may be shown.
    """
    environment = template_environment()  # first: nothing below works without its packages
    throughput, accuracy, error = (
        throughput_chart(source),
        accuracy_chart(source),
        error_chart(source),
    )
    flips, rests = changed_decisions(source), rests_on(source)
    style, script = _part("style.css"), _part("script.js")
    stages = stages_of(source.evidence.checks)
    pictures = {flip.image: picture(flip.image) if thumbnails else "" for flip in flips.shown}
    return str(
        environment.get_template("report.html").render(
            evidence=source.evidence,
            source=source,
            headline=headline(source, flips),
            rests=rests,
            banner=banner(source, rests),
            tiles=tiles(source, throughput, accuracy, error, flips),
            charts={"throughput": throughput, "accuracy": accuracy, "error": error},
            flips=flips,
            pictures=pictures,
            thumbnails=thumbnails,
            stages=stages,
            statuses=[s for s in reversed(Status) if any(stage.counts.get(s) for stage in stages)],
            hidden_rows=max(len(source.evidence.checks) - MAX_ROWS, 0),
            headroom=_headroom(source),
            times=times_of(source),
            today=_day(source),
            style=style,
            script=script,
            policy=_policy(style, script),
        )
    )


def _headroom(source: Source) -> tuple[Headroom, ...]:
    """Return the headroom below the bounds of the models that the run was about."""
    specs = [load_spec(model) for model in source.models if model in model_names()]
    return headroom_of((made.check for made in source.evidence.checks), decided_ids(specs))


@cache  # and with it the templates, once compiled
def template_environment() -> Any:
    """Return jinja2's environment with the templates of the page; it escapes whatever is shown.

    Raises:
        EvidenceError: The package is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise EvidenceError(
            "the report needs the package jinja2",
            next_step="`pip install 'ascend-conformance[report]'`, or render the bundle on another "
            "machine with `python -m conformance report BUNDLE`",
        ) from None
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalised,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(shown=shown, symbols=shown.SYMBOLS, Status=Status)
    return environment


def _finalised(value: object) -> object:
    """Make every text of a bundle short and visible; it is escaped after this."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return shown.visible(value)
    return value


def _part(name: str) -> Any:
    from markupsafe import Markup

    return Markup((FOLDER / name).read_text("utf-8"))  # noqa: S704 - the suite's own file


def _policy(style: str, script: str) -> str:
    """Return a policy under which a browser runs only this script, and loads nothing."""
    hashes = [
        base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        for part in (style, script)
    ]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; "
        f"script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"
    )


def _day(source: Source) -> dt.date:
    """Return the day of the run: waivers are judged as of then, so that a report never changes."""
    try:
        return dt.datetime.fromisoformat(source.evidence.started).date()
    except ValueError:
        return dt.date.min
