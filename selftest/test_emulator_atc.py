"""ATC and AOE: what they refuse, what they print, and the offline model they write."""

from __future__ import annotations

import json
import stat
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper

from emulator import MARK
from emulator.om import HEADER_BYTES, OfflineModel, OmError, TensorSpec, pack, unpack
from selftest.emulated import AIPP_CONFIG, PIXEL_BYTES, SIDE, Bench, classifier, make_bench

SHAPE = f"image:4,3,{SIDE},{SIDE}"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("atc"))


@pytest.fixture(scope="module")
def modern(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("modern"), "Ascend310P3")


def om_of(bench: Bench, name: str) -> OfflineModel:
    return unpack((bench.folder / f"{name}.om").read_bytes())


def write_model(bench: Bench, name: str, model: ModelProto) -> str:
    (bench.folder / name).write_bytes(model.SerializeToString())
    return f"--model={name}"


def test_success_begins_and_ends_as_the_real_one(bench: Bench) -> None:
    lines = bench.atc(batch=16).stdout.splitlines()
    assert lines[0] == "ATC start working now, please wait for a moment."
    assert MARK in lines[1]
    assert lines[2] == "ATC run success, welcome to the next use."


def test_model_carries_batch_input_and_soc(bench: Bench) -> None:
    assert bench.atc(batch=16).status == 0
    model = om_of(bench, "model_bs16")
    assert (model.batch, model.soc, model.tuned) == (16, "Ascend310", False)
    assert model.inputs == (TensorSpec("image", (16, 3, SIDE, SIDE), "float32"),)
    assert model.outputs == (TensorSpec("class", (16, 1000), "float32"),)


def test_file_is_private_and_its_header_sound(bench: Bench) -> None:
    assert bench.atc(batch=8).status == 0
    path = bench.folder / "model_bs8.om"
    content = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert content[:4] == b"IMOD"
    head_size, version = struct.unpack_from("<II", content, 4)
    (length,) = struct.unpack_from("<I", content, 76)
    assert (head_size, version) == (256, 0x10000000)
    assert length == len(content) - 256
    assert content[84:88] == b"EMU "
    assert content[120:152].rstrip(b"\0").decode() == MARK
    assert content[160:163] == b"EMU"


def test_conversion_repeats_to_the_byte(bench: Bench) -> None:
    assert bench.atc(batch=4).status == 0
    first = (bench.folder / "model_bs4.om").read_bytes()
    assert bench.atc(batch=4).status == 0
    assert (bench.folder / "model_bs4.om").read_bytes() == first


def test_hyphens_and_blanks_are_accepted(bench: Bench) -> None:
    result = bench.run("atc", "--framework", "5", "--model", "model.onnx", f"--input-shape={SHAPE}",
                       "--output", "hyphen", "--soc-version", "Ascend310")  # fmt: skip
    assert result.status == 0
    assert om_of(bench, "hyphen").batch == 4


