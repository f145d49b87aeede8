"""Sample weights: a network that classifies the embedded sample, made without training.

Trained weights cannot be shipped. Random convolutions, normalised layer by layer on sample
pictures, are good enough features for drawn pictures, and a classifier on top of them has a closed
form: ridge regression of the labels on the pooled features.
"""

from __future__ import annotations

import io
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conformance.errors import ArtifactError, SpecError
from conformance.export.network import build_network
from conformance.imagenet.preprocess import prepare_image
from conformance.imagenet.sample_images import FITTING_PER_CLASS, class_ids, fitting_pictures
from conformance.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    Layer = torch.nn.Conv2d | torch.nn.Linear

Matrix = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int_]

_SEED = 1
_BATCH = 50  # pictures in one forward pass; the first batch also sets the layers' scales
# Mean of every normalised layer's outputs, in standard deviations. Above 0 most of a ReLU's inputs
# pass, so that colour survives two dozen random layers; at 0 a third fewer pictures are recognised.
_LIFT = 0.5
_RIDGE = 0.1  # penalty per picture, relative to the variance of a standardised feature
# Scores then span what a trained ImageNet classifier's do, so that a float16 chip errs as much.
_SCORE_SCALE = 40.0
_UNUSED_GAP = 0.1  # how far an unused class stays below the best used one, of the score scale
_HEADROOM = 1.5  # how many times the lowest score seen a last ReLU's constant makes up for


def save_sample_weights(
    spec: ModelSpec, file: Path, *, fitting_per_class: int = FITTING_PER_CLASS
) -> None:
    """Write the sample weights of a model as a ``.pth`` state dict with torchvision's names.

    The same bytes for the same versions of torch, numpy and Pillow on one machine.

    Raises:
        SpecError: See :func:`fit_sample_weights`.
        ArtifactError: The file cannot be written.
    """
    import torch

    # Given a path, torch.save writes the file's own name into the file.
    content = io.BytesIO()
    torch.save(fit_sample_weights(spec, fitting_per_class=fitting_per_class), content)
    try:
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as scratch:
            unfinished = Path(scratch) / file.name
            unfinished.write_bytes(content.getvalue())
            os.replace(unfinished, file)
    except OSError as error:
        raise ArtifactError(
            "the sample weights cannot be written",
            got=error,
            expected="a writable folder with room for the weights",
            where={"file": file},
            next_step="free some space or choose another folder",
        ) from error


def fit_sample_weights(
    spec: ModelSpec, *, fitting_per_class: int = FITTING_PER_CLASS
) -> dict[str, torch.Tensor]:
    """Return a state dict whose network classifies most of the sample's pictures.

    Works for every torchvision classifier that ends in one convolution or linear layer whose
    outputs are the classes. Leaves torch's global generator as it was.

    Args:
        spec: The model.
        fitting_per_class: Pictures of each class to fit to; more make a better classifier.

    Raises:
        SpecError: The constructor is unknown, or no layer has ``export.classes`` outputs, or
            those are too few for the sample's labels.
    """
    import torch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(_SEED)
        network = build_network(spec.architecture)
        last = _last_layer(network, spec.export.classes)
        some, _ = next(_batches(spec, fitting_per_class))
        _normalise_layers(network, last, some)
        features, labels = _pooled_features(network, last, _batches(spec, fitting_per_class))
        weight, bias = _solve(features, labels, spec.export.classes)
        last.weight.copy_(torch.from_numpy(weight).reshape(last.weight.shape))
        last.bias.copy_(torch.from_numpy(bias))
        _lift_scores(network, last, some)
    return network.state_dict()


def _last_layer(network: torch.nn.Module, classes: int) -> Layer:
    import torch

    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    layers = [module for module in network.modules() if isinstance(module, kinds)]
    fitting = [
        layer for layer in layers if layer.weight.shape[0] == classes and layer.bias is not None
    ]
    if not fitting or classes <= max(class_ids()):
        raise SpecError(
            "the sample has no classifier to fit",
            got=f"the network's last layer has {layers[-1].weight.shape[0]} outputs",
            expected=f"{classes} outputs with a bias, and labels up to {max(class_ids())} among them",
            where={"key": "export.classes"},
            next_step="correct export.classes or [architecture.arguments]; else use --weights=FILE",
        )
    return fitting[-1]


