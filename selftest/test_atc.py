"""ATC is driven as the guide does, and believed only as far as its file can be checked."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.ascend import tuning
from conformance.ascend.aipp import aipp_config
from conformance.ascend.atc import ConversionRefused, ConvertedModel, convert
from conformance.ascend.atc_text import messages, succeeded, unclean_lines
from conformance.ascend.conversion import Conversion, contradictions, conversion_of
from conformance.ascend.om_description import (
    OmDescription,
    describe_from_graph,
    describe_from_info,
    describe_om,
)
from conformance.ascend.tuning import bank_sha256, tune
from conformance.ascend.tuning_needs import TuningNeeds
from conformance.errors import ToolError
from conformance.spec import Variant, load_spec
from selftest.fake_tools import environment, om_bytes, sample, tool

SPEC = load_spec("squeezenet1_1")
SMALL = TuningNeeds(memory_gib=0, disk_gib=0)

FAKE_ATC = """
import json, os, signal, sys, time
from pathlib import Path
answer = json.loads({answer!r})
given = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
Path("seen.json").write_text(json.dumps({{"given": given, "env": dict(os.environ)}}))
if "auto_tune_mode" in given and answer.get("tuning"):
    answer = answer["tuning"]
if answer.get("om"):
    Path(answer.get("name") or given["output"] + ".om").write_bytes(bytes.fromhex(answer["om"]))
