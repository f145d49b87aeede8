"""Weights files made for tests, and what every refusal of one must say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch

from conformance.errors import CheckpointError
from conformance.export.network import build_network
from conformance.spec import Architecture, ModelSpec, PublishedWeights, load_spec

REAL = Path(__file__).resolve().parents[2] / "shared/data/squeezenet1_1-fp16-rounded.pth"
SPEC = load_spec("squeezenet1_1")


def untrained(spec: ModelSpec) -> dict[str, torch.Tensor]:
    """Return the state dict of a fresh network."""
    return dict(build_network(spec.architecture).state_dict())


def saved(path: Path, state: object, *, legacy: bool = False) -> Path:
    """Write a file of ``torch.save``, as an archive or in the form before PyTorch 1.6."""
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    return path


def spec_for(constructor: str, **arguments: bool | int) -> ModelSpec:
    """Return the spec with another network."""
    network = Architecture(library="torchvision", constructor=constructor, arguments={**arguments})
    return msgspec.structs.replace(SPEC, architecture=network)


def weights_of(content: bytes, *, digits: int = 8, md5: bool = False) -> PublishedWeights:
    """Return the published weights whose file has this content."""
    return PublishedWeights(
        file="net-01234567.pth",
        url="https://example.org/net-01234567.pth",
        sha256_prefix=hashlib.sha256(content).hexdigest()[:digits],
        source="made for this test",
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest() if md5 else None,
    )


def refusal(call: Callable[[], object]) -> str:
    """Return the message of a CheckpointError, which must say everything that a reader needs."""
    with pytest.raises(CheckpointError) as caught:
        call()
    error = caught.value
    assert type(error) is CheckpointError
    assert error.got is not None
    assert error.expected is not None
    assert "file" in error.where
    assert error.next_step
    assert "weights_only=False" not in str(error).replace(" ", "")
    return str(error)