def _batches(spec: ModelSpec, per_class: int) -> Iterator[tuple[torch.Tensor, list[int]]]:
    import torch

    pictures = fitting_pictures(per_class)
    while batch := list(itertools.islice(pictures, _BATCH)):
        inputs = [prepare_image(picture, spec.preprocess) for picture, _ in batch]
        yield torch.from_numpy(np.stack(inputs)), [label for _, label in batch]


def _normalise_layers(network: torch.nn.Module, last: Layer, inputs: torch.Tensor) -> None:
    """Give every layer's outputs the same mean and deviation, one after the other in one pass."""
    import torch

    norms = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # running statistics become those of this pass alone
        norm.reset_running_stats()
        norm.bias.fill_(_LIFT)
        norm.train()
    hooks = [
        module.register_forward_hook(_normalise_outputs)
        for module in network.modules()
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)
        and module is not last
        and module.bias is not None
    ]
    network(inputs)
    for hook in hooks:
        hook.remove()
    network.eval()


def _normalise_outputs(layer: Layer, _: object, outputs: torch.Tensor) -> torch.Tensor:
    """Fold the outputs' normalisation into the layer, and apply it to the outputs at hand."""
    import torch

    channel = 1 if outputs.dim() == 4 else outputs.dim() - 1
    others = [axis for axis in range(outputs.dim()) if axis != channel]
    deviation, mean = torch.std_mean(outputs, dim=others, keepdim=True)
    deviation = deviation.clamp_min(1e-6)
    layer.weight.div_(deviation.reshape(-1, *[1] * (layer.weight.dim() - 1)))
    layer.bias.sub_(mean.flatten()).div_(deviation.flatten()).add_(_LIFT)
    return (outputs - mean) / deviation + _LIFT


def _pooled_features(
    network: torch.nn.Module, last: Layer, batches: Iterable[tuple[torch.Tensor, list[int]]]
) -> tuple[Matrix, Labels]:
    """Return what the classifier sees of each picture, one row each, and the class ids."""
    features: list[Matrix] = []
    labels: list[int] = []

    def keep(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        # Pooling and a linear layer commute, so a convolution can be fitted to the pooled inputs.
        pooled = inputs[0].mean((2, 3)) if inputs[0].dim() == 4 else inputs[0]
        features.append(pooled.double().numpy())

    hook = last.register_forward_pre_hook(keep)
    for inputs, classes in batches:
        network(inputs)
        labels += classes
    hook.remove()
    return np.concatenate(features), np.array(labels)


def _solve(features: Matrix, labels: Labels, classes: int) -> tuple[Matrix, Matrix]:
    """Return weight (classes x features) and bias (classes) by ridge regression."""
    used = np.array(class_ids())
    mean, deviation = features.mean(0), features.std(0)
    deviation[deviation == 0] = 1  # a dead feature stays 0 instead of becoming NaN
    standard = (features - mean) / deviation
    targets = _SCORE_SCALE * (labels[:, None] == used)
    gram = standard.T @ standard + _RIDGE * len(labels) * np.eye(len(mean))
    fitted = np.linalg.solve(gram, standard.T @ (targets - targets.mean(0)))
    used_weight = (fitted / deviation[:, None]).T
    used_bias = targets.mean(0) - used_weight @ mean
    # A mean of used classes never exceeds the best of them; each unused class has one of its own.
    shares = np.random.default_rng(_SEED).random((classes, len(used))) ** 4
    shares /= shares.sum(1, keepdims=True)
    weight, bias = shares @ used_weight, shares @ used_bias - _UNUSED_GAP * _SCORE_SCALE
    weight[used], bias[used] = used_weight, used_bias
    return weight, bias


def _lift_scores(network: torch.nn.Module, last: Layer, inputs: torch.Tensor) -> None:
    """Raise a convolution's bias until a ReLU behind it has nothing to cut off."""
    lowest: list[torch.Tensor] = []
    hook = last.register_forward_hook(lambda _, __, scores: lowest.append(scores.min()))
    network(inputs)
    hook.remove()
    if last.weight.dim() == 4:
        last.bias.add_(_HEADROOM * -lowest[0].clamp_max(0))
