"""One archive for a board without network: the suite, wheels, and a store filled on a build host.

A board's own Python installs it without compiler or root; torch and onnx stay on the build host.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conformance.artifacts import Artifact, file_sha256
from conformance.board_wheels import Wanted, collect_wheels, run_command
from conformance.build import Builder
from conformance.build_checkpoint import CHECKPOINT_FILE
from conformance.config import SAMPLE, RunConfig
from conformance.float16 import allowed_error
from conformance.imagenet.labels import LABEL_FILE
from conformance.independent_inputs import independent_digests
from conformance.measure import Measurer
from conformance.spec import load_spec

CHECKOUT = Path(__file__).resolve().parents[1]
IMAGES = "imagenet"
SCRIPTS = ("install.sh", "run.sh")


@dataclass(frozen=True)
class Contents:
    """What goes into a bundle besides the suite.

    Attributes:
        wheels: Which wheels come along.
        with_images: Whether the images come along.
    """

    wheels: Wanted
    with_images: bool


def write_bundle(config: RunConfig, contents: Contents, archive: Path) -> None:
    """Fill the store and write the archive, under a temporary name first.

    Raises:
        ConfigError: The checkout is none of git, or the wheels cannot be had.
        ConformanceError: Weights or images cannot be used.
    """
    wanted = contents.wheels
    top = f"ascend-conformance-{wanted.arch}"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="bundle-") as work:
        folder = Path(work) / top
        folder.mkdir()
        copy_suite(folder / "suite")
        glibc = collect_wheels(wanted, folder)
        told = fill_store(config, Path(work) / "run", folder, with_images=contents.with_images)
        told |= {"ARCH": wanted.arch, "PYTHONS": " ".join(wanted.pythons), "GLIBC": glibc}
        lines = (f"{name}='{value}'\n" for name, value in sorted(told.items()))
        (folder / "bundle.conf").write_text("".join(lines), "utf-8")
        for script in SCRIPTS:
            shutil.copy(CHECKOUT / "packaging" / script, folder / script)
        _write_digests(folder)
        unfinished = Path(work) / "unfinished.tar.gz"
        with tarfile.open(unfinished, "w:gz", compresslevel=1) as tar:
            tar.add(folder, arcname=top)
        unfinished.replace(archive)


def copy_suite(target: Path) -> None:
    """Copy every file that git tracks in the checkout.

    Raises:
        ConfigError: The checkout is none of git.
    """
    names = run_command(["git", "-C", str(CHECKOUT), "ls-files", "-z"], "the suite's files").split(
        "\0"
    )
    for name in filter(None, names):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, target / name)


def fill_store(
    config: RunConfig, run_folder: Path, folder: Path, *, with_images: bool
) -> dict[str, str]:
    """Build what a board needs of PyTorch, and copy it into ``store/`` of the bundle.

    Returns:
        What ``run.sh`` tells pytest: MODELS, WEIGHTS, IMAGENET and IMAGES.

    Raises:
        ConformanceError: Weights or images cannot be used.
    """
    builder = Builder(config, run_folder)
    for spec in map(load_spec, config.model):
        builder.onnx_model(spec)
        Measurer(builder, run_folder).reference(spec)
        independent_digests(builder, spec)
        allowed_error(builder, spec)
    for artifact in builder.store.opened:
        _copy_artifact(artifact, builder.store.root, folder / "store")
    told = {
        "MODELS": " ".join(config.model),
        "WEIGHTS": _weights(builder, config),
        "IMAGENET": "",
        "IMAGES": str(config.images or ""),
    }
    if builder.dataset(load_spec(config.model[0])).drawn:
        told["IMAGENET"] = SAMPLE
    elif with_images:
        _copy_images(builder, config, folder / IMAGES)
        # What is copied is the subset itself.
        told |= {"IMAGENET": IMAGES, "IMAGES": ""}
    return told


def _weights(builder: Builder, config: RunConfig) -> str:
    """Return which weights a board must name: the sample or a custom file, published ones none."""
    checkpoint = builder.checkpoint(load_spec(config.model[0]))
    if checkpoint.weights_class == "sample":
        return SAMPLE
    if checkpoint.weights_class == "published":
        return ""
    place = checkpoint.path.parent.relative_to(builder.store.root)
    return f"store/{place.as_posix()}/{CHECKPOINT_FILE}"


def _copy_artifact(artifact: Artifact, root: Path, target: Path) -> None:
    shutil.copytree(artifact.folder, target / artifact.folder.relative_to(root))


def _copy_images(builder: Builder, config: RunConfig, target: Path) -> None:
    images = builder.dataset(load_spec(config.model[0])).images
    (target / "val").mkdir(parents=True)
    for image in images:
        shutil.copyfile(image.path, target / "val" / image.path.name)
    lines = (f"{image.path.name} {image.label}\n" for image in images)
    (target / LABEL_FILE).write_text("".join(lines), "utf-8")


def _write_digests(folder: Path) -> None:
    """Write SHA256SUMS over every file, as ``sha256sum --check`` reads it."""
    lines = [f"{file_sha256(path)}  {name}\n" for name, path in _files(folder)]
    (folder / "SHA256SUMS").write_text("".join(lines), "utf-8")


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    paths: Iterable[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    return ((path.relative_to(folder).as_posix(), path) for path in paths)