def test_some_successes_are_followed_by_a_warning(bench: Bench) -> None:
    texts = [bench.atc(batch=4, output=f"name{i}").stdout for i in range(5)]
    warned = ["W11001: Op [" in text for text in texts]
    assert any(warned)
    assert not all(warned)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("--soc_version=Ascend310B4", "EE1001"),
        ("--framework=3", "E10001"),
        ("--framework=7", "E10001"),
        ("--no_such_flag=1", "E10001"),
        ("--log=loud", "E10010"),
        ("--mode=4", "E10001"),
        ("--model=", "E10004"),
        ("--output=", "E10004"),
        ("--model=absent.onnx", "E10003"),
        ("--model=broken.onnx", "E10003"),
        ("--input_shape=", "E10001"),
        ("--input_shape=data:4,3,24,24", "E10001"),
        ("--input_shape=image:4,3,24,24;data:1", "E10016"),
        ("--input_shape=image-4,3,24,24", "E10002"),
        ("--input_shape=image:0,3,24,24", "E10011"),
        ("--input_shape=image:-1,3,24,24", "E10011"),
        ("--input_shape=image:4,3,24", "E10001"),
        ("--input_shape=image:4,5,24,24", "EZ3003"),
        ("--dynamic_batch_size=1,4", "E10031"),
        ("--input_shape=image:-1,3,24,24 --dynamic_batch_size=4", "E10035"),
        ("--dynamic_batch_size=1,4 --dynamic_dims=1;4", "E10009"),
        ("--precision_mode=force_fp16 --precision_mode_v2=fp16", "E10009"),
        ("--om=model_bs4.om", "E10001"),
        ("--json=model.json", "E10001"),
        ("--out_nodes=Absent_1:0", "E10016"),
        ("--precision_mode=must_keep_origin_dtype", "EZ3003"),
        ("--precision_mode=force_fp64", "E10001"),
        ("--auto_tune_mode=XX", "E10001"),
        ("--enable_small_channel=2", "E10001"),
        ("--insert_op_conf=absent.config", "E10003"),
        ("--insert_op_conf=broken.onnx", "E10001"),
        ("--mode=1 --om=broken.onnx --json=x.json", "E10003"),
        ("--mode=6 --om=absent.om", "E10003"),
    ],
)
def test_refusals_carry_their_code(bench: Bench, change: str, code: str) -> None:
    (bench.folder / "broken.onnx").write_bytes(b"this is no model")
    result = bench.atc(*change.split(" "), batch=4, output="refused")
    assert result.status == 255
    assert "ATC run failed, Please check the detail log" in result.stdout
    assert f"\n{code}: " in result.stdout
    assert "run success" not in result.stdout
    assert not (bench.folder / "refused.om").exists()


def test_missing_shape_is_explained_as_published(bench: Bench) -> None:
    text = bench.atc("--input_shape=").stdout
    assert (
        "E10001: Value [-1] for parameter [image] is invalid. "
        "Reason: maybe you should set input_shape to specify its shape" in text
    )
    assert "Solution: Try again with a valid argument." in text


def test_a_newer_opset_is_refused_and_reported(bench: Bench) -> None:
    result = bench.atc(write_model(bench, "opset13.onnx", classifier(opset=13)), batch=1)
    assert result.status == 255
    assert "\nE16002: " in result.stdout
    report = json.loads((bench.folder / "check_result.json").read_text(encoding="utf-8"))
    row = report["op"][0]
    assert row["cause"] == [{"code": 1, "message": "The type is not supported."}]
    assert row["type"] == "ai.onnx::13::Conv"


def test_a_newer_cann_takes_a_newer_opset(modern: Bench) -> None:
    assert modern.atc(write_model(modern, "opset13.onnx", classifier(opset=13))).status == 0
    assert modern.atc(write_model(modern, "opset14.onnx", classifier(opset=14))).status == 255


@pytest.mark.parametrize(
    ("cann", "opset", "status"),
    [("5.0.1", 13, 255), ("5.0.4", 13, 0), ("5.0.4.6", 9, 0), ("5.0.4", 14, 255),
     ("6.0.RC1", 13, 0), ("7.0.0", 18, 0)],
)  # fmt: skip
def test_each_release_of_cann_takes_its_opsets(
    tmp_path: Path, cann: str, opset: int, status: int
) -> None:
    bench = make_bench(tmp_path, cann=cann)
    model = write_model(bench, "other.onnx", classifier(opset=opset))
    assert bench.atc(model, batch=1).status == status


def test_a_second_opset_domain_is_refused(bench: Bench) -> None:
    model = classifier()
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    result = bench.atc(write_model(bench, "domains.onnx", model))
    assert result.status == 255
    assert "\nE16005: The model has [2] domain_version fields" in result.stdout


