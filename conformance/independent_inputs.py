"""What an independent preparation makes of the run's images, by digest: an artifact.

It rests on nothing but images, the ``[preprocess]`` table and torchvision, so that it is made once,
and a board without torchvision finds it in a store that a build host filled.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from conformance.artifacts import Request
from conformance.build import Builder
from conformance.check import Check
from conformance.imagenet.checks import fed_files_check
from conformance.imagenet.preprocess import Prepared
from conformance.makers import source_digest, versions
from conformance.measure import share_of_cores
from conformance.runners.om_runner import INPUT_OF
from conformance.spec import ModelSpec, Variant

DIGESTS_FILE = "digests.json"
# Whoever prepares has to import torchvision first, which takes as long as this many images.
CHUNK = 256


def fed_inputs_check(
    builder: Builder, spec: ModelSpec, variant: Variant, fed: Sequence[str]
) -> Check:
    """Every file that the inference tool was given is torchvision's own preparation, bit for bit.

    Args:
        builder: Knows the images.
        spec: The model.
        variant: Of the ``.om``: what the files hold.
        fed: The sha256 of each file as it lay on the disk, in the images' order.

    Raises:
        DatasetError: There is not one digest for each image, or an image cannot be prepared.
        ArtifactError: As for :func:`independent_digests`.
    """
    kind = INPUT_OF[variant]
    expected = independent_digests(builder, spec)[kind]
    return fed_files_check(builder.dataset(spec), spec, kind, fed, expected)


def independent_digests(builder: Builder, spec: ModelSpec) -> dict[Prepared, list[str]]:
    """Return the sha256 of torchvision's preparation of each image of the run, in order.

    There is one list for each kind of input: as float32, and as uint8 for AIPP.

    Raises:
        DatasetError: An image cannot be prepared.
        ArtifactError: The store has none, and torchvision, which would make them, is missing.
    """
    return builder.once(f"independent inputs {spec.name}", lambda: _stored(builder, spec))


def _stored(builder: Builder, spec: ModelSpec) -> dict[Prepared, list[str]]:
    images = builder.dataset(spec).images

    def build(folder: Path) -> Mapping[str, str]:
        from conformance.imagenet.independent import digests_of_chunk
        from conformance.imagenet.parallel import each_in_order

        work = functools.partial(digests_of_chunk, preprocess=spec.preprocess)
        chunks = each_in_order(
            work, images, workers=share_of_cores(), title="independent inputs", chunk=CHUNK
        )
        pairs = [pair for chunk in chunks for pair in chunk]
        float32, uint8 = (list(column) for column in zip(*pairs, strict=True))
        kept = {"float32": float32, "uint8": uint8}
        (folder / DIGESTS_FILE).write_bytes(msgspec.json.encode(kept))
        return {"images": str(len(images))}

    request = Request(
        kind="independent_inputs",
        inputs={
            "images": builder.dataset_digest(spec),
            "spec": spec.digest("preprocess"),
            "source": source_digest("imagenet/independent.py"),
        },
        makers=versions("torch", "torchvision", "numpy", "pillow"),
    )
    content = builder.store.get(request, build).path(DIGESTS_FILE).read_bytes()
    return msgspec.json.decode(content, type=dict[Prepared, list[str]])
