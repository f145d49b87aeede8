"""benchmark.<arch> is driven as the guide does; status, log, outputs and figures are checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance.ascend.benchmark import BenchmarkRun, BenchmarkTool
from conformance.ascend.benchmark_files import info_paths
from conformance.ascend.inference import inference_limit_s
from conformance.ascend.inference_tool import Inputs
from conformance.errors import BoardError, ConformanceError, DatasetError, DumpError, ToolError
from selftest.fake_tools import environment, om_bytes, tool

INPUT_BYTES = 12
IMAGES = 5
Change = dict[str, object]

# Writes what the real tool writes, then whatever else `change` says.
FAKE = """
import json, os, shutil, signal, sys, time
from pathlib import Path
change = json.loads({change!r})
began = time.monotonic()
Path("argv.json").write_text(json.dumps(sys.argv[1:]))
given = dict(word[1:].split("=", 1) for word in sys.argv[1:])
device, batch = given["device_id"], int(given["batch_size"])
result = Path("result")
outputs = result / f"dumpOutput_device{{device}}"
outputs.mkdir(parents=True)
stem = Path(given["om_path"]).stem
if "round" in given:
    text = "ave_throughputRate = 155.975samples/s, ave_latency = 6.42435ms"
    (result / f"PureInfer_perf_of_{{stem}}_in_device_{{device}}.txt").write_text(text)
else:
    assert Path(given["om_path"]).stat().st_mode & 0o777 == 0o600
    lines = Path(given["input_text_path"]).read_text().splitlines()
    suffix = "bin" if given["output_binary"].lower() == "true" else "txt"
    for line in lines[: change.get("images", len(lines))]:
        (outputs / (Path(line.split()[1]).stem + f"_1.{{suffix}}")).write_text("1 2 3")
    n, took = len(lines), max((time.monotonic() - began) * 1000, 1e-3)
    rate = n / took * 1000
    text = (
        f"[e2e] throughputRate: {{rate:.6g}}, latency: {{took:.6g}}\\n"
        f"[data read] throughputRate: {{rate:.6g}}, moduleLatency: {{1000 / rate:.6g}}\\n"
        f"[preprocess] throughputRate: {{rate:.6g}}, moduleLatency: {{1000 / rate:.6g}}\\n"
        f"[infer] throughputRate: {{rate:.6g}}, Interface throughputRate: {{rate * 3:.6g}},"
        f" moduleLatency: 1.8594\\n"
        f"[post] throughputRate: {{rate / batch:.6g}},"
        f" moduleLatency: {{batch * 1000 / rate:.6g}}\\n"
    )
    text += change.get("mark", "")
    name = f"result/perf_vision_batchsize_{{batch}}_device_{{device}}.txt"
    name = change.get("perf_name", name)
    if name:
        Path(name).write_text(change.get("perf", text))
for old, new in change.get("rename", []):
    shutil.move(outputs / old, outputs / new)
for path, content in change.get("write", []):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content)
for path in change.get("old", []):
    os.utime(path, (1, 1))
