"""ATC is driven as the guide does, and believed only as far as its file can be checked."""

from __future__ import annotations

import json
import os
import pickle
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.ascend import tuning
from conformance.ascend.aipp import aipp_config
from conformance.ascend.atc import ConversionRefused, ConvertedModel, convert
from conformance.ascend.atc_text import messages, succeeded, unclean_lines
from conformance.ascend.checks import identity_check
from conformance.ascend.conversion import Conversion, contradictions, conversion_of
from conformance.ascend.om_description import (
    OmDescription,
    describe_from_graph,
    describe_from_info,
    describe_om,
)
from conformance.ascend.tuning import bank_sha256, tune
from conformance.ascend.tuning_needs import TuningNeeds
from conformance.check import SkipReason, Status
from conformance.errors import ToolError
from conformance.spec import ModelSpec, Variant, load_spec
from emulator import EmulatedBoard
from selftest.emulated import SIDE, Bench, classifier
from selftest.hosts import small_spec
from selftest.published import environment, om_bytes, sample
from selftest.replayed_tools import Replay, Spoil, adds, says

SPEC = load_spec("squeezenet1_1")
SMALL_SPEC = small_spec()
SMALL = TuningNeeds(memory_gib=0, disk_gib=0)

OM = "squeezenet1_1_bs16.om"
Edit = Callable[[Path], object]


def conversion(folder: Path, variant: Variant = "float32", spec: ModelSpec = SPEC) -> Conversion:
    onnx = folder / "squeezenet1_1.onnx"
    onnx.write_bytes(classifier().SerializeToString())
    return conversion_of(spec, onnx, batch=16, soc_version="Ascend310", variant=variant)


def prints(name: str, before: str = "") -> Callable[[str], str]:
    """Print what a real ATC printed."""
    return says(before + sample(f"atc/{name}.txt"))


def lose(work: Path) -> None:
    (work / OM).unlink()


def refuses(name: str, before: str = "", status: int = 255) -> Spoil:
    return Spoil(text=prints(name, before), status=status, edit=lose)


def write(content: bytes) -> Edit:
    """Write another model."""
    return lambda work: (work / OM).write_bytes(content)


def move(new: str) -> Edit:
    """Give the model another name."""
    return lambda work: (work / OM).rename(work / new)


@dataclass(frozen=True)
class Place:
    """Where ATC and AOE are driven."""

    board: EmulatedBoard
    replay: Replay
    folder: Path

    def convert(self, spoil: Spoil | None = None, variant: Variant = "float32") -> ConvertedModel:
        self.replay.spoils = {"atc": spoil or Spoil()}
        return convert(
            conversion(self.folder, variant, SMALL_SPEC),
            atc=self.board.bin / "atc",
            environment=environment(HOME=str(self.folder)),
            folder=self.folder / "work",
        )

    def tune(
        self,
        spoils: Mapping[str, Spoil] | None = None,
        *,
        variant: Variant = "float32",
        aoe: bool = True,
        needs: TuningNeeds = SMALL,
    ) -> tuning.TunedModel:
        self.replay.spoils = dict(spoils or {})
        return tune(
            conversion(self.folder, variant, SMALL_SPEC),
            atc=self.board.bin / "atc",
            aoe=self.board.bin / "aoe" if aoe else None,
            environment=environment(),
            folder=self.folder / "tuned",
            device_id=2,
            needs=needs,
        )

    def given(self, call: int = 0) -> dict[str, str]:
        """Return the options of a call."""
        words = self.replay.calls[call][0][1:]
        return dict(word.removeprefix("--").split("=", 1) for word in words)


@pytest.fixture
def place(standing: Bench, replay: Replay, tmp_path: Path) -> Place:
    """ATC of CANN 5.0.1, which still tunes."""
    return Place(standing.board, replay, tmp_path)


@pytest.fixture
def newer_place(newer: EmulatedBoard, replay: Replay, tmp_path: Path) -> Place:
    """ATC of CANN 8.0, which leaves tuning to AOE."""
    return Place(newer, replay, tmp_path)


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


def test_the_aipp_variant_has_its_own_flags_name_and_configuration(place: Place) -> None:
    model = place.convert(variant="aipp")
    given = place.given()
    assert (given["enable_small_channel"], given["insert_op_conf"]) == ("1", "aipp.config")
    assert model.om.name == "squeezenet1_1_bs16_aipp.om"
    written = (place.folder / "work/aipp.config").read_text()
    assert written == aipp_config(SMALL_SPEC.preprocess)


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


