"""Faults on demand: each does at its place what its row says, and nothing where it is off."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import psutil
import pytest

from emulator import (
    BoardError,
    Fault,
    fault_files,
    fault_models,
    fault_runs,
    fault_scores,
    known_faults,
)
from emulator.board import new_state
from emulator.clock import RATES, ChipClock
from emulator.fault_scores import Values
from emulator.faults import ActiveFaults
from emulator.om import OmError, unpack
from emulator.tenants import count_run, forget_runs
from emulator.tensor import tensor
from selftest.emulated import AIPP_CONFIG, Bench, Result, make_bench
from selftest.test_emulator_benchmark import squeezenet_om

COUNT = 37
# Enough for faults that spare the first run of a chip, or every other one.
RUNS_BEFORE = 2
EFFECTS: dict[str, Collection[str]] = {
    "start": fault_runs.EFFECTS,
    "middle": fault_runs.EFFECTS,
    "end": fault_runs.EFFECTS,
    "npu-smi": fault_runs.EFFECTS,
    "model": fault_models.EFFECTS,
    "built": fault_models.BUILT_EFFECTS,
    "shape": {"bind"},
    "om": fault_files.EFFECTS,
    "scores": fault_scores.EFFECTS,
    "outputs": fault_files.EFFECTS,
    "perf": fault_files.EFFECTS,
    "figures": {"scale"},
    "times": {"scale"},
    "clock": RATES,
    "chips": {"set"},
}
TOOLS = {"atc", "aoe", "benchmark", "ais_bench", "npu-smi"}
BATCHES = (1, 16)


def at(*places: str) -> list[str]:
    return [fault.name for fault in known_faults().values() if fault.at in places]


def test_every_row_names_a_place_an_effect_and_a_check() -> None:
    assert len(known_faults()) >= 60
    for fault in known_faults().values():
        assert fault.do in EFFECTS[fault.at], fault
        assert set(fault.tools) <= TOOLS, fault
        assert re.fullmatch(r"[a-z]+(\.[a-z]+)+", fault.check), fault
        assert fault.symptom, fault
        assert fault.stage, fault


def test_every_effect_is_used_by_a_row() -> None:
    used = {fault.do for fault in known_faults().values()}
    for effects in EFFECTS.values():
        assert set(effects) <= used


def test_an_unknown_fault_is_named() -> None:
    state = new_state("Ascend310").changed(faults=["no-such-fault"])
    with pytest.raises(BoardError, match="no-such-fault"):
        ActiveFaults(state, "atc")


# --- scores ---------------------------------------------------------------------------------------


def scores() -> Values:
    return np.random.default_rng(0).normal(0, 5, (COUNT, 1000)).astype(np.float32)


def spoilt(name: str, batch: int = 16) -> Values:
    faults = ActiveFaults(new_state("Ascend310").changed(faults=[name]), "benchmark")
    faults.run = RUNS_BEFORE
    return fault_scores.spoil(tensor(scores()), faults, batch).array()


@pytest.mark.parametrize("name", at("scores"))
def test_scores_are_spoilt_where_the_row_says_and_nowhere_else(name: str) -> None:
    fault = known_faults()[name]
    assert not np.array_equal(spoilt(name), scores())
    assert np.array_equal(spoilt(name), spoilt(name), equal_nan=True)
    if fault.batches:
        assert np.array_equal(spoilt(name, batch=8), scores())


def rows_changed(values: Values) -> list[int]:
    return np.flatnonzero((values != scores()).any(axis=1)).tolist()


def test_answers_change_in_the_share_that_is_asked_for() -> None:
    """Other images for another batch size and another seed; a number that no fault has is named."""
    name = "answers-change-at-random"
    some, more = rows_changed(spoilt(name)), rows_changed(spoilt(f"{name}:share=0.9"))
    assert 3 <= len(some) <= 14
    assert len(more) > 28
    assert rows_changed(spoilt(name, batch=8)) != some
    assert rows_changed(spoilt(f"{name}:share=0.0")) == []
    for wrong in ("share=many", "speed=1", "share"):
        with pytest.raises(BoardError, match="takes no"):
            spoilt(f"{name}:{wrong}")


def test_flips_strike_the_clearest_images_alone() -> None:
    flipped = spoilt("decisions-flip-at-bs16")
    rows = rows_changed(flipped)
    order = np.sort(scores(), axis=1)
    margins = order[:, -1] - order[:, -2]
    assert len(rows) == 2
    assert set(rows) == set(np.argsort(-margins)[:2].tolist())
    assert (flipped[rows].argmax(1) != scores()[rows].argmax(1)).all()
    assert np.array_equal(np.sort(flipped, axis=1), order)


def test_flips_strike_two_percent_of_many() -> None:
    many = np.random.default_rng(0).normal(0, 5, (500, 10)).astype(np.float32)
    state = new_state("Ascend310").changed(faults=["decisions-flip-at-bs16"])
    flipped = fault_scores.spoil(tensor(many), ActiveFaults(state, "benchmark"), 16).array()
    assert (flipped != many).any(axis=1).sum() == 10


def test_neighbours_mix_within_a_batch_only() -> None:
    mixed = spoilt("rows-mix-with-neighbour")
    expected = 0.88 * scores()[17] + 0.12 * scores()[16]
    assert np.allclose(mixed[17], expected, atol=1e-5)
    assert np.allclose(mixed[16], 0.88 * scores()[16] + 0.12 * scores()[31], atol=1e-5)


def test_swapped_images_are_the_first_two() -> None:
    swapped = spoilt("outputs-of-two-images-swapped")
    assert np.array_equal(swapped[[1, 0]], scores()[:2])
    assert rows_changed(swapped) == [0, 1]


def test_the_last_partial_batch_is_dropped() -> None:
    assert np.array_equal(spoilt("last-partial-batch-dropped"), scores()[:32])


def test_batches_are_reversed_or_repeated_within_themselves() -> None:
    assert np.array_equal(spoilt("rows-reversed-in-batch")[32:], scores()[32:][::-1])
    repeated = spoilt("first-row-repeated-in-batch")
    assert np.array_equal(repeated[[0, 15, 16, 36]], scores()[[0, 0, 16, 32]])


def test_classes_are_added_dropped_or_moved() -> None:
    assert spoilt("output-of-1001-classes").shape == (COUNT, 1001)
    assert np.array_equal(spoilt("output-of-1001-classes")[:, 1:], scores())
    assert spoilt("output-of-999-classes").shape == (COUNT, 999)
    assert np.array_equal(spoilt("classes-shifted-by-one")[:, 1:], scores()[:, :-1])


def test_probabilities_add_up_to_one_and_keep_decisions() -> None:
    values = spoilt("outputs-are-probabilities")
    assert np.allclose(values.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(values.argmax(1), scores().argmax(1))


@pytest.mark.parametrize(
    ("name", "rows", "columns", "test"),
    [
        ("output-nan", 1, 1, np.isnan),
        ("output-all-nan", COUNT, 1000, np.isnan),
        ("output-infinite", 1, 3, np.isinf),
        ("output-zero-rows", 2, 1000, lambda values: values == 0),
        ("output-constant", COUNT, 1000, lambda values: values == 1.5),
    ],
)
def test_values_are_filled_in(name: str, rows: int, columns: int, test: np.ufunc) -> None:
    struck = test(spoilt(name))
    assert struck.any(axis=1).sum() == rows
    assert struck.sum() == rows * columns


# --- ATC ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def atc_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = make_bench(tmp_path_factory.mktemp("atc"))
    (bench.folder / "aipp.config").write_text(AIPP_CONFIG, encoding="utf-8")
    argv = ("--insert_op_conf=aipp.config", "--auto_tune_mode=RL,GA")
    assert bench.atc(*argv, output="clean").status == 0
    return bench


def convert(bench: Bench, name: str) -> tuple[Result, Path]:
    path = bench.folder / "spoilt.om"
    path.unlink(missing_ok=True)
    bench.board.configure(faults=[name])
    try:
        argv = ("--insert_op_conf=aipp.config", "--auto_tune_mode=RL,GA")
        return bench.atc(*argv, output="spoilt"), path
    finally:
        bench.board.configure(faults=[])


@pytest.mark.parametrize("name", at("om", "built", "model", "shape"))
def test_the_model_is_not_what_it_should_be(atc_bench: Bench, name: str) -> None:
    result, path = convert(atc_bench, name)
    assert result.status == 0
    assert "ATC run success" in result.stdout
    assert not is_fresh_and_equal(path, atc_bench.folder / "clean.om")


def is_fresh_and_equal(path: Path, clean: Path) -> bool:
    if not path.exists() or time.time() - path.stat().st_mtime > 3600:
        return False
    try:
        made, wanted = unpack(path.read_bytes()), unpack(clean.read_bytes())
    except OmError:
        return False
    return made._replace(name="", command="") == wanted._replace(name="", command="")


def test_without_a_fault_the_model_is_what_it_should_be(atc_bench: Bench) -> None:
    argv = ("--insert_op_conf=aipp.config", "--auto_tune_mode=RL,GA")
    assert atc_bench.atc(*argv, output="again").status == 0
    assert is_fresh_and_equal(atc_bench.folder / "again.om", atc_bench.folder / "clean.om")


def test_damage_in_the_middle_leaves_the_header_sound(atc_bench: Bench) -> None:
    _, path = convert(atc_bench, "om-damaged")
    content, clean = path.read_bytes(), (atc_bench.folder / "clean.om").read_bytes()
    assert len(content) - len(clean) == 2 * (len("spoilt") - len("clean"))
    assert content[:12] == clean[:12]
    damaged, sound = unpack(content), unpack(clean)
    assert damaged.onnx != sound.onnx
    assert damaged._replace(onnx=b"", name="", command="") == sound._replace(
        onnx=b"", name="", command=""
    )


@pytest.mark.parametrize(
    ("name", "status", "says", "writes"),
    [
        ("atc-fails", 255, "ATC run failed", False),
        ("atc-fails-with-status-0", 0, "ATC run failed", False),
        ("atc-says-success-with-status-1", 1, "ATC run success", True),
        ("atc-falls-back-to-the-cpu", 0, "fell back to the CPU kernel", True),
        ("atc-warns-of-precision", 0, "W12000: Op [Conv_0]", True),
        ("atc-writes-nothing", 0, "ATC run success", False),
        ("atc-not-found", 127, "not found", False),
        ("atc-not-executable", 126, "Permission denied", False),
        ("atc-lacks-python-package", 255, "ModuleNotFoundError", False),
        ("atc-killed", -signal.SIGKILL, "", False),
    ],
)
def test_atc_ends_as_the_row_says(
    atc_bench: Bench, name: str, status: int, says: str, *, writes: bool
) -> None:
    result, path = convert(atc_bench, name)
    assert result.status == status
    assert says in result.stdout
    assert path.exists() == writes


# --- inference ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = make_bench(tmp_path_factory.mktemp("inference"))
    bench.images(COUNT)
    for batch in BATCHES:
        assert bench.atc(batch=batch).status == 0
    return bench


def run_benchmark(bench: Bench, name: str, batch: int = 16) -> tuple[Result, Path]:
    """Run in a fresh folder with a fault; returns the result folder."""
    return _run(bench, name, f"benchmark.{os.uname().machine}", f"-batch_size={batch}",
                f"-om_path=../model_bs{batch}.om", "-input_text_path=images.info")  # fmt: skip


def run_ais_bench(bench: Bench, name: str, batch: int = 16) -> tuple[Result, Path]:
    """Run in a fresh folder with a fault; returns the result folder."""
    model = f"--model=../model_bs{batch}.om"
    argv = ("--input=prep", "--output=result", "--output_dirname=run", "--outfmt=TXT")
    return _run(bench, name, "python3", "-m", "ais_bench", model, *argv)


def _run(bench: Bench, name: str, *argv: str) -> tuple[Result, Path]:
    folder = bench.folder / f"{name}-{time.monotonic_ns()}"
    folder.mkdir()
    for shared in ("prep", "images.info"):
        (folder / shared).symlink_to(bench.folder / shared)
    bench.board.configure(faults=[name] if name else [])
    forget_runs(bench.board.folder)
    for _ in range(RUNS_BEFORE):
        count_run(bench.board.folder, 0)
    try:
        return Bench(bench.board, folder).run(*argv), folder / "result"
    finally:
        bench.board.configure(faults=[])


def observed(result: Result, folder: Path) -> dict[str, object]:
    """All that a run leaves, without what differs from one clean run to the next."""
    seen: dict[str, object] = {"status": result.status}
    now = time.time()
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        kind = "perf" if path.name.startswith("perf") or path.suffix == ".json" else "output"
        text = path.read_text(encoding="ascii")
        shape = perf_shape(text, result.seconds) if kind == "perf" else text
        seen[str(path.relative_to(folder))] = (shape, abs(now - path.stat().st_mtime) > 1800)
    return seen


def perf_shape(text: str, wall_s: float) -> object:
    """Form of a performance file, with its identities and its device rate."""
    figures = [float(word) for word in re.findall(r"(?<=: )[\d.]+(?:e[+-]\d+)?", text)]
    facts: list[object] = [re.sub(r"[\d.]+(e[+-]\d+)?", "N", text)]
    if text.startswith("{"):
        throughput = re.search(r'"throughput": ([\d.]+)', text)
        times = text.partition('"npu_compute_time_list"')[2].partition("]")[0]
        return [float(throughput[1]) if throughput else None, times, text[-1:]]
    if len(figures) == 11:
        facts += [round(figures[0] * figures[1] / 1000), figures[1] > 1000 * wall_s]
        facts += [figures[7], figures[7] > figures[6]]
    return facts


# Scores are spoilt by code that both tools share and that is tested above; three rows show that
# they call it, and that they take fewer rows or more columns than there were.
WRITTEN = [
    "decisions-flip-at-bs16",
    "last-partial-batch-dropped",
    "output-of-1001-classes",
    *at("outputs", "perf", "figures", "times", "clock"),
]


@pytest.fixture(scope="module")
def clean_benchmark(bench: Bench) -> dict[str, object]:
    return observed(*run_benchmark(bench, ""))


@pytest.fixture(scope="module")
def clean_ais_bench(bench: Bench) -> dict[str, object]:
    return observed(*run_ais_bench(bench, ""))


def test_clean_runs_leave_the_same(
    bench: Bench, clean_benchmark: dict[str, object], clean_ais_bench: dict[str, object]
) -> None:
    assert observed(*run_benchmark(bench, "")) == clean_benchmark
    assert observed(*run_ais_bench(bench, "")) == clean_ais_bench
    assert len(clean_benchmark) == len(clean_ais_bench) == COUNT + 2


@pytest.mark.parametrize(
    "name", [name for name in WRITTEN if known_faults()[name].tools != ("ais_bench",)]
)
def test_benchmark_leaves_something_else(
    bench: Bench, clean_benchmark: dict[str, object], name: str
) -> None:
    struck = observed(*run_benchmark(bench, name))
    assert struck != clean_benchmark
    assert struck["status"] == 0


@pytest.mark.parametrize(
    "name", [name for name in WRITTEN if known_faults()[name].tools != ("benchmark",)]
)
def test_ais_bench_leaves_something_else(
    bench: Bench, clean_ais_bench: dict[str, object], name: str
) -> None:
    struck = observed(*run_ais_bench(bench, name))
    assert struck != clean_ais_bench
    assert struck["status"] == 0


@pytest.mark.parametrize("name", ["decisions-flip-at-bs16", "throughput-low-at-bs16"])
def test_a_fault_of_one_batch_size_leaves_others_alone(bench: Bench, name: str) -> None:
    assert observed(*run_benchmark(bench, name, batch=1)) == observed(
        *run_benchmark(bench, "", batch=1)
    )


@pytest.mark.parametrize("run", [run_benchmark, run_ais_bench])
def test_what_fills_up_the_last_batch_is_no_image(
    bench: Bench, run: Callable[[Bench, str], tuple[Result, Path]]
) -> None:
    def scores_of(name: str) -> list[str]:
        _, folder = run(bench, name)
        return [next(folder.rglob(f"image_{at}_?.txt")).read_text("ascii") for at in (1, COUNT)]

    clean, shifted = scores_of(""), scores_of("outputs-shifted-by-one-image")
    assert shifted[0] == clean[1]


@pytest.mark.parametrize(("name", "factor"), [("throughput-8-percent-low", 0.92),
                                              ("throughput-6-percent-low", 0.94)])  # fmt: skip
def test_the_clock_is_slowed_by_what_the_row_says(name: str, factor: float) -> None:
    def rate(*faults: str) -> float:
        state = new_state("Ascend310").changed(faults=faults)
        clock = ChipClock(state, squeezenet_om(16), 0, ActiveFaults(state, "benchmark"))
        return 1 / sum(clock.batch_ms(10))

    assert rate(name) / rate() == pytest.approx(factor)


@pytest.mark.parametrize("run", [run_benchmark, run_ais_bench])
@pytest.mark.parametrize(
    ("name", "status", "written"),
    [
        ("inference-killed", -signal.SIGKILL, 19),
        ("inference-segfaults", -signal.SIGSEGV, 19),
        ("inference-stops-half-way", 0, 19),
        ("inference-fails-after-all", 1, COUNT),
        ("inference-does-nothing", 0, 0),
        ("inference-reports-an-inner-error", 0, COUNT),
        ("inference-runs-out-of-memory", 0, COUNT),
        ("disk-full", 1, 19),
        ("disk-full-in-silence", 0, 19),
    ],
)
def test_inference_ends_as_the_row_says(
    bench: Bench,
    run: Callable[[Bench, str], tuple[Result, Path]],
    name: str,
    status: int,
    written: int,
) -> None:
    result, folder = run(bench, name)
    assert result.status == status
    assert len(list(folder.rglob("image_*.txt"))) == written


# --- processes ------------------------------------------------------------------------------------

LEGACY = ("benchmark.x86_64", "-om_path=model_bs1.om", "-batch_size=1",
          "-input_text_path=images.info")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "argv", "stubborn"),
    [
        ("npu-smi-hangs", ("npu-smi", "info"), False),
        ("npu-smi-hangs-stubbornly", ("npu-smi", "info"), True),
        ("atc-hangs", ("atc", "--help"), False),
        ("inference-hangs", LEGACY, False),
        ("inference-hangs-stubbornly", LEGACY, True),
        ("inference-hangs-at-the-end", LEGACY, False),
    ],
)
def test_a_hanging_tool_ends_by_a_signal_only(
    bench: Bench, name: str, argv: tuple[str, ...], *, stubborn: bool
) -> None:
    bench.board.configure(faults=[name])
    with bench.running(*argv) as process:
        await_sleep(process)
        process.terminate()
        if stubborn:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
        else:
            assert process.wait(5) == -signal.SIGTERM
    bench.board.configure(faults=[])


def await_sleep(process: subprocess.Popen[bytes]) -> None:
    """Wait until the process has used no processor time for a while."""
    watched = psutil.Process(process.pid)
    spent = -1.0
    while watched.cpu_times().user > spent:
        spent = watched.cpu_times().user
        time.sleep(0.4)
    assert process.poll() is None


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("inference-leaves-group", LEGACY),
        ("inference-leaves-orphan", LEGACY),
        ("atc-leaves-a-process", ("atc", "--mode=6", "--om=model_bs1.om")),
    ],
)
def test_a_child_in_another_group_outlives_its_tool(
    bench: Bench, name: str, argv: tuple[str, ...]
) -> None:
    bench.board.configure(faults=[name])
    with bench.running(*argv) as process:
        assert process.wait(30) == 0
        left = [child for child in psutil.process_iter() if is_from(child, bench)]
        groups = [os.getpgid(child.pid) for child in left]
        for child in left:
            child.kill()
    bench.board.configure(faults=[])
    assert len(groups) == 1
    assert process.pid not in groups


def is_from(process: psutil.Process, bench: Bench) -> bool:
    try:
        return process.cwd() == str(bench.folder)
    except psutil.Error:
        return False


# --- the board ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "status"),
    [
        ("npu-smi-error-with-status-0", "ret is -8005", 0),
        ("npu-smi-device-used", "ret is -8020", 255),
        ("npu-smi-lists-nothing", "npu-smi 21.0.2", 0),
        ("npu-smi-killed", "", -signal.SIGSEGV),
        ("chip-warning", "| Warning ", 0),
        ("chip-hot", " 104  ", 0),
        ("chip-alarm", "| Alarm ", 0),
        ("chip-critical", "| Critical ", 0),
        ("chip-unknown", "| UNKNOWN ", 0),
        ("chip-busy", "| 4242            | python3.8 ", 0),
        ("chip-loaded-without-process", "| 97  ", 0),
    ],
)
def test_npu_smi_shows_what_the_row_says(bench: Bench, name: str, text: str, status: int) -> None:
    assert not text or text not in bench.run("npu-smi", "info").stdout.replace("21.0.2 ASC", "")
    bench.board.configure(faults=[name])
    result = bench.run("npu-smi", "info")
    bench.board.configure(faults=[])
    assert result.status == status
    assert text in result.stdout


@pytest.mark.parametrize(
    ("name", "text"), [("chip-alarm-after-use", "Alarm"), ("chip-busy-after-use", "train.py")]
)
def test_some_faults_appear_after_the_first_use_only(tmp_path: Path, name: str, text: str) -> None:
    bench = make_bench(tmp_path)
    bench.images(1)
    bench.board.configure(faults=[name])
    assert bench.atc(batch=1).status == 0
    assert text not in bench.run("npu-smi", "info").stdout
    assert bench.benchmark(batch=1).status == 0
    assert text in bench.run("npu-smi", "info").stdout


def test_every_fault_is_tested_at_its_place() -> None:
    tested = at(
        "scores", "outputs", "perf", "figures", "times", "clock", "om", "built", "model", "shape"
    )  # fmt: skip
    source = Path(__file__).read_text(encoding="utf-8")
    for fault in known_faults().values():
        assert isinstance(fault, Fault)
        assert fault.name in tested or f'"{fault.name}"' in source, fault.name
