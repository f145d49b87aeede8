"""The guide's commands: its arguments and outputs, and a status that is not 0 after a loss."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conformance.commands import exit_status
from conformance.imagenet.dataset import Dataset
from conformance.imagenet.input_folder import claimed_folder
from conformance.imagenet.preprocess import prepare_file
from conformance.spec import load_spec
from selftest.photographs import drawn

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
SPEC = load_spec("squeezenet1_1").preprocess


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(
        command, cwd="/", env={"PATH": os.defpath}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return drawn(tmp_path_factory.mktemp("imagenet") / "val", 3)


@pytest.mark.parametrize(
    ("script", "leading", "kind"),
    [
        ("imagenet_torch_preprocess.py", ["squeezenet1_1"], "float32"),
        ("squeezenet1_1_preprocess.py", [], "uint8"),
    ],
)
def test_images_become_inputs(
    val: Dataset, tmp_path: Path, script: str, leading: list[str], kind: str
) -> None:
    ended = run(script, *leading, val.root, tmp_path / "prep")
    assert ended.returncode == 0, ended.stderr
    assert "disk: " in ended.stdout
    assert "3 inputs written" in ended.stdout
    for image in val.images:
        made = (tmp_path / "prep" / image.name).with_suffix(".bin").read_bytes()
        assert made == prepare_file(image.path, SPEC, kind).tobytes()  # type: ignore[arg-type] # one of the two


def test_one_bad_image_ends_with_a_message_and_no_zero(tmp_path: Path) -> None:
    drawn(tmp_path / "val", 1)
    (tmp_path / "val" / "notes.txt").write_text("not an image")
    script = "imagenet_torch_preprocess.py"
    ended = run(script, "squeezenet1_1", tmp_path / "val", tmp_path / "prep")
    assert ended.returncode == 1
    assert "notes.txt" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unknown_model_is_named(val: Dataset, tmp_path: Path) -> None:
    ended = run("imagenet_torch_preprocess.py", "squeezenet", val.root, tmp_path)
    assert ended.returncode == 1
    assert "squeezenet1_1" in ended.stderr


@pytest.mark.parametrize(
    "script",
    [
        "imagenet_torch_preprocess.py",
        "squeezenet1_1_preprocess.py",
        "gen_dataset_info.py",
        "imagenet_acc_eval.py",
    ],
)
def test_too_few_arguments_are_a_usage_error(script: str) -> None:
    ended = run(script)
    assert ended.returncode == 2
    assert "usage" in ended.stderr


def test_the_info_file_of_bin_inputs(tmp_path: Path) -> None:
    (tmp_path / "prep").mkdir()
    for name in ("b", "a"):
        (tmp_path / "prep" / f"{name}.bin").write_bytes(bytes(150_528))
    ended = run("gen_dataset_info.py", "bin", tmp_path / "prep", tmp_path / "x.info", 224, 224)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "x.info").read_text() == (
        f"0 {tmp_path}/prep/a.bin 224 224\n1 {tmp_path}/prep/b.bin 224 224\n"
    )


def test_the_info_file_of_jpegs(val: Dataset, tmp_path: Path) -> None:
    ended = run("gen_dataset_info.py", "jpg", val.root, tmp_path / "x.info")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "x.info").read_text().splitlines()[2] == (f"2 {val.images[2].path} 120 90")


def test_a_half_written_input_is_no_line(tmp_path: Path) -> None:
    (tmp_path / "prep").mkdir()
    (tmp_path / "prep" / "a.bin").write_bytes(bytes(150_527))
    ended = run("gen_dataset_info.py", "bin", tmp_path / "prep", tmp_path / "x.info", 224, 224)
    assert ended.returncode == 1
    assert "a.bin" in ended.stderr
    assert not (tmp_path / "x.info").exists()


def results(folder: Path, width: int = 1000) -> tuple[Path, Path]:
    """Write three results, of which the first two are Top-1 and the last a Top-3 hit."""
    dumps, labels = folder / "dumpOutput_device0", folder / "val_label.txt"
    dumps.mkdir()
    shift = width - 1000
    for number in range(3):
        row = np.zeros(width)
        row[[number + shift, 500, 501]] = (1, 2, 3) if number == 2 else (9, 2, 3)
        (dumps / f"i{number}_1.txt").write_text("".join(f"{value:f} " for value in row) + "\n")
    labels.write_text("".join(f"i{number}.JPEG {number}\n" for number in range(3)))
    return dumps, labels


@pytest.mark.parametrize("width", [1000, 1001])
def test_results_become_the_guides_json(tmp_path: Path, width: int) -> None:
    ended = run("imagenet_acc_eval.py", *results(tmp_path, width), tmp_path, "result.json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("Time used: ")
    assert (tmp_path / "result.json").read_text() == (
        '{"title": "Overall statistical evaluation", "value": ['
        '{"key": "Number of images", "value": "3"}, '
        f'{{"key": "Number of classes", "value": "{width}"}}, '
        '{"key": "Top1 accuracy", "value": "66.67%"}, '
        '{"key": "Top2 accuracy", "value": "66.67%"}, '
        '{"key": "Top3 accuracy", "value": "100.0%"}, '
        '{"key": "Top4 accuracy", "value": "100.0%"}, '
        '{"key": "Top5 accuracy", "value": "100.0%"}]}'
    )


@pytest.mark.parametrize("loss", ["missing", "extra", "cut", "label"])
def test_a_loss_ends_with_a_message_and_no_result(tmp_path: Path, loss: str) -> None:
    dumps, labels = results(tmp_path)
    victim = dumps / "i1_1.txt"
    if loss == "missing":
        victim.unlink()
    elif loss == "extra":
        victim = dumps / "summary.json"
        victim.write_text("{}")
    elif loss == "cut":
        victim.write_text(victim.read_text()[:-3])
    else:
        victim = labels
        labels.write_text("i0.JPEG 0\ni1.JPEG\ni2.JPEG 2\n")
    (tmp_path / "result.json").write_text("of an earlier run")
    ended = run("imagenet_acc_eval.py", dumps, labels, tmp_path, "result.json")
    assert ended.returncode == 1
    assert victim.name in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "result.json").exists()


def test_ties_are_shown_as_a_range(tmp_path: Path) -> None:
    dumps, labels = results(tmp_path)
    (dumps / "i1_1.txt").write_text("1.0 " * 1000 + "\n")
    ended = run("imagenet_acc_eval.py", dumps, labels, tmp_path, "result.json")
    assert "Top1: 1 hits, 33.333%, 1 to 2 as equal scores are ordered" in ended.stdout
    values = json.loads((tmp_path / "result.json").read_text())["value"]
    assert values[3] == {"key": "Top2 accuracy", "value": "66.67%"}


def test_a_folder_for_the_result_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = run("imagenet_acc_eval.py", *results(tmp_path), tmp_path / "none", "result.json")
    assert ended.returncode == 1
    assert f"file: {tmp_path}/none/result.json" in ended.stderr
    assert "make the folder first" in ended.stderr


def test_a_missing_folder_is_found_before_anything_is_scored(tmp_path: Path) -> None:
    dumps, labels = results(tmp_path)
    (dumps / "i1_1.txt").write_text("no score")
    ended = run("imagenet_acc_eval.py", dumps, labels, tmp_path / "none", "result.json")
    assert "make the folder first" in ended.stderr
    assert "i1_1.txt" not in ended.stderr


def test_no_script_writes_over_what_it_reads(val: Dataset, tmp_path: Path) -> None:
    dumps, labels = results(tmp_path)
    (tmp_path / "link.txt").symlink_to(labels)
    (tmp_path / "w.pth").write_text("weights")
    photo = val.images[1].path
    before = {path: path.read_bytes() for path in (labels, dumps / "i1_1.txt", photo)}
    for script, arguments in (
        ("imagenet_acc_eval.py", (dumps, labels, tmp_path, "val_label.txt")),
        ("imagenet_acc_eval.py", (dumps, labels, tmp_path, "link.txt")),
        ("imagenet_acc_eval.py", (dumps, labels, dumps, "i1_1.txt")),
        ("imagenet_acc_eval.py", (dumps, labels, dumps, "result.json")),
        ("gen_dataset_info.py", ("jpg", val.root, photo)),
        ("gen_dataset_info.py", ("jpg", val.root, val.root / "new.info")),
        ("squeezenet1_1_pth2onnx.py", (tmp_path / "w.pth", tmp_path / "w.pth")),
    ):
        ended = run(script, *arguments)
        assert ended.returncode == 1, ended
        assert "that it is made of" in ended.stderr
        assert "nothing was changed" in ended.stderr
    assert before == {path: path.read_bytes() for path in before}
    assert (tmp_path / "w.pth").read_text() == "weights"


def test_the_second_preparation_into_one_folder_is_refused(val: Dataset, tmp_path: Path) -> None:
    with claimed_folder(tmp_path / "prep", [tmp_path / "prep" / f"{n}.bin" for n in range(3)]):
        ended = run("squeezenet1_1_preprocess.py", val.root, tmp_path / "prep")
    assert ended.returncode == 1
    assert "another preparation writes into this folder" in ended.stderr
    assert "--scratch" not in ended.stderr


def test_lines_spell_the_folder_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "prep").mkdir()
    (tmp_path / "prep" / "a.bin").write_bytes(bytes(150_528))
    command = [sys.executable, str(SCRIPTS / "gen_dataset_info.py"), "bin", "./prep", "./x.info"]
    subprocess.run([*command, "224", "224"], cwd=tmp_path, check=True)
    assert (tmp_path / "x.info").read_text() == "0 ./prep/a.bin 224 224\n"


def test_an_interrupted_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert exit_status(interrupted) == 130
    assert "interrupted" in capsys.readouterr().err
