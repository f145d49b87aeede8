"""Performance files are read in every spelling, and one that contradicts itself is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.ascend.perf_checks import check_perf, limiting_stage
from conformance.ascend.perf_file import PerfFile, PureInference, parse_perf_text, parse_pure_text
from conformance.errors import ToolError
from selftest.published import sample

BS16 = sample("perf/squeezenet1_1-bs16.txt")
# Batch size: Interface throughputRate of the published SqueezeNet1_1 files of an Ascend310.
PUBLISHED = {1: 1147.43, 4: 2086.42, 8: 2265.25, 16: 2505.61, 32: 2305.57}


def published(batch: int) -> PerfFile:
    return parse_perf_text(sample(f"perf/squeezenet1_1-bs{batch}.txt"))


def test_every_number_has_its_place() -> None:
    assert parse_perf_text(BS16) == PerfFile(
        e2e_fps=200.414,
        e2e_latency_ms=249483,
        read_fps=201.294,
        read_latency_ms=4.96785,
        preprocess_fps=201.144,
        preprocess_latency_ms=4.97156,
        infer_fps=201.222,
        interface_fps=2505.61,
        infer_latency_ms=1.8594,
        post_batches_per_s=12.576,
        post_latency_ms=79.5165,
    )


@pytest.mark.parametrize("batch", PUBLISHED)
def test_the_published_files_are_plausible(batch: int) -> None:
    perf = published(batch)
    assert perf.interface_fps == PUBLISHED[batch]
    wall_clock_s = perf.e2e_latency_ms / 1000 + 1
    assert check_perf(perf, images=50_000, batch=batch, wall_clock_s=wall_clock_s) == ()


@pytest.mark.parametrize(
    "text",
    [
        BS16.replace("[infer]", "[inference]").replace("[post]", "[postprocess]"),
        BS16.replace("latency", "lantency").replace("Latency", "Lantency"),
        BS16.replace("\n", ""),
        BS16.replace("\n", ", "),
        BS16.replace("\n", "\r\n"),
        "-----------------Performance Summary------------------\n" + BS16,
        "[INFO] Performance Summary\n" + BS16 + "-------------------\n",
        "ASCEND-EMULATOR\n" + BS16,
        BS16.replace(": ", " : "),
        BS16.replace("249483", "2.49483e+05").replace("2505.61", "2.50561E3"),
    ],
)
def test_every_spelling_says_the_same(text: str) -> None:
    assert parse_perf_text(text) == parse_perf_text(BS16)


@pytest.mark.parametrize("stage", ["e2e", "data read", "preprocess", "infer", "post"])
def test_a_missing_and_a_repeated_stage_are_refused(stage: str) -> None:
    line = next(line for line in BS16.splitlines(keepends=True) if line.startswith(f"[{stage}]"))
    with pytest.raises(ToolError, match="cannot be used") as caught:
        parse_perf_text(BS16.replace(line, ""))
    assert "nothing" in str(caught.value)
    with pytest.raises(ToolError, match="cannot be used") as caught:
        parse_perf_text(BS16 + line)
    assert "twice" in str(caught.value)


@pytest.mark.parametrize("bad", ["0", "-3.5", "nan", "inf", "-nan", "12abc", "1.2.3", "", "\x00"])
def test_a_number_that_is_none_or_not_above_0_is_refused(bad: str) -> None:
    assert BS16.count("2505.61") == 1
    for number in re.findall(r"[\d.]{4,}", BS16):
        with pytest.raises(ToolError, match="cannot be used"):
            parse_perf_text(BS16.replace(number, bad))


@pytest.mark.parametrize("text", ["", "garbage", "[e2e]", "{}", "[infer] throughputRate: 3"])
def test_a_garbled_file_is_refused(text: str) -> None:
    with pytest.raises(ToolError, match="cannot be used") as caught:
        parse_perf_text(text, {"file": "perf.txt"})
    assert "file: perf.txt" in str(caught.value)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, len(BS16)))
def test_a_cut_file_is_refused_or_cut_within_the_last_number(cut: int) -> None:
    try:
        perf = parse_perf_text(BS16[:cut])
    except ToolError:
        return
    assert replace(perf, post_latency_ms=79.5165) == parse_perf_text(BS16)


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-3, 1e9), st.integers(1, 9))
def test_any_printed_number_is_read_back(value: float, digits: int) -> None:
    text = f"{value:.{digits}g}"
    assert parse_perf_text(BS16.replace("2505.61", text)).interface_fps == float(text)


# --- contradictions -------------------------------------------------------------------------------


def check(perf: PerfFile, images: int = 50_000, wall_clock_s: float = 260) -> tuple[str, ...]:
    return check_perf(perf, images=images, batch=16, wall_clock_s=wall_clock_s)


@pytest.mark.parametrize("images", [49_998, 50_002, 50_016, 500])
def test_a_file_of_another_number_of_images_is_refused(images: int) -> None:
    assert check(published(16)) == ()
    with pytest.raises(ToolError) as caught:
        check(published(16), images=images)
    assert "e2e rate x latency" in str(caught.value)


def test_small_sets_are_counted_to_the_image() -> None:
    perf = replace(
        published(16), e2e_fps=12.3457, e2e_latency_ms=37 / 12.3457 * 1000,
        post_batches_per_s=201.222 * 3 / 37, post_latency_ms=37 / 3 / 0.201222,
    )  # fmt: skip
    assert check(perf, images=37, wall_clock_s=4) == ()
    for images in (36, 38):
        with pytest.raises(ToolError, match="cannot be used"):
            check(perf, images=images, wall_clock_s=4)


def test_an_interface_slower_than_inference_is_refused() -> None:
    with pytest.raises(ToolError) as caught:
        check(replace(published(16), interface_fps=201.2))
    assert "Interface throughputRate" in str(caught.value)
    assert check(replace(published(16), interface_fps=201.222)) == ()


def test_more_images_from_end_to_end_than_inference_makes_are_refused() -> None:
    with pytest.raises(ToolError) as caught:
        check(replace(published(16), infer_fps=10.0))
    assert "no more images from end to end" in str(caught.value)
    assert check(replace(published(16), infer_fps=200.414, post_batches_per_s=12.526,
                         post_latency_ms=79.834)) == ()  # fmt: skip


def test_more_time_than_the_tool_ran_is_refused() -> None:
    with pytest.raises(ToolError) as caught:
        check(published(16), wall_clock_s=249)
    assert "that the tool ran" in str(caught.value)
    assert check(published(16), wall_clock_s=249.5) == ()


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"read_latency_ms": 40.0}, "[data read] rate x moduleLatency"),
        ({"post_batches_per_s": 201.2, "post_latency_ms": 4.97}, "[post] makes"),
        ({"interface_fps": 9e9}, "times infer"),
    ],
)
def test_other_oddities_are_noted(change: dict[str, float], note: str) -> None:
    (found,) = check(replace(published(16), **change))
    assert note in found


def test_a_partial_last_batch_is_no_oddity() -> None:
    # Ten images in three batches of four.
    perf = replace(
        published(16), e2e_fps=100.0, e2e_latency_ms=100.0, post_batches_per_s=60.3666,
        post_latency_ms=16.5655,
    )  # fmt: skip
    assert check_perf(perf, images=10, batch=4, wall_clock_s=0.15) == ()
    assert limiting_stage(replace(perf, post_batches_per_s=30.0), 4).throughput_fps == 100.0


def test_time_that_the_file_does_not_account_for_is_noted() -> None:
    (note,) = check(published(16), wall_clock_s=900)
    assert "of 900 s run" in note


def test_the_stage_that_limits_is_named() -> None:
    slow_read = replace(published(16), read_fps=150.0)
    stage = limiting_stage(slow_read, 16)
    assert (stage.name, stage.throughput_fps, stage.chip_waits) == ("data read", 150.0, True)
    assert stage.behind_pct == pytest.approx(100 * (1 - 150 / 201.144))
    assert "the chip waits" in str(stage)
    chip_bound = replace(published(16), infer_fps=100.0, interface_fps=110.0)
    assert limiting_stage(chip_bound, 16).name == "infer"
    assert not limiting_stage(chip_bound, 16).chip_waits
    slow_post = replace(published(16), post_batches_per_s=5.0)
    assert limiting_stage(slow_post, 16).throughput_fps == 80.0
    assert limiting_stage(published(1), 1).name == "preprocess"


# --- pure inference -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pure-file.txt", "pure-stdout.txt"])
def test_pure_inference_is_read_from_file_and_print(name: str) -> None:
    assert parse_pure_text(sample(f"perf/{name}")) == PureInference(155.975, 6.42435)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ave_throughputRate = 0samples/s, ave_latency = 1ms",
        "ave_throughputRate = 155.975samples/s",
        "ave_throughputRate = nansamples/s, ave_latency = 1ms",
    ],
)
def test_a_garbled_pure_result_is_refused(text: str) -> None:
    with pytest.raises(ToolError, match="cannot be used"):
        parse_pure_text(text)
