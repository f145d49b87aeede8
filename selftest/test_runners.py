"""Reference runners: the same scores whatever the batch size, and the photographs' known hits."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from conformance.errors import DumpError, ExportError
from conformance.export.network import import_torchvision
from conformance.imagenet.batches import InputBatch, stream_batches
from conformance.imagenet.dataset import Dataset
from conformance.metrics.topn import count_topn
from conformance.predictions import Predictions
from conformance.runners.onnxruntime_runner import infer_with_onnxruntime
from conformance.runners.torch_runner import infer_with_torch
from conformance.spec import load_spec
from selftest.photographs import WEIGHTS, drawn, needs_photographs, real_photographs

SPEC = load_spec("squeezenet1_1")
KERNEL = np.random.default_rng(2).normal(size=(10, 3, 1, 1)).astype(np.float32)
Infer = Callable[..., Predictions]


class Tiny(torch.nn.Module):
    """A classifier of ten classes: one convolution and a global mean."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.from_numpy(KERNEL))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(torch.nn.functional.conv2d(images, self.weight)).mean((2, 3))


@pytest.fixture(scope="module")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["planes"]),
        helper.make_node("Relu", ["planes"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["means"]),
        helper.make_node("Flatten", ["means"], ["class"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("class", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(KERNEL, "weight")],
    )
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    opset = [helper.make_opsetid("", 11)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=6), path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return drawn(tmp_path_factory.mktemp("pictures"), 7)


@pytest.fixture(params=["torch", "onnxruntime"])
def infer(request: pytest.FixtureRequest, tiny_onnx: Path) -> Infer:
    if request.param == "torch":
        return functools.partial(infer_with_torch, Tiny())
    return functools.partial(infer_with_onnxruntime, tiny_onnx)


def run(infer: Infer, pictures: Dataset, batch: int, **options: Any) -> Predictions:
    batches = stream_batches(pictures.images, SPEC.preprocess, batch)
    return infer(batches, pictures.names, pictures.labels, **options)


def expected(pictures: Dataset) -> npt.NDArray[np.float64]:
    (batch,) = stream_batches(pictures.images, SPEC.preprocess, 7)
    planes = np.einsum("oc,nchw->nohw", KERNEL[:, :, 0, 0].astype(float), batch.tensors)
    means: npt.NDArray[np.float64] = np.maximum(planes, 0).mean((2, 3))
    return means


@pytest.mark.parametrize("batch", [1, 3, 7, 16])
def test_scores_do_not_depend_on_the_batch(infer: Infer, pictures: Dataset, batch: int) -> None:
    found = run(infer, pictures, batch)
    assert found.names == pictures.names
    assert found.scores.dtype == np.float32
    np.testing.assert_allclose(found.scores, expected(pictures), rtol=1e-4)


def test_torch_computes_in_float64_and_leaves_the_network(pictures: Dataset) -> None:
    network = Tiny().train()
    found = run(functools.partial(infer_with_torch, network), pictures, 3, dtype="float64")
    assert found.scores.dtype == np.float64
    np.testing.assert_allclose(found.scores, expected(pictures), rtol=1e-12)
    assert network.weight.dtype == torch.float32
    assert network.training


def test_torch_gives_its_threads_back(pictures: Dataset) -> None:
    before = torch.get_num_threads()
    run(functools.partial(infer_with_torch, Tiny()), pictures, 3, threads=before + 1)
    assert torch.get_num_threads() == before


def test_threads_change_no_decision(infer: Infer, pictures: Dataset) -> None:
    one, two = (run(infer, pictures, 4, threads=threads) for threads in (1, 2))
    np.testing.assert_allclose(one.scores, two.scores, rtol=1e-5)


def test_a_lost_batch_is_an_error(infer: Infer, pictures: Dataset) -> None:
    batches = list(stream_batches(pictures.images, SPEC.preprocess, 3))
    with pytest.raises(DumpError, match="6 of 7"):
        infer(batches[:2], pictures.names, pictures.labels)


def test_a_repeated_batch_is_an_error(infer: Infer, pictures: Dataset) -> None:
    batches = list(stream_batches(pictures.images, SPEC.preprocess, 3))
    with pytest.raises(DumpError, match="other images than were due"):
        infer([batches[0], *batches], pictures.names, pictures.labels)


def test_inputs_that_are_no_numbers_are_an_error(infer: Infer, pictures: Dataset) -> None:
    def damaged() -> Iterator[InputBatch]:
        for batch in stream_batches(pictures.images, SPEC.preprocess, 1):
            damage = "003" in batch.names[0]
            yield dataclasses.replace(
                batch, tensors=batch.tensors * np.float32(np.nan if damage else 1)
            )

    with pytest.raises(DumpError, match=r"1 of 7 images: drawn_003\.JPEG"):
        infer(damaged(), pictures.names, pictures.labels)


def test_only_one_batch_is_asked_for_at_a_time(infer: Infer, pictures: Dataset) -> None:
    alive = []

    def counted() -> Iterator[InputBatch]:
        for batch in stream_batches(pictures.images, SPEC.preprocess, 1):
            copy = InputBatch(batch.names, batch.tensors.copy())
            alive.append(copy.tensors)
            yield copy
            alive.pop()

    infer(counted(), pictures.names, pictures.labels)
    assert alive == []


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_a_file_that_is_no_model_is_named(
    tmp_path: Path, pictures: Dataset, content: bytes
) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"broken\.onnx"):
        run(functools.partial(infer_with_onnxruntime, path), pictures, 1)


def test_a_model_of_another_input_size_is_named(tiny_onnx: Path, pictures: Dataset) -> None:
    small = [InputBatch(pictures.names, np.zeros((7, 3, 10, 10), np.float32))]
    with pytest.raises(ExportError, match="refuses a batch"):
        infer_with_onnxruntime(tiny_onnx, small, pictures.names, pictures.labels)


@pytest.fixture(scope="module")
def squeezenet() -> torch.nn.Module:
    network: torch.nn.Module = import_torchvision("models").squeezenet1_1(weights=None)
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return network.eval()


@pytest.fixture(scope="module")
def squeezenet_onnx(squeezenet: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("squeezenet") / "squeezenet1_1.onnx"
    torch.onnx.export(
        squeezenet,
        (torch.zeros(1, 3, 224, 224),),
        path,
        input_names=["image"],
        output_names=["class"],
        dynamic_axes={"image": {0: "n"}, "class": {0: "n"}},
        opset_version=11,
        dynamo=False,
    )
    return path


@needs_photographs
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_photographs_known_hits(squeezenet: torch.nn.Module, squeezenet_onnx: Path) -> None:
    photographs = real_photographs()
    batches = list(stream_batches(photographs.images, SPEC.preprocess, 16, workers=2))
    known = (330, 392, 411, 418, 429)
    torch_side = infer_with_torch(squeezenet, batches, photographs.names, photographs.labels)
    onnx_side = infer_with_onnxruntime(
        squeezenet_onnx, batches, photographs.names, photographs.labels
    )
    assert count_topn(torch_side).hits == known
    assert count_topn(onnx_side).hits == known
