"""Each text that the parsers are tested with is one that the emulated board prints, line by line.

So suite and emulator cannot be wrong together: both are held against the same published samples.
Numbers, names of files and of operators may differ, words and punctuation may not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from onnx import helper

from emulator import MARK, install, known_faults
from emulator.board import BoardState, Tenant, new_state
from emulator.npu_smi_table import table
from selftest.emulated import Bench, classifier
from selftest.published import SAMPLES, sample

ELSEWHERE = {
    "npu_smi/info-310-barred.txt": "the same table, its separators spelt as other releases do",
    "npu_smi/info-310P3-duo.txt": "a card of two 310P3 is not emulated",
    "npu_smi/info-910B4.txt": "a 910 is not emulated",
    "npu_smi/info-910C.txt": "a 910 is not emulated",
    "npu_smi/list-new.txt": "the listing of newer drivers",
    "npu_smi/mapping-910B4.txt": "a 910 is not emulated",
    "npu_smi/mapping-910C.txt": "a 910 is not emulated",
    "npu_smi/mapping-with-slot.txt": "the mapping of newer drivers",
    "ais_bench/2026.txt": "a later rework by another maker",
    "atc/graph.json": "read back by the suite in test_atc.py",
    "atc/host-env.txt": "an installation without its operator library, which no board here has",
    "atc/inner.txt": "the fault atc-fails prints its first two lines; the third is CANN 8's",
    "atc/numpy2.txt": "an installation with a numpy that is too new, which no board here has",
    "atc/success-with-warnings.txt": "lines of TBE between those of atc/success.txt",
}
"""Samples that the emulator does not print, and why."""
OTHERWISE = {
    "Failed to parse ONNX model.": "what stands below TraceBack changes from release to release",
    "E16002: No parser is registered for Op": "other releases say: no ONNX parser for optype",
    "Possible Cause: ": "CANN 8 explains more; the code is the same",
    "Solution: Check that the OPP": "CANN 8 explains more; the code is the same",
    "om info: ": "CANN 8 adds so_store_size at the end",
}
"""Lines of samples that the emulator words in another way, and why."""


def form(text: str) -> list[str]:
    """Return the lines without their numbers, widths and names, and without the mark's own."""
    lines = [line for line in text.splitlines() if not line.startswith((MARK, f"[INFO] {MARK}"))]
    return [shape for line in lines if (shape := _shape(line.replace(MARK, "")))]


def _shape(line: str) -> str:
    line = re.sub(r"^(\s+[A-Z][A-Za-z ]+?) +: .*", r"\1 : ...", f"{line} ")
    line = re.sub(r"(?<=command line: ).*", "...", line)
    line = re.sub(r"(?<=: 100%\|).*(?=it/s)", "...", line)
    line = re.sub(r"(?<=[a-z])\[[^\]]*\]", "", line)
    line = re.sub(r"(?<=model )\S+\.om|(?<=perf_of_)\w+(?=_in)|(?<=result/)\w+ *$", "NAME", line)
    line = re.sub(r"(found for |optype )\[\S+?\](?=[,.] )", r"\1OP", line)
    line = re.sub(r"Solution: \d\. ?", "Solution: ", line)
    # Digits behind these letters belong to a code, such as E16005 or EZ3003.
    line = re.sub(r"(?<![EWZ\d])\d+(\.\d+)?(e[+-]\d+)?", "N", line)
    line = re.sub(r"\[N\]", "N", line)
    return re.sub(r"[-=]{3,}|\+$", "-", re.sub(r"\s+", " ", line)).strip()


def shown(soc: str, *, busy: bool = False, **changes: object) -> str:
    state = new_state(soc)
    chips = tuple(chip._replace(**changes) for chip in state.chips)  # type: ignore[arg-type]  # fields of Chip
    tenants = (Tenant(1, 4711, "benchmark.x86_64"), Tenant(2, 4712, "")) if busy else ()
    return "\n".join(table(BoardState(soc, state.cann, "23.0.0", 0, chips, tenants)))


def fault_text(name: str) -> str:
    return str(known_faults()[name].options["text"])


def refused(bench: Bench, name: str, opset: int = 11, domain: str = "") -> str:
    model = classifier(opset=opset)
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    (bench.folder / name).write_bytes(model.SerializeToString())
    return bench.atc(f"--model={name}", batch=1, output="refused").stdout


def inferred(bench: Bench, *more: str) -> str:
    bench.images(3)
    return bench.benchmark(*more, batch=4).stdout


