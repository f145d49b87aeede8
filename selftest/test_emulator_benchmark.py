"""The legacy tool: file names, performance identities, refusals, and its silent exit status."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from emulator import MARK
from emulator.benchmark_args import BenchmarkArgs
from emulator.benchmark_perf import perf_lines, write_perf
from emulator.board import Tenant, new_state
from emulator.chip import NoSuchDeviceError, find_chip
from emulator.clock import SQUEEZENET_MACS, ChipClock
from emulator.faults import ActiveFaults
from emulator.om import OfflineModel, TensorSpec
from emulator.soc import known_socs
from selftest.emulated import CLASSES, Bench, make_bench

COUNT = 37
DUMP = "result/dumpOutput_device0"
# One of the five performance files that the Ascend ModelZoo guide of 2021 publishes.
PUBLISHED = """[e2e] throughputRate: 200.414, latency: 249483
[data read] throughputRate: 201.294, moduleLatency: 4.96785
[preprocess] throughputRate: 201.144, moduleLatency: 4.97156
[infer] throughputRate: 201.222, Interface throughputRate: 2505.61, moduleLatency: 1.8594
[post] throughputRate: 12.576, moduleLatency: 79.5165"""
NUMBER = re.compile(r"(?<=: )\d+(?:\.\d+)?(?:e[+-]\d+)?")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = make_bench(tmp_path_factory.mktemp("benchmark"))
    bench.images(COUNT)
    for batch in (1, 16):
        assert bench.atc(batch=batch).status == 0
        result = bench.benchmark(batch=batch)
        assert result.status == 0
        assert MARK in result.stdout
        (bench.folder / DUMP).rename(bench.folder / f"bs{batch}")
    return bench


def perf(bench: Bench, batch: int) -> list[list[float]]:
    path = bench.folder / f"result/perf_vision_batchsize_{batch}_device_0.txt"
    text = path.read_text(encoding="ascii")
    return [[float(word) for word in NUMBER.findall(line)] for line in text.splitlines()]


@pytest.mark.parametrize("batch", [1, 16])
def test_there_is_one_line_of_all_classes_for_each_image(bench: Bench, batch: int) -> None:
    files = sorted(path.name for path in (bench.folder / f"bs{batch}").iterdir())
    assert files == sorted(f"image_{i + 1}_1.txt" for i in range(COUNT))
    for name in files:
        lines = (bench.folder / f"bs{batch}" / name).read_text(encoding="ascii").splitlines()
        assert len(lines) == 1
        assert len(lines[0].strip().split(" ")) == CLASSES


def test_batches_agree_image_by_image(bench: Bench) -> None:
    one, sixteen = (bench.scores(f"bs{batch}", 1, COUNT) for batch in (1, 16))
    apart = np.abs(one - sixteen).max()
    assert 0 < apart < 0.1
    nearest = np.abs(one[:, None] - sixteen[None]).max(axis=2).argmin(axis=1)
    assert nearest.tolist() == list(range(COUNT))


def test_performance_file_has_the_published_form(bench: Bench) -> None:
    path = bench.folder / "result/perf_vision_batchsize_16_device_0.txt"
    assert NUMBER.sub("N", path.read_text(encoding="ascii")).splitlines() == (
        NUMBER.sub("N", PUBLISHED).splitlines()
    )


@pytest.mark.parametrize("batch", [1, 16])
def test_identities_of_the_performance_file(bench: Bench, batch: int) -> None:
    (e2e, latency), read, prepare, (infer, interface, module), post = perf(bench, batch)
    assert e2e * latency / 1000 == pytest.approx(COUNT, rel=2e-5)
    for rate, milliseconds in (read, prepare, post):
        assert milliseconds == pytest.approx(1000 / rate, rel=2e-5)
    batches = -(-COUNT // batch)
    assert post[0] * COUNT / batches == pytest.approx(infer, rel=1e-3)
    assert interface >= infer > e2e
    assert module != pytest.approx(1000 / infer, rel=1e-3)


def test_summary_is_printed_too(bench: Bench) -> None:
    result = bench.benchmark(batch=16)
    lines = result.stdout.splitlines()
    start = lines.index("-----------------Performance Summary------------------")
    path = bench.folder / "result/perf_vision_batchsize_16_device_0.txt"
    assert lines[start + 1 : start + 6] == path.read_text(encoding="ascii").splitlines()
    assert set(lines[start + 6]) == {"-"}


def test_large_numbers_are_printed_as_a_stream_prints_them() -> None:
    names = ("e2e", "read", "preprocess", "infer", "interface", "infer_latency", "post")
    figures = {**dict.fromkeys(names, 200.4141), "latency": 1451050.3}
    assert perf_lines(figures)[0] == "[e2e] throughputRate: 200.414, latency: 1.45105e+06"


def test_binary_output_holds_the_same_scores(bench: Bench) -> None:
    assert bench.benchmark("-output_binary=true", batch=16).status == 0
    path = bench.folder / DUMP / "image_37_1.bin"
    assert path.stat().st_size == 4 * CLASSES
    assert np.allclose(
        np.fromfile(path, np.float32), bench.scores("bs16", 1, COUNT)[-1], rtol=1e-5, atol=1e-5
    )


def test_outputs_of_an_earlier_run_stay(bench: Bench) -> None:
    stale = bench.folder / DUMP / "stale_1.txt"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.write_text("1 2 3\n", encoding="ascii")
    assert bench.benchmark(batch=16).status == 0
    assert stale.exists()


def test_pure_inference_has_the_published_form(bench: Bench) -> None:
    result = bench.run("benchmark.x86_64", "-om_path=model_bs16.om", "-batch_size=16", "-round=20")
    assert result.status == 0
    numbers = re.findall(r"\[INFO\] Dataset number: (\d+) finished cost [\d.]+ms", result.stdout)
    assert [int(number) for number in numbers] == list(range(20))
    name = "result/PureInfer_perf_of_model_bs16_in_device_0.txt"
    assert f"[INFO] PureInfer result saved in ./{name}\n" in result.stdout
    text = (bench.folder / name).read_text(encoding="ascii")
    found = re.fullmatch(
        r"ave_throughputRate = ([\d.]+)samples/s, ave_latency = ([\d.]+)ms\n", text
    )
    assert found
    assert 1000 / float(found[1]) == pytest.approx(float(found[2]), rel=1e-4)
    assert f"[INFO] ave_throughputRate: {found[1]}samples/s, ave_latency: " in result.stdout


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("-input_text_path=absent.info", "preprocessInstance"),
        ("-input_text_path=blank.info", "preprocessInstance"),
        ("-input_text_path=wrong.info", "preprocessInstance"),
        ("-input_text_path=lost.info", "preprocessInstance"),
        ("-useDvpp=True", "preprocessInstance"),
        ("-om_path=absent.om", "inferenceInstance"),
        ("-om_path=short.om", "inferenceInstance"),
        ("-om_path=other_soc.om", "inferenceInstance"),
        ("-batch_size=8", "inferenceInstance"),
        ("-device_id=4", "inferenceInstance"),
        ("-input_text_path=pixels.info", "inferenceInstance"),
    ],
)
def test_a_failed_start_says_so_and_returns_0(bench: Bench, change: str, part: str) -> None:
    folder = bench.folder
    (folder / "blank.info").write_text("", encoding="ascii")
    (folder / "wrong.info").write_text("0 ./a b.bin 24 24\n", encoding="ascii")
    (folder / "lost.info").write_text("0 ./lost.bin 24 24\n", encoding="ascii")
    (folder / "pixels.bin").write_bytes(bytes(3 * 24 * 24))
    (folder / "pixels.info").write_text("0 ./pixels.bin 24 24\n", encoding="ascii")
    (folder / "short.om").write_bytes((folder / "model_bs16.om").read_bytes()[:-1])
    assert bench.atc("--soc_version=Ascend310P3", output="other_soc").status == 0
    result = bench.benchmark(change)
    assert result.status == 0
    assert f"[ERROR] {part} init failed.\n" in result.stdout
    assert "Performance Summary" not in result.stdout


@pytest.mark.parametrize(
    "change",
    ["-rounds=3", "-round=0", "-round=1025", "-batch_size=many", "-batch_size=0",
     "-model_type=sound", "-om_path=", "-input_text_path=", "-output_binary=perhaps",
     "stray"],
)  # fmt: skip
def test_a_wrong_flag_is_refused(bench: Bench, change: str) -> None:
    result = bench.benchmark(change)
    assert result.status == 1
    assert "[ERROR]" in result.stdout


def test_pure_inference_takes_no_info_file(bench: Bench) -> None:
    result = bench.benchmark("-round=5", "-input_text_path=images.info")
    assert result.status == 1
    assert "[ERROR] -round is inference without input" in result.stdout


def test_visible_devices_are_numbered_anew(bench: Bench) -> None:
    result = bench.benchmark("-device_id=1", env={"ASCEND_RT_VISIBLE_DEVICES": "1,3"})
    assert "Performance Summary" in result.stdout
    hidden = bench.benchmark("-device_id=2", env={"ASCEND_RT_VISIBLE_DEVICES": "1,3"})
    assert "open device 2 failed" in hidden.stdout


@pytest.mark.parametrize(
    ("visible", "devices"),
    [("1,3", [1, 3]), ("3,1", [3]), ("2,x,3", [2]), ("", []), ("9", []), ("0,0", [0])],
)
def test_what_is_visible_ends_at_the_first_wrong_id(
    monkeypatch: pytest.MonkeyPatch, visible: str, devices: list[int]
) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
    state = new_state("Ascend310")
    found = [find_chip(state, index).device for index in range(len(devices))]
    assert found == devices
    with pytest.raises(NoSuchDeviceError):
        find_chip(state, len(devices))


def squeezenet_om(batch: int, *, tuned: bool = False, macs: int = SQUEEZENET_MACS) -> OfflineModel:
    spec = TensorSpec("image", (batch, 3, 224, 224), "float32")
    return OfflineModel("m", "Ascend310", "5.0.1", batch, tuned=tuned, inputs=(spec,),
                        outputs=(spec,), macs=macs, command="", aipp=None, onnx=b"")  # fmt: skip


def interface(soc: str, model: OfflineModel, sharers: int = 0, seed: int = 0) -> float:
    state = new_state(soc, seed=seed)
    clock = ChipClock(state, model, 0, ActiveFaults(state, "benchmark"))
    times = clock.batch_ms(50, sharers)
    return 1000 * model.batch * len(times) / sum(times)


@pytest.mark.parametrize(
    ("soc", "chips", "batch", "tuned", "published"),
    [
        ("Ascend310", 4, 1, False, 4589.72),
        ("Ascend310", 4, 4, False, 8345.68),
        ("Ascend310", 4, 8, False, 9061.0),
        ("Ascend310", 4, 16, False, 9414.68),
        ("Ascend310", 4, 16, True, 10022.44),
        ("Ascend310", 4, 32, False, 9222.28),
        ("Ascend310P3", 1, 8, False, 19546.3),
        ("Ascend310P3", 1, 64, False, 14051.23),
        ("Ascend310B1", 1, 4, False, 4576.65),
        ("Ascend310B1", 1, 64, False, 822.58),
    ],
)
def test_device_rate_is_the_published_one(
    soc: str, chips: int, batch: int, published: float, *, tuned: bool
) -> None:
    rates = [interface(soc, squeezenet_om(batch, tuned=tuned), seed=seed) for seed in range(20)]
    assert len(set(rates)) == 20
    assert all(rate * chips == pytest.approx(published, rel=0.0121) for rate in rates)


def test_runs_of_one_chip_vary_and_depend_on_the_one_before() -> None:
    state = new_state("Ascend310").changed(clock_spread=0.01, clock_memory=0.8)
    faults, rates = ActiveFaults(state, "benchmark"), []
    for faults.run in range(200):
        clock = ChipClock(state, squeezenet_om(16), 0, faults)
        rates.append(1 / sum(clock.batch_ms(5)))
    logs = np.log(rates)
    assert float(logs.std()) == pytest.approx(0.01, rel=0.4)
    assert float(np.corrcoef(logs[:-1], logs[1:])[0, 1]) == pytest.approx(0.8, abs=0.15)


def test_blocks_of_one_run_vary() -> None:
    state = new_state("Ascend310P3").changed(clock_spread=0.01)
    times = ChipClock(state, squeezenet_om(8), 0, ActiveFaults(state, "ais_bench")).batch_ms(3000)
    means = np.asarray(times).reshape(30, 100).mean(axis=1)
    assert float(means.std() / means.mean()) == pytest.approx(0.01, rel=0.4)


def test_a_board_remembers_what_it_computed(bench: Bench) -> None:
    first = bench.benchmark(batch=16)
    outputs = {path.name: path.read_bytes() for path in bench.folder.rglob("image_*_1.txt")}
    kept = list((bench.board.folder / "memory").rglob("*.outputs"))
    assert kept, "the first images of a run"
    again = bench.benchmark(batch=16)
    assert outputs == {p.name: p.read_bytes() for p in bench.folder.rglob("image_*_1.txt")}
    assert first.status == again.status == 0
    for path in kept:
        path.write_bytes(path.read_bytes()[:50])
    assert bench.benchmark(batch=16).status == 0, "what is damaged is computed again"
    assert outputs == {p.name: p.read_bytes() for p in bench.folder.rglob("image_*_1.txt")}


def test_device_rate_between_and_beyond_published_batches() -> None:
    soc = known_socs()["Ascend310"]
    assert soc.squeezenet_fps(4) < soc.squeezenet_fps(6) < soc.squeezenet_fps(8)
    assert soc.squeezenet_fps(64) == soc.squeezenet_fps(32)


def test_a_larger_model_is_slower() -> None:
    large = squeezenet_om(16, macs=5 * SQUEEZENET_MACS)
    assert interface("Ascend310", large) < 0.3 * interface("Ascend310", squeezenet_om(16))


def test_a_shared_chip_is_half_as_fast(bench: Bench) -> None:
    (_, _, _, (_, alone, _), _) = perf(bench, 16)
    tenant = Tenant(0, 4242, "python3")
    bench.board.configure(processes=[tenant._asdict()])
    try:
        assert bench.benchmark(batch=16).status == 0
    finally:
        bench.board.configure(processes=[])
    (_, _, _, (_, shared, _), _) = perf(bench, 16)
    assert shared == pytest.approx(alone / 2, rel=0.03), "runs differ by some tenths of a percent"


def test_a_fast_host_is_slowed_down_below_the_device(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    bench.images(64)
    bench.board.configure(clock_factor=0.01)
    assert bench.atc(batch=16).status == 0
    assert bench.benchmark(batch=16).status == 0
    (_, _, _, (infer, device, _), _) = perf(bench, 16)
    assert 64 / device > 0.5
    assert infer < device


def test_perf_file_of_another_model_type(tmp_path: Path) -> None:
    args = BenchmarkArgs("bert", 2, 8, "m.om", "x.info", binary=False, use_dvpp=False, rounds=0)
    names = ("e2e", "latency", "read", "preprocess", "infer", "interface", "infer_latency", "post")
    state = new_state("Ascend310")
    write_perf(tmp_path, args, dict.fromkeys(names, 1.0), ActiveFaults(state, "benchmark"))
    assert (tmp_path / "perf_bert_batchsize_8_device_2.txt").exists()
