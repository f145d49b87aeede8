"""Build each artifact from those before it: sample, checkpoint ─► onnx_model.

Everything is built on first use, once per store. The first failure of a step is kept for the whole
run: every later caller, in any worker, gets it again, and a download that hung is not tried twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from conformance.artifacts import Request, Store, file_sha256
from conformance.ascend.locks import MachineLocks, nothing_held
from conformance.build_checkpoint import CheckpointBuilder, demand_no_board
from conformance.check import SkipReason
from conformance.config import SAMPLE, STANDARD_IMAGENET, RunConfig
from conformance.evidence.facts import record_class, record_digest
from conformance.evidence.failures import KeptFailures
from conformance.evidence.record import ArtifactRecord, append_artifact
from conformance.evidence.scrub import without_names
from conformance.export.checkpoint import Checkpoint, file_digests
from conformance.makers import DRAWING, LOADING, source_digest, versions
from conformance.option_texts import PathOrSample
from conformance.progress import step
from conformance.run_folder import work_folder
from conformance.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    from conformance.imagenet.dataset import Dataset

Made = TypeVar("Made")
ONNX_FILE = "model.onnx"
SAMPLE_FOLDER = "images"
FRESH_GATES = ("release",)


class Builder:
    """Builds what a run needs, on first use.

    Args:
        config: The run's options.
        run_folder: Where failures are kept and facts recorded.
        locks: The machine's locks; default: those that all users of it share.
    """

    def __init__(
        self, config: RunConfig, run_folder: Path, locks: MachineLocks | None = None
    ) -> None:
        self.config = config
        self.locks = locks or MachineLocks()
        heavy_step, told = self.locks.heavy_step, _recorder(run_folder)
        self.store = Store(config.artifacts, on_event=told, heavy_step=heavy_step)
        self._run_folder = run_folder
        self._failures = KeptFailures(work_folder(run_folder) / "failures")
        self._made: dict[str, Any] = {}
        self._checkpoints = CheckpointBuilder(config, self.store, self.once)

    def checkpoint(self, spec: ModelSpec) -> Checkpoint:
        """Return the weights: the file given, else the published one, else the sample.

        Raises:
            CheckpointError: The file cannot be used, or a published one has a wrong digest.
            NotApplicable: A board is there, and its weights are neither given nor to be had.
        """
        return self.once(f"checkpoint {spec.name}", lambda: self._known_checkpoint(spec))

    def network(self, spec: ModelSpec) -> torch.nn.Module:
        """Return the network with the checkpoint's weights, float32, in evaluation mode."""
        return self.once(f"network {spec.name}", lambda: self._network(spec))

    def onnx_model(self, spec: ModelSpec) -> Path:
        """Return the ONNX model exported from the checkpoint.

        Raises:
            ExportError: The network cannot be exported.
        """
        return self.once(f"onnx_model {spec.name}", lambda: self._known_onnx_model(spec))

    def dataset(self, spec: ModelSpec) -> Dataset:
        """Return the images: the folder given, else the standard one, else the sample.

        Raises:
            DatasetError: The folder's images or labels cannot be used.
            NotApplicable: A board is there, and no images are.
        """
        return self.once(f"dataset {spec.name}", lambda: self._known_dataset(spec))

    def image_contents(self, spec: ModelSpec) -> list[str]:
        """Return the sha256 of each image file, in order.

        The digest of a file that nobody touched is remembered from run to run, except under the
        gates of ``FRESH_GATES``, whose evidence rests on nothing older than the run.

        Raises:
            DatasetError: An image is missing or cannot be read.
        """
        dataset = self.dataset(spec)

        def read() -> list[str]:
            with self.locks.heavy_step():
                return dataset.contents(
                    cache_file=self.store.root / "image_digests.sqlite",
                    fresh=self.config.gate in FRESH_GATES,
                )

        return self.once(f"contents of dataset {spec.name}", read)

    def dataset_digest(self, spec: ModelSpec) -> str:
        """Return the digest over names, labels and contents of the images, in order.

        Raises:
            DatasetError: An image is missing or cannot be read.
        """
        return self.dataset(spec).digest(self.image_contents(spec))

    def once(self, step: str, make: Callable[[], Made]) -> Made:
        """Make something at most once per run; a failure is kept and raised again.

        No lock of the machine is held meanwhile: another worker may be making it.
        """
        if step not in self._made:
            with nothing_held():
                self._made[step] = self._failures.first(step, make)
        return cast("Made", self._made[step])

    def _known_checkpoint(self, spec: ModelSpec) -> Checkpoint:
        """Build the checkpoint and record its class, and what that was derived from."""
        made = self._checkpoints.checkpoint(spec)
        digests = file_digests(made.path)._asdict()
        record_class(self._run_folder, "weights", made.weights_class, digests, spec.name)
        record_digest(
            self._run_folder, f"{spec.name}/weights", "weights", digests["sha256"], spec.name
        )
        return made

    def _network(self, spec: ModelSpec) -> torch.nn.Module:
        checkpoint = self.checkpoint(spec)
        with self.locks.heavy_step():
            return _network(spec, checkpoint)

    def _known_onnx_model(self, spec: ModelSpec) -> Path:
        made = self._onnx_model(spec)
        record_digest(
            self._run_folder, f"{spec.name}/onnx_model", "onnx_model", file_sha256(made), spec.name
        )
        return made

    def _known_dataset(self, spec: ModelSpec) -> Dataset:
        """Open the dataset and record its class and the digest of its list."""
        from conformance.evidence.prediction_file import list_sha256

        found = self._dataset(spec)
        listed = list_sha256(without_names(found.names), found.labels.tolist())
        facts = {"count": str(len(found)), "list_sha256": listed}
        record_class(self._run_folder, "images", found.image_class, facts, spec.name)
        record_digest(self._run_folder, f"{spec.name}/dataset", "dataset", listed, spec.name)
        return found

    def _onnx_model(self, spec: ModelSpec) -> Path:
        checkpoint = self.checkpoint(spec)

        def build(folder: Path) -> Mapping[str, str]:
            from conformance.export.onnx_model import export_onnx

            network = self.network(spec)
            with step(f"export {spec.name} to ONNX", lasts="about ten seconds"):
                export_onnx(network, spec, folder / ONNX_FILE)
            return {"weights_class": checkpoint.weights_class}

        request = Request(
            kind="onnx_model",
            inputs={
                "weights": checkpoint.sha256,
                "spec": spec.digest("architecture", "export", "preprocess"),
                "source": source_digest("export/onnx_model.py", *LOADING),
            },
            makers=versions("torch", "torchvision", "onnx"),
        )
        return self.store.get(request, build).path(ONNX_FILE)

    def _dataset(self, spec: ModelSpec) -> Dataset:
        from conformance.imagenet.folders import open_dataset

        folder = _named_images(self.config)
        if folder is None:
            reason = f"{STANDARD_IMAGENET} cannot be read"
            demand_no_board(self.config, SkipReason.NO_IMAGES, "--imagenet=DIR", reason)
            folder = SAMPLE
        drawn = folder == SAMPLE
        root = self._sample_images() if drawn else Path(folder)
        found = open_dataset(root, spec.export.classes, drawn=drawn)
        return found.subset(self.config.images) if self.config.images else found

    def _sample_images(self) -> Path:
        def build(folder: Path) -> Mapping[str, str]:
            from conformance.imagenet.sample_images import write_sample

            with step("draw the images of the sample", lasts="some seconds"):
                write_sample(folder / SAMPLE_FOLDER)
            return {"images_class": "sample"}

        return self.store.get(_sample_request(), build).folder / SAMPLE_FOLDER


