"""Sample weights: a network that classifies the embedded sample, made without training.

Trained weights cannot be shipped. Random convolutions, normalised layer by layer on sample
pictures, are good enough features for drawn pictures, and a classifier on top of them has a closed
form: ridge regression of the labels on the pooled features.
"""

from __future__ import annotations

import io
import itertools
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from conformance.errors import ArtifactError, SpecError
from conformance.export.network import build_network
from conformance.export.random_features import scale_layers
from conformance.imagenet.preprocess import prepare_image
from conformance.imagenet.sample_images import FITTING_PER_CLASS, class_ids, fitting_pictures
from conformance.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    from conformance.export.random_features import Layer

    # Pooled features, pictures x features, and their mean covariance within pictures; float64.
    Features = tuple[torch.Tensor, torch.Tensor]

_SEED = 1
_BATCH = 10  # pictures in one forward pass; larger ones leave the processor's cache
_SCALED_ON = 50  # pictures that set the layers' scales, in one pass
_RIDGE = 0.03  # penalty per picture, relative to the variance of a standardised feature
# Penalty on how much a score varies from place to place within a picture. What varies less needs a
# smaller constant to stay above 0, and a float16 chip has more digits left for the differences.
_UNEVENNESS = 0.03
# Scores then span what a trained ImageNet classifier's do, so that a float16 chip errs as much.
_SCORE_SCALE = 40.0
_UNUSED_GAP = 0.1  # how far an unused class stays below the best used one, of the score scale
_HEADROOM = 1.2  # how many times the lowest score seen a last ReLU's constant makes up for


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
            unfinished.replace(file)
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

    with torch.random.fork_rng(devices=[]), torch.no_grad(), _one_thread():
        torch.manual_seed(_SEED)
        # Channels last halve the time of small convolutions on a CPU; the result goes back.
        network = build_network(spec.architecture)
        _lay_out(network, torch.channels_last)
        last = _last_layer(network, spec.export.classes)
        some, _ = next(_batches(spec, fitting_per_class, size=_SCALED_ON))
        scale_layers(network, last, some)
        features, labels = _features(network, last, _batches(spec, fitting_per_class, size=_BATCH))
        weight, bias = _solve(features, labels, spec.export.classes)
        last.weight.copy_(weight.reshape(last.weight.shape))
        last.get_parameter("bias").copy_(bias)
        _lift_scores(network, last, some)
        _lay_out(network, torch.contiguous_format)
    return dict(network.state_dict())


def _lay_out(network: torch.nn.Module, layout: torch.memory_format) -> None:
    network.to(memory_format=layout)  # type: ignore[call-overload]  # torch's types lack this form


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
            expected=f"{classes} outputs with a bias; more than the last label, {max(class_ids())}",
            where={"key": "export.classes"},
            next_step="correct export.classes or [architecture.arguments]; else use --weights=FILE",
        )
    return fitting[-1]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Make sums independent of the number of cores; two threads on a busy machine are no faster."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _batches(
    spec: ModelSpec, per_class: int, *, size: int
) -> Iterator[tuple[torch.Tensor, list[int]]]:
    import torch

    pictures = fitting_pictures(per_class)
    while batch := list(itertools.islice(pictures, size)):
        inputs = [prepare_image(picture, spec.preprocess) for picture, _ in batch]
        tensor = torch.from_numpy(np.stack(inputs)).to(memory_format=torch.channels_last)
        yield tensor, [label for _, label in batch]


def _features(
    network: torch.nn.Module, last: Layer, batches: Iterable[tuple[torch.Tensor, list[int]]]
) -> tuple[Features, torch.Tensor]:
    """Return what the classifier sees of each picture, and the pictures' class ids."""
    import torch

    seen: list[Features] = []
    labels: list[int] = []

    def keep(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        places = inputs[0].flatten(2) if inputs[0].dim() == 4 else inputs[0][..., None]
        # Pooling and a linear layer commute, so a convolution can be fitted to the pooled inputs.
        pooled = places.mean(2, keepdim=True)
        uneven = (places - pooled).transpose(0, 1).flatten(1)
        covariance = uneven @ uneven.T / uneven.shape[1]
        seen.append((pooled[..., 0].double(), covariance.double()))

    hook = last.register_forward_pre_hook(keep)
    for inputs, classes in batches:
        network(inputs)
        labels += classes
    hook.remove()
    pooled, within = zip(*seen, strict=True)
    return (torch.cat(pooled), torch.stack(within).mean(0)), torch.tensor(labels)


def _solve(
    features: Features, labels: torch.Tensor, classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (classes x features) and bias (classes) by ridge regression, in float64."""
    import torch

    pooled, within = features
    deviation, mean = torch.std_mean(pooled, dim=0)
    deviation[deviation == 0] = 1  # a dead feature stays 0 instead of becoming NaN
    standard = (pooled - mean) / deviation
    targets = _SCORE_SCALE * (labels[:, None] == torch.tensor(class_ids())).double()
    penalty = _RIDGE * torch.eye(len(mean)) + _UNEVENNESS * within / deviation.outer(deviation)
    gram = standard.T @ standard + len(labels) * penalty
    fitted = torch.linalg.solve(gram, standard.T @ (targets - targets.mean(0)))
    used_weight = (fitted / deviation[:, None]).T
    return _add_unused(used_weight, targets.mean(0) - used_weight @ mean, classes)


def _add_unused(
    used_weight: torch.Tensor, used_bias: torch.Tensor, classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give every other class a mean of its own of the used ones, well below the best of them."""
    import torch

    used = torch.tensor(class_ids())
    shares = torch.rand(classes, len(used), dtype=torch.float64) ** 4
    shares /= shares.sum(1, keepdim=True)
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
        last.get_parameter("bias").add_(_HEADROOM * -lowest[0].clamp_max(0))
