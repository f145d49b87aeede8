"""What goes wrong on the host: files prepared on disk, or one function that does something else.

Each cause runs in a process of its own, before pytest starts there, and returns further arguments
for pytest. What it patches dies with the process.
"""

from __future__ import annotations

import functools
import importlib
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MORE = list[str]
IMAGENET = "--imagenet="


@dataclass(frozen=True)
class Scene:
    """Where a cause acts.

    Attributes:
        folder: The run's own folder.
        arguments: pytest's arguments so far.
    """

    folder: Path
    arguments: list[str]

    def option(self, name: str) -> str:
        """Return the value of one of the suite's options."""
        return next(word for word in self.arguments if word.startswith(name)).removeprefix(name)

    def images(self) -> Path:
        """Return a copy of the photographs that may be spoilt."""
        copy = self.folder / "imagenet"
        shutil.copytree(self.option(IMAGENET), copy)
        return copy

    def weights(self) -> dict[str, Any]:
        """Return the tensors of the weights file, or of the sample that stands for it."""
        import torch

        given = self.option("--weights=")
        stored = Path(self.option("--artifacts=")) / "checkpoint"
        path = next(stored.glob("*/checkpoint.pth")) if given == "sample" else Path(given)
        return dict(torch.load(path, weights_only=True))

    def with_weights(self, tensors: object) -> MORE:
        """Save other weights and return the option that names them."""
        import torch

        torch.save(tensors, self.folder / "weights.pth")
        return [f"--weights={self.folder / 'weights.pth'}"]