def test_a_model_of_fixed_batch_needs_no_shape(bench: Bench) -> None:
    argument = write_model(bench, "fixed.onnx", classifier(batch=2))
    assert bench.atc(argument, "--input_shape=", output="fixed").status == 0
    assert om_of(bench, "fixed").batch == 2


def test_aipp_turns_the_input_into_pixels(bench: Bench) -> None:
    (bench.folder / "aipp.config").write_text(AIPP_CONFIG, encoding="utf-8")
    options = ("--insert_op_conf=aipp.config", "--enable_small_channel=1")
    assert bench.atc(*options, batch=4, output="pixels").status == 0
    model = om_of(bench, "pixels")
    assert model.inputs == (TensorSpec("image", (4, SIDE, SIDE, 3), "uint8"),)
    assert model.input_bytes == 4 * PIXEL_BYTES


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("src_image_size_w: 24", "src_image_size_w: 32"),
        ("RGB888_U8", "YUV420SP_U8"),
        ("aipp_mode: static", "aipp_mode: dynamic"),
        ("crop: false", "crop: true"),
        ("min_chn_0: 123.675", "min_chn_0: red"),
        ("min_chn_0", "minimum_0"),
    ],
)
def test_aipp_that_does_not_fit_is_refused(bench: Bench, old: str, new: str) -> None:
    text = AIPP_CONFIG.replace(old, new)
    assert text != AIPP_CONFIG
    (bench.folder / "wrong.config").write_text(text, encoding="utf-8")
    assert bench.atc("--insert_op_conf=wrong.config", output="wrong").status == 255


