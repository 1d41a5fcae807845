"""Networks without the noise that they add to themselves in training."""

from __future__ import annotations

from torch import nn


def without_noise(module: nn.Module) -> nn.Module:
    """The module itself, its dropout and other layers that draw random numbers put into evaluation mode.

    What a `forward` of the user's own draws cannot be seen from outside.
    """
    for part in module.modules():
        if draws_noise_itself(part):
            part.eval()
    return module


def draws_noise_itself(part: nn.Module) -> bool:
    """Whether this layer, not one inside it, draws random numbers in training: torch's dropout layers that drop
    something, attention that does, and `RReLU`.
    """
    if isinstance(part, nn.MultiheadAttention):
        return part.dropout > 0
    return isinstance(part, nn.RReLU) or (isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0)
