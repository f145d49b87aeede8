"""Random networks made useful: layers scaled so that what they see tells pictures apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    Layer = torch.nn.Conv2d | torch.nn.Linear

# Mean of every scaled layer's outputs, in standard deviations. Above 0 most of a ReLU's inputs
# pass, so that colour survives two dozen random layers; at 0 far fewer pictures are recognised.
_LIFT = 0.7


def scale_layers(network: torch.nn.Module, last: Layer, inputs: torch.Tensor) -> None:
    """Give every layer but the last outputs of one mean and deviation, in place, in one pass.

    Batch normalisation does it by its running statistics, other layers by weight and bias.

    Args:
        network: A network with random weights; left in eval mode. Call under ``torch.no_grad()``.
        last: The classifier's layer, which is left alone.
        inputs: Prepared pictures, N x 3 x height x width float32, to take the statistics from.
    """
    import torch

    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    scaled = [layer for layer in layers if layer is not last]
    _smooth_depthwise(scaled)
    _reset_batch_norm(network)
    hooks = [
        layer.register_forward_hook(_scale_outputs) for layer in scaled if layer.bias is not None
    ]
    network(inputs)
    for hook in hooks:
        hook.remove()
    network.eval()


def _smooth_depthwise(layers: list[Layer]) -> None:
    """Make filters of single channels averages: chained random differences leave only noise."""
    import torch

    for layer in layers:
        if isinstance(layer, torch.nn.Conv2d) and layer.groups == layer.in_channels > 1:
            layer.weight.abs_()


def _reset_batch_norm(network: torch.nn.Module) -> None:
    import torch

    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None  # running statistics become those of the next pass alone
            norm.reset_running_stats()
            norm.bias.fill_(_LIFT)
            norm.train()


def _scale_outputs(layer: Layer, _: object, outputs: torch.Tensor) -> torch.Tensor:
    """Fold the outputs' scaling into the layer, and apply it to the outputs at hand."""
    import torch

    channel = 1 if outputs.dim() == 4 else outputs.dim() - 1
    others = [axis for axis in range(outputs.dim()) if axis != channel]
    deviation, mean = torch.std_mean(outputs, dim=others, keepdim=True)
    deviation = deviation.clamp_min(1e-6)
    layer.weight.div_(deviation.reshape(-1, *[1] * (layer.weight.dim() - 1)))
    layer.get_parameter("bias").sub_(mean.flatten()).div_(deviation.flatten()).add_(_LIFT)
    return (outputs - mean) / deviation + _LIFT
