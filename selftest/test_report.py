"""The report says what a bundle holds and what it lacks, and can be made to say nothing else."""

from __future__ import annotations

import html
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from conformance.__main__ import main
from conformance.check import Check, Status, at_most, equal
from conformance.evidence.bundle import EvidenceClass
from conformance.evidence.record import (
    ArtifactRecord,
    CheckRecord,
    OutcomeRecord,
    append,
    append_artifact,
)
from conformance.evidence.report import shown, stages
from conformance.evidence.report.accuracy_chart import wilson_pct
from conformance.evidence.report.flips import MAX_SHOWN, class_name
from conformance.evidence.report.page import page_problems, template_environment, write_report
from conformance.evidence.report.source import read_source
from conformance.evidence.report.throughput_chart import throughput_chart
from conformance.evidence.report.thumbnails import thumbnail
from selftest.report_bundles import (
    MODEL,
    SPEC,
    board_checks,
    decision,
    every_text,
    evidence_of,
    made,
    rewrite,
    troubled_checks,
    waiver,
    write_bundle,
)

NAMES = [f"photo {number:02d}.JPEG" for number in range(60)]
ATTACK = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}&amp;"


def page_of(folder: Path, **options: Any) -> str:
    return write_report(folder, **options).read_text("utf-8")


def text_of(page: str) -> str:
    """The words of a page: without style, script and tags, blanks made one."""
    words = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", words)).split())


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "run"
    evidence = evidence_of(board_checks(), waivers=(waiver(),))
    return write_bundle(folder, evidence, images=NAMES)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reasons = [f"FAIL: made.up.{number}" for number in range(7)]
    told = decision("NOT CONFORMANT", "board", *reasons)
    folder = tmp_path_factory.mktemp("troubled") / "run"
    return write_bundle(folder, evidence_of(troubled_checks(), decision=told), images=NAMES)


def test_conformant_run(good: Path) -> None:
    text = text_of(page_of(good))
    for words in (
        "CONFORMANT", "gate release, 97 required checks", "38 of 38 all hold",
        "published the published file", "squeezenet1_1 on Ascend310", "took 1 h 41 min",
        "100.4 % of published", "the driver of this release is slower", "until 2026-12-31",
        "6 of 60 images have another first class",
    ):  # fmt: skip
        assert words in text, words
    assert "Not release evidence" not in text
    assert "No baseline" not in text


def test_every_reason_and_status_is_listed(troubled: Path) -> None:
    page = page_of(troubled)
    text = text_of(page)
    assert "NOT CONFORMANT" in text
    assert all(f"FAIL: made.up.{number}" in text for number in range(7))
    assert "Not release evidence gate board" in text
    for status in ("ERROR", "FAIL", "BLOCKED", "INCONCLUSIVE", "SKIP", "PASS"):
        assert f'data-status="{status}"' in page, status
    assert "no-inference-tool" in text
    assert "read (disk) limits the end-to-end rate" in text
    assert "134 % of bound" in text
    assert "98.9 % of published, -2.0 % to baseline · 1 of 6 do not hold" in text


def test_worst_checks_come_first() -> None:
    for stage in stages.stages_of(made(troubled_checks())):
        ranks = [row.check.status.rank for row in stage.rows]
        assert ranks == sorted(ranks, reverse=True), stage.name


def test_every_stage_is_there_without_checks(tmp_path: Path) -> None:
    text = text_of(page_of(write_bundle(tmp_path, evidence_of([], board=None, decision=None))))
    for stage in stages.STAGES:
        assert f"{stage} no checks" in text, stage
    for words in (
        "NO VERDICT", "no check was made", "this run had no board", "holds no predictions",
        "om against PyTorch: not measured", "Board: the checks rest on one (device)", "no gate",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    ("part", "value"), [("weights", "sample"), ("images", "subset"), ("board", "emulated")]
)
def test_banner_names_what_is_no_release_evidence(tmp_path: Path, part: str, value: str) -> None:
    classes = tuple(
        EvidenceClass(part=each, value=value if each == part else best)
        for each, best in (("weights", "published"), ("images", "full"), ("board", "device"))
    )
    page = page_of(write_bundle(tmp_path, evidence_of(board_checks(), classes=classes)))
    assert f"Not release evidence {part}: {value}" in text_of(page)


def test_sample_is_not_compared_with_the_published_accuracy(tmp_path: Path) -> None:
    classes = (EvidenceClass(part="weights", value="sample", model=MODEL),)
    bundle = write_bundle(tmp_path, evidence_of([], classes=classes), images=NAMES)
    text = text_of(page_of(bundle))
    assert "The published figure is not drawn" in text
    assert f"{SPEC.accuracy.top1_pct} %" not in text


