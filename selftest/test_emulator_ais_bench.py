"""Today's inference tool: batching by file size, output layout, texts, and exit status."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from emulator import MARK
from emulator.ais_bench_files import batches, list_inputs
from selftest.emulated import (
    AIPP_CONFIG,
    CLASSES,
    FLOAT_BYTES,
    PIXEL_BYTES,
    SIDE,
    Bench,
    make_bench,
)

COUNT = 17
SAVE = ("--input", "./prep", "--output", "result", "--outfmt", "TXT")
THROUGHPUT = re.compile(
    r"^\[INFO\] throughput 1000\*batchsize\.mean\((\d+)\)/NPU_compute_time\.mean\(([\d.]+)\): "
    r"([\d.]+)$",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = make_bench(tmp_path_factory.mktemp("ais_bench"))
    bench.images(COUNT)
    for batch in (1, 2, 4, 8, 16):
        assert bench.atc(batch=batch).status == 0
    (bench.folder / "aipp.config").write_text(AIPP_CONFIG, encoding="utf-8")
    assert bench.atc("--insert_op_conf=aipp.config", batch=4, output="pixels_bs4").status == 0
    return bench


def test_texts_come_in_the_published_order(bench: Bench) -> None:
    result = bench.ais_bench(*SAVE, "--output_dirname", "texts")
    assert result.status == 0
    assert result.stderr == ""
    # The progress bar begins with a carriage return.
    shown = [line for line in result.stdout.splitlines() if line and MARK not in line]
    sizes = f"files0 size:{FLOAT_BYTES} tensor0size:{16 * FLOAT_BYTES}"
    names = ("min", "max", "mean", "median", r"percentile\(99%\)")
    statistics = ", ".join(rf"{name} = \S+" for name in names)
    expected = [
        r"\[INFO\] acl init success",
        r"\[INFO\] open device 0 success",
        r"\[INFO\] load model model_bs16.om success",
        r"\[INFO\] create model description success",
        r"\[INFO\] try get model batchsize:16",
        r"\[INFO\] output path:result/texts",
        rf"\[INFO\] get filesperbatch {sizes} filesperbatch:16 runcount:2",
        r"\[INFO\] warm up 1 done",
        r"Inference array Processing: 100%\|.*\| 2/2 \[.*it/s\]",
        r"\[INFO\] -----------------Performance Summary------------------",
        rf"\[INFO\] NPU_compute_time \(ms\): {statistics}",
        r"\[INFO\] throughput 1000\*batchsize\.mean\(16\)/NPU_compute_time\.mean\(\S+\): \S+",
        r"\[INFO\] ------------------------------------------------------",
        r"\[INFO\] unload model success, model Id is 1",
        r"\[INFO\] end to destroy context",
        r"\[INFO\] end to reset device is 0",
        r"\[INFO\] end to finalize acl",
    ]
    assert len(shown) == len(expected)
    for line, pattern in zip(shown, expected, strict=True):
        assert re.fullmatch(pattern, line), line


def test_throughput_follows_its_formula(bench: Bench) -> None:
    found = THROUGHPUT.search(bench.ais_bench("--loop=20").stdout)
    assert found
    assert float(found[3]) == pytest.approx(1000 * 16 / float(found[2]))


def test_a_loop_over_files_computes_each_batch_again(bench: Bench) -> None:
    save = (*SAVE, "--output_dirname", "looped", "--loop=3")
    assert bench.ais_bench(*save).status == 0
    summary = json.loads((bench.folder / "result/looped_summary.json").read_text())
    assert len(summary["npu_compute_time_list"]) == 3 * 2
    assert len(list((bench.folder / "result/looped").iterdir())) == COUNT


def test_batchsize_is_used_in_the_formula_alone(bench: Bench) -> None:
    right, wrong = (
        THROUGHPUT.search(bench.ais_bench("--loop=20", f"--batchsize={size}").stdout)
        for size in (16, 32)
    )
    assert right
    assert wrong
    assert float(wrong[3]) == pytest.approx(2 * float(right[3]), rel=0.03), "runs differ a little"


def test_the_spelling_of_2022(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    bench.images(1)
    assert bench.atc(batch=1).status == 0
    bench.board.configure(ais_bench="2022")
    result = bench.ais_bench(*SAVE, "--output_dirname", "old", batch=1)
    assert re.search(r"throughput \(1000\*batchsize/NPU_compute_time\): [\d.]+\n", result.stdout)
    assert "H2D_latency (ms): min = " in result.stdout
    assert (bench.folder / "result/old/sumary.json").exists()


@pytest.mark.parametrize("batch", [1, 2, 4, 8, 16])
def test_17_files_give_the_same_outputs_at_any_batch(bench: Bench, batch: int) -> None:
    name = f"same_bs{batch}"
    assert bench.ais_bench(*SAVE, "--output_dirname", name, batch=batch).status == 0
    files = sorted(path.name for path in (bench.folder / "result" / name).iterdir())
    assert files == sorted(f"image_{i + 1}_0.txt" for i in range(COUNT))
    assert (bench.folder / f"result/{name}_summary.json").exists()


def test_both_tools_agree(bench: Bench) -> None:
    assert bench.benchmark().status == 0
    assert bench.ais_bench(*SAVE, "--output_dirname", "agree").status == 0
    legacy = bench.scores("result/dumpOutput_device0", 1, COUNT)
    assert np.allclose(bench.scores("result/agree", 0, COUNT), legacy, rtol=1e-5, atol=1e-4)


def test_text_is_one_line_of_six_decimals(bench: Bench) -> None:
    assert bench.ais_bench(*SAVE, "--output_dirname", "lines").status == 0
    text = (bench.folder / "result/lines/image_1_0.txt").read_text(encoding="ascii")
    assert re.fullmatch(r"(-?\d+\.\d{6} ){1000}\n", text)


@pytest.mark.parametrize(("outfmt", "suffix"), [("BIN", "bin"), ("NPY", "npy")])
def test_binary_outputs_hold_the_same_scores(bench: Bench, outfmt: str, suffix: str) -> None:
    argv = ("--input=prep", "--output=result", f"--output_dirname={outfmt}", f"--outfmt={outfmt}")
    assert bench.ais_bench(*argv).status == 0
    path = bench.folder / f"result/{outfmt}/image_2_0.{suffix}"
    values = np.load(path) if suffix == "npy" else np.fromfile(path, np.float32)
    assert values.size == CLASSES
    assert bench.ais_bench(*SAVE, "--output_dirname", "text").status == 0
    assert np.allclose(values.reshape(-1), bench.scores("result/text", 0, 2)[1], atol=1e-6)


def test_summary_has_the_published_keys(bench: Bench) -> None:
    assert bench.ais_bench(*SAVE, "--output_dirname", "keys").status == 0
    text = (bench.folder / "result/keys_summary.json").read_text(encoding="utf-8")
    summary = json.loads(text)
    assert summary["made_by"] == MARK
    statistics = {"min", "max", "mean", "median", "percentile(99%)", "count"}
    for name in ("NPU_compute_time", "H2D_latency", "D2H_latency"):
        assert set(summary[name]) == statistics
    assert len(summary["npu_compute_time_list"]) == summary["NPU_compute_time"]["count"] == 2
    assert len(summary["filesinfo"]) == COUNT
    assert summary["filesinfo"]["1"] == {
        "infiles": ["prep/image_2.bin"],
        "outfiles": ["result/keys/image_2_0.txt"],
    }


def test_files_are_sorted_by_the_numbers_in_their_names(tmp_path: Path) -> None:
    for name in ("a10.bin", "a9.bin", "a1.npy", "b.txt", "a2.BIN"):
        (tmp_path / name).touch()
    assert [path.name for path in list_inputs(str(tmp_path))] == [
        "a1.npy",
        "a2.BIN",
        "a9.bin",
        "a10.bin",
    ]


def test_the_last_batch_is_filled_up_with_its_own_first_file(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.bin" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number, number]))
    assert list(batches(paths, 3)) == [b"\0\0\1\1\2\2", b"\3\3\4\4\3\3"]


def test_npy_input_equals_bin_input(bench: Bench) -> None:
    folder = bench.folder / "arrays"
    folder.mkdir()
    values = np.fromfile(bench.folder / "prep/image_1.bin", np.float32)
    np.save(folder / "image_1.npy", values.reshape(3, SIDE, SIDE))
    argv = ("--input=arrays", "--output=result", "--output_dirname=npy", "--outfmt=TXT")
    assert bench.ais_bench(*argv).status == 0
    assert bench.ais_bench(*SAVE, "--output_dirname", "bin").status == 0
    assert np.array_equal(bench.scores("result/npy", 0, 1), bench.scores("result/bin", 0, 1))


def test_without_output_nothing_is_written(bench: Bench) -> None:
    before = sorted(bench.folder.rglob("*"))
    assert bench.ais_bench("--input=prep").status == 0
    assert sorted(bench.folder.rglob("*")) == before


def test_pure_inference_writes_one_output(bench: Bench) -> None:
    argv = ("--loop=3", "--output=result", "--output_dirname=pure")
    assert bench.ais_bench(*argv).status == 0
    path = bench.folder / "result/pure/pure_infer_data_0.bin"
    assert path.stat().st_size == 16 * CLASSES * 4


def test_a_folder_is_named_after_the_time_where_no_name_is_given(bench: Bench) -> None:
    assert bench.ais_bench("--input=prep", "--output=dated").status == 0
    (folder,) = (path for path in (bench.folder / "dated").iterdir() if path.is_dir())
    assert re.fullmatch(r"\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d", folder.name)


def test_several_devices_each_write_a_folder(bench: Bench) -> None:
    result = bench.ais_bench(*SAVE, "--output_dirname", "many", "--device", "0,2")
    assert result.status == 0
    for device in (0, 2):
        assert len(list((bench.folder / f"result/many/device{device}").glob("*.txt"))) == COUNT
    assert re.search(r"\[INFO\] i:1 device_2 throughput:[\d.]+\n", result.stdout)
    assert "[INFO] summary throughput:" in result.stdout


def test_debug_describes_inputs_and_outputs(bench: Bench) -> None:
    text = bench.ais_bench("--loop=1", "--debug", "True", batch=1).stdout
    size = 3 * SIDE * SIDE * 4
    assert re.search(rf"#0 +image +\(1, 3, {SIDE}, {SIDE}\) +float32 +{size} +{size}", text)


def write_files(bench: Bench, folder: str, size: int, count: int = 4) -> None:
    (bench.folder / folder).mkdir(exist_ok=True)
    for index in range(count):
        (bench.folder / folder / f"image_{index + 1}.bin").write_bytes(bytes(size))


def test_sizes_that_do_not_divide_are_refused(bench: Bench) -> None:
    write_files(bench, "odd", FLOAT_BYTES - 4)
    result = bench.ais_bench("--input=odd", batch=1)
    assert result.status == 1
    text = f"[ERROR] arg0 tensorsize: {FLOAT_BYTES} filesize: {FLOAT_BYTES - 4} not match"
    assert text in result.stdout
    assert "RuntimeError" in result.stderr


def test_pixels_for_a_float_model_run_without_output_and_fail_with_it(bench: Bench) -> None:
    write_files(bench, "pixels", PIXEL_BYTES)
    assert THROUGHPUT.search(bench.ais_bench("--input=pixels", batch=1).stdout)
    result = bench.ais_bench("--input=pixels", "--output=result", batch=1)
    assert result.status == 1
    assert "[ERROR] save out files error" in result.stdout


def test_floats_for_a_pixel_model_pass_with_four_lines_each(bench: Bench) -> None:
    argv = ("--input=prep", "--output=result", "--output_dirname=trap", "--outfmt=TXT")
    result = bench.run("python3", "-m", "ais_bench", "--model=pixels_bs4.om", *argv)
    assert result.status == 0
    files = list((bench.folder / "result/trap").iterdir())
    assert len(files) == COUNT
    assert {len(path.read_text(encoding="ascii").splitlines()) for path in files} == {4}


def test_files_of_one_batch_must_be_of_one_size(bench: Bench) -> None:
    write_files(bench, "mixed", FLOAT_BYTES)
    (bench.folder / "mixed/image_2.bin").write_bytes(b"short")
    result = bench.ais_bench("--input=mixed", batch=4)
    assert result.status == 1
    assert f"ndata size:{FLOAT_BYTES} not match" in result.stdout


def test_an_empty_folder_is_refused(bench: Bench) -> None:
    (bench.folder / "empty").mkdir()
    result = bench.ais_bench("--input=empty")
    assert result.status == 1
    assert "not find valid file,valid file format:[*.npy *.NPY *.bin *.BIN]" in result.stdout


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--output_dirname=x"], "--output_dirname"),
        (["--input=prep", "--output=result", "--output_dirname=/tmp/x"], "ValueError"),
        (["--device=7"], "[ERROR] acl open device 7 failed"),
        (["--input=prep,prep"], "not equal model len"),
        (["--dymBatch=4"], "--dymBatch is not emulated"),
    ],
)
def test_what_fails_later_returns_1(bench: Bench, argv: list[str], text: str) -> None:
    result = bench.ais_bench(*argv)
    assert result.status == 1
    assert text in result.stdout + result.stderr
    assert "throughput" not in result.stdout


@pytest.mark.parametrize(
    "argv",
    [
        ["--batchsize=0"],
        ["--loop=0"],
        ["--loop=many"],
        ["--outfmt=CSV"],
        ["--device=256"],
        ["--device=a"],
        ["--debug=perhaps"],
        ["--warmup-count=3"],
        ["--nonsense"],
    ],
)
def test_wrong_arguments_return_2(bench: Bench, argv: list[str]) -> None:
    assert bench.ais_bench(*argv).status == 2


def test_a_model_that_cannot_be_loaded(bench: Bench) -> None:
    assert bench.atc("--soc_version=Ascend310P3", output="foreign").status == 0
    content = (bench.folder / "model_bs1.om").read_bytes()
    (bench.folder / "cut.om").write_bytes(content[:-9])
    for name in ("foreign.om", "cut.om"):
        result = bench.run("python3", "-m", "ais_bench", f"--model={name}")
        assert result.status == 1
        opened = "[INFO] open device 0 success"
        refused = f"[ERROR] load model from file failed, model file is {name}"
        assert [line for line in result.stdout.splitlines() if line in {opened, refused}] == [
            opened,
            refused,
        ]
        assert "RuntimeError: [1][ACL:invalid parameter]" in result.stderr


@pytest.mark.parametrize("fault", ["absent", "suffix", "writable", "link", "characters"])
def test_a_model_path_that_is_not_safe_is_refused(bench: Bench, fault: str, tmp_path: Path) -> None:
    path = tmp_path / {"suffix": "m.bin", "characters": "m$.om"}.get(fault, "m.om")
    source = bench.folder / "model_bs1.om"
    if fault == "link":
        path.symlink_to(source)
    elif fault != "absent":
        path.write_bytes(source.read_bytes())
        path.chmod(0o666 if fault == "writable" else 0o600)
    result = bench.run("python3", "-m", "ais_bench", f"--model={path}")
    assert result.status == 2
    assert f"om path:{path} is illegal. Please check." in result.stderr
