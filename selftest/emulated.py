"""What the emulator's tests share: small ONNX models, and a bench to run its programs on."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from emulator import EmulatedBoard, install

SIDE = 24
CLASSES = 1000
FLOAT_BYTES = 3 * SIDE * SIDE * 4
PIXEL_BYTES = 3 * SIDE * SIDE
AIPP_CONFIG = f"""aipp_op {{
    aipp_mode: static
    related_input_rank: 0
    input_format: RGB888_U8
    src_image_size_w: {SIDE}
    src_image_size_h: {SIDE}
    crop: false
    min_chn_0: 123.675
    min_chn_1: 116.28
    min_chn_2: 103.53
    var_reci_chn_0: 0.0171247538316637
    var_reci_chn_1: 0.0175070028011204
    var_reci_chn_2: 0.0174291938997821
}}
"""


class GraphBuilder:
    """Builds a chain of ONNX nodes with random weights."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def weight(self, name: str, *shape: int) -> str:
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        values = self.random.normal(0, scale, shape).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        output: str = "",
        **attributes: Any,
    ) -> str:
        output = output or f"t{len(self.nodes)}"
        node = helper.make_node(kind, inputs, [output], name=f"{kind}_{len(self.nodes)}",
                                **attributes)  # fmt: skip
        self.nodes.append(node)
        return output

    def conv(
        self,
        source: str,
        channels: tuple[int, int],
        kernel: int,
        **attributes: Any,
    ) -> str:
        number = len(self.nodes)
        given, made = channels
        weight = self.weight(f"w{number}", made, given, kernel, kernel)
        bias = self.weight(f"b{number}", made)
        made_name = self.add("Conv", [source, weight, bias], **attributes)
        return self.add("Relu", [made_name])

    def model(self, side: int, *, batch: str | int = "-1", opset: int = 11) -> ModelProto:
        shape = [batch, 3, side, side]
        graph = helper.make_graph(
            self.nodes,
            "classifier",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("class", TensorProto.FLOAT, [batch, CLASSES])],
            self.weights,
        )
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=6)


def classifier(seed: int = 0, *, opset: int = 11, batch: str | int = "-1") -> ModelProto:
    """A small classifier with the operators of SqueezeNet, ResNet and MobileNet."""
    build = GraphBuilder(seed)
    first = build.conv("image", (3, 16), 3, pads=[1, 1, 1, 1])
    second = build.conv(first, (16, 16), 3, pads=[1, 1, 1, 1])
    added = build.add("Add", [first, second])
    pooled = build.add("MaxPool", [added], kernel_shape=[2, 2], strides=[2, 2])
    depth = build.weight("depthwise", 16, 1, 3, 3)
    separate = build.add("Conv", [pooled, depth], group=16, pads=[1, 1, 1, 1])
    joined = build.add("Concat", [separate, pooled], axis=1)
    mean = build.add("GlobalAveragePool", [joined])
    flat = build.add("Flatten", [mean])
    weight, bias = build.weight("dense", CLASSES, 32), build.weight("dense_bias", CLASSES)
    # Trained classifiers spread their scores over ten or so; so does this one.
    scale = numpy_helper.from_array(np.array([2.0], np.float32), "scale")
    build.weights.append(scale)
    scores = build.add("Gemm", [flat, weight, bias], transB=1)
    build.add("Mul", [scores, "scale"], "class")
    return build.model(SIDE, opset=opset, batch=batch)