print(change.get("text", "done"), flush=True)
time.sleep(change.get("sleep", 0))
if change.get("kill"):
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(change.get("status", 0))
"""


def fake(folder: Path, change: Change | None = None) -> BenchmarkTool:
    code = FAKE.format(change=json.dumps(change or {}))
    return BenchmarkTool(tool(folder / "benchmark.test", code), environment(), device_id=1)


def write_inputs(folder: Path, count: int = IMAGES, size: int = INPUT_BYTES) -> Path:
    """Write inputs and the info file that names them."""
    prepared = folder / "prep_dataset"
    prepared.mkdir()
    lines = []
    for number in range(count):
        path = prepared / f"ILSVRC2012_val_{number + 1:08}.bin"
        path.write_bytes(bytes(size))
        lines.append(f"{number} {path} 224 224\n")
    info = folder / "images.info"
    info.write_text("".join(lines))
    return info


def infer(
    folder: Path,
    change: Change | None = None,
    *,
    info: Path | None = None,
    binary: bool = False,
    limit_s: float = 30,
) -> BenchmarkRun:
    om = folder / "squeezenet1_1_bs4.om"
    om.write_bytes(om_bytes())
    info = info or write_inputs(folder)
    return fake(folder, change).infer(
        om,
        Inputs(folder / "prep_dataset", info, (224, 224), INPUT_BYTES),
        batch=4,
        folder=folder / "work",
        binary=binary,
        limit_s=limit_s,
    )


def test_the_command_is_the_guides(tmp_path: Path) -> None:
    infer(tmp_path)
    assert json.loads((tmp_path / "work/argv.json").read_text()) == [
        "-model_type=vision",
        "-device_id=1",
        "-batch_size=4",
        "-om_path=squeezenet1_1_bs4.om",
        "-input_text_path=./images.info",
        "-input_width=224",
        "-input_height=224",
        "-output_binary=False",
        "-useDvpp=False",
    ]


def test_a_good_run_tells_outputs_figures_and_time(tmp_path: Path) -> None:
    done = infer(tmp_path)
    assert done.outputs.folder == tmp_path / "work/result/dumpOutput_device1"
    assert done.outputs.names == tuple(f"ILSVRC2012_val_{n:08}_1.txt" for n in range(1, 6))
    assert done.outputs.started_at == done.run.started_at
    assert done.perf.images == pytest.approx(5, abs=0.01)
    assert done.figures_path.name == "perf_vision_batchsize_4_device_1.txt"
    assert not done.emulated


def test_binary_outputs_have_another_suffix(tmp_path: Path) -> None:
    assert infer(tmp_path, binary=True).outputs.names[0] == "ILSVRC2012_val_00000001_1.bin"


def test_the_performance_file_may_lie_in_the_current_folder(tmp_path: Path) -> None:
    done = infer(tmp_path, {"perf_name": "perf_vision_batchsize_4_device_1.txt"})
    assert done.figures_path == tmp_path / "work/perf_vision_batchsize_4_device_1.txt"


@pytest.mark.parametrize("change", [{"text": "ASCEND-EMULATOR"}, {"mark": "ASCEND-EMULATOR"}])
def test_the_mark_of_an_emulator_is_seen(tmp_path: Path, change: Change) -> None:
    assert infer(tmp_path, change).emulated


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        # A failed initialisation ends with status 0 in the public relative of this tool.
        ({"text": "[ERROR] inferenceInstance init failed."}, ToolError, "could not be initialised"),
        ({"text": "[ERROR] something else"}, ToolError, "something else"),
        ({"status": 3}, ToolError, "exit status 3"),
        ({"kill": True, "images": 2}, ToolError, "2 of 5 outputs written"),
        ({"text": "[ERROR] acl open device 0 failed"}, BoardError, "chip cannot be opened"),
        ({"text": "[ERROR] load model from file failed, model file is X.om"}, ToolError,
         "another SoC"),
        ({"images": 4}, DumpError, "1 missing: ILSVRC2012_val_00000005_1.txt"),
        ({"images": 0}, DumpError, "5 missing"),
        ({"rename": [["ILSVRC2012_val_00000002_1.txt", "other_1.txt"]]}, DumpError,
         "1 extra: other_1.txt"),
        ({"rename": [["ILSVRC2012_val_00000002_1.txt", "ILSVRC2012_val_00000002_0.txt"]]},
         DumpError, "ILSVRC2012_val_00000002_1.txt"),
        ({"write": [["result/dumpOutput_device1/sumary.json", "{}"]]}, DumpError, "sumary.json"),
        ({"old": ["result/dumpOutput_device1/ILSVRC2012_val_00000003_1.txt"]}, DumpError,
         "1 stale: ILSVRC2012_val_00000003_1.txt"),
        ({"images": 4, "write": [["result/dumpOutput_device0/x_1.txt", "1"]]}, DumpError,
         "dumpOutput_device0"),
        ({"perf_name": ""}, ToolError, "performance file is missing"),
        ({"perf_name": "result/perf_vision_batchsize_16_device_1.txt"}, ToolError,
         "perf_vision_batchsize_16_device_1.txt"),
        ({"perf_name": "result/perf_vision_batchsize_4_device_0.txt"}, ToolError, "device_0"),
        ({"perf": ""}, ToolError, "cannot be used"),
        ({"perf": "[e2e] throughputRate: 0"}, ToolError, "cannot be used"),
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


def test_a_performance_file_of_another_dataset_is_refused(tmp_path: Path) -> None:
    text = (Path(__file__).parent / "samples/perf/squeezenet1_1-bs4.txt").read_text()
    with pytest.raises(ToolError) as caught:
        infer(tmp_path, {"perf": text})
    assert "images" in str(caught.value)


def test_a_hanging_tool_is_stopped_and_says_how_far_it_came(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        infer(tmp_path, {"images": 3, "sleep": 60}, limit_s=1.5)
    assert "time limit" in str(caught.value)
    assert "3 of 5 outputs written" in str(caught.value)
    assert (tmp_path / "work/result/dumpOutput_device1").is_dir()


def test_warnings_are_noted_and_no_error(tmp_path: Path) -> None:
    done = infer(tmp_path, {"text": "[WARNING] slow disk\n[WARNING] slow disk"})
    assert "[WARNING] slow disk" in done.notes
    assert done.notes.count("[WARNING] slow disk") == 1


def test_the_work_folder_must_be_fresh(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/result").mkdir()
    with pytest.raises(ToolError, match="not empty"):
        infer(tmp_path)


@pytest.mark.parametrize(
    ("line", "replacement"),
    [
        ("0 ", "1 "),
        (" 224 224", " 224"),
        ("prep_dataset", "prep dataset"),
        ("0 ", "0  "),
    ],
)
def test_a_wrong_info_file_is_refused(tmp_path: Path, line: str, replacement: str) -> None:
    info = write_inputs(tmp_path)
    assert len(info_paths(info)) == IMAGES
    info.write_text(info.read_text().replace(line, replacement, 1))
    with pytest.raises(DatasetError, match="info file is wrong"):
        infer(tmp_path, info=info)


@pytest.mark.parametrize("spoil", ["missing", "short", "long", "none"])
def test_inputs_that_are_not_what_they_must_be_are_refused(tmp_path: Path, spoil: str) -> None:
    info = write_inputs(tmp_path)
    victim = tmp_path / "prep_dataset/ILSVRC2012_val_00000003.bin"
    if spoil == "missing":
        victim.unlink()
    elif spoil == "none":
        info.write_text("")
    else:
        victim.write_bytes(bytes(INPUT_BYTES - 1 if spoil == "short" else 4 * INPUT_BYTES))
    with pytest.raises(DatasetError) as caught:
        infer(tmp_path, info=info)
    assert spoil == "none" or "ILSVRC2012_val_00000003.bin" in str(caught.value)
    assert not (tmp_path / "work/argv.json").exists()


def test_inputs_that_share_an_output_are_refused(tmp_path: Path) -> None:
    info = write_inputs(tmp_path, 1)
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other/ILSVRC2012_val_00000001.bin"
    twin.write_bytes(bytes(INPUT_BYTES))
    info.write_text(info.read_text() + f"1 {twin} 224 224\n")
    with pytest.raises(DatasetError, match="share one output"):
        infer(tmp_path, info=info)


def test_relative_paths_of_an_info_file_start_at_the_work_folder(tmp_path: Path) -> None:
    info = write_inputs(tmp_path)
    info.write_text(info.read_text().replace(f"{tmp_path}/", "../"))
    assert len(infer(tmp_path, info=info).outputs.names) == IMAGES


def test_pure_inference_reads_its_own_file(tmp_path: Path) -> None:
    om = tmp_path / "net.om"
    om.write_bytes(om_bytes())
    done = fake(tmp_path).measure_pure(om, batch=16, loops=20, folder=tmp_path / "work")
    assert done.result.throughput_fps == 155.975
    assert "-round=20" in done.run.argv
    assert not any(word.startswith("-input") for word in done.run.argv)
    with pytest.raises(ToolError, match="1 to 1024"):
        fake(tmp_path).measure_pure(om, batch=16, loops=1025, folder=tmp_path / "other")


def test_the_time_limit_scales_with_the_work() -> None:
    # 50,000 images took 415 s at most on the slowest published run.
    assert inference_limit_s(50_000) > 10 * 415
    assert inference_limit_s(37) < 700