print(answer["text"], end="", flush=True)
time.sleep(answer.get("sleep", 0))
if answer.get("kill"):
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(answer["status"])
"""
Answer = dict[str, object]


def answer(
    text: str = "success", status: int = 0, om: bytes = om_bytes(), **more: object
) -> Answer:
    return {"text": sample(f"atc/{text}.txt"), "status": status, "om": om.hex(), **more}


def refused(text: str, status: int = 255) -> Answer:
    return answer(text, status, b"")


def fake_atc(folder: Path, reply: Answer) -> Path:
    return tool(folder / "bin/atc", FAKE_ATC.format(answer=json.dumps(reply)))


def conversion(folder: Path, variant: Variant = "float32") -> Conversion:
    onnx = folder / "squeezenet1_1.onnx"
    onnx.write_bytes(b"onnx")
    return conversion_of(SPEC, onnx, batch=16, soc_version="Ascend310", variant=variant)


def run_atc(
    folder: Path, reply: Answer, *, limit_s: float = 20, variant: Variant = "float32"
) -> ConvertedModel:
    return convert(
        conversion(folder, variant),
        atc=fake_atc(folder, reply),
        environment=environment(HOME=str(folder)),
        folder=folder / "work",
        limit_s=limit_s,
    )


def seen(folder: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((folder / "seen.json").read_text())
    return found


# --- the command ----------------------------------------------------------------------------------


def test_the_command_is_the_guides() -> None:
    made = conversion_of(
        SPEC, Path("x/squeezenet1_1.onnx"), batch=16, soc_version="Ascend310", log_level="debug"
    )
    assert made.arguments == (
        "--framework=5",
        "--model=squeezenet1_1.onnx",
        "--input_format=NCHW",
        "--input_shape=image:16,3,224,224",
        "--output=squeezenet1_1_bs16",
        "--log=debug",
        "--soc_version=Ascend310",
    )
    quiet = conversion_of(SPEC, Path("m.onnx"), batch=1, soc_version="Ascend310P3")
    assert "--log=error" in quiet.arguments


def test_the_aipp_variant_has_its_own_flags_name_and_configuration(tmp_path: Path) -> None:
    model = run_atc(tmp_path, answer(), variant="aipp")
    given = seen(tmp_path / "work")["given"]
    assert (given["enable_small_channel"], given["insert_op_conf"]) == ("1", "aipp.config")
    assert model.om.name == "squeezenet1_1_bs16_aipp.om"
    assert (tmp_path / "work/aipp.config").read_text() == aipp_config(SPEC.preprocess)


def test_aipp_config_holds_the_published_numbers() -> None:
    text = aipp_config(SPEC.preprocess)
    settings_found = dict(line.strip().split(": ") for line in text.splitlines() if ": " in line)
    assert settings_found["input_format"] == "RGB888_U8"
    assert (settings_found["src_image_size_w"], settings_found["crop"]) == ("224", "false")
    published = {
        "min_chn_0": 123.675,
        "min_chn_1": 116.28,
        "min_chn_2": 103.53,
        "var_reci_chn_0": 0.0171247538316637,
        "var_reci_chn_1": 0.0175070028011204,
        "var_reci_chn_2": 0.0174291938997821,
    }
    for name, value in published.items():
        assert float(settings_found[name]) == pytest.approx(value, abs=1e-15)
    assert text.startswith("aipp_op {\n")
    assert text.endswith("}\n")


# --- what is believed -----------------------------------------------------------------------------


def test_success_is_line_status_and_a_sound_model(tmp_path: Path) -> None:
    model = run_atc(tmp_path, answer())
    assert model.om == tmp_path / "work/squeezenet1_1_bs16.om"
    assert model.header.payload_size == 5
    assert (model.warnings, model.unclean, model.emulated) == ((), (), False)
    assert model.run.stdout_path.read_text() == sample("atc/success.txt")
    environ = seen(tmp_path / "work")["env"]
    assert environ["TUNE_BANK_PATH"] == str(tmp_path / "work/bank")
    assert list((tmp_path / "work/bank").iterdir()) == []
    assert "ASCEND_DEVICE_ID" not in environ


def test_warnings_dots_and_import_warnings_are_no_failure(tmp_path: Path) -> None:
    model = run_atc(tmp_path, answer("success-with-warnings"))
    assert [message.code for message in model.warnings] == ["W11001"]
    assert model.unclean == ()


def test_a_success_whose_log_speaks_of_errors_is_not_clean(tmp_path: Path) -> None:
    reply = answer()
    reply["text"] = "[ERROR] TBE: kernel failed\nEZ9999: Inner Error!\n" + sample("atc/success.txt")
    assert run_atc(tmp_path, reply).unclean == (
        "[ERROR] TBE: kernel failed",
        "EZ9999: Inner Error!",
    )


@pytest.mark.parametrize("where", ["tool", "file"])
def test_the_mark_of_an_emulator_is_seen(tmp_path: Path, where: str) -> None:
    reply = answer(om=om_bytes(user=b"ASCEND-EMULATOR")) if where == "file" else answer()
    if where == "tool":
        reply["text"] = f"ASCEND-EMULATOR 1\n{reply['text']}"
    assert run_atc(tmp_path, reply).emulated


@pytest.mark.parametrize(
    ("text", "code", "words", "solution"),
    [
        ("missing-shape", "E10001", "Value [-1] for parameter [image]", "Try again with a valid"),
        ("opset", "E16002", "ai.onnx::13::Resize", ""),
        ("domains", "E16005", "2 domain_version fields", ""),
        ("unsupported-op", "EZ3003", "optype [Resize]", "The operator is not supported"),
        ("inner", "E19999", "Inner Error!", ""),
    ],
)
def test_a_refused_model_is_the_subjects_failure_with_its_code(
    tmp_path: Path, text: str, code: str, words: str, solution: str
) -> None:
    with pytest.raises(ConversionRefused) as caught:
        run_atc(tmp_path, refused(text))
    error = caught.value
    assert error.message.code == code
    assert words in error.message.text
    assert solution in error.message.solution
    assert error.log_path.read_text() == sample(f"atc/{text}.txt")
    assert f"{code}: " in str(error)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own object
    assert (str(again), again.message) == (str(error), error.message)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("soc", "--soc="),
        ("host-env", "operator package"),
        ("numpy2", "numpy 2"),
    ],
)
def test_a_failure_that_is_not_the_models_is_an_error(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ToolError, match="ATC failed") as caught:
        run_atc(tmp_path, refused(text))
    assert words in str(caught.value)
    assert str(tmp_path / "work/atc.log") in str(caught.value)


def test_a_refusal_hidden_behind_status_0_is_still_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(ConversionRefused, match="refuses the model"):
        run_atc(tmp_path, refused("opset", status=0))


def test_a_stray_import_error_does_not_hide_that_the_model_is_refused(tmp_path: Path) -> None:
    reply = refused("opset")
    reply["text"] = f"ModuleNotFoundError: No module named 'sympy'\n{reply['text']}"
    with pytest.raises(ConversionRefused, match="refuses the model"):
        run_atc(tmp_path, reply)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answer(om=b""), "there is no new .om"),
        (answer(name="other.om"), "others: other.om"),
        (answer(name="squeezenet1_1_bs16_linux_aarch64.om"), "linux_aarch64"),
        (answer(om=om_bytes(b"whole model")[:-3]), "not sound"),
        (answer(om=b"IMOD"), "not sound"),
        (answer(om=b"\x08\x07\x12\x07pytorch" * 40), "not sound"),
        (answer(status=1), "without naming a cause"),
        ({"text": "Segmentation fault\n", "status": 139, "om": ""}, "SIGSEGV"),
        ({"text": "ATC start working now\n", "status": 0, "om": om_bytes().hex()}, "cause"),
        (answer(kill=True), "memory"),
        ({"text": "OSError: No space left on device\n", "status": 255, "om": ""}, "disk is full"),
        ({"text": "std::bad_alloc\n", "status": 255, "om": ""}, "memory ran out"),
    ],
)
def test_what_cannot_be_believed_is_an_error(tmp_path: Path, reply: Answer, words: str) -> None:
    with pytest.raises(ToolError) as caught:
        run_atc(tmp_path, reply)
    assert words in str(caught.value)
    assert (tmp_path / "work/atc.log").exists()


def test_a_hanging_atc_is_stopped_and_its_log_kept(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="did not end by itself") as caught:
        run_atc(tmp_path, answer(sleep=60), limit_s=1)
    assert "time limit" in str(caught.value)
    assert (tmp_path / "work/atc.log").read_text() == sample("atc/success.txt")


def test_a_model_from_before_the_run_is_refused(tmp_path: Path) -> None:
    code = FAKE_ATC.format(answer=json.dumps(answer())).replace(
        "print(answer", "os.utime(given['output'] + '.om', (1, 1))\nprint(answer"
    )
    with pytest.raises(ToolError, match="no new"):
        convert(
            conversion(tmp_path),
            atc=tool(tmp_path / "atc", code),
            environment=environment(),
            folder=tmp_path / "work",
        )


def test_a_work_folder_that_holds_anything_is_refused(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/squeezenet1_1_bs16.om").write_bytes(om_bytes())
    with pytest.raises(ToolError, match="not empty"):
        run_atc(tmp_path, answer())


def test_atc_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="could not be started"):
        convert(
            conversion(tmp_path),
            atc=tmp_path / "gone",
            environment=environment(),
            folder=tmp_path / "work",
        )


# --- its texts ------------------------------------------------------------------------------------


def test_codes_are_read_in_every_spelling() -> None:
    text = (
        "EL0003: The argument is invalid.\nEL003: The argument is invalid.\n"
        "EZ9999: [PID: 9231] 2024-05-17-10:01:02.003.004 Inner Error!\nE10010: bad --log level\n"
    )
    assert [message.code for message in messages(text)] == ["EL0003", "EL003", "EZ9999", "E10010"]


def test_a_swallowed_failure_is_no_success() -> None:
    text = sample("atc/opset.txt") + "onnx to om: Success\n"
    assert not succeeded(text)
    assert not succeeded(sample("atc/success.txt") + sample("atc/opset.txt"))
    assert succeeded(sample("atc/success-with-warnings.txt"))


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_no_text_crashes_the_readers(text: str) -> None:
    messages(text)
    unclean_lines(text)
    describe_from_info(text)


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "dim", "key", "value", "output_desc"]), inner
            )
        ),
        max_leaves=10,
    )
)
def test_no_graph_crashes_the_reader(graph: object) -> None:
    describe_from_graph(graph)


# --- what an .om holds ----------------------------------------------------------------------------

WHOLE = OmDescription("Ascend310", "image", (16, 3, 224, 224), "7.6.0.1.220")


def test_the_display_and_the_graph_say_batch_input_and_soc() -> None:
    assert describe_from_info(sample("atc/info.txt")) == WHOLE
    found = describe_from_graph(json.loads(sample("atc/graph.json")))
    assert found == OmDescription("Ascend310", "image", (16, 3, 224, 224), None)
    assert describe_from_info("mode 6 is not supported") == OmDescription()


@pytest.mark.parametrize(
    ("display", "graph", "expected"),
    [
        (sample("atc/info.txt"), "", WHOLE),
        (
            "not supported",
            sample("atc/graph.json"),
            OmDescription("Ascend310", "image", (16, 3, 224, 224), None),
        ),
        ("not supported", "{", OmDescription()),
    ],
)
def test_an_om_is_described_by_what_this_atc_can_say(
    tmp_path: Path, display: str, graph: str, expected: OmDescription
) -> None:
    code = (
        "import sys\n"
        f"if '--mode=6' in sys.argv: print({display!r})\n"
        f"else: open(sys.argv[-1].split('=')[1], 'w').write({graph!r})\n"
    )
    om = tmp_path / "m.om"
    om.write_bytes(om_bytes())
    found = describe_om(
        om,
        atc=tool(tmp_path / "atc", code),
        environment=environment(),
        folder=tmp_path / "described",
    )
    assert found == expected


def test_every_contradiction_is_named(tmp_path: Path) -> None:
    asked = conversion(tmp_path)
    assert contradictions(asked, WHOLE) == ()
    assert contradictions(asked, OmDescription()) == ()
    other = OmDescription("Ascend310P3", "input", (1, 3, 224, 224), None)
    assert contradictions(asked, other) == (
        "soc_version is Ascend310P3, asked for was Ascend310",
        "input is input, asked for was image",
        "batch is 1, asked for was 16",
        "input shape is (1, 3, 224, 224), asked for was (16, 3, 224, 224)",
    )
    on_chip = conversion(tmp_path, variant="aipp")
    assert contradictions(on_chip, OmDescription("Ascend310", "image", (16, 224, 224, 3))) == ()


# --- tuning ---------------------------------------------------------------------------------------

FAKE_AOE = """
import json, os, sys
from pathlib import Path
with open("jobs.txt", "a") as file: file.write(" ".join(sys.argv[1:]) + chr(10))
Path(os.environ["TUNE_BANK_PATH"], "bank.json").write_text("tuned")
place = Path("aoe_workspace/squeezenet1_1_2024/tunespace/result")
place.mkdir(parents=True, exist_ok=True)
if {model}:
    (place / "squeezenet1_1_2024_tune.om").write_bytes(bytes.fromhex({om!r}))
