"""The checkpoint is not what it should be, or it is loaded wrongly."""

from __future__ import annotations

import os
from typing import Any

from selftest.fault_causes.scene import MORE, Scene, cause, replace


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
def loading_forgets_a_bias(scene: Scene) -> MORE:
    def forgetting(network_of: Any) -> Any:
        def forgetful(*arguments: Any) -> Any:
            network = network_of(*arguments)
            network.features[3].expand1x1.bias.data.zero_()
            return network

        return forgetful

    replace("conformance.build", "_network", forgetting)
    return []
