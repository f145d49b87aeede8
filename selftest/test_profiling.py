"""The costliest operators are found by column name, whatever the profiler's version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conformance.ascend.profiling import costliest_operators
from conformance.errors import ToolError

STATISTIC_8 = """\
Device_id,Model Name,OP Type,Core Type,Count,Total Time(us),Min(us),Avg(us),Max(us),Ratio(%)
0,squeezenet1_1_bs16,MaxPoolV3,AI_CORE,2,150.0,70.0,75.0,80.0,15.0
0,squeezenet1_1_bs16,Conv2D,AI_CORE,26,600.0,10.0,23.1,90.0,60.0
0,squeezenet1_1_bs16,TransData,AI_CORE,3,250.0,60.0,83.3,99.0,25.0
"""
STATISTIC_6 = """\
Model Name,OP Type,Core Type,Count,Total Time,Avg Time,Min Time,Max Time,Ratio
squeezenet1_1_bs16,Conv2D,AI Core,26,600.0,23.1,10.0,90.0,60.0
squeezenet1_1_bs16,TransData,AI Core,3,250.0,83.3,60.0,99.0,25.0
squeezenet1_1_bs16,MaxPoolV3,AI Core,2,150.0,75.0,70.0,80.0,15.0
"""
SUMMARY = """\
Device_id,Task ID,Op Name,OP Type,Task Type,Task Start Time(us),Task Duration(us)
0,1,trans,MaxPoolV3,AI_CORE,1.0,150.0
0,2,conv1,Conv2D,AI_CORE,2.0,400.0
0,3,conv2,Conv2D,AI_CORE,3.0,200.0
0,4,pool,TransData,AI_CORE,4.0,250.0
"""
EXPECTED = [("Conv2D", 600.0, 60.0), ("TransData", 250.0, 25.0), ("MaxPoolV3", 150.0, 15.0)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("op_statistic_20240517.csv", STATISTIC_8),
        ("op_statistic_0_1.csv", STATISTIC_6),
        ("op_statistic_0_1.csv", "\ufeff" + STATISTIC_6.replace("\n", "\r\n")),
        ("op_summary_0_1.csv", SUMMARY),
    ],
)
def test_the_costliest_come_first(tmp_path: Path, name: str, text: str) -> None:
    place = tmp_path / "PROF_1/device_0/summary"
    place.mkdir(parents=True)
    (place / name).write_text(text, "utf-8")
    found = costliest_operators(tmp_path)
    assert [(cost.op_type, cost.total_us, cost.share_pct) for cost in found] == EXPECTED
    assert [cost.op_type for cost in costliest_operators(tmp_path, count=1)] == ["Conv2D"]
    assert str(found[0]).startswith("Conv2D 60.0 % (600 us, AI")
    assert found[0].file == place / name


def test_the_newest_statistic_wins_over_older_ones_and_over_a_summary(tmp_path: Path) -> None:
    for number, (name, text) in enumerate(
        [
            ("op_statistic_a.csv", STATISTIC_8.replace("600.0", "1.0")),
            ("op_statistic_b.csv", STATISTIC_8),
            ("op_summary_c.csv", SUMMARY.replace("Conv2D", "Other")),
        ]
    ):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (number + 1, number + 1))
    assert costliest_operators(tmp_path)[0].total_us == 600.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (STATISTIC_8.replace("Total Time(us)", "Time"), "Total Time(us)"),
        (STATISTIC_8.replace("OP Type", "Kind"), "OP Type"),
        (STATISTIC_8.replace("600.0", "N/A"), "'N/A'"),
        (STATISTIC_8.replace("600.0", "nan"), "at least 0"),
        (STATISTIC_8.splitlines()[0], "no operator"),
        ("", "no operator"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "op_statistic_1.csv").write_text(text)
    with pytest.raises(ToolError, match="cannot be read") as caught:
        costliest_operators(tmp_path)
    assert words in str(caught.value)


def test_a_folder_without_such_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "msprof.json").touch()
    with pytest.raises(ToolError, match="no profiling files") as caught:
        costliest_operators(tmp_path)
    assert "1 other files" in str(caught.value)