def test_published_batches_that_were_not_measured_have_a_row(tmp_path: Path) -> None:
    checks = [c for c in board_checks() if c.coordinates.get("batch") in (1, None)]
    text = text_of(page_of(write_bundle(tmp_path, evidence_of(checks))))
    for label in ("batch 4", "batch 8", "batch 16, tuned", "batch 32"):
        assert f"{label} not measured" in text, label


def test_throughput_is_drawn_against_the_baseline(good: Path, tmp_path: Path) -> None:
    page = page_of(good)
    text = text_of(page)
    assert "98.1 % of published, -2.0 % to baseline" in text
    assert "batch 64 not measured" in text, "a figure that was accepted and is gone"
    assert "The baseline has no figure for batch 32." in text
    assert "baseline 9,180 of 2026-10-02" in page
    assert page.count('class="mark baseline"') == 6 + 1, "six figures and the legend"
    alone = page_of(write_bundle(tmp_path / "alone", evidence_of(board_checks(), baseline=())))
    assert "No baseline: this run was compared with no earlier one." in text_of(alone)
    assert 'class="mark baseline"' not in alone


def test_a_regression_does_not_look_good(tmp_path: Path) -> None:
    def looks(status: Status) -> list[str]:
        checks = [
            msgspec.structs.replace(check, status=status) if check.id.startswith("regr") else check
            for check in board_checks()
        ]
        chart = throughput_chart(read_source(write_bundle(tmp_path, evidence_of(checks))))
        return [bar.look for bar in chart.bars if bar.label in {"batch 1", "batch 16, tuned"}]

    assert looks(Status.PASS) == ["good", "good"]
    assert looks(Status.FAIL) == ["bad", "bad"]


def test_another_spec_gives_no_published_figures(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, evidence_of(board_checks(), specs={MODEL: "0" * 64}))
    text = text_of(page_of(bundle))
    assert "published figures of squeezenet1_1 are left out" in text
    assert "of published" not in text


def test_another_method_is_not_compared(tmp_path: Path) -> None:
    def moved(check: Check) -> Check:
        tool = check.coordinates | ({"tool": "ais_bench"} if "tool" in check.coordinates else {})
        return msgspec.structs.replace(check, coordinates=tool)

    bundle = write_bundle(tmp_path, evidence_of([moved(check) for check in board_checks()]))
    assert "of published" not in text_of(page_of(bundle))


def test_damaged_predictions_are_said(good: Path, tmp_path: Path) -> None:
    evidence = rewrite(good, lambda data: data)
    bundle = write_bundle(tmp_path, evidence)
    assert "predictions.npz is not in the bundle" in text_of(page_of(bundle))
    (bundle / "predictions.npz").write_bytes(b"no archive")
    assert "predictions.npz cannot be read" in text_of(page_of(bundle))


def test_verdict_that_its_checks_contradict_is_an_alarm(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, evidence_of(troubled_checks()))
    assert "The bundle states CONFORMANT, but 4 of its checks" in text_of(page_of(bundle))


def test_killed_run_shows_its_checks_and_no_verdict(tmp_path: Path) -> None:
    for entry in made([equal("export.opset", 11, 13)]):
        append(tmp_path, CheckRecord(entry.test, entry.check))
        append(tmp_path, OutcomeRecord(entry.test, Status.FAIL, 0.5, ""))
    text = text_of(page_of(tmp_path))
    assert "NO VERDICT" in text
    assert "it was killed" in text
    assert "export.opset" in text


def test_no_bundle_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert "evidence.json" in capsys.readouterr().err