def test_success_is_line_status_and_a_sound_model(place: Place) -> None:
    model = place.convert()
    work = place.folder / "work"
    assert model.om == work / OM
    assert model.header.payload_size == model.om.stat().st_size - 256
    assert (model.warnings, model.unclean) == ((), ())
    assert "ATC run success, welcome to the next use.\n" in model.run.stdout_path.read_text()
    environ = place.replay.calls[0][1]
    assert environ["TUNE_BANK_PATH"] == str(work / "bank")
    assert list((work / "bank").iterdir()) == []
    assert "ASCEND_DEVICE_ID" not in environ


def test_warnings_dots_and_import_warnings_are_no_failure(place: Place) -> None:
    model = place.convert(Spoil(text=prints("success-with-warnings")))
    assert [message.code for message in model.warnings] == ["W11001"]
    assert model.unclean == ()


def test_a_success_whose_log_speaks_of_errors_is_not_clean(place: Place) -> None:
    lines = ("[ERROR] TBE: kernel failed", "EZ9999: Inner Error!")
    model = place.convert(Spoil(text=prints("success", "\n".join(lines) + "\n")))
    assert model.unclean == lines


@pytest.mark.parametrize(
    ("spoil", "marked"),
    [
        (Spoil(text=prints("success")), True),
        (Spoil(edit=write(om_bytes())), True),
        (Spoil(text=prints("success"), edit=write(om_bytes())), False),
    ],
)
def test_the_mark_of_an_emulator_is_seen_in_tool_and_file(
    place: Place, spoil: Spoil, marked: bool
) -> None:
    assert place.convert(spoil).emulated is marked


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
    place: Place, text: str, code: str, words: str, solution: str
) -> None:
    with pytest.raises(ConversionRefused) as caught:
        place.convert(refuses(text))
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
def test_a_failure_that_is_not_the_models_is_an_error(place: Place, text: str, words: str) -> None:
    with pytest.raises(ToolError, match="ATC failed") as caught:
        place.convert(refuses(text))
    assert words in str(caught.value)
    assert str(place.folder / "work/atc.log") in str(caught.value)


def test_a_refusal_hidden_behind_status_0_is_still_a_refusal(place: Place) -> None:
    with pytest.raises(ConversionRefused, match="refuses the model"):
        place.convert(refuses("opset", status=0))


def test_a_stray_import_error_does_not_hide_that_the_model_is_refused(place: Place) -> None:
    with pytest.raises(ConversionRefused, match="refuses the model"):
        place.convert(refuses("opset", "ModuleNotFoundError: No module named 'sympy'\n"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (Spoil(edit=lose), "there is no new .om"),
        (Spoil(edit=move("other.om")), "others: other.om"),
        (Spoil(edit=move("squeezenet1_1_bs16_linux_aarch64.om")), "linux_aarch64"),
        (Spoil(edit=lambda work: os.utime(work / OM, (1, 1))), "a file from before this run"),
        (Spoil(edit=lambda work: os.truncate(work / OM, 1000)), "not sound"),
        (Spoil(edit=write(b"IMOD")), "not sound"),
        (Spoil(edit=write(b"\x08\x07\x12\x07pytorch" * 40)), "not sound"),
        (Spoil(status=1), "without naming a cause"),
        (Spoil(text=says("Segmentation fault\n"), status=139, edit=lose), "SIGSEGV"),
        (Spoil(text=says("ATC start working now\n")), "cause"),
        (Spoil(status=-signal.SIGKILL), "memory"),
        (Spoil(text=says("OSError: No space left on device\n"), status=255, edit=lose),
         "disk is full"),
        (Spoil(text=says("std::bad_alloc\n"), status=255, edit=lose), "memory ran out"),
        (Spoil(stopped=True, status=-signal.SIGTERM), "time limit"),
    ],
)  # fmt: skip
def test_what_cannot_be_believed_is_an_error(place: Place, spoil: Spoil, words: str) -> None:
    with pytest.raises(ToolError) as caught:
        place.convert(spoil)
    assert words in str(caught.value)
    assert (place.folder / "work/atc.log").exists()


def test_a_work_folder_that_holds_anything_is_refused(place: Place) -> None:
    (place.folder / "work").mkdir()
    (place.folder / "work" / OM).write_bytes(om_bytes())
    with pytest.raises(ToolError, match="not empty"):
        place.convert()


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
# The display repeats the command line, which is not what came of it.
DISPLAYED = OmDescription("Ascend310", atc_version="7.6.0.1.220")
NO_MODE = (
    "ATC run failed, Please check the detail log, Try 'atc --help' for more information\n"
    "E10001: Value [{}] for parameter [--mode] is invalid. Reason: only support 0(model to "
    "framework model), 3(only pre-check)\n"
)
INVALID_OM = (
    "ATC run failed, Please check the detail log, Try 'atc --help' for more information\n"
    "E10003: Value [model.om] for parameter [--om] is invalid. Reason: invalid om file\n"
)