print({text!r})
"""


def run_tune(
    folder: Path, reply: Answer, aoe: Path | None = None, needs: TuningNeeds = SMALL
) -> tuning.TunedModel:
    return tune(
        conversion(folder),
        atc=fake_atc(folder, reply),
        aoe=aoe,
        environment=environment(),
        folder=folder / "tuned",
        device_id=2,
        needs=needs,
    )


def fake_aoe(folder: Path, text: str = "Aoe process finished", *, model: bool = True) -> Path:
    code = FAKE_AOE.format(om=om_bytes().hex(), text=text, model=model)
    return tool(folder / "bin/aoe", code)


def test_atc_tunes_where_it_still_does(tmp_path: Path) -> None:
    tuned = run_tune(tmp_path, answer())
    assert tuned.method == "auto_tune"
    found = seen(tmp_path / "tuned/auto_tune")
    assert found["given"]["auto_tune_mode"] == "RL,GA"
    assert found["env"]["TUNE_BANK_PATH"] == str(tmp_path / "tuned/bank")
    assert found["env"]["ASCEND_DEVICE_ID"] == "2"


def test_aoe_tunes_where_atc_does_not_any_more(tmp_path: Path) -> None:
    reply = answer(tuning=refused("deprecated-tuning"))
    aoe = fake_aoe(tmp_path, "Performance improved by 6.4%\nAoe process finished")
    tuned = run_tune(tmp_path, reply, aoe)
    assert (tuned.method, tuned.improvement) == ("aoe", "Performance improved by 6.4%")
    assert tuned.model.om.name == "squeezenet1_1_2024_tune.om"
    assert (tmp_path / "tuned/aoe/jobs.txt").read_text().splitlines() == [
        f"--framework=5 --model=squeezenet1_1.onnx --job_type={job} "
        "--input_shape=image:16,3,224,224"
        for job in (1, 2)
    ]
    assert tuned.bank_sha256 == bank_sha256(tmp_path / "tuned/bank")
    assert tuned.bank_sha256 != bank_sha256(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("aoe", "words"),
    [
        (None, "aoe is missing"),
        ("failed", "AOE failed"),
        ("no model", "left no model"),
    ],
)
def test_aoe_that_does_not_deliver_is_an_error(tmp_path: Path, aoe: str | None, words: str) -> None:
    tools = {
        "failed": lambda: fake_aoe(tmp_path, "Aoe failed"),
        "no model": lambda: fake_aoe(tmp_path, model=False),
    }
    with pytest.raises(ToolError) as caught:
        run_tune(
            tmp_path, answer(tuning=refused("deprecated-tuning")), tools[aoe]() if aoe else None
        )
    assert words in str(caught.value)


def test_a_model_that_is_refused_while_tuning_is_still_the_subjects_failure(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConversionRefused, match="refuses"):
        run_tune(tmp_path, refused("opset"), fake_aoe(tmp_path))


def test_a_machine_that_is_too_small_is_refused_before_hours_of_work(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="too small") as caught:
        run_tune(tmp_path, answer(), needs=TuningNeeds(memory_gib=1e6, disk_gib=1e9))
    assert "memory" in str(caught.value)
    assert "disk" in str(caught.value)
    assert not (tmp_path / "tuned/auto_tune").exists()


def test_another_refusal_is_not_taken_for_the_word_to_use_aoe(tmp_path: Path) -> None:
    reply = refused("deprecated-tuning")
    reply["text"] = str(reply["text"]).replace("E10001", "E16002")
    with pytest.raises(ConversionRefused, match="refuses"):
        run_tune(tmp_path, answer(tuning=reply), fake_aoe(tmp_path))


def test_atc_converts_with_aipp_from_the_bank_that_aoe_filled(tmp_path: Path) -> None:
    tuned = tune(
        conversion(tmp_path, "aipp"),
        atc=fake_atc(tmp_path, answer(tuning=refused("deprecated-tuning"))),
        aoe=fake_aoe(tmp_path, "Performance improved by 6.4%\nAoe process finished"),
        environment=environment(),
        folder=tmp_path / "tuned",
        device_id=2,
        needs=SMALL,
    )
    assert (tuned.method, tuned.improvement) == ("aoe", "Performance improved by 6.4%")
    assert tuned.bank_sha256 == bank_sha256(tmp_path / "tuned/bank")
    assert "insert_op_conf" not in (tmp_path / "tuned/aoe/jobs.txt").read_text()
    found = seen(tmp_path / "tuned/with_aipp")
    assert found["given"]["insert_op_conf"] == "aipp.config"
    assert "auto_tune_mode" not in found["given"]
    assert found["env"]["TUNE_BANK_PATH"] == str(tmp_path / "tuned/bank")
    assert tuned.model.om.parent == tmp_path / "tuned/with_aipp"


def test_a_banks_digest_covers_names_and_contents(tmp_path: Path) -> None:
    digests = set()
    for name, text in (("a", "1"), ("a", "2"), ("b", "1")):
        bank = tmp_path / f"{name}{text}"
        (bank / "soc").mkdir(parents=True)
        (bank / "soc" / name).write_text(text)
        digests.add(bank_sha256(bank))
    assert len(digests) == 3
    os.utime(tmp_path / "a1/soc/a", (1, 1))
    assert bank_sha256(tmp_path / "a1") in digests


def test_a_talkative_log_is_clean_below_the_level_of_an_error() -> None:
    text = "[INFO] GE: error_code 0\n[WARNING] retry failed once\n[ERROR] TBE: broken\n"
    assert unclean_lines(text) == ("[ERROR] TBE: broken",)