class Seen(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_every_text_is_escaped(good: Path, troubled: Path, tmp_path: Path) -> None:
    """An attack in every text adds neither an element nor an attribute that a page has not."""

    def attacked(data: dict[str, Any]) -> dict[str, Any]:
        for made_check in data["checks"]:
            made_check["check"] |= {"detail": "d", "hint": "h", "source": "s", "unit": "u"}
        for test in data["tests"]:
            test["message"] = "m"
        names = [found.pop("name") for found in data["predictions"]]
        changed: dict[str, Any] = every_text(data, lambda text: text + ATTACK)
        changed["versions"] = {name + ATTACK: "1" for name in changed["versions"]}
        for name, found in zip(names, changed["predictions"], strict=True):
            found["name"] = name
            found["coordinates"]["place" + ATTACK] = "x"
        return changed

    write_bundle(tmp_path, rewrite(good, lambda data: data), images=[n + ATTACK for n in NAMES])
    rewrite(tmp_path, attacked)
    page = page_of(tmp_path)
    assert page.count("alert(1)") > 100
    tags = Seen(page).tags
    usual = Seen(page_of(good)).tags + Seen(page_of(troubled)).tags
    assert {tag for tag, _ in tags} <= {tag for tag, _ in usual}
    assert {n for _, named in tags for n in named} <= {n for _, named in usual for n in named}
    assert [tag for tag, _ in tags].count("script") == 1
    assert "{{7*7}}" in page


def test_names_of_images_are_escaped_beside_their_thumbnails(tmp_path: Path) -> None:
    names = [f"<svg onload=alert({number})>.jpg" for number in range(20)]
    for name in names:
        Image.new("RGB", (400, 300), "teal").save(tmp_path / name, "JPEG")
    bundle = write_bundle(tmp_path / "run", evidence_of(board_checks()), images=names)
    page = page_of(bundle, images=tmp_path)
    assert page.count('src="data:image/jpeg;base64,') == 6
    assert "<svg onload" not in page
    assert "&lt;svg onload=alert(0)&gt;.jpg" in page
    assert list(page_problems(bundle)) == [], "the page is that of the evidence, pictures and all"


def test_nothing_is_loaded_and_the_policy_forbids_it(good: Path) -> None:
    page = page_of(good)
    for tag, named in Seen(page).tags:
        for name in ("src", "href", "srcset", "action", "xlink:href", "style"):
            address = named.get(name) or "#"
            assert address.startswith(("#", "data:image/jpeg")), (tag, address)
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_texts_cannot_hide(tmp_path: Path) -> None:
    turned = equal("export.opset", "safe\u202egpj.exe\x00\x1b[31m", "a\nb")
    page = page_of(write_bundle(tmp_path, evidence_of([turned])))
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert r"safe\u202egpj.exe\u0000\u001b[31m" in page


def test_long_texts_are_cut_and_say_so() -> None:
    assert shown.visible("x" * 5000) == "x" * 2000 + " … (3,000 more characters in the bundle)"


def test_thumbnails_can_be_left_out(good: Path, tmp_path: Path) -> None:
    for name in NAMES:
        Image.new("RGB", (500, 375), "teal").save(tmp_path / name, "JPEG")
    with_them = page_of(good, images=tmp_path)
    without = page_of(good, images=tmp_path, thumbnails=False)
    assert list(page_problems(good)) == []
    assert with_them.count("<img ") == 6
    assert without.count("<img ") == 0
    assert "Images are left out on request" in text_of(without)
    assert "no image here" in text_of(page_of(good))


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "..", "", "link.jpg", "text.jpg", "a\0b"]
)
def test_thumbnails_never_leave_their_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "secret.jpg")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "text.jpg").write_text("no image")
    Image.new("RGB", (40, 30)).save(folder / "own.jpg")
    assert thumbnail(folder, "own.jpg").startswith("data:image/jpeg;base64,")
    assert thumbnail(folder, name) == ""


def test_flips_show_both_lists_and_margins(good: Path) -> None:
    text = text_of(page_of(good))
    assert "photo 00.JPEG Label: tench (0)" in text
    assert "om bs1, bs4, bs8, bs16, bs32" in text
    assert len(re.findall(r"margin \d", text)) == len(re.findall(r"gap \d", text)) == 6
    assert "right before, wrong now" in text
    assert "om bs16 6 , of them 5 confident" in text
    assert len(re.findall("confident, more than rounding explains at float16", text)) == 5
    assert len(re.findall("near-tie, expected at float16", text)) == 1


def test_confident_flips_alarm_at_the_top(good: Path, tmp_path: Path) -> None:
    """A verdict that says all is well does not hide decisions that rounding does not explain."""
    page = page_of(good)
    each = "om bs1 (5), om bs4 (5), om bs8 (5), om bs16 (5), om bs32 (5)"
    tile = page[page.index('<div class="tile bad"><h3>Changed decisions</h3>') :]
    assert f"confident, which rounding does not explain: {each}" in tile[:400]
    alarm = "The bundle states CONFORMANT, but decisions changed that rounding does not explain, "
    assert f"{alarm}which is a bug: {each}." in text_of(page[: page.index("At a glance")])
    calm = page_of(write_bundle(tmp_path, evidence_of(board_checks()), images=NAMES, flips=0))
    assert '<div class="tile plain"><h3>Changed decisions</h3>' in calm
    assert "No image of" in text_of(calm)
    assert "The bundle states" not in calm
    assert "confident, which" not in calm


def test_predictions_without_a_ledger_are_said_to_lack_it(tmp_path: Path) -> None:
    names = [f"{number}.JPEG" for number in range(9)]
    bundle = write_bundle(tmp_path, evidence_of(board_checks()), images=names)
    (bundle / "flips.json").unlink()
    text = text_of(page_of(bundle))
    assert "Not known: this bundle holds no flip ledger." in text
    assert "flips.json is not in the bundle" in text


