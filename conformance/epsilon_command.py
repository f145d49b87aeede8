"""``python -m conformance epsilon``: derive a model's float16 bound, as a table for its spec."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from conformance.artifacts import file_sha256
from conformance.spec import load_spec


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``epsilon`` to the command line."""
    text = "simulate float16 on calibration images and print the spec's [float16] table"
    epsilon = commands.add_parser("epsilon", help=text, description=text)
    epsilon.set_defaults(run=derive)
    epsilon.add_argument("--model", metavar="NAME", default="squeezenet1_1")
    epsilon.add_argument("--weights", metavar="FILE", type=Path, required=True)
    epsilon.add_argument("--imagenet", metavar="DIR", type=Path, required=True)
    epsilon.add_argument("--images", metavar="N", type=int, help="use only N images")


def derive(arguments: argparse.Namespace) -> int:
    """Derive the bound on the given weights and images, and print it as TOML.

    Raises:
        ConformanceError: Weights or images cannot be used, or float16 loses too much.
    """
    from conformance.export.network import build_network
    from conformance.export.state_dict import load_state_dict
    from conformance.imagenet.folders import open_dataset
    from conformance.imagenet.preprocess import open_rgb, prepare_image
    from conformance.metrics.float16_bound import derive_epsilon

    spec = load_spec(arguments.model)
    network = build_network(spec.architecture)
    network.load_state_dict(load_state_dict(arguments.weights, spec))
    dataset = open_dataset(arguments.imagenet, spec.export.classes)
    images = dataset.subset(arguments.images).images if arguments.images else dataset.images
    prepare = spec.preprocess
    inputs = [prepare_image(open_rgb(image.path, prepare), prepare) for image in images]
    bound = derive_epsilon(
        network,
        np.stack(inputs),
        [image.name for image in images],
        weights_sha256=file_sha256(arguments.weights),
    )
    print(bound.as_toml(), end="")
    return 0