def test_the_display_and_the_graph_say_batch_input_and_soc() -> None:
    assert describe_from_info(sample("atc/info.txt")) == DISPLAYED
    found = describe_from_graph(json.loads(sample("atc/graph.json")))
    assert found == OmDescription("Ascend310", "image", (16, 3, 224, 224), None)
    assert describe_from_info("mode 6 is not supported") == OmDescription()


@pytest.mark.parametrize(
    ("display", "graph", "expected"),
    [
        (sample("atc/info.txt"), "", DISPLAYED),
        (
            "not supported",
            sample("atc/graph.json"),
            OmDescription("Ascend310", "image", (16, 3, 224, 224), None),
        ),
        ("not supported", "{", OmDescription()),
    ],
)
def test_an_om_is_described_by_what_this_atc_can_say(
    place: Place, display: str, graph: str, expected: OmDescription
) -> None:
    om, folder = place.convert().om, place.folder / "described"
    sound = describe_om(
        om, atc=place.board.bin / "atc", environment=environment(), folder=folder / "sound"
    )
    assert (sound.soc_version, sound.input_name) == ("Ascend310", "image")
    assert sound.input_shape == (16, 3, SIDE, SIDE)

    def write_graph(_: Path) -> None:
        target = next(word for word in place.replay.calls[-1][0] if word.startswith("--json="))
        (folder / "spoilt" / target.removeprefix("--json=")).write_text(graph)

    place.replay.spoils = {
        "--mode=6": Spoil(text=says(display)),
        "--mode=1": Spoil(edit=write_graph),
    }
    found = describe_om(
        om, atc=place.board.bin / "atc", environment=environment(), folder=folder / "spoilt"
    )
    assert found == expected


def lacks(*modes: int) -> dict[str, Spoil]:
    """An ATC without these modes: what it prints, status 255 and no file."""
    return {
        f"--mode={mode}": Spoil(
            text=says(NO_MODE.format(mode)),
            status=255,
            edit=lambda work: (work / "om-graph.json").unlink(missing_ok=True),
        )
        for mode in modes
    }


@pytest.mark.parametrize(
    ("spoils", "status", "words"),
    [
        ({}, Status.PASS, "Ascend310"),
        (lacks(6), Status.PASS, "Ascend310"),
        (lacks(1), Status.SKIP, "the .om's batch and input: this ATC has no --mode=1"),
        (lacks(1, 6), Status.SKIP, "batch and input and SoC: this ATC has no --mode=1 and --mode"),
        ({"--mode=1": Spoil(edit=lambda work: (work / "om-graph.json").write_text("[]"))},
         Status.ERROR, "does not say its batch and input"),
    ],
)  # fmt: skip
def test_what_atc_does_not_say_of_an_om_is_not_proved(
    place: Place, spoils: dict[str, Spoil], status: Status, words: str
) -> None:
    model, atc = place.convert(), place.board.bin / "atc"
    place.replay.spoils = spoils
    work = place.folder / "described"
    found = describe_om(model.om, atc=atc, environment=environment(), folder=work)
    check = identity_check(model.conversion, found)
    assert check.status is status
    assert words in check.detail
    if status is Status.SKIP:
        assert check.reason is SkipReason.NOT_STATED


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (Spoil(text=says(INVALID_OM), status=255), "invalid om file"),
        (Spoil(text=says(INVALID_OM)), "cannot read the .om back"),
        (Spoil(status=1), "cannot read the .om back"),
        (Spoil(stopped=True, status=-signal.SIGTERM), "time limit"),
    ],
)
def test_an_om_that_atc_cannot_read_is_an_error(place: Place, spoil: Spoil, words: str) -> None:
    om, atc = place.convert().om, place.board.bin / "atc"
    place.replay.spoils = {"--mode=1": spoil}
    with pytest.raises(ToolError) as caught:
        describe_om(om, atc=atc, environment=environment(), folder=place.folder / "described")
    assert words in str(caught.value)


def test_one_wrong_figure_fails_though_another_is_not_said(tmp_path: Path) -> None:
    found = OmDescription("Ascend310P3", lacking=("--mode=1",))
    assert identity_check(conversion(tmp_path), found).status is Status.FAIL


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


def test_atc_tunes_where_it_still_does(place: Place) -> None:
    tuned = place.tune()
    assert tuned.method == "auto_tune"
    assert place.given()["auto_tune_mode"] == "RL,GA"
    environ = place.replay.calls[0][1]
    assert environ["TUNE_BANK_PATH"] == str(place.folder / "tuned/bank")
    assert environ["ASCEND_DEVICE_ID"] == "2"


