"""Every way in which an exported model is wrong turns the right claim red, and only that one.

One network with random weights is exported once; each test spoils a copy of the file.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
import torch

from conformance.check import Check, Status
from conformance.errors import ExportError
from conformance.evidence.record import read
from conformance.export import checks
from conformance.export.attributes import Trace, trace_network
from conformance.export.checkpoint import Checkpoint
from conformance.export.network import build_network
from conformance.export.onnx_model import export_onnx, read_facts
from conformance.export.probes import probe_inputs
from conformance.metrics.parity import (
    Outputs,
    decision_check,
    finite_check,
    measure_parity,
    parity_checks,
)
from conformance.runners.in_memory import Inputs, run_onnxruntime, run_torch, run_torch_float64
from selftest.suites import checks as checks_of
from selftest.suites import outcomes, records, run_folder, run_suite
from selftest.tiny_images import write_photographs
from selftest.weights_files import SPEC, saved

# What a graph's claims say, and what its outputs' claims say.
FORM = (
    "export.valid", "export.opset", "export.input", "export.output", "export.operators",
    "export.weights", "export.attributes",
)  # fmt: skip
PARITY = ("export.parity.rms", "export.parity.largest")
BATCH = 2
FIRST, MIDDLE, CLASSIFIER = "features.0.weight", "features.7.expand3x3.weight", "classifier.1"


@dataclass(frozen=True)
class Exported:
    """A network, its ONNX file, and what PyTorch makes of a few inputs."""

    network: torch.nn.Module
    path: Path
    trace: Trace
    inputs: Inputs
    float32: Outputs
    reference: Outputs


def random_network() -> torch.nn.Module:
    """Return the network with biases that are not zero, and weights that float16 cannot hold."""
    torch.manual_seed(5)
    network = build_network(SPEC.architecture)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("bias"):
                tensor.normal_(0, 0.05)
            else:
                tensor.mul_(1 + 1e-5 * torch.randn_like(tensor))
        classifier = network.get_submodule(CLASSIFIER)
        assert isinstance(classifier, torch.nn.Conv2d)
        assert classifier.bias is not None
        classifier.weight.mul_(30)  # else all scores are nearly one
        classifier.bias.add_(3)  # so that the last ReLU does not cut most of them off
    return network


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    network = random_network()
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_onnx(network, SPEC, path)
    rng = np.random.default_rng(1)
    inputs = probe_inputs(SPEC)
    inputs = {name: inputs[name] for name in ("white", "chequered")} | {
        f"noise{number}": rng.normal(size=SPEC.input_shape).astype(np.float32)
        for number in range(3)
    }
    return Exported(
        network, path, trace_network(network, SPEC.input_shape), inputs,
        run_torch(network, inputs, BATCH), run_torch_float64(network, inputs),
    )  # fmt: skip


def form(exported: Exported, path: Path) -> dict[str, Check]:
    """Judge a file by what it says about itself."""
    facts = read_facts(path)
    made = [
        checks.valid_check(path),
        checks.opset_check(facts, SPEC),
        *checks.interface_checks(facts, SPEC),
        checks.operators_check(facts, SPEC),
        checks.weights_check(path, exported.network, exported.trace),
        checks.attributes_check(path, exported.trace),
    ]
    assert tuple(check.id for check in made) == FORM
    return {check.id: check for check in made}


def computed(exported: Exported, path: Path) -> dict[str, Check]:
    """Judge a file by what it computes."""
    candidate = run_onnxruntime(path, exported.inputs, BATCH)
    parity = measure_parity(candidate, exported.float32, exported.reference)
    made = [
        *parity_checks(parity, "export.parity", "x1"),
        decision_check(
            candidate, exported.reference, parity.largest_bound, "export.decisions", "x1"
        ),
        finite_check(candidate, "export.finite", "x1"),
    ]
    return {check.id: check for check in made}


def red(made: dict[str, Check]) -> set[str]:
    return {name for name, check in made.items() if check.status is not Status.PASS}


Spoil = Callable[[onnx.ModelProto], None]


def spoilt(exported: Exported, folder: Path, spoil: Spoil) -> Path:
    model = onnx.load(exported.path)
    spoil(model)
    path = folder / "spoilt.onnx"
    onnx.save(model, path)
    return path


def tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(stored for stored in model.graph.initializer if stored.name == name)


def rewrite(model: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    stored = tensor(model, name)
    changed = change(onnx.numpy_helper.to_array(stored).copy())
    stored.CopyFrom(onnx.numpy_helper.from_array(changed, name))


def attribute(model: onnx.ModelProto, kind: str, number: int, name: str) -> onnx.AttributeProto:
    node = [node for node in model.graph.node if node.op_type == kind][number]
    return next(attribute for attribute in node.attribute if attribute.name == name)


def test_the_untouched_model_holds_every_claim(exported: Exported) -> None:
    assert red(form(exported, exported.path)) == set()
    made = computed(exported, exported.path)
    assert red(made) == set()
    assert 0.1 < float(made["export.parity.ratio"].value or 0) < 4
    # The claims below see something only if the outputs differ.
    scores = np.stack(list(exported.reference.values()))
    assert np.std(scores, axis=0).max() > 0.01
    reproducible = checks.reproducible_check(exported.path, exported.network, SPEC)
    assert reproducible.status is Status.PASS


# Weights


def nudge(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array.flat[array.size // 2] += np.float32(value)
        return array

    return change


def swap_two(array: np.ndarray) -> np.ndarray:
    array[[3, 4]] = array[[4, 3]]
    return array


@pytest.mark.parametrize("name", [FIRST, MIDDLE])
def test_one_value_off_by_a_ten_thousandth(exported: Exported, tmp_path: Path, name: str) -> None:
    path = spoilt(exported, tmp_path, lambda m: rewrite(m, name, nudge(1e-4)))
    made = form(exported, path)
    assert red(made) == {"export.weights"}
    assert f"{name}: 1 of " in made["export.weights"].detail
    assert "by at most 0.0001" in made["export.weights"].detail


def test_the_last_bit_of_one_value(exported: Exported, tmp_path: Path) -> None:
    def change(array: np.ndarray) -> np.ndarray:
        array.view(np.int32).flat[0] ^= 1
        return array

    path = spoilt(exported, tmp_path, lambda m: rewrite(m, MIDDLE, change))
    assert red(form(exported, path)) == {"export.weights"}


def test_weights_rounded_to_float16(exported: Exported, tmp_path: Path) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        for stored in list(model.graph.initializer):
            rewrite(model, stored.name, lambda a: a.astype(np.float16).astype(np.float32))

    path = spoilt(exported, tmp_path, spoil)
    assert red(form(exported, path)) == {"export.weights"}
    assert set(PARITY) <= red(computed(exported, path))


def test_two_classes_swapped(exported: Exported, tmp_path: Path) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        for part in ("weight", "bias"):
            rewrite(model, f"{CLASSIFIER}.{part}", swap_two)

    path = spoilt(exported, tmp_path, spoil)
    made = form(exported, path)
    assert red(made) == {"export.weights"}
    assert f"{CLASSIFIER}.weight" in made["export.weights"].detail
    assert set(PARITY) <= red(computed(exported, path))


def test_a_swap_of_the_best_class_changes_a_decision(exported: Exported, tmp_path: Path) -> None:
    best = int(np.argmax(exported.reference["white"]))
    other = (best + 1) % 1000

    def swap(array: np.ndarray) -> np.ndarray:
        array[[best, other]] = array[[other, best]]
        return array

    def spoil(model: onnx.ModelProto) -> None:
        for part in ("weight", "bias"):
            rewrite(model, f"{CLASSIFIER}.{part}", swap)

    made = computed(exported, spoilt(exported, tmp_path, spoil))
    assert made["export.decisions"].status is Status.FAIL
    assert "white" in made["export.decisions"].detail


def test_a_weight_that_is_missing(exported: Exported, tmp_path: Path) -> None:
    path = spoilt(exported, tmp_path, lambda m: m.graph.initializer.remove(tensor(m, MIDDLE)))
    made = form(exported, path)
    assert made["export.weights"].status is Status.FAIL
    assert f"{MIDDLE}: missing in the ONNX file" in made["export.weights"].detail
    assert "export.valid" in red(made)


def test_a_weight_that_belongs_to_nothing(exported: Exported, tmp_path: Path) -> None:
    extra = onnx.numpy_helper.from_array(np.ones(3, np.float32), "stray")
    path = spoilt(exported, tmp_path, lambda m: m.graph.initializer.append(extra))
    made = form(exported, path)
    assert red(made) == {"export.weights"}
    assert "stray: not in the checkpoint" in made["export.weights"].detail


def test_a_weight_that_is_not_a_number(exported: Exported, tmp_path: Path) -> None:
    path = spoilt(exported, tmp_path, lambda m: rewrite(m, f"{CLASSIFIER}.bias", nudge(np.nan)))
    assert red(form(exported, path)) == {"export.weights"}
    made = computed(exported, path)
    assert {*PARITY, "export.finite"} <= red(made)
    assert made["export.parity.largest"].status is Status.FAIL
    assert made["export.parity.largest"].value == "inf"
    assert "white" in made["export.finite"].detail


def test_a_checkpoint_with_other_weights_than_the_network(
    exported: Exported, tmp_path: Path
) -> None:
    state = copy.deepcopy(exported.network.state_dict())
    path = saved(tmp_path / "net.pth", state)
    found = Checkpoint(path, "0" * 64, "custom", "here")
    assert checks.checkpoint_check(found, exported.network).status is Status.PASS
    state[MIDDLE].view(-1)[0] += 1e-4
    saved(path, state)
    made = checks.checkpoint_check(found, exported.network)
    assert (made.status, made.detail) == (Status.FAIL, MIDDLE)
    assert made.classes == {"weights": "custom"}


# Attributes


def test_pads_that_are_wrong(exported: Exported, tmp_path: Path) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        attribute(model, "Conv", 3, "pads").ints[:] = [0, 0, 2, 2]

    path = spoilt(exported, tmp_path, spoil)
    made = form(exported, path)
    assert red(made) == {"export.attributes"}
    assert "pads = [0, 0, 2, 2], expected [1, 1, 1, 1]" in made["export.attributes"].detail
    assert set(PARITY) <= red(computed(exported, path))


def test_ceil_mode_off_is_seen_by_the_attributes_alone(exported: Exported, tmp_path: Path) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        for number in range(3):
            attribute(model, "MaxPool", number, "ceil_mode").i = 0

    path = spoilt(exported, tmp_path, spoil)
    made = form(exported, path)
    assert red(made) == {"export.attributes"}
    assert made["export.attributes"].value == 3
    assert "ceil_mode = 0, expected 1" in made["export.attributes"].detail
    assert red(computed(exported, path)) == set()


def test_an_attribute_that_is_left_out_has_its_default(exported: Exported, tmp_path: Path) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == "Conv")
        strides = next(made for made in node.attribute if made.name == "strides")
        node.attribute.remove(strides)

    made = form(exported, spoilt(exported, tmp_path, spoil))
    assert "export.attributes" in red(made)
    assert "strides = [1, 1], expected [2, 2]" in made["export.attributes"].detail


def test_a_layer_that_is_left_out(exported: Exported, tmp_path: Path) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        pool = [node for node in model.graph.node if node.op_type == "MaxPool"][1]
        for node in model.graph.node:
            node.input[:] = [pool.input[0] if n == pool.output[0] else n for n in node.input]
        model.graph.node.remove(pool)

    made = form(exported, spoilt(exported, tmp_path, spoil))
    assert "MaxPool: 2 nodes, PyTorch calls it 3 times" in made["export.attributes"].detail


def test_inputs_of_a_concatenation_swapped(exported: Exported, tmp_path: Path) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == "Concat")
        node.input[:] = list(node.input)[::-1]

    path = spoilt(exported, tmp_path, spoil)
    assert red(form(exported, path)) == set()
    assert set(PARITY) <= red(computed(exported, path))


# Opset, interface, operators


@pytest.mark.parametrize("opset", [13, 18])
def test_another_opset(exported: Exported, tmp_path: Path, opset: int) -> None:
    path = tmp_path / "newer.onnx"
    onnx.save(onnx.version_converter.convert_version(onnx.load(exported.path), opset), path)
    made = form(exported, path)
    assert red(made) == {"export.opset"}
    assert (made["export.opset"].value, made["export.opset"].bound) == (
        f"ai.onnx {opset}", "ai.onnx 11",
    )  # fmt: skip
    assert red(computed(exported, path)) == set()


@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.ml", "ai.onnx", ""])
def test_a_second_opset_domain(exported: Exported, tmp_path: Path, domain: str) -> None:
    for entries in ([("", 11), (domain, 1)], [(domain, 1), ("", 11)], [("", 13), (domain, 11)]):

        def spoil(model: onnx.ModelProto, entries: list[tuple[str, int]] = entries) -> None:
            del model.opset_import[:]
            model.opset_import.extend(onnx.helper.make_opsetid(*entry) for entry in entries)

        facts = read_facts(spoilt(exported, tmp_path, spoil))
        assert checks.opset_check(facts, SPEC).status is Status.FAIL


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "input"
    for node in model.graph.node:
        node.input[:] = ["input" if name == "image" else name for name in node.input]


def rename_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "scores"
    for node in model.graph.node:
        node.output[:] = ["scores" if name == "class" else name for name in node.output]


def fix_batch(model: onnx.ModelProto) -> None:
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def free_size(model: onnx.ModelProto) -> None:
    for axis, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name


def other_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 256


def second_input(model: onnx.ModelProto) -> None:
    value = onnx.helper.make_tensor_value_info("extra", onnx.TensorProto.FLOAT, [1])
    model.graph.input.append(value)


def double_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


@pytest.mark.parametrize(
    ("spoil", "seen", "told"),
    [
        (rename_input, {"export.input"}, "input: float batchx3x224x224"),
        (rename_output, {"export.output"}, "scores: float batchx1000"),
        (fix_batch, {"export.input", "export.output"}, "image: float 1x3x224x224"),
        (free_size, {"export.input"}, "image: float batchx3xheightxwidth"),
        (other_size, {"export.input"}, "image: float batchx3x256x224"),
        (second_input, {"export.input"}, "image: float batchx3x224x224, extra: float 1"),
        (double_input, {"export.input"}, "image: double batchx3x224x224"),
    ],
)
def test_another_interface(
    exported: Exported, tmp_path: Path, spoil: Spoil, seen: set[str], told: str
) -> None:
    made = form(exported, spoilt(exported, tmp_path, spoil))
    assert red(made) - {"export.valid"} == seen
    assert told in {check.value for check in made.values()}


@pytest.mark.parametrize(
    ("kind", "domain", "seen"),
    [
        ("Abs", "", {"export.operators"}),
        ("FancyPool", "com.example", {"export.opset", "export.operators"}),
        ("Relu", "com.example", {"export.opset"}),
    ],
)
def test_an_operator_that_atc_is_not_known_to_take(
    exported: Exported, tmp_path: Path, kind: str, domain: str, seen: set[str]
) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        node = onnx.helper.make_node(kind, ["image"], ["looked"], domain=domain)
        model.graph.node.insert(0, node)
        if domain:
            model.opset_import.append(onnx.helper.make_opsetid(domain, 1))

    made = form(exported, spoilt(exported, tmp_path, spoil))
    assert red(made) == seen
    if "export.operators" in seen:
        assert made["export.operators"].detail == kind


# Files that are no model


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.9999])
def test_a_truncated_file(exported: Exported, tmp_path: Path, kept: float) -> None:
    content = exported.path.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * kept)])
    if kept:
        with pytest.raises(ExportError) as caught:
            checks.valid_check(path)
        assert str(path) in str(caught.value)
    else:
        assert checks.valid_check(path).status is Status.FAIL


def test_a_file_that_onnx_runtime_refuses(exported: Exported, tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(exported.path.read_bytes()[:1000])
    with pytest.raises(ExportError, match="the ONNX model cannot be loaded"):
        run_onnxruntime(path, exported.inputs, BATCH)
    path = spoilt(exported, tmp_path, fix_batch)
    with pytest.raises(ExportError, match="refuses a batch of 2") as caught:
        run_onnxruntime(path, exported.inputs, BATCH)
    assert str(path) in str(caught.value)


def test_an_export_that_is_not_reproducible(exported: Exported, tmp_path: Path) -> None:
    path = spoilt(exported, tmp_path, lambda m: setattr(m, "producer_version", "at 12:00:01"))
    assert red(form(exported, path)) == set()
    made = checks.reproducible_check(path, exported.network, SPEC)
    assert made.status is Status.FAIL


# From the command line to the records

NEWER_EXPORTER = """
import torch

