"""Model specs: the published figures as an explicit table, and every kind of bad TOML."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.errors import ConfigError, SpecError
from conformance.spec import MODELS_FOLDER, ModelSpec, Throughput, load_spec, model_names, read_spec

SPEC = load_spec("squeezenet1_1")
TEXT = (MODELS_FOLDER / "squeezenet1_1.toml").read_text("utf-8")
GUIDE = "Ascend ModelZoo guide of 2021, section"
README_2023 = "Ascend ModelZoo README, 2023"


def written(folder: Path, old: str = "", new: str = "", name: str = "net") -> Path:
    """Write the spec under another name, with ``new`` in place of the first ``old``."""
    text = TEXT.replace('name = "squeezenet1_1"', f'name = "{name}"', 1)
    assert old in text
    path = folder / f"{name}.toml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return path


def refusal(path: Path) -> str:
    """Return the message of a SpecError, which must name the file and what to do."""
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    error = caught.value
    assert error.where["file"] == path
    assert error.expected
    assert error.next_step
    return str(error)


# What is published for SqueezeNet 1.1


def test_squeezenet_weights() -> None:
    place = "https://download.pytorch.org/models"
    assert [(w.file, w.url, w.md5, w.sha256_prefix, w.provable) for w in SPEC.weights] == [
        ("squeezenet1_1-f364aa15.pth", f"{place}/squeezenet1_1-f364aa15.pth",
         "46a44d32d2c5c07f7f66324bef4c7266", "f364aa15", True),
        ("squeezenet1_1-b8a52dc0.pth", f"{place}/squeezenet1_1-b8a52dc0.pth",
         None, "b8a52dc0", False),
    ]  # fmt: skip
    assert all("torchvision" in weights.source for weights in SPEC.weights)


def test_squeezenet_model_and_inputs() -> None:
    architecture, export, prep = SPEC.architecture, SPEC.export, SPEC.preprocess
    assert (SPEC.name, SPEC.task) == ("squeezenet1_1", "imagenet_classification")
    assert (architecture.library, architecture.constructor) == ("torchvision", "squeezenet1_1")
    assert (export.opset, export.input, export.output, export.classes) == (
        11, "image", "class", 1000,
    )  # fmt: skip
    assert (prep.resize, prep.crop, prep.interpolation) == (256, 224, "bilinear")
    assert prep.mean == (0.485, 0.456, 0.406)
    assert prep.std == (0.229, 0.224, 0.225)
    assert SPEC.input_shape == (3, 224, 224)
    assert SPEC.batch.sizes == (1, 4, 8, 16, 32)
    assert SPEC.batch.compared == (1, 16)
    assert GUIDE in export.source
    assert "torchvision model card" in prep.source


def test_squeezenet_accuracy() -> None:
    accuracy = SPEC.accuracy
    assert (accuracy.top1_pct, accuracy.top5_pct) == (58.178, 80.624)
    assert (accuracy.max_drop_points, accuracy.suspicious_gain_points) == (1.0, 0.5)
    assert accuracy.control_points == 0.05
    assert "torchvision model card" in accuracy.source
    assert f"{GUIDE} 6.3" in accuracy.source
    assert [
        (m.soc, m.variant, m.top1_pct, m.top5_pct, m.within_points) for m in accuracy.measured
    ] == [
        ("Ascend310", "float32", 58.19, 80.61, None),
        ("Ascend310P3", "aipp", 57.32, 80.06, 0.3),
        ("Ascend310B1", "aipp", 57.32, 80.06, 0.3),
    ]
    assert GUIDE in accuracy.measured[0].source
    assert {measured.source for measured in accuracy.measured[1:]} == {README_2023}


# SoC, (chips of the card, tool, method, variant, gate_best, source), (batch, fps, tuned, gate)
THROUGHPUT = {
    "Ascend310": (
        (4, "benchmark", "dataset", "float32", False, f"{GUIDE} 7.1"),
        [
            (1, 4589.72, False, True),
            (4, 8345.68, False, False),
            (8, 9061.0, False, False),
            (16, 10022.44, True, True),
            (16, 9414.68, False, False),
            (32, 9222.28, False, False),
        ],
    ),
    "Ascend310P3": (
        (1, "ais_bench", "pure", "aipp", True, README_2023),
        [
            (1, 4849.7, False, False),
            (4, 14058.3, False, False),
            (8, 19546.3, False, False),
            (16, 18339.9, False, False),
            (32, 15468.8, False, False),
            (64, 14051.23, False, False),
        ],
    ),
    "Ascend310B1": (
        (1, "ais_bench", "pure", "aipp", True, README_2023),
        [
            (1, 3146.63, False, False),
            (4, 4576.65, False, False),
            (8, 3871.84, False, False),
            (16, 3629.88, False, False),
            (32, 3544.9, False, False),
            (64, 822.58, False, False),
        ],
    ),
}


def test_every_soc_has_its_throughput() -> None:
    assert [table.soc for table in SPEC.throughput] == list(THROUGHPUT)


@pytest.mark.parametrize("table", SPEC.throughput, ids=lambda table: table.soc)
def test_squeezenet_throughput(table: Throughput) -> None:
    (chips, tool, method, variant, best, source), figures = THROUGHPUT[table.soc]
    assert (table.chips_per_card, table.tool, table.method, table.variant, table.gate_best) == (
        chips, tool, method, variant, best,
    )  # fmt: skip
    assert [(f.batch, f.fps, f.tuned, f.gate) for f in table.figures] == figures
    assert source in table.source
    assert table.bound_pct == 95.0
    assert table.cann
    assert table.card


# Bad input


@pytest.mark.parametrize(
    ("old", "new", "key", "told"),
    [
        # missing
        ("opset = 11\n", "", "export.opset", "missing"),
        ('task = "imagenet_classification"\n', "", "task", "missing"),
        ("fps = 4589.72\n", "", "throughput[0].figures[0].fps", "missing"),
        ('source = "Ascend ModelZoo guide of 2021, section 3.1: ATC of CANN 5.0.1 takes opset 11"',
         "", "export.source", "missing"),
        # misspelt
        ("opset =", "opsett =", "export.opsett", "`opset`?"),
        ("gate_best", "gate_bets", "throughput[1].gate_bets", "`gate_best`?"),
        ("[preprocess]", "[preproces]", "preproces", "`preprocess`?"),
        ("max_drop_points", "max_drop_point", "accuracy.max_drop_point", "`max_drop_points`?"),
        ("opset = 11", "opset = 11\nqqqqq = 1", "export.qqqqq", "unknown field"),
        # wrong type
        ("opset = 11", 'opset = "11"', "export.opset", "`int`"),
        ("opset = 11", "opset = 11.5", "export.opset", "`int`"),
        ("crop = 224", "crop = true", "preprocess.crop", "`int`"),
        ("[0.485, 0.456, 0.406]", "[0.485, 0.456]", "preprocess.mean", "length 3"),
        ("[1, 4, 8, 16, 32]", "16", "batch.sizes", "`array`"),
        # a word or a form that does not exist
        ('"benchmark"', '"benchmrk"', "throughput[0].tool", "benchmrk"),
        ('"float32"', '"float23"', "accuracy.measured[0].variant", "float23"),
        ('"torchvision"', '"timm"', "architecture.library", "timm"),
        ('"imagenet_classification"', '"detection"', "task", "detection"),
        ('"bilinear"', '"bicubic"', "preprocess.interpolation", "bicubic"),
        ('url = "https:', 'url = "http:', "weights[0].url", "^https://"),
        ('"f364aa15"', '"f364aa1"', "weights[0].sha256_prefix", "[0-9a-f]{8,64}"),
        ('"46a44d', '"46A44D', "weights[0].md5", "[0-9a-f]{32}"),
        ('file = "squeezenet', 'file = "../squeezenet', "weights[0].file", "pth"),
        # out of range
        ("opset = 11", "opset = 0", "export.opset", ">= 1"),
        ("classes = 1000", "classes = 1", "export.classes", ">= 2"),
        ("top1_pct = 58.178", "top1_pct = 580.0", "accuracy.top1_pct", "<= 100"),
        ("top1_pct = 58.178", "top1_pct = nan", "accuracy.top1_pct", "> 0"),
        ("fps = 4589.72", "fps = -1.0", "throughput[0].figures[0].fps", "> 0"),
        ("operators = [", "operators = []\nunused = [", "export.operators", "length >= 1"),
        ('input = "image"', 'input = ""', "export.input", "length >= 1"),
        # impossible
        ("crop = 224", "crop = 257", "preprocess.crop", "at most preprocess.resize = 256"),
        ("[0.229,", "[0.0,", "preprocess.std", "above 0"),
        ("[0.485,", "[123.675,", "preprocess.mean", "between 0 and 1"),
        ("[1, 4, 8, 16, 32]", "[1, 16, 4]", "batch.sizes", "rising"),
        ("[1, 4, 8, 16, 32]", "[1, 1, 16]", "batch.sizes", "rising"),
        ("compared = [1, 16]", "compared = [1, 2]", "batch.compared", "two of batch.sizes"),
        ("compared = [1, 16]", "compared = [16, 16]", "batch.compared", "two of batch.sizes"),
        ("compared = [1, 16]", "compared = [4, 16]", "batch.compared", "smallest batch size first"),
        ("top1_pct = 58.178", "top1_pct = 90.0", "accuracy.top1_pct", "at most top5_pct"),
        ("batch = 4", "batch = 1", "throughput[0].figures", "each (batch, tuned) once"),
        ("fps = 8345.68", "fps = inf", "throughput[0].figures[1].fps", "a finite number"),
        ("0.224,", "nan,", "preprocess.std[1]", "a finite number"),
        ('output = "class"', 'output = "image"', "export.output", "another name"),
        ('name = "net"', 'name = "other"', "name", "net"),
    ],
)  # fmt: skip
def test_bad_field_is_named(tmp_path: Path, old: str, new: str, key: str, told: str) -> None:
    message = refusal(written(tmp_path, old, new))
    assert f"  key: {key}\n" in message
    assert told in message


def test_the_untouched_copy_is_sound(tmp_path: Path) -> None:
    assert read_spec(written(tmp_path)).export == SPEC.export


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"name = ", "Invalid value"),
        (b"a = 1\na = 2", "overwrite"),
        ("name = 'é'".encode("latin-1"), "utf-8"),
        (b"\x80\x02}q\x00", "utf-8"),
    ],
)
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "net.toml").write_bytes(content)
    assert told in refusal(tmp_path / "net.toml")


def test_an_empty_file_lacks_its_name(tmp_path: Path) -> None:
    (tmp_path / "net.toml").touch()
    assert "key: name" in refusal(tmp_path / "net.toml")


def test_a_folder_or_nothing_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "net.toml").mkdir()
    assert "directory" in refusal(tmp_path / "net.toml")
    assert "No such file" in refusal(tmp_path / "gone.toml")


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, *_: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    path = written(tmp_path)
    monkeypatch.setattr(Path, "read_text", denied)  # root, who may run this, can read every file
    assert "Permission denied" in refusal(path)


def test_an_unknown_model_names_a_near_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_spec("squezenet1_1")
    assert "unknown model 'squezenet1_1'" in str(caught.value)
    assert "did you mean 'squeezenet1_1'?" in str(caught.value)
    with pytest.raises(ConfigError, match="at least one TOML file"):
        load_spec("resnet18", tmp_path)
    for name in ("../models/squeezenet1_1", "squeezenet1_1.toml", ""):
        with pytest.raises(ConfigError, match="unknown model"):
            load_spec(name)


# Digests


def changed(folder: Path, old: str, new: str) -> ModelSpec:
    return read_spec(written(folder, old, new))


def test_a_digest_depends_on_its_sections_alone(tmp_path: Path) -> None:
    other = changed(tmp_path, "fps = 4589.72", "fps = 4589.73")
    for section in ("architecture", "export", "preprocess"):
        assert other.digest(section) == SPEC.digest(section)
    assert other.digest("throughput") != SPEC.digest("throughput")
    assert changed(tmp_path, "opset = 11", "opset = 13").digest("export") != SPEC.digest("export")
    assert SPEC.digest("export") != SPEC.digest("preprocess")
    assert SPEC.digest("export", "preprocess") == SPEC.digest("preprocess", "export")


def test_model_names_are_the_files(tmp_path: Path) -> None:
    assert "squeezenet1_1" in model_names()
    for name in ("b.toml", "a.toml", "readme.md"):
        (tmp_path / name).touch()
    assert model_names(tmp_path) == ("a", "b")


@pytest.mark.parametrize("name", model_names())
def test_every_spec_in_the_checkout_is_sound(name: str) -> None:
    assert load_spec(name).name == name


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('keys = ["accuracy.max_drop_points"]', 'keys = ["accuracy.control_points"]', "0 rows for"),
        ('keys = ["throughput.Ascend310"]', 'keys = ["throughput.Ascend999"]', "0 rows for"),
        ('"float16.epsilon", ', '"float16.epsilon", "float16.cap", ', "a row for float16.cap"),
        ('unit = "percentage points"\n', "", "unit"),
        ("\ndate = 2026-11-23\n", "\n", "date"),
    ],
)
def test_a_bound_without_its_origin_is_refused(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    assert told in refusal(written(tmp_path, old, new))