def test_aoe_tunes_where_atc_does_not_any_more(newer_place: Place) -> None:
    tuned = newer_place.tune()
    assert tuned.method == "aoe"
    assert tuned.improvement.startswith("Performance improved by ")
    assert tuned.model.om.name.endswith("_tune.om")
    jobs = [list(command[1:]) for command, _ in newer_place.replay.calls[1:]]
    assert jobs == [
        ["--framework=5", "--model=squeezenet1_1.onnx", f"--job_type={job}",
         f"--input_shape=image:16,3,{SIDE},{SIDE}"]
        for job in (1, 2)
    ]  # fmt: skip
    assert tuned.bank_sha256 == bank_sha256(newer_place.folder / "tuned/bank")
    assert tuned.bank_sha256 != bank_sha256(newer_place.folder / "nothing")


def without_models(work: Path) -> None:
    for model in work.rglob("*_tune.om"):
        model.unlink()


def truncate_models(work: Path) -> None:
    for model in work.rglob("*_tune.om"):
        os.truncate(model, 1000)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (None, "aoe is missing"),
        (Spoil(text=says("Aoe failed")), "AOE failed"),
        (Spoil(status=3), "exit status 3"),
        (Spoil(text=adds("Aoe process failed")), "AOE failed"),
        (Spoil(text=adds("[ERROR] process finished abnormally, E99999")), "AOE failed"),
        (Spoil(text=says("[ERROR] process finished abnormally")), "AOE failed"),
        (Spoil(edit=truncate_models), "not sound"),
        (Spoil(edit=without_models), "left no model"),
    ],
)
def test_aoe_that_does_not_deliver_is_an_error(
    newer_place: Place, spoil: Spoil | None, words: str
) -> None:
    with pytest.raises(ToolError) as caught:
        newer_place.tune({"aoe": spoil} if spoil else {}, aoe=spoil is not None)
    assert words in str(caught.value)


def test_a_model_that_is_refused_while_tuning_is_still_the_subjects_failure(place: Place) -> None:
    with pytest.raises(ConversionRefused, match="refuses"):
        place.tune({"atc": refuses("opset")})


def test_a_machine_that_is_too_small_is_refused_before_hours_of_work(place: Place) -> None:
    with pytest.raises(ToolError, match="too small") as caught:
        place.tune(needs=TuningNeeds(memory_gib=1e6, disk_gib=1e9))
    assert "memory" in str(caught.value)
    assert "disk" in str(caught.value)
    assert not place.replay.calls


def test_another_refusal_is_not_taken_for_the_word_to_use_aoe(newer_place: Place) -> None:
    other = sample("atc/deprecated-tuning.txt").replace("E10001", "E16002")
    with pytest.raises(ConversionRefused, match="refuses"):
        newer_place.tune({"atc": Spoil(text=says(other), status=255)})


def test_atc_converts_with_aipp_from_the_bank_that_aoe_filled(newer_place: Place) -> None:
    tuned = newer_place.tune(variant="aipp")
    assert tuned.method == "aoe"
    assert tuned.improvement.startswith("Performance improved by ")
    assert tuned.bank_sha256 == bank_sha256(newer_place.folder / "tuned/bank")
    calls = newer_place.replay.calls
    assert not any("insert_op_conf" in word for command, _ in calls[1:3] for word in command)
    given = newer_place.given(3)
    assert given["insert_op_conf"] == "aipp.config"
    assert "auto_tune_mode" not in given
    assert calls[3][1]["TUNE_BANK_PATH"] == str(newer_place.folder / "tuned/bank")
    assert tuned.model.om.parent == newer_place.folder / "tuned/with_aipp"


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


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[WARNING] TBE(1): op Conv_0 fell back to the CPU kernel, precision reduced", True),
        ("[EVENT] fatal error: kernel build failed", True),
        ("W12000: op Conv_0 error: precision lowered", True),
        ("/usr/lib/x.py:3: UserWarning: an error occurred and the op failed", True),
        ("op Conv_0 falls back to AICPU", True),
        ("W11001: Op [X] does not hit the high-priority operator information library", False),
        ("/usr/lib/x.py:3: ImportWarning: can't resolve package, error ignored", False),
        ("DeprecationWarning: np.float failed to please", False),
        ("[INFO] GE: no fallback, precision loss 0", False),
        ("....", False),
    ],
)
def test_a_log_of_a_lesser_model_is_not_clean(line: str, told: bool) -> None:
    assert unclean_lines(f"ATC start working now\n{line}\nATC run success\n") == (line,) * told


def test_a_talkative_log_is_clean_below_the_level_of_an_error() -> None:
    text = "[INFO] GE: error_code 0\n[WARNING] retry failed once\n[ERROR] TBE: broken\n"
    assert unclean_lines(text) == ("[ERROR] TBE: broken",)
