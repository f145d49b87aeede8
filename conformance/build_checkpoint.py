"""Find the weights that a run asks for: a file given, the published one, or the sample."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from conformance.artifacts import Artifact, Request, Store, Value
from conformance.ascend.presence import board_signs
from conformance.check import NotApplicable, SkipReason
from conformance.config import SAMPLE, RunConfig
from conformance.errors import DownloadError
from conformance.export.checkpoint import Checkpoint, WeightsClass, find_published, identify
from conformance.makers import DRAWING, LOADING, PREPARING, source_digest, versions
from conformance.progress import step
from conformance.spec import ModelSpec, PublishedWeights

CHECKPOINT_FILE = "checkpoint.pth"
FITTING = ("export/sample_weights.py", "export/random_features.py")
# Runs a step at most once per run, and keeps its failure for every later caller.
Once = Callable[[str, Callable[[], Checkpoint]], Checkpoint]


@dataclass(frozen=True)
class CheckpointBuilder:
    """Brings the weights of a run into the store."""

    config: RunConfig
    store: Store
    once: Once

    def checkpoint(self, spec: ModelSpec) -> Checkpoint:
        """Return the weights: the file given, else the published one, else the sample.

        Raises:
            CheckpointError: The file cannot be used, or a published one has a wrong digest.
            NotApplicable: A board is there, and its weights are neither given nor to be had.
        """
        if self.config.weights == SAMPLE:
            return self._sample_checkpoint(spec, "--weights=sample")
        if self.config.weights is not None:
            found = identify(Path(self.config.weights), spec, found="--weights")
            return self._kept(spec, found, {"sha256": found.sha256})
        for weights in spec.weights:
            if stored := self.store.find(_published_request(spec, weights)):
                origin = stored.facts.get("origin", "from the artifact store")
                return identify(stored.path(CHECKPOINT_FILE), spec, found=origin)
        if cached := find_published(spec):
            found = identify(cached, spec, found="torch's cache")
            return self._kept(spec, found, {"sha256": found.sha256})
        try:
            # A step of its own: the sample takes its place, so the failure would not be kept.
            return self.once(
                f"download {spec.name}", lambda: self._downloaded(spec, spec.weights[0])
            )
        except DownloadError as error:
            reason = f"{error.what}: {error.got}"
            demand_no_board(self.config, SkipReason.NO_WEIGHTS, "--weights=FILE", reason)
            return self._sample_checkpoint(spec, reason)

    def _kept(self, spec: ModelSpec, found: Checkpoint, identity: Mapping[str, str]) -> Checkpoint:
        """Copy a weights file into the store, once it is known to fit the network."""

        def build(folder: Path) -> Mapping[str, str]:
            from conformance.export.state_dict import load_state_dict

            load_state_dict(found.path, spec)
            shutil.copyfile(found.path, folder / CHECKPOINT_FILE)
            return _facts(found)

        made = self.store.get(_checkpoint_request(spec, identity), build)
        # The copy may be older than the spec and have come from elsewhere; this file was looked at.
        return dataclasses.replace(found, path=made.path(CHECKPOINT_FILE))

    def _downloaded(self, spec: ModelSpec, weights: PublishedWeights) -> Checkpoint:
        from conformance.export.download import download_published
        from conformance.export.state_dict import load_state_dict

        def build(folder: Path) -> Mapping[str, str]:
            downloads = self.store.root / "downloads"
            with step(f"download {weights.file}"):
                path = download_published(weights, downloads, progress=sys.stderr.isatty())
            load_state_dict(path, spec)
            path.replace(folder / CHECKPOINT_FILE)
            found = identify(folder / CHECKPOINT_FILE, spec, found=f"from {weights.url}")
            return _facts(found) | {"origin": f"downloaded from {weights.url}"}

        return _checkpoint_of(self.store.get(_published_request(spec, weights), build))

    def _sample_checkpoint(self, spec: ModelSpec, reason: str) -> Checkpoint:
        def build(folder: Path) -> Mapping[str, str]:
            from conformance.export.sample_weights import save_sample_weights

            with step("fit the sample weights", lasts="some seconds"):
                save_sample_weights(spec, folder / CHECKPOINT_FILE)
            return {"weights_class": "sample"}

        identity = {
            "sample": source_digest(*FITTING, *DRAWING, *LOADING, *PREPARING),
            "preprocess": spec.digest("preprocess", "export"),
        }
        request = _checkpoint_request(spec, identity, "torch", "torchvision", "numpy", "pillow")
        made = _checkpoint_of(self.store.get(request, build))
        return dataclasses.replace(made, origin=f"embedded sample weights, because {reason}")


def demand_no_board(config: RunConfig, missing: SkipReason, option: str, reason: str) -> None:
    """Refuse the sample where a board is: its engineer must not mistake it for the model.

    Raises:
        NotApplicable: There are signs of a board, and no word on which one to use.
    """
    if config.board == "auto" and (signs := board_signs()):
        raise NotApplicable(
            missing,
            f"{reason}; a board is here ({', '.join(signs)}), so the embedded sample does not "
            f"take its place\n  next: give {option}, or {option.partition('=')[0]}=sample",
        )


def _checkpoint_request(spec: ModelSpec, identity: Mapping[str, str], *makers: str) -> Request:
    inputs: dict[str, Value] = {"architecture": spec.digest("architecture"), **identity}
    return Request(kind="checkpoint", inputs=inputs, makers=versions(*makers))


def _published_request(spec: ModelSpec, weights: PublishedWeights) -> Request:
    return _checkpoint_request(spec, {"published": weights.md5 or weights.sha256_prefix})


def _facts(found: Checkpoint) -> dict[str, str]:
    return {
        "weights_class": found.weights_class,
        "origin": found.origin,
        "published_as": found.published_as or "",
    }


def _checkpoint_of(artifact: Artifact) -> Checkpoint:
    facts = artifact.facts
    return Checkpoint(
        path=artifact.path(CHECKPOINT_FILE),
        sha256=artifact.sha256(CHECKPOINT_FILE),
        weights_class=cast("WeightsClass", facts["weights_class"]),
        origin=facts.get("origin", ""),
        published_as=facts.get("published_as") or None,
    )
