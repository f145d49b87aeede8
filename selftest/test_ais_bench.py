"""ais_bench is driven in its own Python; what it prints, writes and returns is all checked."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.ascend.ais_bench import AisBenchTool, OutputFormat
from conformance.ascend.ais_bench_runs import AisBenchRun
from conformance.ascend.ais_bench_text import check_formula, check_times, parse_printed, times_of
from conformance.ascend.inference_tool import Inputs
from conformance.ascend.work_folder import require_private
from conformance.errors import (
    BoardError,
    ConformanceError,
    DatasetError,
    DumpError,
    ToolError,
)
from emulator.marker import MARK
from selftest.emulated import FLOAT_BYTES, SIDE, Bench, random_images
from selftest.published import environment, sample
from selftest.replayed_tools import Replay, Spoil, adds

INPUT_BYTES = FLOAT_BYTES
IMAGES = 5
BATCH = 4
RESULT = "result/result_bs4"
SUMMARY = "result/result_bs4_summary.json"
Edit = Callable[[Path], object]


def output(number: int, suffix: str = "txt") -> str:
    return f"ILSVRC2012_val_{number:08}_0.{suffix}"


def lose(*numbers: int) -> Edit:
    """Remove the outputs of some images."""

    def edit(work: Path) -> None:
        for number in numbers:
            (work / RESULT / output(number)).unlink()

    return edit


def write(name: str, text: str) -> Edit:
    """Write a file, also a new one."""
    return lambda work: (work / name).write_text(text)


def shorten(work: Path) -> None:
    summary = json.loads((work / SUMMARY).read_text())
    summary["npu_compute_time_list"] = summary["npu_compute_time_list"][:1]
    (work / SUMMARY).write_text(json.dumps(summary))


def listed(change: Callable[[list[float]], list[float]]) -> Edit:
    """Change the list of the time of each batch of a run on generated input."""

    def edit(work: Path) -> None:
        path = work / "result/pure_summary.json"
        summary = json.loads(path.read_text())
        summary["npu_compute_time_list"] = change(summary["npu_compute_time_list"])
        path.write_text(json.dumps(summary))

    return edit


def swapped(pattern: str, new: str) -> Callable[[str], str]:
    """Print another text in the place of what a pattern finds, which must be there."""

    def change(printed: str) -> str:
        changed, count = re.subn(pattern, new, printed)
        assert count
        return changed

    return change


@dataclass(frozen=True)
class Place:
    """A tool to be driven, and where."""

    bench: Bench
    replay: Replay
    folder: Path

    def tool(self, spoil: Spoil | None = None) -> AisBenchTool:
        self.replay.spoils = {"ais_bench": spoil or Spoil()}
        return AisBenchTool(self.bench.board.python, environment(OMP_NUM_THREADS="1"), device_id=2)

    def om(self) -> Path:
        om = self.folder / "squeezenet1_1_bs4.om"
        shutil.copyfile(self.bench.folder / "model_bs4.om", om)
        om.chmod(0o666)
        return om

    def infer(
        self,
        spoil: Spoil | None = None,
        *,
        inputs: Path | None = None,
        output_format: OutputFormat = "TXT",
    ) -> AisBenchRun:
        inputs = inputs or write_inputs(self.folder)
        return self.tool(spoil).infer(
            self.om(),
            Inputs(inputs, self.folder / "images.info", (SIDE, SIDE), INPUT_BYTES),
            batch=BATCH,
            folder=self.folder / "work",
            output_format=output_format,
        )


@pytest.fixture
def place(standing: Bench, replay: Replay, tmp_path: Path) -> Place:
    return Place(standing, replay, tmp_path)


def write_inputs(folder: Path, copies: int = 1) -> Path:
    prepared = folder / "prep_dataset"
    prepared.mkdir(mode=0o700, parents=True)
    for number, image in enumerate(random_images(IMAGES, seed=0), start=1):
        (prepared / f"ILSVRC2012_val_{number:08}.bin").write_bytes(image.tobytes() * copies)
    return prepared


# --- driving --------------------------------------------------------------------------------------


def test_the_command_is_the_readmes(place: Place) -> None:
    place.infer()
    (command, _), *_ = place.replay.calls
    assert list(command[1:]) == [
        "-m",
        "ais_bench",
        "--model=squeezenet1_1_bs4.om",
        "--device=2",
        "--batchsize=4",
        f"--input={place.folder}/prep_dataset",
        "--output=result",
        "--output_dirname=result_bs4",
        "--outfmt=TXT",
    ]


def test_a_good_run_tells_outputs_figures_and_times(place: Place) -> None:
    done = place.infer()
    assert done.outputs.folder == place.folder / "work" / RESULT
    assert done.outputs.names == tuple(map(output, range(1, 6)))
    assert (done.perf.batch, done.perf.run_count, len(done.perf.times_ms)) == (4, 2, 2)
    mean_ms = sum(done.perf.times_ms) / 2
    assert done.perf.throughput_fps == pytest.approx(4000 / mean_ms)
    assert done.figures_path == place.folder / "work" / SUMMARY
    assert (done.notes, done.emulated) == ((), True)


@pytest.mark.parametrize("output_format", ["BIN", "NPY"])
def test_other_formats_have_other_suffixes(place: Place, output_format: OutputFormat) -> None:
    done = place.infer(output_format=output_format)
    assert done.outputs.names[0] == output(1, output_format.lower())


def test_the_model_and_folders_are_as_its_checks_demand(place: Place) -> None:
    place.infer()
    work = place.folder / "work"
    assert (work / "squeezenet1_1_bs4.om").stat().st_mode & 0o777 == 0o600
    assert (work / "result").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["sumary.json", "summary.json"])
def test_a_summary_among_the_outputs_is_moved_out(place: Place, name: str) -> None:
    done = place.infer(Spoil(edit=lambda work: (work / SUMMARY).rename(work / RESULT / name)))
    assert done.figures_path == place.folder / "work" / SUMMARY
    assert len(done.perf.times_ms) == 2
    assert len(list(done.outputs.folder.iterdir())) == IMAGES


@pytest.mark.parametrize(
    ("edit", "note"),
    [
        (lambda work: (work / SUMMARY).unlink(), "this version wrote no summary"),
        (shorten, "1 times for 2 batches"),
    ],
)
def test_a_missing_summary_and_odd_times_are_noted(place: Place, edit: Edit, note: str) -> None:
    assert place.infer(Spoil(edit=edit)).notes == (note,)


def test_the_mark_of_an_emulator_and_warnings_are_seen(place: Place) -> None:
    warning = "[WARNING] aclruntime version:0.0.1 is lower please update"
    done = place.infer(Spoil(text=adds(warning)))
    assert (done.emulated, done.notes) == (True, (warning,))
    place = Place(place.bench, place.replay, place.folder / "unmarked")
    assert not place.infer(Spoil(text=swapped(MARK, ""))).emulated


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (Spoil(status=1), ToolError, "exit status 1"),
        (Spoil(status=2, text=adds("om path:x.om is illegal. Please check.")), ToolError,
         "scratch"),
        (Spoil(status=1, text=adds("[ERROR] load model from file failed, model file is X.om")),
         ToolError, "another SoC"),
        (Spoil(text=adds("EL003: The argument is invalid.\n[ERROR] acl open device 0 failed")),
         BoardError, "chip cannot be opened"),
        (Spoil(status=1, text=adds("RuntimeError: SetDevice failed.ret=507033")), BoardError,
         "chip cannot be opened"),
        (Spoil(status=1,
               text=adds("[ERROR] arg0 tensorsize: 196608 filesize: 602112 not match")),
         ToolError, "float32 inputs belong to float32 models"),
        (Spoil(status=1, text=adds("RuntimeError: save out files error array shape")), ToolError,
         "wrong size"),
        (Spoil(status=1, text=adds("[ERROR] save out files error array shape:(1, 1000) "
                                   "filesinfo:['padding_infer_fake_file'] files_count_per_batch:4 "
                                   "ndata.shape0:1")), ToolError, "wrong size"),
        (Spoil(text=adds("[ERROR] the dynamic_batch_size parameter is not specified for model "
                         "conversion")), ToolError, "one batch size"),
        (Spoil(status=-signal.SIGKILL, edit=lose(4, 5)), ToolError, "3 of 5 outputs written"),
        (Spoil(edit=lose(5)), DumpError, f"1 missing: {output(5)}"),
        (Spoil(edit=write(f"{RESULT}/more_0.txt", "1")), DumpError, "1 extra: more_0.txt"),
        (Spoil(text=swapped(r"(?m)^.*throughput .*$", "")), ToolError,
         "no line with a throughput"),
        (Spoil(text=swapped(r"(throughput .*: ).*", r"\g<1>0")), ToolError, "above 0"),
        (Spoil(text=swapped(r"(throughput .*: ).*", r"\g<1>nan")), ToolError, "above 0"),
        # One float32 file taken for four uint8 images: files per batch is a quarter.
        (Spoil(text=swapped("filesperbatch:4", "filesperbatch:1")), ToolError, "batch 4"),
        (Spoil(text=swapped("filesperbatch:4", "filesperbatch:16")), ToolError, "batch 16"),
        (Spoil(text=swapped(r"(throughput .*: )", r"\g<1>4")), ToolError, "1000 x 4 / "),
        (Spoil(edit=write(SUMMARY, "{")), ToolError, "a JSON object"),
        (Spoil(edit=write(SUMMARY, "[]")), ToolError, "a JSON object"),
    ],
)  # fmt: skip
def test_what_cannot_be_believed_is_an_error(
    place: Place, spoil: Spoil, kind: type[ConformanceError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        place.infer(spoil)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert str(place.folder / "work") in str(caught.value)


def test_a_hanging_tool_is_stopped_and_says_how_far_it_came(place: Place) -> None:
    with pytest.raises(ToolError) as caught:
        place.infer(Spoil(stopped=True, status=-signal.SIGTERM, edit=lose(3, 4, 5)))
    assert "time limit" in str(caught.value)
    assert "2 of 5 outputs written" in str(caught.value)


def test_uint8_inputs_for_a_float32_model_are_refused_before_the_run(place: Place) -> None:
    with pytest.raises(DatasetError, match="wrong size"):
        place.infer(inputs=write_inputs(place.folder, copies=4))
    assert not place.replay.calls


def test_two_inputs_with_one_stem_up_to_the_first_dot_are_refused(place: Place) -> None:
    inputs = write_inputs(place.folder)
    (inputs / "ILSVRC2012_val_00000001.copy.bin").write_bytes(bytes(INPUT_BYTES))
    with pytest.raises(DatasetError, match="share one output"):
        place.infer(inputs=inputs)


def test_an_input_folder_that_others_may_write_is_refused(place: Place) -> None:
    inputs = write_inputs(place.folder)
    require_private(inputs)
    inputs.chmod(0o775)
    with pytest.raises(DatasetError, match="does not take this folder") as caught:
        place.infer(inputs=inputs)
    assert f"chmod go-w {inputs}" in str(caught.value)
    link = place.folder / "link"
    link.symlink_to(inputs)
    with pytest.raises(DatasetError, match="does not take") as caught:
        require_private(link)
    assert "a link" in str(caught.value)


def test_a_path_with_a_blank_is_refused_before_the_run(place: Place) -> None:
    folder = place.folder / "my scratch"
    folder.mkdir()
    with pytest.raises(ToolError, match="does not take this path") as caught:
        Place(place.bench, place.replay, folder).infer()
    assert "' '" in str(caught.value)


# --- pure inference -------------------------------------------------------------------------------


def test_pure_inference_lets_the_tool_read_the_batch_from_the_model(place: Place) -> None:
    work = place.folder / "work"
    done = place.tool().measure_pure(place.om(), batch=BATCH, loops=50, folder=work)
    assert (done.perf.batch, done.notes) == (4, ())
    mean_ms = done.perf.compute_time_ms["mean"]
    assert done.perf.throughput_fps == pytest.approx(4000 / mean_ms)
    assert len(done.times_ms) == 50, "only what is saved states the time of every batch"
    assert done.run.argv[3:] == (
        "--model=squeezenet1_1_bs4.om",
        "--device=2",
        "--loop=50",
        "--output=result",
        "--output_dirname=pure",
    )


def test_pure_inference_of_another_batch_is_refused(place: Place) -> None:
    work = place.folder / "work"
    with pytest.raises(ToolError, match="cannot be used") as caught:
        place.tool().measure_pure(place.om(), batch=16, loops=50, folder=work)
    assert "batch 4" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda times: [time / 50 for time in times], "with a mean of"),
        (lambda times: [time / 1000 for time in times], "with a mean of"),
        (lambda times: times[:-1], "a list of 49 times"),
        (lambda times: times * 2, "a list of 100 times"),
        (lambda times: [0.0, *times[1:]], "from 0 ms"),
        # The mean stays, and half of the times are four times shorter than they can be.
        (lambda times: [time * (0.25 if n % 2 else 1.75) for n, time in enumerate(times)],
         "with a m"),
    ],
)  # fmt: skip
def test_a_list_of_times_that_is_not_what_was_printed_is_an_error(
    place: Place, change: Callable[[list[float]], list[float]], words: str
) -> None:
    spoilt = place.tool(Spoil(edit=listed(change)))
    with pytest.raises(ToolError, match="cannot be used") as caught:
        spoilt.measure_pure(place.om(), batch=BATCH, loops=50, folder=place.folder / "work")
    assert words in str(caught.value)
    assert "pure_summary.json" in str(caught.value)


def test_times_that_fill_more_than_the_run_are_an_error() -> None:
    perf = replace(parse_printed(sample("ais_bench/2023.txt")), times_ms=(0.661, 0.661, 0.663))
    check_times(perf, batch=1, batches=3, wall_clock_s=0.002)
    with pytest.raises(ToolError, match=r"0\.001985 s in all"):
        check_times(perf, batch=1, batches=3, wall_clock_s=0.0019)


# --- texts ----------------------------------------------------------------------------------------


def test_every_version_of_the_throughput_line_is_read() -> None:
    newest = parse_printed(sample("ais_bench/2023.txt"))
    assert newest.throughput_fps == 1512.8592735267011
    assert (newest.batch, newest.run_count) == (1, 3)
    assert newest.compute_time_ms == {
        "min": 0.661,
        "max": 0.663,
        "mean": 0.6610000133514404,
        "median": 0.661,
        "percentile(99%)": 0.66296,
    }
    old = parse_printed(sample("ais_bench/2022.txt"))
    assert (old.throughput_fps, old.batch, old.compute_time_ms["mean"]) == (1281.485901, 1, 0.78034)
    assert parse_printed(sample("ais_bench/2026.txt")).throughput_fps == 1281.4859
    assert parse_printed("Throughput 1.5e+03\n").throughput_fps == 1500


def test_the_vendors_own_samples_keep_the_formula() -> None:
    for version in ("2022", "2023", "2026"):
        check_formula(parse_printed(sample(f"ais_bench/{version}.txt")), batch=1)
    with pytest.raises(ToolError, match="cannot be used"):
        check_formula(replace(parse_printed(sample("ais_bench/2022.txt")), batch=None), batch=2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "throughput",
        "throughput: -1",
        "throughput: 0",
        "throughput: 1.0\nthroughput: 2.0",
        "throughput: 12 fps a b",
    ],
)
def test_a_throughput_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(ToolError, match="cannot be used"):
        parse_printed(text)


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-3, 1e7))
def test_any_printed_throughput_is_read_back(rate: float) -> None:
    line = f"[INFO] throughput 1000*batchsize.mean(1)/NPU_compute_time.mean(0.66): {rate}\r\n"
    assert parse_printed(line).throughput_fps == rate


@pytest.mark.parametrize("times", [None, "x", [[1.0, 2.0]], [1.0, "x"], {}])
def test_times_that_are_not_understood_are_none(times: object) -> None:
    assert times_of({"npu_compute_time_list": times}) == ()
    assert times_of({}) == ()