real = torch.onnx.export

def export(*arguments, opset_version, **options):
    return real(*arguments, opset_version=13, **options)

torch.onnx.export = export
"""


def test_an_exporter_that_writes_another_opset_fails_the_run(
    exported: Exported, tmp_path: Path
) -> None:
    (tmp_path / "newer_exporter.py").write_text(NEWER_EXPORTER)
    weights = saved(tmp_path / "net.pth", exported.network.state_dict())
    write_photographs(tmp_path / "images")
    done = run_suite(
        "-p", "newer_exporter", "tests/test_export.py", "-k", "not x1000",
        f"--weights={weights}", f"--imagenet={tmp_path / 'images'}",
        f"--artifacts={tmp_path / 'store'}", f"--evidence={tmp_path / 'evidence'}",
        environment={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    found = records(tmp_path / "evidence")
    told = outcomes(found)
    not_held = {name for name, status in told.items() if status is not Status.PASS}
    assert not_held == {"test_opset_is_what_atc_takes[squeezenet1_1]"}
    assert len(told) > 15
    (opset,) = checks_of(found, "test_opset")
    assert (opset.status, opset.value) == (Status.FAIL, "ai.onnx 13")
    assert opset.coordinates == {"model": "squeezenet1_1"}
    assert opset.classes == {"weights": "custom"}
    assert "must be: equal to ai.onnx 11" in done.stdout
    assert f"evidence: {run_folder(tmp_path / 'evidence')}" in done.stdout
    assert read(run_folder(tmp_path / "evidence")) == found
