"""benchmark.<arch> is driven as the guide does; status, log, outputs and figures are checked."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from conformance.ascend.benchmark import BenchmarkRun, BenchmarkTool
from conformance.ascend.benchmark_files import info_paths
from conformance.ascend.inference import inference_limit_s
from conformance.ascend.inference_tool import Inputs
from conformance.errors import BoardError, ConformanceError, DatasetError, DumpError, ToolError
from emulator.marker import MARK
from selftest.emulated import FLOAT_BYTES, SIDE, Bench, random_images
from selftest.published import environment, sample
from selftest.replayed_tools import Replay, Spoil, adds, says

Edit = Callable[[Path], object]
INPUT_BYTES = FLOAT_BYTES
IMAGES = 5
OUTPUTS = "result/dumpOutput_device1"
PERF = "result/perf_vision_batchsize_4_device_1.txt"


def output(number: int, suffix: str = "txt") -> str:
    return f"ILSVRC2012_val_{number:08}_1.{suffix}"


def lose(*numbers: int) -> Edit:
    """Remove the outputs of some images."""

    def edit(work: Path) -> None:
        for number in numbers:
            (work / OUTPUTS / output(number)).unlink()

    return edit


def move(old: str, new: str) -> Edit:
    """Give a file another name."""
    return lambda work: (work / old).rename(work / new)


def write(name: str, text: str) -> Edit:
    """Write a file, also a new one."""

    def edit(work: Path) -> None:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)

    return edit


def age(name: str) -> Edit:
    """Make a file look older than the run."""
    return lambda work: os.utime(work / name, (1, 1))


def mark(work: Path) -> None:
    (work / PERF).write_text(f"{(work / PERF).read_text()}{MARK}\n")


@dataclass(frozen=True)
class Place:
    """A tool to be driven, and where."""

    bench: Bench
    replay: Replay
    folder: Path

    def tool(self) -> BenchmarkTool:
        program = self.bench.board.bin / f"benchmark.{os.uname().machine}"
        return BenchmarkTool(program, environment(OMP_NUM_THREADS="1"), device_id=1)

    def om(self) -> Path:
        copy = self.folder / "squeezenet1_1_bs4.om"
        return Path(shutil.copyfile(self.bench.folder / "model_bs4.om", copy))

    def infer(
        self, spoil: Spoil | None = None, *, info: Path | None = None, binary: bool = False
    ) -> BenchmarkRun:
        info = info or write_inputs(self.folder)
        self.replay.spoils = {"-model_type": spoil or Spoil()}
        return self.tool().infer(
            self.om(),
            Inputs(self.folder / "prep_dataset", info, (SIDE, SIDE), INPUT_BYTES),
            batch=4,
            folder=self.folder / "work",
            binary=binary,
        )


@pytest.fixture
def place(standing: Bench, replay: Replay, tmp_path: Path) -> Place:
    return Place(standing, replay, tmp_path)


def write_inputs(folder: Path, count: int = IMAGES) -> Path:
    """Write inputs and the info file that names them."""
    prepared = folder / "prep_dataset"
    prepared.mkdir()
    lines = []
    for number, image in enumerate(random_images(count, seed=0)):
        path = prepared / f"ILSVRC2012_val_{number + 1:08}.bin"
        image.tofile(path)
        lines.append(f"{number} {path} 224 224\n")
    info = folder / "images.info"
    info.write_text("".join(lines))
    return info


def test_the_command_is_the_guides(place: Place) -> None:
    place.infer()
    (command, _), *_ = place.replay.calls
    assert list(command[1:]) == [
        "-model_type=vision",
        "-device_id=1",
        "-batch_size=4",
        "-om_path=squeezenet1_1_bs4.om",
        "-input_text_path=./images.info",
        f"-input_width={SIDE}",
        f"-input_height={SIDE}",
        "-output_binary=False",
        "-useDvpp=False",
    ]
    assert (place.folder / "work/squeezenet1_1_bs4.om").stat().st_mode & 0o777 == 0o600


def test_a_good_run_tells_outputs_figures_and_time(place: Place) -> None:
    done = place.infer()
    assert done.outputs.folder == place.folder / "work" / OUTPUTS
    assert done.outputs.names == tuple(map(output, range(1, 6)))
    assert done.outputs.started_at == done.run.started_at
    assert done.perf.images == pytest.approx(5, abs=0.01)
    assert done.figures_path == place.folder / "work" / PERF
    assert done.emulated


def test_binary_outputs_have_another_suffix(place: Place) -> None:
    assert place.infer(binary=True).outputs.names[0] == output(1, "bin")


def test_the_performance_file_may_lie_in_the_current_folder(place: Place) -> None:
    done = place.infer(Spoil(edit=move(PERF, Path(PERF).name)))
    assert done.figures_path == place.folder / "work" / Path(PERF).name


@pytest.mark.parametrize(
    ("spoil", "marked"),
    [
        (Spoil(), True),
        (Spoil(text=says("done"), edit=mark), True),
        (Spoil(text=says("done")), False),
    ],
)
def test_the_mark_of_an_emulator_is_seen(place: Place, spoil: Spoil, marked: bool) -> None:
    assert place.infer(spoil).emulated is marked


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        # A failed initialisation ends with status 0 in the public relative of this tool.
        (Spoil(text=adds("[ERROR] inferenceInstance init failed.")), ToolError,
         "could not be initialised"),
        (Spoil(text=adds("[ERROR] something else")), ToolError, "something else"),
        (Spoil(text=adds("EZ9999: Inner Error! aicore timeout")), BoardError,
         "AI core stopped answering"),
        (Spoil(text=adds("E19999: Inner Error! unknown")), ToolError, "E19999: Inner Error!"),
        (Spoil(text=adds("terminate called after throwing 'std::bad_alloc'")), ToolError,
         "ran out of memory"),
        (Spoil(text=adds("Traceback (most recent call last):")), ToolError, "Traceback"),
        (Spoil(status=3), ToolError, "exit status 3"),
        (Spoil(status=-signal.SIGKILL, edit=lose(3, 4, 5)), ToolError, "2 of 5 outputs written"),
        (Spoil(text=adds("[ERROR] acl open device 0 failed")), BoardError,
         "chip cannot be opened"),
        (Spoil(text=adds("[ERROR] load model from file failed, model file is X.om")), ToolError,
         "another SoC"),
        (Spoil(edit=lose(5)), DumpError, f"1 missing: {output(5)}"),
        (Spoil(edit=lose(1, 2, 3, 4, 5)), DumpError, "5 missing"),
        (Spoil(edit=move(f"{OUTPUTS}/{output(2)}", f"{OUTPUTS}/other_1.txt")), DumpError,
         "1 extra: other_1.txt"),
        (Spoil(edit=move(f"{OUTPUTS}/{output(2)}", f"{OUTPUTS}/ILSVRC2012_val_00000002_0.txt")),
         DumpError, output(2)),
        (Spoil(edit=write(f"{OUTPUTS}/sumary.json", "{}")), DumpError, "sumary.json"),
        (Spoil(edit=age(f"{OUTPUTS}/{output(3)}")), DumpError, f"1 stale: {output(3)}"),
        (Spoil(edit=move(OUTPUTS, "result/dumpOutput_device0")), DumpError, "dumpOutput_device0"),
        (Spoil(edit=lambda work: (work / PERF).unlink()), ToolError,
         "performance file is missing"),
        (Spoil(edit=move(PERF, PERF.replace("batchsize_4", "batchsize_16"))), ToolError,
         "perf_vision_batchsize_16_device_1.txt"),
        (Spoil(edit=move(PERF, PERF.replace("device_1", "device_0"))), ToolError, "device_0"),
        (Spoil(edit=write(PERF, "")), ToolError, "cannot be used"),
        (Spoil(edit=write(PERF, "[e2e] throughputRate: 0")), ToolError, "cannot be used"),
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


def faster(text: str) -> str:
    """The text with another device rate."""
    return re.sub(r"(Interface throughputRate: )([\d.]+)", r"\g<1>9\g<2>", text)


def beside(work: Path) -> None:
    """Put a second performance file into the current folder, which says something else."""
    (work / Path(PERF).name).write_text(faster((work / PERF).read_text()))


@pytest.mark.parametrize("spoil", [Spoil(text=faster), Spoil(edit=beside)])
def test_figures_that_contradict_each_other_are_refused(place: Place, spoil: Spoil) -> None:
    with pytest.raises(ToolError, match="figures contradict each other") as caught:
        place.infer(spoil)
    assert "infer: " in str(caught.value)
    assert str(place.folder / "work") in str(caught.value)


def test_the_same_figures_twice_are_no_contradiction(place: Place) -> None:
    copy: Edit = lambda work: shutil.copyfile(work / PERF, work / Path(PERF).name)  # noqa: E731 - its type is stated
    assert place.infer(Spoil(edit=copy)).rate_fps > 0


def test_a_performance_file_of_another_dataset_is_refused(place: Place) -> None:
    with pytest.raises(ToolError) as caught:
        place.infer(Spoil(edit=write(PERF, sample("perf/squeezenet1_1-bs4.txt"))))
    assert "images" in str(caught.value)


def test_a_hanging_tool_is_stopped_and_says_how_far_it_came(place: Place) -> None:
    with pytest.raises(ToolError) as caught:
        place.infer(Spoil(stopped=True, status=-signal.SIGTERM, edit=lose(4, 5)))
    assert "time limit" in str(caught.value)
    assert "3 of 5 outputs written" in str(caught.value)
    assert (place.folder / "work" / OUTPUTS).is_dir()


def test_warnings_are_noted_and_no_error(place: Place) -> None:
    done = place.infer(Spoil(text=adds("[WARNING] slow disk\n[WARNING] slow disk")))
    assert "[WARNING] slow disk" in done.notes
    assert done.notes.count("[WARNING] slow disk") == 1


def test_the_work_folder_must_be_fresh(place: Place) -> None:
    (place.folder / "work/result").mkdir(parents=True)
    with pytest.raises(ToolError, match="not empty"):
        place.infer()


@pytest.mark.parametrize(
    ("line", "replacement"),
    [
        ("0 ", "1 "),
        (" 224 224", " 224"),
        ("prep_dataset", "prep dataset"),
        ("0 ", "0  "),
    ],
)
def test_a_wrong_info_file_is_refused(place: Place, line: str, replacement: str) -> None:
    info = write_inputs(place.folder)
    assert len(info_paths(info)) == IMAGES
    info.write_text(info.read_text().replace(line, replacement, 1))
    with pytest.raises(DatasetError, match="info file is wrong"):
        place.infer(info=info)


@pytest.mark.parametrize("spoil", ["missing", "short", "long", "none"])
def test_inputs_that_are_not_what_they_must_be_are_refused(place: Place, spoil: str) -> None:
    info = write_inputs(place.folder)
    victim = place.folder / "prep_dataset/ILSVRC2012_val_00000003.bin"
    if spoil == "missing":
        victim.unlink()
    elif spoil == "none":
        info.write_text("")
    else:
        victim.write_bytes(bytes(INPUT_BYTES - 1 if spoil == "short" else 4 * INPUT_BYTES))
    with pytest.raises(DatasetError) as caught:
        place.infer(info=info)
    assert spoil == "none" or "ILSVRC2012_val_00000003.bin" in str(caught.value)
    assert not place.replay.calls


def test_inputs_that_share_an_output_are_refused(place: Place) -> None:
    info = write_inputs(place.folder, 1)
    (place.folder / "other").mkdir()
    twin = place.folder / "other/ILSVRC2012_val_00000001.bin"
    twin.write_bytes(bytes(INPUT_BYTES))
    info.write_text(info.read_text() + f"1 {twin} 224 224\n")
    with pytest.raises(DatasetError, match="share one output"):
        place.infer(info=info)


def test_relative_paths_of_an_info_file_start_at_the_work_folder(place: Place) -> None:
    info = write_inputs(place.folder)
    info.write_text(info.read_text().replace(f"{place.folder}/", "../"))
    done = place.infer(info=info)
    scores = [np.loadtxt(done.outputs.folder / name) for name in done.outputs.names]
    assert np.shape(scores) == (IMAGES, 1000)


def test_pure_inference_reads_its_own_file(place: Place) -> None:
    done = place.tool().measure_pure(place.om(), batch=4, loops=20, folder=place.folder / "work")
    text = place.folder / "work/result/PureInfer_perf_of_squeezenet1_1_bs4_in_device_1.txt"
    assert f"{done.result.throughput_fps:g}samples/s" in text.read_text()
    assert "-round=20" in done.run.argv
    assert not any(word.startswith("-input") for word in done.run.argv)
    with pytest.raises(ToolError, match="1 to 1024"):
        place.tool().measure_pure(place.om(), batch=4, loops=1025, folder=place.folder / "other")


def test_the_time_limit_scales_with_the_work() -> None:
    # 50,000 images took 415 s at most on the slowest published run.
    assert inference_limit_s(50_000) > 10 * 415
    assert inference_limit_s(37) < 700