def _named_images(config: RunConfig) -> PathOrSample | None:
    """Return the images that were named, else the standard folder where it can be read."""
    if config.imagenet is None and os.access(STANDARD_IMAGENET, os.R_OK | os.X_OK):
        return STANDARD_IMAGENET
    return config.imagenet


def _sample_request() -> Request:
    return Request(
        kind="sample_images",
        inputs={"source": source_digest(*DRAWING)},
        makers=versions("numpy", "pillow"),
    )


def image_folder(config: RunConfig) -> Path | None:
    """Return where a run's images lie, the sample's too; None where there are none yet."""
    named = _named_images(config)
    return drawn_images(config.artifacts) if named in {None, SAMPLE} else Path(str(named))


def drawn_images(artifacts: Path) -> Path | None:
    """Return the folder of the sample's images in a store; None where they were never drawn."""
    found = Store(artifacts).find(_sample_request())
    return found.folder / SAMPLE_FOLDER if found else None


def _network(spec: ModelSpec, checkpoint: Checkpoint) -> torch.nn.Module:
    from conformance.export.network import build_network
    from conformance.export.state_dict import load_state_dict

    network = build_network(spec.architecture)
    network.load_state_dict(load_state_dict(checkpoint.path, spec))
    return network.eval()


def _recorder(run_folder: Path) -> Callable[[str, str, str, float], None]:
    def record(event: str, kind: str, key: str, seconds: float) -> None:
        append_artifact(run_folder, ArtifactRecord(event, kind, key, seconds))

    return record
