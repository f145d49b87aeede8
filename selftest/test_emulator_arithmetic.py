"""The emulated chip computes in float16, and a little differently for each batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from emulator import session
from emulator.arithmetic import chip_graph, to_half
from emulator.fault_scores import Values
from emulator.graph import bind_shapes, count_macs, tensor_specs
from emulator.memory import Memory
from emulator.om import Aipp, OfflineModel, TensorSpec
from emulator.session import ChipSession
from emulator.tensor import Tensor
from selftest.emulated import SIDE, GraphBuilder, classifier, random_images, squeezenet

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
FACTOR = np.array([0.0171247538316637, 0.0175070028011204, 0.0174291938997821], np.float32)


def bound(batch: int, model: ModelProto | None = None) -> ModelProto:
    return bind_shapes(model or classifier(), {"image": [batch, 3, SIDE, SIDE]})


def offline(batch: int, aipp: Aipp | None = None) -> OfflineModel:
    model = bound(batch)
    inputs = tensor_specs(list(model.graph.input))
    if aipp is not None:
        inputs = (TensorSpec("image", (batch, SIDE, SIDE, 3), "uint8"),)
    outputs = tensor_specs(list(model.graph.output))
    return OfflineModel("m", "Ascend310", "5.0.1", batch, tuned=False, inputs=inputs,
                        outputs=outputs, macs=1, command="", aipp=aipp,
                        onnx=model.SerializeToString())  # fmt: skip


def images(count: int) -> Values:
    return random_images(count, seed=0)


def infer(batch: int, pictures: Values, seed: int = 0) -> Values:
    session = ChipSession(offline(batch), seed=seed)
    groups = [pictures[i : i + batch] for i in range(0, len(pictures), batch)]
    return np.concatenate([session.infer(group.tobytes())[0].array() for group in groups])


def every_tensor(content: bytes, feed: Values) -> dict[str, Values]:
    """Run a model and return all float32 tensors between its operators."""
    model = ModelProto.FromString(content)
    names = {name for node in model.graph.node if node.op_type != "Cast" for name in node.input}
    made = {name for node in model.graph.node for name in node.output}
    shown = sorted(names & made)
    del model.graph.output[:]
    for name in shown:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    values = session.run(shown, {"image": feed})
    return dict(zip(shown, values, strict=True))


def test_every_activation_is_a_float16_value() -> None:
    tensors = every_tensor(chip_graph(bound(4).SerializeToString(), batch=4, seed=0), images(4))
    assert len(tensors) > 10
    for name, values in tensors.items():
        assert np.array_equal(to_half(values), values), name


def test_the_same_model_without_the_chip_is_not_in_float16() -> None:
    tensors = every_tensor(bound(4).SerializeToString(), images(4))
    inexact = [name for name, values in tensors.items() if not (to_half(values) == values).all()]
    assert len(inexact) > 5


def test_an_activation_takes_as_few_values_as_float16_has() -> None:
    chip = every_tensor(chip_graph(bound(16).SerializeToString(), batch=16, seed=0), images(16))
    host = every_tensor(bound(16).SerializeToString(), images(16))
    name = "t1"  # the first convolution after its Relu, 147,456 values
    assert len(np.unique(chip[name])) < 20_000
    assert len(np.unique(host[name])) > 60_000


def test_result_stays_near_float32() -> None:
    session = onnxruntime.InferenceSession(bound(16).SerializeToString())
    exact = session.run(None, {"image": images(16)})[0]
    error = np.abs(infer(16, images(16)) - exact)
    assert 0 < error.max() < 0.01 * np.abs(exact).max()


def test_bs1_and_bs16_differ_in_bits_and_agree_in_decisions() -> None:
    one, sixteen = infer(1, images(64)), infer(16, images(64))
    assert (one != sixteen).any(axis=1).mean() > 0.5
    assert np.abs(one - sixteen).max() < 0.005 * np.abs(one).max()
    order = np.sort(one, axis=1)
    clear = order[:, -1] - order[:, -2] > 2 * np.abs(one - sixteen).max()
    assert clear.sum() > 50
    assert np.array_equal(one.argmax(1)[clear], sixteen.argmax(1)[clear])


def test_same_seed_repeats_and_another_seed_differs() -> None:
    assert np.array_equal(infer(4, images(8)), infer(4, images(8)))
    assert not np.array_equal(infer(4, images(8)), infer(4, images(8), seed=1))


def test_a_row_depends_on_its_own_image_alone() -> None:
    pictures = images(16)
    changed = pictures.copy()
    changed[1:] = images(32)[16:31]
    assert np.array_equal(infer(16, pictures)[0], infer(16, changed)[0])


def test_a_row_does_not_depend_on_its_place() -> None:
    pictures = images(16)
    assert np.array_equal(infer(16, pictures[::-1].copy())[::-1], infer(16, pictures))


def test_one_session_runs_many_batches_again_and_again() -> None:
    session = ChipSession(offline(1), seed=0)
    feeds = [picture.tobytes() for picture in images(3)]
    assert list(session.infer_each(feeds)) == list(session.infer_each(feeds))


def test_a_folder_that_cannot_be_written_does_not_stop_the_work() -> None:
    session = ChipSession(offline(1), seed=0, folder=Path("/proc/nowhere"))
    feed = images(1).tobytes()
    assert session.infer(feed) == ChipSession(offline(1), seed=0).infer(feed)


def test_a_graph_is_made_once_and_again_if_it_is_damaged(tmp_path: Path) -> None:
    made: list[bytes] = []

    def make() -> bytes:
        made.append(b"graph")
        return b"graph"

    memory = Memory(tmp_path, b"model", 1)
    assert [memory.graph(make) for _ in range(3)] == [b"graph"] * 3
    assert len(made) == 1
    (kept,) = tmp_path.rglob("*.outputs")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert memory.graph(make) == b"graph"
    assert len(made) == 2


def test_memory_is_of_one_model_seed_and_arithmetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aipp = Aipp(tuple(MEAN.tolist()), tuple(FACTOR.tolist()))

    models = [offline(1), offline(2), offline(1, aipp), offline(1, aipp._replace(factor=aipp.mean))]

    def memories() -> int:
        for model, seed in [(model, 0) for model in models] + [(models[0], 1)]:
            ChipSession(model, seed=seed, folder=tmp_path).infer(bytes(model.input_bytes))
        return len(list((tmp_path / "memory").iterdir()))

    assert memories() == memories() == 5
    (tmp_path / "arithmetic.py").touch()
    monkeypatch.setattr(session, "ARITHMETIC", tmp_path / "arithmetic.py")
    assert memories() == 10


@pytest.mark.parametrize("content", [b"", b"1\n", b"0\n", b"null\n", b"x\n[]\n", b"0\n[0, 5]\n"])
def test_damaged_memory_is_not_recalled(tmp_path: Path, content: bytes) -> None:
    memory = Memory(tmp_path, b"model", 1)
    outputs = [Tensor("float32", (1, 2), bytes(8)), Tensor("int64", (1,), bytes(8))]
    memory.remember(b"feed", outputs)
    assert memory.recall(b"feed") == outputs
    (kept,) = tmp_path.rglob("*.outputs")
    for spoilt in (content, kept.read_bytes().replace(b"float32", b"float64"), b"\xff" * 50):
        kept.write_bytes(spoilt)
        assert memory.recall(b"feed") is None


@pytest.mark.parametrize("swap", [False, True])
def test_aipp_takes_pixels_and_normalises_them(*, swap: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.uint8)
    aipp = Aipp(tuple(MEAN.tolist()), tuple(FACTOR.tolist()), swap_red_blue=swap)
    session = ChipSession(offline(4, aipp), seed=0)
    ordered = pixels[..., ::-1] if swap else pixels
    prepared = ((ordered.astype(np.float32) - MEAN) * FACTOR).transpose(0, 3, 1, 2)
    expected = infer(4, np.ascontiguousarray(prepared))
    assert np.array_equal(session.infer(pixels.tobytes())[0].array(), expected)


def test_two_nodes_that_share_weights_are_jittered_apart() -> None:
    build = GraphBuilder(0)
    weight = build.weight("shared", 3, 3, 1, 1)
    first = build.add("Conv", ["image", weight])
    build.add("Conv", [first, weight], "class")
    content = build.model(SIDE, batch=1).SerializeToString()
    model = ModelProto.FromString(chip_graph(content, batch=1, seed=0))
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    first_used, second_used = (weights[node.input[1]] for node in convolutions)
    assert not np.array_equal(first_used, second_used)
    for values in (first_used, second_used):
        assert np.abs(values / to_half(weights["shared"]) - 1).max() < 1e-6


def test_work_of_squeezenet_is_counted() -> None:
    model = bind_shapes(squeezenet(), {"image": [2, 3, 224, 224]})
    assert count_macs(model.graph) == 2 * 349_151_936
