"""The benchmarks: an opponent that computes what the guide computes, and a table that tells it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import guide_baseline, scoring
from benchmarks.__main__ import PAGE, README
from benchmarks.deviations import as_toml
from benchmarks.material import gather
from benchmarks.measurement import Duel, Row, duel
from benchmarks.table import comparison, markdown, page, section, with_part
from conformance.errors import ConfigError
from conformance.imagenet.effects import EFFECTS_FILE, read_effects
from conformance.imagenet.preprocess import prepare_file
from conformance.spec import load_spec
from selftest.photographs import drawn

SPEC = load_spec("squeezenet1_1").preprocess


def test_the_opponents_inputs_are_bit_equal_to_ours(tmp_path: Path) -> None:
    for image in drawn(tmp_path / "val", 2, size=(341, 293)).images:
        guide_baseline.prepare(image.path, tmp_path)
        written = (tmp_path / image.name).with_suffix(".bin").read_bytes()
        assert written == prepare_file(image.path, SPEC, "float32").tobytes()


def test_the_opponent_prepares_everything(tmp_path: Path) -> None:
    images = drawn(tmp_path / "val", 3).images
    guide_baseline.prepare_all([image.path for image in images], tmp_path)
    assert len(list(tmp_path.glob("*.bin"))) == 3


def test_the_opponents_scores_are_the_guides(tmp_path: Path) -> None:
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    (dumps / "a_1.txt").write_text("0.1 0.9 0.2 0.3 0.4 0.5 \n")
    (dumps / "b_1.txt").write_text("0.1 0.9 0.2 0.3 0.4 0.5 \n")
    (tmp_path / "labels").write_text("a.JPEG 1\nb.JPEG 4\n")
    found = guide_baseline.score(dumps, tmp_path / "labels", tmp_path / "json")
    assert found == json.loads((tmp_path / "json").read_text()) == [0.5, 0.5, 1, 1, 1]


def test_both_scorers_agree_in_a_small_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "QUICK_COUNT", 20)
    material = gather(None, None, tmp_path, quick=True)
    jobs = [row.job for row in scoring.rows(material)]
    assert jobs[0].startswith("20 TXT results")
    assert jobs[1].startswith("20 BIN results")


def test_both_sides_of_a_duel_do_the_same_number_of_turns() -> None:
    turns: list[str] = []
    theirs = [lambda: turns.append("their")] * 4
    ours = [lambda: turns.append("our")] * 4
    found = duel(theirs, ours, rounds=2)
    assert turns[2:10] == ["their", "our", "our", "their"] * 2
    assert turns.count("our") == turns.count("their") == 9
    assert len(found.ratios) == 2


@pytest.mark.parametrize(("goal", "met"), [(2.0, True), (3.5, False), (None, None)])
def test_a_ratio_is_their_time_over_ours(goal: float | None, met: bool | None) -> None:
    row = Duel((6.0, 4.0, 9.0), (2.0, 2.0, 2.0)).row("job", 12, "images/s", goal)
    assert row.ratio == "3.00 (2.00 to 4.50)"
    assert (row.ours, row.theirs, row.met) == ("6 images/s", "2 images/s", met)


def test_a_missed_goal_stands_out() -> None:
    rows = [Row("a", "1", met=True), Row("b", "1", met=False), Row("c", "1")]
    assert [line.split("|")[-2].strip() for line in markdown(rows).splitlines()[2:]] == [
        "yes",
        "**no**",
        "",
    ]


def test_a_quick_run_says_so() -> None:
    made = [Row("a", "1")]
    assert "quick run" in section("Scoring", "A note.", made, "subject", quick=True)
    assert "quick run" not in section("Scoring", "A note.", made, "subject", quick=False)


def test_a_section_takes_the_place_of_its_elder_alone() -> None:
    old = [f"## {title}\n\nold\n" for title in ("Scoring", "Memory")]
    before = page(old)
    assert page([], before) == before
    assert page(["## Scoring\n\nnew\n"], before) == before.replace("old", "new", 1)


def test_the_measured_table_is_written_as_it_is_read() -> None:
    assert as_toml(read_effects()) == EFFECTS_FILE.read_text("utf-8")


def test_a_table_takes_the_place_between_its_marks() -> None:
    page = "above\n<!-- a: begin -->\nold\n<!-- a: end -->\nbelow\n"
    assert with_part(page, "a", "new") == page.replace("old", "new")
    with pytest.raises(ConfigError, match=r"no place for the table"):
        with_part(page, "b", "new")


def test_the_readme_shows_what_was_measured() -> None:
    measured = PAGE.read_text("utf-8")
    assert page([], measured) == measured
    titles = {"Preprocessing", "Scoring", "Reference evaluation"}
    shown = comparison(measured, titles)
    assert len(shown.splitlines()) >= 8
    assert f"<!-- benchmarks: begin -->\n{shown}\n<!-- benchmarks: end -->" in README.read_text()
