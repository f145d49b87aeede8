"""The report in a browser: on a phone, in the dark, by keyboard, on paper, without JavaScript."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.evidence.report.page import write_report
from selftest.report_bundles import (
    board_checks,
    decision,
    evidence_of,
    troubled_checks,
    waiver,
    write_bundle,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LONG = "a_name_without_any_place_to_break_it_" * 6 + ".JPEG"
PHONE = {"width": 375, "height": 740}
TABLET = {"width": 768, "height": 1024}
DESK = {"width": 1280, "height": 900}
# A phone whose user has asked for larger letters shows this many CSS pixels.
NARROW = {"width": 320, "height": 600}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: `apt-get install chromium` provides it")
    driver = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    with driver.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report with every part, and with a name that is hard to break."""
    folder = tmp_path_factory.mktemp("browser")
    names = [LONG, *(f"photo {number:02d}.JPEG" for number in range(30))]
    told = decision("NOT CONFORMANT", "board", f"FAIL: throughput.card {LONG}")
    evidence = evidence_of(troubled_checks(), decision=told, waivers=(waiver(),))
    return write_report(write_bundle(folder / "run", evidence, images=names)).as_uri()


@pytest.fixture
def tab(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that keeps what it complains of and what it asks the network for."""
    context = chromium.new_context(**{"viewport": DESK} | getattr(request, "param", {}))
    tab = context.new_page()
    tab.heard = []
    tab.on("console", lambda message: tab.heard.append(message.text))
    tab.on("pageerror", lambda error: tab.heard.append(str(error)))
    tab.on("request", lambda request: tab.heard.append(request.url))
    yield tab
    context.close()


@pytest.mark.parametrize("tab", [{"viewport": PHONE}, {"viewport": NARROW}, {}], indirect=True)
def test_page_is_no_wider_than_the_screen(tab: Any, report: str) -> None:
    tab.goto(report)
    tab.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    wide = tab.evaluate("document.documentElement.scrollWidth")
    assert wide == tab.viewport_size["width"]
    boxes = "[...document.querySelectorAll('main > section, .card, .tile')]"
    rights = tab.evaluate(f"{boxes}.map((box) => box.getBoundingClientRect().right)")
    assert len(rights) > 10
    assert max(rights) <= wide


CELLS = """() => [...document.querySelectorAll("#table tr.row td")].map((cell) => {
  const box = cell.getBoundingClientRect();
  return [cell.cellIndex, box.left, box.right, getComputedStyle(cell, "::before").content,
          cell.scrollWidth > cell.clientWidth || !cell.textContent.trim()];
}).filter(([index, left, right]) => right > left)"""


@pytest.mark.parametrize(
    "tab",
    [{"viewport": size} for size in (NARROW, PHONE, {"width": 390, "height": 844}, TABLET)],
    indirect=True,
)
def test_every_column_is_on_a_small_screen(tab: Any, report: str) -> None:
    """No sideways scroll hides where, value, bound and margin: each is named beside its value."""
    tab.goto(report)
    tab.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    box = tab.locator("#checks .scroll")
    assert box.evaluate("(box) => box.scrollWidth <= box.clientWidth")
    seen = tab.evaluate(CELLS)
    names = {index: name.strip('"') for index, _, _, name, _ in seen}
    assert {2: "Where", 3: "Value", 4: "Bound", 5: "Margin"}.items() <= names.items()
    for index, left, right, _, cut_or_empty in seen:
        assert 0 <= left < right <= tab.viewport_size["width"], index
        assert not cut_or_empty, index
    tab.get_by_label("PASS", exact=True).uncheck()
    assert tab.locator("tr.row.pass:visible").count() == 0
    tab.get_by_role("button", name="Margin").click()
    assert tab.locator("th[aria-sort=ascending]").inner_text().startswith("Margin")


@pytest.mark.parametrize("tab", [{"java_script_enabled": False, "viewport": PHONE}], indirect=True)
def test_a_phone_without_javascript_is_offered_no_sorting(tab: Any, report: str) -> None:
    tab.goto(report)
    assert tab.locator("#table thead").is_hidden()
    assert tab.locator("tr.row:visible").count() == len([*troubled_checks()])


def test_nothing_is_loaded_and_nothing_complained_of(tab: Any, report: str) -> None:
    tab.goto(report)
    tab.get_by_label("Find").fill("export")
    tab.get_by_role("button", name="Margin").click()
    assert tab.heard == [report]


def test_policy_stops_a_script_that_got_in(tab: Any, report: str, tmp_path: Path) -> None:
    text = Path(report.removeprefix("file://")).read_text("utf-8")
    attack = "<script>document.title = 'owned'</script><img src='https://example.invalid/x.png'>"
    edited = tmp_path / "edited.html"
    edited.write_text(text.replace("<main>", f"<main>{attack}"), "utf-8")
    tab.goto(edited.as_uri())
    assert "owned" not in tab.title()
    assert len([line for line in tab.heard if "Content Security Policy" in line]) == 2
    assert not tab.locator("#filter").is_hidden()


def luminance(colour: str) -> float:
    numbers = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in numbers
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


CONTRASTS = """() => {
  const solid = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return colour.startsWith("rgb(") ? colour : solid(element.parentElement);
  };
  const told = [...document.querySelectorAll("body *")].filter((element) =>
    element.checkVisibility() && !element.closest("svg")
    && [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
  return told.map((element) =>
    [getComputedStyle(element).color, solid(element), element.className]);
}"""


@pytest.mark.parametrize(
    "tab", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True
)
def test_every_text_has_enough_contrast(tab: Any, report: str) -> None:
    """WCAG 2.2 asks for 4.5 to 1."""
    tab.goto(report)
    found = {tuple(entry) for entry in tab.evaluate(CONTRASTS)}
    assert len(found) > 15
    for ink, ground, name in found:
        light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground, name)


def test_dark_and_light_differ(chromium: Any, report: str) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        context = chromium.new_context(color_scheme=scheme)
        tab = context.new_page()
        tab.goto(report)
        grounds[scheme] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        context.close()
    assert luminance(grounds["light"]) > 0.8
    assert luminance(grounds["dark"]) < 0.05


def test_keyboard_reaches_everything_and_shows_where_it_is(tab: Any, report: str) -> None:
    tab.goto(report)
    reached: list[str] = []
    outlined: list[bool] = []
    while "throughput.card" not in reached and len(reached) < 150:
        tab.keyboard.press("Tab")
        name, outline = tab.evaluate(
            "[document.activeElement.id || document.activeElement.value "
            "|| document.activeElement.textContent.trim(), "
            "getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.append(name)
        outlined.append(outline != "none")
    assert reached[0] == "Skip to the verdict"
    for target in ("words", "FAIL", "stage", "Status", "Margin", "throughput.card"):
        assert target in reached, target
    assert all(outlined[: reached.index("throughput.card")])
    tab.locator("#words").focus()
    tab.keyboard.type("needle that is not there")
    assert tab.locator("tr.row:visible").count() == 0


def test_filters(tab: Any, report: str) -> None:
    tab.goto(report)
    every = tab.locator("tr.row").count()
    assert tab.locator("#count").inner_text() == f"{every} of {every} shown"
    tab.get_by_label("PASS", exact=True).uncheck()
    bad = tab.locator("tr.row:visible").count()
    assert 0 < bad < every
    tab.get_by_label("Stage").select_option("Throughput")
    tab.get_by_label("Find").fill("THROUGHPUT tuned disk")
    assert tab.locator("tr.row:visible").count() == 1
    assert tab.locator("#count").inner_text() == f"1 of {every} shown"
    assert tab.locator("#table tbody:visible").count() == 1


def test_sorting_is_by_number_and_says_so(tab: Any, report: str) -> None:
    tab.goto(report)
    numbers = "[...document.querySelectorAll('[data-stage=Throughput] tr.row td:nth-child(4)')]"
    read = f"{numbers}.map((cell) => Number(cell.dataset.sort)).filter(Boolean)"
    before = tab.evaluate(read)
    tab.get_by_role("button", name="Value").click()
    rising = tab.evaluate(read)
    assert rising == sorted(rising)
    assert rising != before
    assert tab.locator("th[aria-sort=ascending]").inner_text().startswith("Value")
    tab.get_by_role("button", name="Value").click()
    assert tab.evaluate(read) == rising[::-1]


@pytest.mark.parametrize("tab", [{"java_script_enabled": False}], indirect=True)
def test_without_javascript_all_is_there_and_nothing_dead(tab: Any, report: str) -> None:
    tab.goto(report)
    assert tab.locator("tr.row:visible").count() == len([*troubled_checks()])
    assert tab.locator("#filter").is_hidden()
    assert tab.locator("thead button").count() == 0


def test_paper_shows_the_verdict_and_no_controls(tab: Any, report: str) -> None:
    tab.goto(report)
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.locator("#filter").is_hidden()
    assert tab.locator("nav").is_hidden()
    assert tab.get_by_role("heading", name="NOT CONFORMANT").is_visible()
    assert luminance(tab.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.99
    assert tab.pdf(format="A4").startswith(b"%PDF")


def test_run_that_holds_shows_no_banner(tab: Any, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "run", evidence_of(board_checks()))
    tab.goto(write_report(bundle).as_uri())
    assert tab.locator(".banner").count() == 0
    assert tab.get_by_role("heading", name="CONFORMANT", exact=True).is_visible()
