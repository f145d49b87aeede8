"""ais_bench is driven in its own Python; what it prints, writes and returns is all checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.ascend.ais_bench import AisBenchRun, AisBenchTool, OutputFormat
from conformance.ascend.ais_bench_text import check_formula, parse_printed, times_of
from conformance.ascend.inference_tool import Inputs
from conformance.ascend.work_folder import require_private
from conformance.errors import (
    BoardError,
    ConformanceError,
    DatasetError,
    DumpError,
    ToolError,
)
from selftest.fake_tools import environment, om_bytes, sample, tool

INPUT_BYTES = 12
IMAGES = 5
Change = dict[str, object]
BATCH = 4

# Plays `python -m ais_bench`: called with `-m ais_bench` in front.
FAKE = """
import json, math, os, shutil, signal, sys, time
from pathlib import Path
change = json.loads({change!r})
assert sys.argv[1:3] == ["-m", "ais_bench"]
Path("argv.json").write_text(json.dumps(sys.argv[3:]))
given = dict(word[2:].split("=", 1) for word in sys.argv[3:])
real_batch = change.get("batch", {batch})
mean = 0.5
facts = []
if "input" in given:
    files = sorted(Path(given["input"]).iterdir())
    runs = math.ceil(len(files) / real_batch)
    outputs = Path(given["output"], given["output_dirname"])
    outputs.mkdir()
    for path in files[: change.get("images", len(files))]:
        stem = path.name.split(".", 1)[0]
        (outputs / (stem + "_0." + given["outfmt"].lower())).write_text("1 2 3 ")
    summary = {{"npu_compute_time_list": change.get("times", [mean] * runs)}}
    name = change.get("summary", str(outputs) + "_summary.json")
    if name:
        Path(name).write_text(change.get("summary_text", json.dumps(summary)))
    facts.append(f"get filesperbatch files0 size:12 tensor0size:48 filesperbatch:{{real_batch}}"
                 f" runcount:{{runs}}")
    factor = int(given["batchsize"])
else:
    facts.append(f"try get model batchsize:{{real_batch}}")
    factor = real_batch
factor = change.get("factor", factor)
facts += [
    f"NPU_compute_time (ms): min = 0.4, max = 0.6, mean = {{mean}}, median = 0.5,"
    " percentile(99%) = 0.6",
    f"throughput 1000*batchsize.mean({{factor}})/NPU_compute_time.mean({{mean}}):"
    f" {{1000 * factor / mean}}",
]
for fact in change.get("facts", facts):
    print("[INFO] " + fact)
print(change.get("text", ""), flush=True)
time.sleep(change.get("sleep", 0))
for path, content in change.get("write", []):
    Path(path).write_text(content)
if change.get("kill"):
    os.kill(os.getpid(), signal.SIGKILL)
if change.get("raise"):
    raise RuntimeError(change["raise"])
