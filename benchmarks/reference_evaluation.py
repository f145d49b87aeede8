"""Photographs to Top-N on the host: our streamed evaluation against a plain DataLoader loop."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from benchmarks.material import Material
from benchmarks.measurement import Row, duel
from conformance.export.network import import_torchvision
from conformance.imagenet.batches import stream_batches
from conformance.imagenet.dataset import LabelledImage
from conformance.imagenet.parallel import usable_cores
from conformance.metrics.topn import count_topn
from conformance.predictions import Predictions
from conformance.runners.onnxruntime_runner import infer_with_onnxruntime
from conformance.runners.torch_runner import infer_with_torch

if TYPE_CHECKING:
    import torch

TITLE = "Reference evaluation"
UNIT = "images/s"
NOTE = (
    "Batches of 16. The opponent is `torch.utils.data.DataLoader` over torchvision's transforms "
    "with as many workers as cores. All sides give the same Top1 to Top5 counts."
)
BATCH = 16


class _Photographs:
    """What a DataLoader needs of a dataset: a length and (input, label) by position."""

    def __init__(self, images: tuple[LabelledImage, ...], transform: Callable[[Any], Any]) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> tuple[object, int]:
        image = self.images[position]
        return self.transform(Image.open(image.path).convert("RGB")), image.label


def rows(material: Material) -> Iterator[Row]:
    """Measure PyTorch and ONNX Runtime against the DataLoader loop."""
    images = material.images(480)
    network = material.network()
    model = exported(network, material)
    loop = _loader_loop(images, network, material)
    expected = loop()
    engines: dict[str, Callable[..., Predictions]] = {
        "PyTorch": lambda *given, **more: infer_with_torch(network, *given, **more),
        "ONNX Runtime": lambda *given, **more: infer_with_onnxruntime(model, *given, **more),
    }
    for name, infer in engines.items():
        counts: list[tuple[int, ...]] = []

        def evaluate(infer: Callable[..., Predictions] = infer, counts: Any = counts) -> None:
            counts.append(_streamed(images, infer, material))

        result = duel([loop], [evaluate], rounds=2 if material.quick else 3)
        if set(counts) != {expected}:
            raise AssertionError(f"{name} counts {counts}, the DataLoader loop {expected}")
        yield result.row(f"streamed, {name}", len(images), UNIT, goal=1)


def _streamed(
    images: tuple[LabelledImage, ...], infer: Callable[..., Predictions], material: Material
) -> tuple[int, ...]:
    dataset = material.dataset.subset(len(images))
    cores = usable_cores()
    batches = stream_batches(images, material.spec.preprocess, BATCH, workers=cores)
    found = infer(batches, dataset.names, dataset.labels, threads=cores)
    return count_topn(found).hits


def _loader_loop(
    images: tuple[LabelledImage, ...], network: torch.nn.Module, material: Material
) -> Callable[[], tuple[int, ...]]:
    import torch

    transforms, spec = import_torchvision("transforms"), material.spec.preprocess
    transform = transforms.Compose(
        [
            transforms.Resize(spec.resize),
            transforms.CenterCrop(spec.crop),
            transforms.ToTensor(),
            transforms.Normalize(spec.mean, spec.std),
        ]
    )
    dataset: Any = _Photographs(images, transform)

    def loop() -> tuple[int, ...]:
        hits = [0] * 5
        loader = torch.utils.data.DataLoader(dataset, BATCH, num_workers=usable_cores())
        with torch.inference_mode():
            for inputs, labels in loader:
                best = network(inputs).topk(5).indices
                for n in range(5):
                    hits[n] += int((best[:, : n + 1] == labels[:, None]).sum())
        return tuple(hits)

    return loop


def exported(network: torch.nn.Module, material: Material) -> Path:
    """Export the network to ONNX for ONNX Runtime, plainly."""
    import torch

    path = material.scratch / "network.onnx"
    spec = material.spec.export
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter advertises its successor
        torch.onnx.export(
            network,
            (torch.zeros(1, *material.spec.input_shape),),
            path,
            input_names=[spec.input],
            output_names=[spec.output],
            dynamic_axes={spec.input: {0: "n"}, spec.output: {0: "n"}},
            opset_version=spec.opset,
            dynamo=False,
        )
    return path