def test_many_flips_are_capped_with_a_note(tmp_path: Path) -> None:
    names = [f"{number}.JPEG" for number in range(300)]
    bundle = write_bundle(tmp_path, evidence_of(board_checks()), images=names, flips=200)
    page = page_of(bundle)
    assert page.count('<article class="card flip">') == MAX_SHOWN
    assert f"{200 - MAX_SHOWN} more are not shown" in text_of(page)


def test_many_checks_are_capped_with_a_note_and_keep_the_bad_ones(tmp_path: Path) -> None:
    many = [at_most(f"export.made{number}", 1, 2) for number in range(20_000)]
    many[19_000] = at_most("export.needle", 3, 2)
    evidence = evidence_of(many, decision=decision("NOT CONFORMANT", "host", *(["x" * 99] * 5000)))
    bundle = write_bundle(tmp_path, evidence)
    start = time.perf_counter()
    page = page_of(bundle)
    assert time.perf_counter() - start < 20
    assert len(page) < 2_000_000
    assert "export.needle" in page
    assert page.count('<tr class="row') == stages.MAX_ROWS
    assert "19,000 of 20,000 checks are not in this table" in text_of(page)
    assert "4900 more reasons" in text_of(page)


def test_same_bundle_gives_the_same_bytes(good: Path, tmp_path: Path) -> None:
    first = write_report(good, output=tmp_path / "first.html").read_bytes()
    assert write_report(good, output=tmp_path / "second.html").read_bytes() == first
    assert len(first) < 400_000


def test_time_is_shown_by_stage_test_and_what_was_built(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, evidence_of(board_checks()))
    append_artifact(bundle, ArtifactRecord("built", "om_model", "2" * 64, 312.4))
    append_artifact(bundle, ArtifactRecord("found", "onnx_model", "3" * 64, 0.0))
    text = text_of(page_of(bundle))
    assert "om_model 22222222 5 min 12 s" in text
    assert "onnx_model 33333333" not in text
    assert "Conversion" in text.partition("Where the time went")[2]


def test_npu_smi_is_shown_and_its_lack_said(good: Path) -> None:
    text = text_of(page_of(good))
    assert "npu-smi before the run" in text
    assert "| 0 310" in text
    assert "what npu-smi printed after the run is not in the bundle" in text


def test_text_of_a_file_outside_the_bundle_is_not_shown(good: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("SECRET", "utf-8")
    bundle = write_bundle(tmp_path / "run", rewrite(good, lambda data: data))

    def climbing(data: dict[str, Any]) -> dict[str, Any]:
        data["board"]["npu_smi_before"] = "../secret.txt"
        return data

    rewrite(bundle, climbing)
    page = page_of(bundle)
    assert "SECRET" not in page
    assert "a name in the bundle leaves the bundle" in page


def test_every_graphic_has_a_title_and_words(troubled: Path) -> None:
    page = page_of(troubled)
    graphics = re.findall(r'<svg class="graphic" role="img" aria-labelledby="(\S+) (\S+)"', page)
    assert len(graphics) > 20
    for title, words in graphics:
        assert re.search(rf'<title id="{title}">[^<]+</title>', page)
        assert re.search(rf'<desc id="{words}">[^<]+</desc>', page)
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)


def test_command_writes_beside_the_bundle(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(good)]) == 0
    beside = good.with_name("run.html")
    assert capsys.readouterr().out == f"report: {beside}\n"
    assert beside.read_text("utf-8").startswith("<!doctype html>")
    assert main(["report", str(good), f"--output={tmp_path / 'x.html'}", "--no-thumbnails"]) == 0
    assert (tmp_path / "x.html").exists()
    assert main(["report", str(good), f"--imagenet={tmp_path / 'nowhere'}"]) == 2


def test_board_without_jinja2_says_where_to_render(
    good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    template_environment.cache_clear()  # as in a process that has rendered nothing yet
    assert main(["report", str(good)]) == 2
    assert (
        "on another machine with `python -m conformance report BUNDLE`" in capsys.readouterr().err
    )


def test_other_commands_do_not_wait_for_jinja2() -> None:
    heavy = {"jinja2", "matplotlib", "torch"}
    code = f"import conformance.__main__, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_wilson_interval() -> None:
    """The interval of 15 of 20 as statistics books print it: 53.1 to 88.8 %."""
    low, high = wilson_pct(15, 20)
    assert (round(low, 1), round(high, 1)) == (53.1, 88.8)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (6.1e-6, "6.1e-06"), (10022.44, "10,022"), (4589.72, "4,589.7"), (58.178, "58.18"),
     (True, "True"), (None, "none"), (50_000, "50,000"), ("a" * 64, "aaaaaaaaaaaa…")],
)  # fmt: skip
def test_numbers(value: Any, expected: str) -> None:
    assert shown.number(value) == expected


def test_class_names() -> None:
    assert class_name(0) == "tench (0)"
    assert class_name(999) == "toilet tissue (999)"
    assert class_name(1000) == "class 1000"