sys.exit(change.get("status", 0))
"""


def fake(folder: Path, change: Change | None = None) -> AisBenchTool:
    code = FAKE.format(change=json.dumps(change or {}), batch=BATCH)
    return AisBenchTool(tool(folder / "python3", code), environment(), device_id=2)


def write_inputs(folder: Path, size: int = INPUT_BYTES) -> Path:
    prepared = folder / "prep_dataset"
    prepared.mkdir(mode=0o700)
    for number in range(1, IMAGES + 1):
        (prepared / f"ILSVRC2012_val_{number:08}.bin").write_bytes(bytes(size))
    return prepared


def write_om(folder: Path) -> Path:
    om = folder / "squeezenet1_1_bs4.om"
    om.write_bytes(om_bytes())
    om.chmod(0o666)
    return om


def infer(
    folder: Path,
    change: Change | None = None,
    *,
    inputs: Path | None = None,
    output_format: OutputFormat = "TXT",
    limit_s: float = 30,
) -> AisBenchRun:
    return fake(folder, change).infer(
        write_om(folder),
        Inputs(inputs or write_inputs(folder), folder / "images.info", (224, 224), INPUT_BYTES),
        batch=BATCH,
        folder=folder / "work",
        output_format=output_format,
        limit_s=limit_s,
    )


# --- driving --------------------------------------------------------------------------------------


def test_the_command_is_the_readmes(tmp_path: Path) -> None:
    infer(tmp_path)
    assert json.loads((tmp_path / "work/argv.json").read_text()) == [
        "--model=squeezenet1_1_bs4.om",
        "--device=2",
        "--batchsize=4",
        f"--input={tmp_path}/prep_dataset",
        "--output=result",
        "--output_dirname=result_bs4",
        "--outfmt=TXT",
    ]


def test_a_good_run_tells_outputs_figures_and_times(tmp_path: Path) -> None:
    done = infer(tmp_path)
    assert done.outputs.folder == tmp_path / "work/result/result_bs4"
    assert done.outputs.names == tuple(f"ILSVRC2012_val_{n:08}_0.txt" for n in range(1, 6))
    assert done.perf.throughput_fps == 8000
    assert (done.perf.batch, done.perf.run_count, done.perf.times_ms) == (4, 2, (0.5, 0.5))
    assert done.figures_path == tmp_path / "work/result/result_bs4_summary.json"
    assert (done.notes, done.emulated) == ((), False)


@pytest.mark.parametrize("output_format", ["BIN", "NPY"])
def test_other_formats_have_other_suffixes(tmp_path: Path, output_format: OutputFormat) -> None:
    done = infer(tmp_path, output_format=output_format)
    assert done.outputs.names[0] == f"ILSVRC2012_val_00000001_0.{output_format.lower()}"


def test_the_model_and_folders_are_as_its_checks_demand(tmp_path: Path) -> None:
    infer(tmp_path)
    work = tmp_path / "work"
    assert (work / "squeezenet1_1_bs4.om").stat().st_mode & 0o777 == 0o600
    assert (work / "result").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["sumary.json", "summary.json"])
def test_a_summary_among_the_outputs_is_moved_out(tmp_path: Path, name: str) -> None:
    done = infer(tmp_path, {"summary": f"result/result_bs4/{name}"})
    assert done.figures_path == tmp_path / "work/result/result_bs4_summary.json"
    assert done.perf.times_ms == (0.5, 0.5)
    assert len(list(done.outputs.folder.iterdir())) == IMAGES


def test_a_missing_summary_and_odd_times_are_noted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert infer(tmp_path / "a", {"summary": ""}).notes == ("this version wrote no summary",)
    (tmp_path / "b").mkdir()
    assert infer(tmp_path / "b", {"times": [0.5]}).notes == ("1 times for 2 batches",)


def test_the_mark_of_an_emulator_and_warnings_are_seen(tmp_path: Path) -> None:
    warning = "[WARNING] aclruntime version:0.0.1 is lower please update"
    done = infer(tmp_path, {"text": f"ASCEND-EMULATOR\n{warning}"})
    assert (done.emulated, done.notes) == (True, (warning,))


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"status": 1}, ToolError, "exit status 1"),
        ({"status": 2, "text": "om path:x.om is illegal. Please check."}, ToolError, "scratch"),
        ({"raise": "[1][ACL:invalid parameter]",
          "text": "[ERROR] load model from file failed, model file is X.om"}, ToolError,
         "another SoC"),
        ({"text": "EL003: The argument is invalid.\n[ERROR] acl open device 0 failed"}, BoardError,
         "chip cannot be opened"),
        ({"raise": "SetDevice failed.ret=507033"}, BoardError, "chip cannot be opened"),
        ({"raise": "x", "text": "[ERROR] arg0 tensorsize: 196608 filesize: 602112 not match"},
         ToolError, "float32 inputs belong to float32 models"),
        ({"raise": "save out files error array shape"}, ToolError, "wrong size"),
        ({"text": "[ERROR] the dynamic_batch_size parameter is not specified for model conversion"},
         ToolError, "one batch size"),
        ({"kill": True, "images": 3}, ToolError, "3 of 5 outputs written"),
        ({"images": 4}, DumpError, "1 missing: ILSVRC2012_val_00000005_0.txt"),
        ({"write": [["result/result_bs4/more_0.txt", "1"]]}, DumpError, "1 extra: more_0.txt"),
        ({"facts": []}, ToolError, "no line with a throughput"),
        ({"facts": ["throughput x: 0"]}, ToolError, "above 0"),
        ({"facts": ["throughput x: nan"]}, ToolError, "above 0"),
        # One float32 file taken for four uint8 images: files per batch is a quarter.
        ({"batch": 1}, ToolError, "batch 4"),
        ({"batch": 16}, ToolError, "batch 16"),
        ({"factor": 16}, ToolError, "1000 x 4 / 0.5"),
        ({"summary_text": "{"}, ToolError, "a JSON object"),
        ({"summary_text": "[]"}, ToolError, "a JSON object"),
    ],
)  # fmt: skip
def test_what_cannot_be_believed_is_an_error(
    tmp_path: Path, change: dict[str, object], kind: type[ConformanceError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        infer(tmp_path, change)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert str(tmp_path / "work") in str(caught.value)


def test_a_hanging_tool_is_stopped_and_says_how_far_it_came(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        infer(tmp_path, {"images": 2, "sleep": 60}, limit_s=1.5)
    assert "time limit" in str(caught.value)
    assert "2 of 5 outputs written" in str(caught.value)


def test_uint8_inputs_for_a_float32_model_are_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="wrong size"):
        infer(tmp_path, inputs=write_inputs(tmp_path, 4 * INPUT_BYTES))
    assert not (tmp_path / "work/argv.json").exists()


def test_two_inputs_with_one_stem_up_to_the_first_dot_are_refused(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    (inputs / "ILSVRC2012_val_00000001.copy.bin").write_bytes(bytes(INPUT_BYTES))
    with pytest.raises(DatasetError, match="share one output"):
        infer(tmp_path, inputs=inputs)


def test_an_input_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    require_private(inputs)
    inputs.chmod(0o775)
    with pytest.raises(DatasetError, match="does not take this folder") as caught:
        infer(tmp_path, inputs=inputs)
    assert f"chmod go-w {inputs}" in str(caught.value)
    link = tmp_path / "link"
    link.symlink_to(inputs)
    with pytest.raises(DatasetError, match="does not take") as caught:
        require_private(link)
    assert "a link" in str(caught.value)


def test_a_path_with_a_blank_is_refused_before_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "my scratch"
    folder.mkdir()
    with pytest.raises(ToolError, match="does not take this path") as caught:
        infer(folder)
    assert "' '" in str(caught.value)


# --- pure inference -------------------------------------------------------------------------------


def test_pure_inference_lets_the_tool_read_the_batch_from_the_model(tmp_path: Path) -> None:
    done = fake(tmp_path).measure_pure(
        write_om(tmp_path), batch=BATCH, loops=50, folder=tmp_path / "work"
    )
    assert (done.perf.throughput_fps, done.perf.batch, done.notes) == (8000, 4, ())
    assert done.run.argv[3:] == (
        "--model=squeezenet1_1_bs4.om",
        "--device=2",
        "--loop=50",
        "--output=result",
        "--output_dirname=pure",
    )


def test_pure_inference_of_another_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be used") as caught:
        fake(tmp_path, {"batch": 16}).measure_pure(
            write_om(tmp_path), batch=BATCH, loops=50, folder=tmp_path / "work"
        )
    assert "batch 16" in str(caught.value)


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