def test_tuning_writes_a_bank_that_later_conversions_use(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    private = {"TUNE_BANK_PATH": str(tmp_path / "bank")}
    tuned = bench.atc("--auto_tune_mode=RL,GA", output="tuned", env=private)
    assert tuned.status == 0
    assert om_of(bench, "tuned").tuned
    assert sorted(path.name for path in (tmp_path / "bank" / "Ascend310").iterdir()) == [
        "cube",
        "vector",
    ]
    assert bench.atc(output="plain").status == 0
    assert not om_of(bench, "plain").tuned
    assert bench.atc(output="leaked", env=private).status == 0
    assert om_of(bench, "leaked").tuned
    assert bench.atc(output="off", env={**private, "ENABLE_TUNE_BANK": "False"}).status == 0
    assert not om_of(bench, "off").tuned


def test_a_bank_without_a_path_lies_in_the_board(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    assert bench.atc("--auto_tune_mode=RL,GA", output="tuned").status == 0
    assert list(bench.board.folder.glob("ascend/latest/data/aoe/custom/op/Ascend310/cube/*"))
    assert bench.atc(output="later").status == 0
    assert om_of(bench, "later").tuned


def test_tuning_needs_a_chip(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    bench.board.configure(chips=[])
    assert "ED0001" in bench.atc("--auto_tune_mode=RL").stdout
    assert bench.atc().status == 0


def test_a_newer_atc_sends_tuning_to_aoe(modern: Bench) -> None:
    result = modern.atc("--auto_tune_mode=RL,GA")
    assert result.status == 255
    assert "deprecated. Please use the AOE tool" in result.stdout


def test_a_newer_atc_prints_dots(modern: Bench) -> None:
    assert "\n...\nATC run success" in modern.atc().stdout


def aoe(bench: Bench, *more: str) -> tuple[int, str]:
    result = bench.run(
        "aoe", "--framework=5", "--model=model.onnx", f"--input_shape={SHAPE}", *more
    )
    return result.status, result.stdout


def test_aoe_writes_a_tuned_model_and_a_report(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, "Ascend310P3")
    status, text = aoe(bench, "--job_type=2")
    assert status == 0
    assert "OPAT process finished. Performance improved by" in text
    assert text.endswith("Aoe process finished\n")
    (path,) = bench.folder.glob("aoe_workspace/model_*/tunespace/result/model_*_tune.om")
    model = unpack(path.read_bytes())
    assert (model.tuned, model.batch, model.soc) == (True, 4, "Ascend310P3")
    assert len(list(bench.folder.glob("aoe_result_opat_*_*.json"))) == 1
    assert bench.atc(batch=4, output="after").status == 0
    assert om_of(bench, "after").tuned


@pytest.mark.parametrize(
    "argument", ["--job_type=3", "--job_type=", "--job_type=1 --model=no.onnx"]
)
def test_aoe_refuses(modern: Bench, argument: str) -> None:
    status, text = aoe(modern, *argument.split(" "))
    assert status == 255
    assert "Aoe process finished" not in text


def test_mode_1_writes_inputs_outputs_and_soc(bench: Bench) -> None:
    assert bench.atc(batch=4).status == 0
    assert bench.run("atc", "--mode=1", "--om=model_bs4.om", "--json=model.json").status == 0
    document = json.loads((bench.folder / "model.json").read_text(encoding="utf-8"))
    attributes = {row["key"]: row["value"]["s"] for row in document["attr"]}
    assert attributes["soc_version"] == "Ascend310"
    assert "--output=model_bs4" in attributes["atc_cmdline"]
    operators = {row["type"]: row for row in document["graph"][0]["op"]}
    (data,) = operators["Data"]["output_desc"]
    assert (data["name"], data["shape"]["dim"]) == ("image", [4, 3, SIDE, SIDE])
    assert operators["NetOutput"]["input_desc"][0]["shape"]["dim"] == [4, 1000]


def test_mode_6_prints_what_the_model_was_built_from(bench: Bench) -> None:
    assert bench.atc(batch=4).status == 0
    text = bench.run("atc", "--mode=6", "--om=model_bs4.om").stdout
    assert "============ Display Model Info start ============" in text
    assert "Original Atc command line: atc --framework=5" in text
    assert "soc_version[Ascend310], framework_type[Onnx]." in text
    assert "ATC run success, welcome to the next use." in text


def test_help_returns_0(bench: Bench) -> None:
    assert bench.run("atc", "--help").status == 0


def test_log_goes_to_stdout_where_it_is_asked_for(bench: Bench) -> None:
    assert "GE(" in bench.atc("--log=debug", env={"ASCEND_SLOG_PRINT_TO_STDOUT": "1"}).stdout
    assert "GE(" not in bench.atc("--log=error", env={"ASCEND_SLOG_PRINT_TO_STDOUT": "1"}).stdout


TENSOR = TensorSpec("x", (1, 3), "float32")
MODEL = OfflineModel("m", "Ascend310", "5.0.1", 1, tuned=False, inputs=(TENSOR,), outputs=(TENSOR,),
                     macs=1, command="atc", aipp=None, onnx=bytes(range(200)))  # fmt: skip


def test_a_packed_model_is_read_back() -> None:
    assert unpack(pack(MODEL)) == MODEL


IN_WEIGHTS = st.integers(len(pack(MODEL)) - len(MODEL.onnx), len(pack(MODEL)) - 1)


@given(st.integers(0, HEADER_BYTES - 1) | IN_WEIGHTS, st.integers(1, 255))
def test_a_loader_looks_at_magic_number_and_length_alone(at: int, change: int) -> None:
    content = bytearray(pack(MODEL))
    content[at] ^= change
    if at < 8 or 76 <= at < 80:
        with pytest.raises(OmError):
            unpack(bytes(content))
    elif at < HEADER_BYTES:
        assert unpack(bytes(content)) == MODEL
    else:
        assert unpack(bytes(content)).onnx != MODEL.onnx


@given(st.integers(0, len(pack(MODEL)) - 1))
def test_any_shortened_file_is_noticed(size: int) -> None:
    with pytest.raises(OmError, match=r"too few for a header|follow it"):
        unpack(pack(MODEL)[:size])