def squeezenet() -> ModelProto:
    """SqueezeNet 1.1 for 224 pixels as Iandola and others describe it, with random weights."""
    build = GraphBuilder(0)
    at = build.conv("image", (3, 64), 3, strides=[2, 2])
    channels = 64
    pool_before = {0, 2, 4}
    fires = [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]
    for number, (squeezed, expanded) in enumerate(fires):
        if number in pool_before:
            at = build.add("MaxPool", [at], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
        small = build.conv(at, (channels, squeezed), 1)
        left = build.conv(small, (squeezed, expanded), 1)
        right = build.conv(small, (squeezed, expanded), 3, pads=[1, 1, 1, 1])
        at = build.add("Concat", [left, right], axis=1)
        channels = 2 * expanded
    at = build.conv(at, (channels, CLASSES), 1)
    mean = build.add("GlobalAveragePool", [at])
    build.add("Flatten", [mean], "class")
    return build.model(224)


def random_images(count: int, seed: int) -> np.typing.NDArray[np.float32]:
    """Input tensors of N, 3, SIDE, SIDE; each has colours of its own, as photographs have."""
    random = np.random.default_rng(seed)
    colours = 2 * random.standard_normal((count, 3, 1, 1))
    return (colours + random.standard_normal((count, 3, SIDE, SIDE))).astype(np.float32)


@dataclass(frozen=True)
class Result:
    """How a program ended: its exit status, what it printed, and how long it ran."""

    status: int
    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True)
class Bench:
    """A board and a folder to work in."""

    board: EmulatedBoard
    folder: Path

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        base = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "OMP_NUM_THREADS": "1"}
        return {**self.board.environment(base), **(more or {})}

    def run(self, *argv: str, env: dict[str, str] | None = None) -> Result:
        started_s = time.monotonic()
        done = subprocess.run(
            [str(self.program(argv[0])), *argv[1:]],
            cwd=self.folder,
            env=self.environment(env),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        seconds = time.monotonic() - started_s
        return Result(done.returncode, done.stdout, done.stderr, seconds)

    @contextmanager
    def running(self, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            [str(self.program(argv[0])), *argv[1:]],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def program(self, name: str) -> Path:
        return self.board.python if name == "python3" else self.board.bin / name

    def atc(
        self, *more: str, batch: int = 16, output: str = "", env: dict[str, str] | None = None
    ) -> Result:
        return self.run(
            "atc",
            "--framework=5",
            "--model=model.onnx",
            "--input_format=NCHW",
            f"--input_shape=image:{batch},3,{SIDE},{SIDE}",
            f"--output={output or f'model_bs{batch}'}",
            f"--soc_version={self.board.state.soc}",
            *more,
            env=env,
        )

    def benchmark(self, *more: str, batch: int = 16, env: dict[str, str] | None = None) -> Result:
        pure = any(word.startswith("-round=") for word in more)
        return self.run(
            f"benchmark.{os.uname().machine}",
            "-model_type=vision",
            "-device_id=0",
            f"-batch_size={batch}",
            f"-om_path=model_bs{batch}.om",
            *(() if pure else ("-input_text_path=images.info",)),
            f"-input_width={SIDE}",
            f"-input_height={SIDE}",
            "-output_binary=False",
            "-useDvpp=False",
            *more,
            env=env,
        )

    def ais_bench(self, *more: str, batch: int = 16) -> Result:
        return self.run("python3", "-m", "ais_bench", f"--model=model_bs{batch}.om", *more)

    def images(self, count: int, folder: str = "prep", seed: int = 0) -> None:
        """Write ``count`` random input tensors and the info file that lists them."""
        (self.folder / folder).mkdir(exist_ok=True)
        lines = []
        for index, image in enumerate(random_images(count, seed)):
            path = f"./{folder}/image_{index + 1}.bin"
            image.tofile(self.folder / path)
            lines.append(f"{index} {path} {SIDE} {SIDE}\n")
        (self.folder / "images.info").write_text("".join(lines), encoding="utf-8")

    def scores(self, folder: str, number: int, count: int) -> np.typing.NDArray[np.float64]:
        """Read text outputs of images 1 to ``count``, each of which must be one line."""
        paths = [self.folder / folder / f"image_{i + 1}_{number}.txt" for i in range(count)]
        return np.stack([np.loadtxt(path) for path in paths])


def make_bench(folder: Path, soc: str = "Ascend310", cann: str | None = None) -> Bench:
    """A fresh board with the small classifier in a working folder."""
    board = install(folder / "board", soc, cann=cann)
    work = folder / "work"
    work.mkdir()
    (work / "model.onnx").write_bytes(classifier().SerializeToString())
    return Bench(board, work)
