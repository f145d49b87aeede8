"""What the guide's preparation commands do, for ``scripts/`` to call."""

from __future__ import annotations

from pathlib import Path

from conformance.errors import ConformanceError
from conformance.imagenet.dataset import ImageFile
from conformance.imagenet.folders import image_files
from conformance.imagenet.input_files import write_inputs
from conformance.imagenet.parallel import usable_cores
from conformance.imagenet.preflight import preflight
from conformance.imagenet.preprocess import Prepared
from conformance.spec import load_spec


def prepare_folder(model: str, source: Path, target: Path, kind: Prepared) -> None:
    """Write one ``.bin`` per image of ``source`` into ``target``, on all cores.

    Prints need against free space, inodes and memory first.

    Raises:
        ConfigError: There is no such model.
        DatasetError: The folder or an image in it cannot be read, or holds something else.
        ConformanceError: The inputs do not fit on the disk, or cannot be written.
    """
    preprocess = load_spec(model).preprocess
    images = [ImageFile(path.name, path) for path in image_files(source)]
    workers = usable_cores()
    found = preflight(len(images), preprocess, kind, target, workers=workers)
    print(found.describe())
    if found.shard < len(images):
        raise ConformanceError(
            "the inputs do not fit on the disk",
            got=f"room for {found.shard:,}",
            expected=f"room for {len(images):,} inputs of {found.image_bytes:,} bytes",
            where={"folder": target},
            next_step="give a folder on a larger disk; the test suite itself works in shards",
        )
    written = write_inputs(images, target, preprocess, kind, workers=workers, title="preparing")
    print(f"{len(written)} inputs written to {target}")
