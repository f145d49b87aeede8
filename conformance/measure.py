"""What is measured once per run over all images, and shared by the run's workers.

The reference is an artifact: it depends on nothing but weights, images and PyTorch. Everything
else belongs to one run, lies in its folder, and is never read by another run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from filelock import FileLock

from conformance.artifacts import Request
from conformance.build import Builder
from conformance.evidence.run_bundle import add_predictions
from conformance.imagenet.batches import InputBatch, stream_batches
from conformance.imagenet.parallel import usable_cores
from conformance.makers import LOADING, PREPARING, source_digest, versions
from conformance.predictions import Predictions
from conformance.run_folder import work_folder
from conformance.spec import ModelSpec

SCORES_FILE = "scores.npy"
REFERENCE_BATCH = 16
INFERRING = ("imagenet/batches.py", "runners/torch_runner.py")


class Measurer:
    """Measures predictions over the run's images, on first use."""

    def __init__(self, builder: Builder, run_folder: Path) -> None:
        self._builder = builder
        self._run_folder = run_folder
        self._folder = work_folder(run_folder) / "predictions"
        self._made: dict[str, Predictions] = {}

    def reference(self, spec: ModelSpec) -> Predictions:
        """Return PyTorch's float32 scores of every image: the trusted side.

        Raises:
            DatasetError: An image cannot be prepared.
        """
        return self._once(f"torch {spec.name}", lambda: self._kept_reference(spec))

    def onnx(self, spec: ModelSpec, batch: int) -> Predictions:
        """Return ONNX Runtime's scores of every image, inferred in batches of one size.

        Raises:
            ExportError: ONNX Runtime refuses the model.
            DumpError: A score is not finite.
        """
        return self._once(
            f"onnx {spec.name} bs{batch}",
            lambda: self._shared(
                f"onnx-{spec.name}-bs{batch}", spec, lambda: self._onnx(spec, batch)
            ),
        )

    def _once(self, name: str, make: Callable[[], Predictions]) -> Predictions:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _kept_reference(self, spec: ModelSpec) -> Predictions:
        found = self._reference(spec)
        keep_predictions(
            self._run_folder, f"{spec.name} torch", "torch", {"model": spec.name}, found
        )
        return found

    def _reference(self, spec: ModelSpec) -> Predictions:
        dataset = self._builder.dataset(spec)

        def build(folder: Path) -> Mapping[str, str]:
            from conformance.runners.torch_runner import infer_with_torch

            network = self._builder.network(spec)
            found = infer_with_torch(
                network,
                self._batches(spec, REFERENCE_BATCH, "infer on the host: PyTorch"),
                dataset.names,
                dataset.labels,
                threads=share_of_cores(),
            )
            np.save(folder / SCORES_FILE, found.scores, allow_pickle=False)
            return {"images": str(len(dataset)), "images_class": dataset.image_class}

        request = Request(
            kind="reference_scores",
            inputs={
                "weights": self._builder.checkpoint(spec).sha256,
                "images": self._builder.dataset_digest(spec),
                "spec": spec.digest("architecture", "preprocess"),
                "source": source_digest(*INFERRING, *LOADING, *PREPARING),
            },
            makers=versions("torch", "torchvision", "numpy", "pillow"),
        )
        path = self._builder.store.get(request, build).path(SCORES_FILE)
        return Predictions(dataset.names, np.load(path, allow_pickle=False), dataset.labels)

    def _onnx(self, spec: ModelSpec, batch: int) -> Predictions:
        from conformance.runners.onnxruntime_runner import infer_with_onnxruntime

        dataset, model = self._builder.dataset(spec), self._builder.onnx_model(spec)
        with self._builder.locks.heavy_step():
            found = infer_with_onnxruntime(
                model,
                self._batches(spec, batch, f"infer on the host: ONNX Runtime, batch {batch}"),
                dataset.names,
                dataset.labels,
                threads=share_of_cores(),
            )
        place: dict[str, str | int] = {"model": spec.name, "batch": batch}
        name = f"{spec.name} onnxruntime bs{batch}"
        keep_predictions(self._run_folder, name, "onnxruntime", place, found)
        return found

    def _batches(self, spec: ModelSpec, batch: int, title: str) -> Iterable[InputBatch]:
        images = self._builder.dataset(spec).images
        workers = share_of_cores()
        return stream_batches(images, spec.preprocess, batch, workers=workers, title=title)

    def _shared(
        self, name: str, spec: ModelSpec, measure: Callable[[], Predictions]
    ) -> Predictions:
        """Measure in one worker of the run and let the others read it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name}.npy"
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                unfinished = path.with_suffix(".unfinished")
                with unfinished.open("wb") as stream:
                    np.save(stream, measure().scores, allow_pickle=False)
                unfinished.replace(path)
        dataset = self._builder.dataset(spec)
        return Predictions(dataset.names, np.load(path, allow_pickle=False), dataset.labels)


def keep_predictions(
    run_folder: Path,
    name: str,
    engine: str,
    place: Mapping[str, str | int],
    found: Predictions,
) -> None:
    """Put predictions into the run's evidence, from which hits can be counted again."""
    add_predictions(
        run_folder,
        name,
        engine,
        coordinates=dict(place),
        names=found.names,
        labels=found.labels,
        scores=found.scores,
    )


def share_of_cores() -> int:
    """Return how many cores one of the run's workers may use."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return max(1, usable_cores() // workers)