def pure(bench: Bench) -> str:
    program = f"benchmark.{os.uname().machine}"
    words = ("-model_type=vision", "-device_id=0", "-batch_size=4", "-om_path=model_bs4.om")
    return bench.run(program, *words, "-round=20").stdout


def pure_file(bench: Bench) -> str:
    pure(bench)
    path = bench.folder / "result/PureInfer_perf_of_model_bs4_in_device_0.txt"
    return path.read_text("ascii")


def ais(bench: Bench, era: str, *more: str) -> str:
    bench.images(3)
    bench.board.configure(ais_bench=era)
    save = ("--input=prep", "--output=result", "--output_dirname=samples", "--outfmt=TXT")
    try:
        return bench.ais_bench(*save, *more, batch=4).stdout
    finally:
        bench.board.configure(ais_bench="2023")


def newer(bench: Bench) -> Bench:
    """The same files beside a board with the CANN of 2024."""
    return Bench(install(bench.folder.parent / "newer", cann="8.0.0"), bench.folder)


PRINTED: dict[str, Callable[[Bench], str]] = {
    "npu_smi/info-310.txt": lambda _: shown("Ascend310"),
    "npu_smi/info-310-root-complex.txt": lambda _: shown("Ascend310", bus="NA"),
    "npu_smi/info-310P3-narrow.txt": lambda _: shown("Ascend310P3"),
    "npu_smi/info-310P3-id-2144.txt": lambda _: shown("Ascend310P3", npu=2144, power_w="NA"),
    "npu_smi/info-310B4-alarm.txt": lambda _: shown("Ascend310B1", health="Alarm"),
    "npu_smi/info-310-four-chips.txt": lambda _: shown("Ascend310", busy=True),
    "npu_smi/list-310.txt": lambda bench: bench.run("npu-smi", "info", "-l").stdout,
    "npu_smi/board-310B.txt": lambda bench: (
        bench.run("npu-smi", "info", "-t", "board", "-i", "0").stdout
    ),
    "npu_smi/chip-310B1.txt": lambda bench: (
        bench.run("npu-smi", "info", "-t", "board", "-i", "0", "-c", "0").stdout
    ),
    "npu_smi/driver-not-loaded.txt": lambda _: fault_text("npu-smi-error-with-status-0"),
    "npu_smi/device-used.txt": lambda _: fault_text("npu-smi-device-used"),
    **{f"perf/squeezenet1_1-bs{batch}.txt": inferred for batch in (1, 4, 8, 16, 32)},
    "perf/pure-file.txt": pure_file,
    "perf/pure-stdout.txt": pure,
    "ais_bench/2022.txt": lambda bench: ais(bench, "2022"),
    "ais_bench/2023.txt": lambda bench: ais(bench, "2023"),
    "atc/success.txt": lambda bench: newer(bench).atc(batch=1).stdout,
    "atc/missing-shape.txt": lambda bench: bench.atc("--input_shape=", output="refused").stdout,
    "atc/opset.txt": lambda bench: refused(bench, "opset13.onnx", opset=13),
    "atc/domains.txt": lambda bench: refused(bench, "domains.onnx", domain="ai.onnx.ml"),
    "atc/deprecated-tuning.txt": lambda bench: (
        newer(bench).atc("--auto_tune_mode=RL,GA", output="refused").stdout
    ),
    "atc/soc.txt": lambda bench: bench.atc("--soc_version=Ascend310B4", output="refused").stdout,
    "atc/unsupported-op.txt": lambda bench: (
        bench.atc("--precision_mode=must_keep_origin_dtype", output="refused").stdout
    ),
    "atc/info.txt": lambda bench: newer(bench).run("atc", "--mode=6", "--om=model_bs4.om").stdout,
}


@pytest.mark.parametrize("name", PRINTED)
def test_the_emulated_board_prints_every_line_of_the_sample(standing: Bench, name: str) -> None:
    printed = form(PRINTED[name](standing))
    expected = [line for line in form(sample(name)) if not line.startswith((*OTHERWISE,))]
    missing = [line for line in expected if line not in printed]
    assert not missing, "\n".join(printed)


def test_every_sample_is_printed_or_said_to_be_not() -> None:
    samples = {str(path.relative_to(SAMPLES)) for path in SAMPLES.glob("*/*.*")}
    assert samples == {*PRINTED, *ELSEWHERE}
    assert not {*PRINTED} & {*ELSEWHERE}