def replace(place: str, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a name of a module, or of a class in it, by what is made of its value."""
    module, _, attribute = place.partition(":")
    owner: Any = importlib.import_module(module)
    owner = getattr(owner, attribute) if attribute else owner
    setattr(owner, name, make(getattr(owner, name)))


Cause = Callable[[Scene], MORE]
CAUSES: dict[str, Cause] = {}


def cause(function: Cause) -> Cause:
    """Make a function known by its name, with hyphens."""
    CAUSES[function.__name__.replace("_", "-")] = function
    return function


def keep_to_itself(folder: Path) -> None:
    """Give the run locks of its own: its board is no other run's."""
    replace(
        "fixtures.machine",
        "MachineLocks",
        lambda locks: functools.partial(locks, folder / "locks"),
    )


def look_twice() -> None:
    """Let two looks at a loaded chip do for five, soon after each other: nothing changes."""
    _cut("conformance.ascend.occupancy:chip_use", "samples", 2)
    for name in ("chip_use", "first_idle"):
        _cut(f"conformance.ascend.occupancy:{name}", "between_s", 0.1)
    replace("conformance.ascend.run_chip", "SETTLING_S", lambda _: 0.2)


def hurry() -> None:
    """Cut time limits to what the small work of a row needs."""
    replace("conformance.ascend.inference", "LIMIT_AT_LEAST_S", lambda _: 2.5)
    replace("conformance.ascend.inference", "LIMIT_PER_IMAGE_S", lambda _: 0.0)
    replace("conformance.make_om", "ATC_LIMIT_S", lambda _: 2.0)
    replace("conformance.ascend.host", "NPU_SMI_LIMIT_S", lambda _: 1.5)
    _cut("conformance.ascend.supervisor:run", "grace_s", 0.5)


def _cut(place: str, name: str, value: float) -> None:
    replace(place, "__kwdefaults__", lambda old: old | {name: value})


# --- weights --------------------------------------------------------------------------------------


@cause
def checkpoint_truncated(scene: Scene) -> MORE:
    more = scene.with_weights(scene.weights())
    path = scene.folder / "weights.pth"
    os.truncate(path, path.stat().st_size * 6 // 10)
    return more


@cause
def checkpoint_nan(scene: Scene) -> MORE:
    tensors = scene.weights()
    tensors["features.3.squeeze.weight"].view(-1)[7] = float("nan")
    return scene.with_weights(tensors)


@cause
def checkpoint_of_other_architecture(scene: Scene) -> MORE:
    from conformance.export.network import import_torchvision

    return scene.with_weights(import_torchvision("models").squeezenet1_0().state_dict())


@cause
def checkpoint_lacks_a_tensor(scene: Scene) -> MORE:
    tensors = scene.weights()
    del tensors["features.12.expand3x3.bias"]
    return scene.with_weights(tensors)


@cause
def checkpoint_has_a_tensor_more(scene: Scene) -> MORE:
    tensors = scene.weights()
    tensors["features.13.squeeze.weight"] = tensors["features.12.squeeze.weight"]
    return scene.with_weights(tensors)


@cause
def checkpoint_for_fewer_classes(scene: Scene) -> MORE:
    tensors = scene.weights()
    for name in ("classifier.1.weight", "classifier.1.bias"):
        tensors[name] = tensors[name][:10].clone()
    return scene.with_weights(tensors)


@cause
def checkpoint_empty(scene: Scene) -> MORE:
    (scene.folder / "weights.pth").touch()
    return [f"--weights={scene.folder / 'weights.pth'}"]


@cause
def checkpoint_is_a_web_page(scene: Scene) -> MORE:
    (scene.folder / "weights.pth").write_text("<!DOCTYPE html><title>404</title>", "utf-8")
    return [f"--weights={scene.folder / 'weights.pth'}"]


class _Boom:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("owned",))


@cause
def checkpoint_runs_code(scene: Scene) -> MORE:
    return scene.with_weights({**scene.weights(), "note": _Boom()})


@cause
def loading_forgets_a_bias(scene: Scene) -> MORE:  # noqa: ARG001 - every cause has this form
    def forgetting(network_of: Any) -> Any:
        def forgetful(*arguments: Any) -> Any:
            network = network_of(*arguments)
            network.features[3].expand1x1.bias.data.zero_()
            return network

        return forgetful

    replace("conformance.build", "_network", forgetting)
    return []


# --- export ---------------------------------------------------------------------------------------


def _exported(
    spoil: Callable[[Path], object], place: str = "conformance.export.onnx_model"
) -> MORE:
    """Let the exporter write a file that is then spoilt."""

    def spoiling(export: Any) -> Any:
        def spoilt(network: Any, spec: Any, target: Path) -> None:
            export(network, spec, target)
            spoil(target)

        return spoilt

    replace(place, "export_onnx", spoiling)
    return []


def _edited(edit: Callable[[Any], object]) -> MORE:
    """Let the exporter write a model that is then edited."""

    def spoil(target: Path) -> None:
        import onnx

        model = onnx.load(str(target))
        edit(model)
        target.write_bytes(model.SerializeToString())

    return _exported(spoil)


def _attribute(model: Any, kind: str, name: str, number: int = 0) -> Any:
    nodes = [node for node in model.graph.node if node.op_type == kind]
    return next(row for row in nodes[number].attribute if row.name == name)


@cause
def export_of_opset_13(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _edited(lambda model: setattr(model.opset_import[0], "version", 13))


@cause
def export_of_two_domains(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _edited(lambda model: setattr(model.opset_import.add(domain="ai.onnx.ml"), "version", 2))


@cause
def export_drops_a_weight(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def edit(model: Any) -> None:
        tensor = model.graph.initializer[3]
        tensor.raw_data = bytes(len(tensor.raw_data))

    return _edited(edit)


@cause
def export_rounds_weights(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def edit(model: Any) -> None:
        from onnx import numpy_helper

        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32:
                coarse = (values.view(np.uint32) & np.uint32(0xFFFF8000)).view(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(coarse.copy(), tensor.name))

    return _edited(edit)


@cause
def export_with_wrong_pads(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def edit(model: Any) -> None:
        for node in model.graph.node:
            for row in node.attribute:
                if row.name == "pads" and list(row.ints) == [1, 1, 1, 1]:
                    row.ints[:] = [0, 0, 2, 2]
                    return

    return _edited(edit)


@cause
def export_with_wrong_ceil_mode(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def edit(model: Any) -> None:
        row = _attribute(model, "MaxPool", "ceil_mode")
        row.i = 1 - row.i

    return _edited(edit)


@cause
def export_with_wrong_stride(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def edit(model: Any) -> None:
        _attribute(model, "MaxPool", "strides", 2).ints[:] = [1, 1]

    return _edited(edit)


def _each_batch(model: Any, value: int) -> None:
    for row in (*model.graph.input, *model.graph.output):
        if row.type.tensor_type.shape.dim:
            row.type.tensor_type.shape.dim[0].dim_value = value


@cause
def export_with_fixed_batch(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _edited(lambda model: _each_batch(model, 1))


@cause
def export_with_other_input_name(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def edit(model: Any) -> None:
        model.graph.input[0].name = "actual_input_1"
        for node in model.graph.node:
            node.input[:] = ["actual_input_1" if n == "image" else n for n in node.input]

    return _edited(edit)


@cause
def export_of_other_output_width(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def edit(model: Any) -> None:
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1001

    return _edited(edit)


@cause
def export_with_softmax(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def edit(model: Any) -> None:
        last = model.graph.node[-1]
        last.output[0] = "scores"
        model.graph.node.add(op_type="Softmax", input=["scores"], output=["class"], name="softmax")

    return _edited(edit)


@cause
def export_mixes_rows(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def edit(model: Any) -> None:
        from onnx import helper

        last = model.graph.node[-1]
        last.output[0] = "scores"
        mean = helper.make_node("ReduceMean", ["scores"], ["mean"], axes=[0], keepdims=1)
        less = helper.make_node("Mul", ["mean", "share"], ["less"])
        model.graph.node.extend(
            [mean, less, helper.make_node("Add", ["scores", "less"], ["class"])]
        )
        model.graph.initializer.append(helper.make_tensor("share", 1, [1], [0.001]))

    return _edited(edit)


@cause
def export_truncated(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _exported(lambda target: os.truncate(target, target.stat().st_size // 2))


@cause
def export_differs_each_time(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    # A doc_string more, in the second export alone.
    def spoil(target: Path) -> None:
        target.write_bytes(target.read_bytes() + b"\x32\x01x")

    return _exported(spoil, "conformance.export.checks")


def _engine(change: Callable[[Any], Any]) -> MORE:
    """Let ONNX Runtime return something else."""

    def changing(run: Any) -> Any:
        return lambda *given: {name: change(scores) for name, scores in run(*given).items()}

    replace("conformance.runners.in_memory", "run_onnxruntime", changing)
    return []


@cause
def engine_computes_in_float16(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _engine(lambda scores: np.clip(scores, -65504, 65504).astype("f2").astype("f4"))


@cause
def engine_overflows(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _engine(lambda scores: np.where(np.arange(len(scores)) == 3, np.inf, scores))


# --- preprocessing --------------------------------------------------------------------------------


def _prepared(name: str, make: Callable[[Any], Any]) -> MORE:
    """Replace a step of the preparation wherever it was imported."""
    for module in ("conformance.imagenet.preprocess", "conformance.imagenet.batches"):
        if hasattr(importlib.import_module(module), name):
            replace(module, name, make)
    return []


@cause
def channels_swapped(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _prepared("crop_planes", lambda planes: lambda *given: planes(*given)[::-1])


@cause
def picture_mirrored(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _prepared("crop_planes", lambda planes: lambda *given: planes(*given)[:, :, ::-1])


@cause
def crop_one_pixel_off(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def cropped(image: Any, preprocess: Any) -> Any:
        from PIL import Image

        from conformance.imagenet.preprocess import resized_size

        size = resized_size(image.size, preprocess.resize)
        resized = image.resize(size, Image.Resampling.BILINEAR)
        left, top = (round((side - preprocess.crop) / 2) for side in size)
        left += 1
        return resized.crop((left, top, left + preprocess.crop, top + preprocess.crop))

    return _prepared("_cropped", lambda _: cropped)


@cause
def resize_rounds_up(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def rounded(size: tuple[int, int], short: int) -> tuple[int, int]:
        scale = short / min(size)
        return round(size[0] * scale), round(size[1] * scale)

    return _prepared("resized_size", lambda _: rounded)


@cause
def resize_to_a_square(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _prepared("resized_size", lambda _: lambda _size, short: (short, short))


@cause
def resize_bicubic(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    from PIL.Image import Resampling

    def bicubic(resize: Any) -> Any:
        # The independent side resizes with a word of its own, and so keeps what it asks for.
        return lambda image, size, how, **more: resize(
            image, size, Resampling.BICUBIC if how is Resampling.BILINEAR else how, **more
        )

    replace("PIL.Image:Image", "resize", bicubic)
    return []


@cause
def resizer_differs(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    from PIL.Image import Resampling

    def bicubic(resize: Any) -> Any:
        # However the filter is asked for: as a member by us, as a number by torchvision.
        return lambda image, size, how=None, *more, **named: resize(
            image, size, Resampling.BICUBIC if how == Resampling.BILINEAR else how, *more, **named
        )

    replace("PIL.Image:Image", "resize", bicubic)
    return []


@cause
def resizer_of_an_unknown_build(scene: Scene) -> MORE:
    replace("PIL", "__version__", lambda _: "99.0")
    return resizer_differs(scene)


@cause
def decoder_shrinks(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def shrinking(opening: Any) -> Any:
        def opened(*given: Any, **named: Any) -> Any:
            image = opening(*given, **named)
            image.draft("RGB", (256, 256))
            return image

        return opened

    replace("PIL.Image", "open", shrinking)
    return []


def _normalisation(**changes: Any) -> MORE:
    import msgspec

    def other(normalised: Any) -> Any:
        return lambda planes, preprocess, *more: normalised(
            planes, msgspec.structs.replace(preprocess, **changes), *more
        )

    return _prepared("normalised", other)


@cause
def mean_of_half(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _normalisation(mean=(0.5, 0.5, 0.5))


@cause
def deviation_forgotten(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _normalisation(std=(1.0, 1.0, 1.0))


@cause
def pixels_not_divided(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _prepared("normalised", lambda planes: lambda *given: planes(*given) * np.float32(255))


def _written(prepare: Callable[[Any], Any]) -> MORE:
    """Replace what is written for the inference tool alone; engines in memory are fed as ever."""
    replace("conformance.imagenet.input_files", "prepare_file", prepare)
    return []


@cause
def written_inputs_shifted(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    from conformance.imagenet.deviations import Deviation, deviant_steps

    def shifted(path: Path, preprocess: Any, kind: str) -> Any:
        steps = deviant_steps(path, preprocess, Deviation("shifted", "crop", shift=1))
        return steps.normalise if kind == "float32" else steps.uint8

    return _written(lambda _: shifted)


@cause
def written_inputs_with_one_wrong_bit(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def spoiling(prepare: Any) -> Any:
        def spoilt(path: Path, *given: Any) -> Any:
            made = prepare(path, *given).copy()
            made.reshape(-1).view(np.uint8)[5] ^= 1
            return made

        return spoilt

    return _written(spoiling)


# --- dataset --------------------------------------------------------------------------------------


def _spoilt_images(scene: Scene, spoil: Callable[[Path], object]) -> MORE:
    folder = scene.images()
    spoil(folder)
    return [f"{IMAGENET}{folder}"]


def _lines(folder: Path, change: Callable[[list[str]], list[str]]) -> None:
    path = folder / "val_label.txt"
    path.write_text("\n".join(change(path.read_text("utf-8").splitlines())) + "\n", "utf-8")


def _first(folder: Path) -> Path:
    return min((folder / "val").iterdir())


@cause
def labels_shifted(scene: Scene) -> MORE:
    def shifted(lines: list[str]) -> list[str]:
        pairs = [line.split() for line in lines]
        return [f"{name} {(int(label) + 1) % 1000}" for name, label in pairs]

    return _spoilt_images(scene, lambda folder: _lines(folder, shifted))


@cause
def label_missing(scene: Scene) -> MORE:
    return _spoilt_images(scene, lambda folder: _lines(folder, lambda lines: lines[:-1]))


@cause
def label_repeated(scene: Scene) -> MORE:
    return _spoilt_images(scene, lambda folder: _lines(folder, lambda lines: [*lines, lines[0]]))


@cause
def label_out_of_range(scene: Scene) -> MORE:
    def edit(lines: list[str]) -> list[str]:
        return [*lines[1:], f"{lines[0].split()[0]} 1000"]

    return _spoilt_images(scene, lambda folder: _lines(folder, edit))


@cause
def labels_empty(scene: Scene) -> MORE:
    return _spoilt_images(scene, lambda folder: (folder / "val_label.txt").write_text(""))


@cause
def image_missing(scene: Scene) -> MORE:
    return _spoilt_images(scene, lambda folder: _first(folder).unlink())


@cause
def image_without_label(scene: Scene) -> MORE:
    def edit(folder: Path) -> None:
        shutil.copyfile(_first(folder), folder / "val" / "ILSVRC2012_val_00000000.JPEG")

    return _spoilt_images(scene, edit)


@cause
def image_twice_under_two_names(scene: Scene) -> MORE:
    def edit(folder: Path) -> None:
        first, second, *_ = sorted((folder / "val").iterdir())
        shutil.copyfile(first, second)

    return _spoilt_images(scene, edit)


@cause
def image_twice_with_a_byte_more(scene: Scene) -> MORE:
    def edit(folder: Path) -> None:
        first, second, *_ = sorted((folder / "val").iterdir())
        second.write_bytes(first.read_bytes() + b"\0")

    return _spoilt_images(scene, edit)


@cause
def two_images_of_one_stem(scene: Scene) -> MORE:
    def edit(folder: Path) -> None:
        first = _first(folder)
        shutil.copyfile(first, first.with_suffix(".jpg"))
        _lines(folder, lambda lines: [*lines, f"{first.stem}.jpg 3"])

    return _spoilt_images(scene, edit)


@cause
def image_truncated(scene: Scene) -> MORE:
    def edit(folder: Path) -> None:
        os.truncate(_first(folder), _first(folder).stat().st_size // 2)

    return _spoilt_images(scene, edit)


@cause
def image_is_text(scene: Scene) -> MORE:
    return _spoilt_images(scene, lambda folder: _first(folder).write_text("gone"))


@cause
def val_folder_missing(scene: Scene) -> MORE:
    return _spoilt_images(scene, lambda folder: shutil.rmtree(folder / "val"))


# --- board, concurrency, kills, disk --------------------------------------------------------------


@cause
def emulator_left_on_path(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    board = Path(os.environ.pop("CONFORMANCE_EMULATED_BOARD"))
    os.environ["PATH"] = os.pathsep.join([str(board / "bin"), os.environ["PATH"]])
    return ["--board=auto"]


@cause
def chip_leased_by_another_suite(scene: Scene) -> MORE:
    from conformance.ascend.locks import MachineLocks

    replace("conformance.measure_om", "WAIT_S", lambda _: 0.5)
    suite = os.getpid()
    reading, writing = os.pipe()
    if not os.fork():
        with MachineLocks(scene.folder / "locks").chips([(0, 0)], wait_s=1):
            os.write(writing, b"x")
            while os.getppid() == suite:
                time.sleep(0.05)
        os._exit(0)
    os.read(reading, 1)
    return ["--chips=0"]  # left to itself, the run would choose another chip


@cause
def worker_killed(scene: Scene) -> MORE:
    plugin = scene.folder / "killer.py"
    plugin.write_text(
        "import os\n"
        "def pytest_runtest_call(item):\n"
        "    if 'PYTEST_XDIST_WORKER' in os.environ:\n"
        "        os.kill(os.getpid(), 9)\n",
        "utf-8",
    )
    sys.path.insert(0, str(scene.folder))
    os.environ["PYTHONPATH"] = str(scene.folder)
    return ["-p", "xdist", "-n1", "-p", "killer", "--max-worker-restart=0"]


@cause
def disk_full_for_inputs(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    return []


@cause
def disk_full_for_artifacts(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    return []
