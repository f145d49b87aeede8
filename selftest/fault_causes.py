"""What goes wrong on the host: files prepared on disk, or one function that does something else.

Each cause runs in a process of its own, before pytest starts there, and returns further arguments
for pytest. What it patches dies with the process.
"""

from __future__ import annotations

import functools
import os
import resource
import shutil
import sys
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


Cause = Callable[[Scene], MORE]
CAUSES: dict[str, Cause] = {}


def cause(function: Cause) -> Cause:
    """Make a function known by its name, with hyphens."""
    CAUSES[function.__name__.replace("_", "-")] = function
    return function


def keep_to_itself(folder: Path) -> None:
    """Give the run locks of its own: its board is no other run's."""
    from conformance.ascend import host
    from conformance.ascend.locks import MachineLocks

    host.MachineLocks = functools.partial(MachineLocks, folder / "locks")  # type: ignore[misc,assignment]  # as if it stood there


def hurry() -> None:
    """Cut time limits to what the small work of a row needs."""
    from conformance.ascend import atc, board, inference, supervisor

    inference.LIMIT_AT_LEAST_S = 3.0
    for function, name, seconds in (
        (atc.convert, "limit_s", 2.0),
        (board.find_board, "limit_s", 1.5),
        (supervisor.run, "grace_s", 0.5),
    ):
        defaults = function.__kwdefaults__
        assert name in defaults
        defaults[name] = seconds


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
    from conformance import build

    network_of = build._network

    def forgetful(*arguments: Any) -> Any:
        network = network_of(*arguments)
        network.features[3].expand1x1.bias.data.zero_()
        return network

    build._network = forgetful
    return []


# --- export ---------------------------------------------------------------------------------------


def _edited(edit: Callable[[Any], None]) -> MORE:
    """Let the exporter write a model that was edited."""
    import onnx

    from conformance.export import onnx_model

    export = onnx_model.export_onnx

    def spoilt(network: Any, spec: Any, target: Path) -> None:
        export(network, spec, target)
        model = onnx.load(str(target))
        edit(model)
        target.write_bytes(model.SerializeToString())

    onnx_model.export_onnx = spoilt
    return []


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
def export_truncated(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    from conformance.export import onnx_model

    export = onnx_model.export_onnx

    def spoilt(network: Any, spec: Any, target: Path) -> None:
        export(network, spec, target)
        os.truncate(target, target.stat().st_size // 2)

    onnx_model.export_onnx = spoilt
    return []


@cause
def export_differs_each_time(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    from conformance.export import checks

    export = checks.export_onnx

    def spoilt(network: Any, spec: Any, target: Path) -> None:
        export(network, spec, target)
        with target.open("ab") as stream:
            stream.write(b"\x32\x01x")  # a doc_string

    checks.export_onnx = spoilt
    return []


def _engine(change: Callable[[Any], Any]) -> MORE:
    """Let ONNX Runtime return something else."""
    from conformance.runners import in_memory

    run = in_memory.run_onnxruntime

    def spoilt(*arguments: Any) -> Any:
        return {name: change(scores) for name, scores in run(*arguments).items()}

    in_memory.run_onnxruntime = spoilt
    return []


@cause
def engine_computes_in_float16(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _engine(lambda scores: np.clip(scores, -65504, 65504).astype("f2").astype("f4"))


@cause
def engine_overflows(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _engine(lambda scores: np.where(np.arange(len(scores)) == 3, np.inf, scores))


# --- preprocessing --------------------------------------------------------------------------------


def _prepared(name: str, replacement: Callable[..., Any]) -> MORE:
    from conformance.imagenet import batches, preprocess

    for module in (preprocess, batches):
        if hasattr(module, name):
            setattr(module, name, replacement)
    return []


@cause
def channels_swapped(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    from conformance.imagenet.preprocess import crop_planes

    return _prepared("crop_planes", lambda *given: crop_planes(*given)[::-1])


@cause
def picture_mirrored(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    from conformance.imagenet.preprocess import crop_planes

    return _prepared("crop_planes", lambda *given: crop_planes(*given)[:, :, ::-1])


@cause
def crop_one_pixel_off(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def cropped(image: Any, preprocess: Any) -> Any:
        from PIL import Image

        from conformance.imagenet.preprocess import resized_size

        size = resized_size(image.size, preprocess.resize)
        resized = image.resize(size, Image.Resampling.BILINEAR)
        left, top = (round((side - preprocess.crop) / 2) + 1 for side in size)
        return resized.crop((left, top, left + preprocess.crop, top + preprocess.crop))

    return _prepared("_cropped", cropped)


@cause
def resize_rounds_up(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    def rounded(size: tuple[int, int], short: int) -> tuple[int, int]:
        scale = short / min(size)
        return round(size[0] * scale), round(size[1] * scale)

    return _prepared("resized_size", rounded)


@cause
def resize_to_a_square(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _prepared("resized_size", lambda _, short: (short, short))


@cause
def resize_bicubic(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    from PIL import Image

    resize = Image.Image.resize

    def bicubic(image: Any, size: Any, *_: Any, **__: Any) -> Any:
        return resize(image, size, Image.Resampling.BICUBIC)

    from conformance.imagenet import preprocess

    cropped = preprocess._cropped

    def with_bicubic(*given: Any) -> Any:
        Image.Image.resize = bicubic  # type: ignore[method-assign]  # for this call alone
        try:
            return cropped(*given)
        finally:
            Image.Image.resize = resize  # type: ignore[method-assign]  # as it was

    return _prepared("_cropped", with_bicubic)


def _normalisation(**changes: Any) -> MORE:
    import msgspec

    from conformance.imagenet.preprocess import normalised

    def other(planes: Any, preprocess: Any, out: Any = None) -> Any:
        return normalised(planes, msgspec.structs.replace(preprocess, **changes), out)

    return _prepared("normalised", other)


@cause
def mean_of_half(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _normalisation(mean=(0.5, 0.5, 0.5))


@cause
def deviation_forgotten(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    return _normalisation(std=(1.0, 1.0, 1.0))


@cause
def pixels_not_divided(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    from conformance.imagenet.preprocess import normalised

    return _prepared("normalised", lambda *given: normalised(*given) * np.float32(255))


# --- dataset --------------------------------------------------------------------------------------


def _spoilt_images(scene: Scene, spoil: Callable[[Path], None]) -> MORE:
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
    return _spoilt_images(scene, lambda folder: (folder / "val_label.txt").write_text("") and None)


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
    return _spoilt_images(scene, lambda folder: _first(folder).write_text("gone") and None)


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
    from conformance import measure_om
    from conformance.ascend.locks import MachineLocks

    measure_om.LOCK_WAIT_S = 0.5
    reading, writing = os.pipe()
    if not os.fork():
        with MachineLocks(scene.folder / "locks").chips([(0, 0)], wait_s=1):
            os.write(writing, b"x")
            while os.getppid() != 1:
                os.sched_yield()
                import time

                time.sleep(0.05)
        os._exit(0)
    os.read(reading, 1)
    return []


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
    return ["-n1", "-p", "killer", "--max-worker-restart=0"]


@cause
def disk_full_for_inputs(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    return []


@cause
def disk_full_for_artifacts(scene: Scene) -> MORE:  # noqa: ARG001 - as above
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    return []


@cause
def artifact_damaged(scene: Scene) -> MORE:
    """Flip a byte of the stored ``.om`` while keeping its size."""
    for path in Path(scene.option("--artifacts=")).glob("om_model/*/model.om"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.unlink()  # the copy of the store shares its files with the store
        path.write_bytes(content)
    return []
