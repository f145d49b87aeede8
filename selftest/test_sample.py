"""The embedded sample: drawn pictures, and weights fitted to them."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from conformance.errors import ArtifactError, DatasetError, SpecError
from conformance.export.network import build_network
from conformance.export.sample_weights import fit_sample_weights, save_sample_weights
from conformance.imagenet.preprocess import prepare_image
from conformance.imagenet.sample_images import (
    CLASS_COUNT,
    EVALUATION_COUNT,
    FITTING_PER_CLASS,
    Half,
    class_ids,
    encode_picture,
    label,
    write_sample,
)
from conformance.spec import Architecture, ModelSpec, load_spec

Floats = npt.NDArray[np.float32]
SPEC = load_spec("squeezenet1_1")
LABELS = np.array([label(index) for index in range(EVALUATION_COUNT)])
# The smallest of torchvision's classifiers has all that SqueezeNet lacks: batch normalisation,
# depthwise convolutions, and a linear layer as classifier.
SMALL = Architecture(library="torchvision", constructor="shufflenet_v2_x0_5")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "imagenet"
    write_sample(folder)
    return folder


@pytest.fixture(scope="module")
def inputs(sample: Path) -> Floats:
    files = sorted((sample / "val").iterdir())
    return np.stack([prepare_image(Image.open(file), SPEC.preprocess) for file in files])


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return _network(SPEC, fit_sample_weights(SPEC))


@pytest.fixture(scope="module")
def scores(network: torch.nn.Module, inputs: Floats) -> Floats:
    return _infer(network, inputs)


def test_layout_is_imagenets(sample: Path) -> None:
    lines = (sample / "val_label.txt").read_text("utf-8").splitlines()
    names = sorted(path.name for path in (sample / "val").iterdir())
    assert [line.split()[0] for line in lines] == names
    assert [int(line.split()[1]) for line in lines] == LABELS.tolist()
    assert len(names) == EVALUATION_COUNT
    assert not any(name.startswith("ILSVRC2012") for name in names)
    assert all(Image.open(sample / "val" / name).format == "JPEG" for name in names)
    assert sorted(path.name for path in sample.iterdir()) == ["val", "val_label.txt"]


def test_no_batch_size_divides_the_sample() -> None:
    assert [size for size in SPEC.batch.sizes if EVALUATION_COUNT % size == 0] == [1]


def test_classes_are_many_spread_and_no_neighbours() -> None:
    ids = np.array(class_ids())
    assert len(ids) == CLASS_COUNT >= 100
    assert ids.min() < 50
    assert ids.max() >= 950
    assert np.diff(ids).min() > 1
    assert set(Counter(LABELS.tolist()).values()) == {2, 3}
    assert set(LABELS.tolist()) == set(ids.tolist())


def test_pictures_are_of_every_kind(sample: Path) -> None:
    pictures = [Image.open(path) for path in (sample / "val").iterdir()]
    modes = Counter(picture.mode for picture in pictures)
    assert modes["L"] >= 5
    assert modes["CMYK"] >= 5
    assert modes["RGB"] > 0.8 * EVALUATION_COUNT
    ways = Counter(int(np.sign(picture.width - picture.height)) for picture in pictures)
    assert min(ways[-1], ways[1]) > 0.3 * EVALUATION_COUNT
    assert ways[0] > 0
    odd = [picture for picture in pictures if picture.width % 2 and picture.height % 2]
    assert len(odd) > 0.3 * EVALUATION_COUNT
    short_sides = [min(picture.size) for picture in pictures]
    assert min(short_sides) < SPEC.preprocess.resize < max(short_sides)


def test_wrong_geometry_shows(sample: Path) -> None:
    """Rounding the long side or the crop another way moves pixels of many pictures."""
    differing: Counter[str] = Counter()
    for path in (sample / "val").iterdir():
        width, height = Image.open(path).size
        exact = SPEC.preprocess.resize * max(width, height) / min(width, height)
        margin = (int(exact) - SPEC.preprocess.crop) / 2
        differing["long side rounded"] += int(exact) != round(exact)
        differing["crop floored"] += round(margin) != int(margin)
        differing["crop rounded up"] += round(margin) != int(margin + 0.5)
    assert len(differing) == 3
    assert min(differing.values()) > 0.25 * EVALUATION_COUNT, differing


def test_pictures_depend_on_nothing_but_half_and_index(sample: Path, tmp_path: Path) -> None:
    write_sample(tmp_path / "again", count=30)
    first = {path.name: _digest(path.read_bytes()) for path in (sample / "val").iterdir()}
    again = {path.name: _digest(path.read_bytes()) for path in (tmp_path / "again/val").iterdir()}
    assert len(again) == 30
    assert again.items() <= first.items()
    threads = [threading.Thread(target=encode_picture, args=(Half.FITTING, 3)) for _ in range(2)]
    for thread in threads:
        thread.start()
    backwards = [encode_picture(Half.EVALUATION, index) for index in (9, 8, 7)]
    for thread in threads:
        thread.join()
    assert [_digest(jpeg) for jpeg in backwards] == [
        first[f"sample_val_{index + 1:08d}.JPEG"] for index in (9, 8, 7)
    ]


def test_halves_share_no_picture(sample: Path, inputs: Floats) -> None:
    fitting = [
        encode_picture(Half.FITTING, index) for index in range(FITTING_PER_CLASS * CLASS_COUNT)
    ]
    evaluation = {_digest(path.read_bytes()) for path in (sample / "val").iterdir()}
    assert len({_digest(jpeg) for jpeg in fitting}) == len(fitting)
    assert len(evaluation) == EVALUATION_COUNT
    assert not evaluation & {_digest(jpeg) for jpeg in fitting}
    # Nor nearly: the same index has the same class and size, and still is another picture.
    twins = [Image.open(io.BytesIO(fitting[index])) for index in range(40)]
    prepared = np.stack([prepare_image(twin, SPEC.preprocess) for twin in twins])
    assert np.abs(prepared - inputs[:40]).mean((1, 2, 3)).min() > 0.1


@pytest.mark.parametrize("count", [0, -1])
def test_sample_without_pictures_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(DatasetError, match="without pictures"):
        write_sample(tmp_path / "sample", count=count)
    assert not list(tmp_path.iterdir())


def test_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(DatasetError) as caught:
        write_sample(folder, count=1)
    assert caught.value.where["folder"] == folder
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "photo.jpg"]
    assert (folder / "photo.jpg").read_bytes() == b"precious"


def test_interrupted_drawing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Half, index: int) -> bytes:
        if index == 2:
            raise KeyboardInterrupt
        return b"jpeg"

    monkeypatch.setattr("conformance.imagenet.sample_images.encode_picture", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "sample", count=3)
    assert not list(tmp_path.iterdir())


def test_accuracy_is_far_above_chance_and_below_perfect(scores: Floats) -> None:
    top1, top5 = _accuracy_pct(scores, LABELS)
    assert 50 <= top1 <= 78
    assert 70 <= top5 <= 95


def test_decisions_range_from_near_ties_to_plain(scores: Floats) -> None:
    ordered = np.sort(scores, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    assert margins.min() < 0.2
    assert np.median(margins) > 1


def test_swapped_channels_show(network: torch.nn.Module, inputs: Floats, scores: Floats) -> None:
    first = slice(CLASS_COUNT)
    right, _ = _accuracy_pct(scores[first], LABELS[first])
    swapped, _ = _accuracy_pct(_infer(network, inputs[first, ::-1]), LABELS[first])
    assert swapped < right / 3


def test_shifted_labels_show(scores: Floats) -> None:
    assert _accuracy_pct(scores, LABELS + 1)[1] == 0
    assert _accuracy_pct(scores, LABELS - 1)[1] == 0
    by_a_row, _ = _accuracy_pct(scores, np.roll(LABELS, 1))
    assert by_a_row < 5


def test_unused_classes_stay_clearly_below(scores: Floats) -> None:
    unused = np.setdiff1d(np.arange(SPEC.export.classes), class_ids())
    assert (scores.max(axis=1) - scores[:, unused].max(axis=1)).min() > 3
    assert not np.isin(np.argsort(-scores, axis=1)[:, :5], unused).any()


def test_every_class_has_weights_of_its_own(network: torch.nn.Module) -> None:
    rows = network.get_parameter("classifier.1.weight").flatten(1)
    assert len(torch.unique(rows, dim=0)) == SPEC.export.classes


def test_last_relu_cuts_nothing_off(scores: Floats, network: torch.nn.Module) -> None:
    seen: list[float] = []
    last = network.get_submodule("classifier.1")
    hook = last.register_forward_hook(lambda _, __, output: seen.append(float(output.min())))
    again = _infer(network, np.stack([prepare_image(_picture(7), SPEC.preprocess)]))
    hook.remove()
    assert min(seen) > 0
    assert scores.min() > 0
    assert np.abs(again[0] - scores[7]).max() < 1e-3


@pytest.mark.parametrize(
    "spec", [SPEC, msgspec.structs.replace(SPEC, architecture=SMALL)], ids=["conv", "batch-norm"]
)
def test_weights_file_is_the_same_bytes_whatever_the_threads(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.imagenet.sample_images.CLASS_COUNT", 30)
    monkeypatch.setattr("conformance.imagenet.sample_images._CLASS_STEP", 33)
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    save_sample_weights(spec, tmp_path / "first.pth", fitting_per_class=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.set_num_threads(threads + 1)
    torch.manual_seed(99)
    try:
        save_sample_weights(spec, tmp_path / "second.pth", fitting_per_class=1)
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    first, second = sorted(tmp_path.iterdir())
    assert first.read_bytes() == second.read_bytes()
    _network(spec, torch.load(first, weights_only=True))


def test_other_architectures_need_no_code(inputs: Floats) -> None:
    spec = msgspec.structs.replace(SPEC, architecture=SMALL)
    network = _network(spec, fit_sample_weights(spec, fitting_per_class=1))
    top1, _ = _accuracy_pct(_infer(network, inputs), LABELS)
    assert top1 > 10 * 100 / CLASS_COUNT
    means = {name: mean for name, mean in network.named_buffers() if "running_mean" in name}
    assert means
    assert not [name for name, mean in means.items() if not mean.any()]


def test_unwritable_weights_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.export.sample_weights.fit_sample_weights", lambda *_, **__: {})
    file = tmp_path / "absent" / "sample.pth"
    with pytest.raises(ArtifactError) as caught:
        save_sample_weights(SPEC, file)
    assert caught.value.where["file"] == file


def test_network_without_the_specs_classes_is_refused() -> None:
    narrow = Architecture(
        library="torchvision", constructor="squeezenet1_1", arguments={"num_classes": 10}
    )
    with pytest.raises(SpecError) as caught:
        fit_sample_weights(msgspec.structs.replace(SPEC, architecture=narrow))
    assert caught.value.where["key"] == "export.classes"
    assert "10 outputs" in str(caught.value)


def test_network_is_untrained_and_in_eval_mode() -> None:
    first = build_network(SPEC.architecture)
    assert not any(module.training for module in first.modules())
    key = "features.0.weight"
    assert not torch.equal(
        first.get_parameter(key), build_network(SPEC.architecture).get_parameter(key)
    )


@pytest.mark.parametrize("name", ["squeezenet1_2", "SqueezeNet1_1", "squezenet1_1"])
def test_unknown_constructor_names_its_neighbours(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        build_network(Architecture(library="torchvision", constructor=name))
    assert "squeezenet1_1" in str(caught.value.expected)
    assert caught.value.where["key"] == "architecture.constructor"


@pytest.mark.parametrize(
    "arguments",
    [{"num_clases": 10}, {"weights": "DEFAULT"}, {"pretrained": True}, {"num_classes": -3}],
)
def test_refused_arguments_are_named(arguments: dict[str, bool | int | float | str]) -> None:
    with pytest.raises(SpecError) as caught:
        build_network(
            Architecture(library="torchvision", constructor="squeezenet1_1", arguments=arguments)
        )
    assert caught.value.where["arguments"] == arguments


def _network(spec: ModelSpec, weights: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    network = build_network(spec.architecture)
    network.load_state_dict(weights, strict=True)
    return network


def _infer(network: torch.nn.Module, inputs: Floats) -> Floats:
    starts = range(0, len(inputs), 10)
    with torch.inference_mode():
        batches = (torch.from_numpy(inputs[start : start + 10].copy()) for start in starts)
        scores: Floats = torch.cat([network(batch) for batch in batches]).numpy()
    return scores


def _accuracy_pct(scores: Floats, labels: npt.NDArray[np.int_]) -> tuple[float, float]:
    """Return Top1 and Top5 in percent."""
    hits = np.argsort(-scores, axis=1)[:, :5] == labels[:, None]
    return 100 * float(hits[:, 0].mean()), 100 * float(hits.any(axis=1).mean())


def _picture(index: int) -> Image.Image:
    return Image.open(io.BytesIO(encode_picture(Half.EVALUATION, index)))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
