"""Networks without the noise that they add to themselves in training."""

from __future__ import annotations

from torch import nn


def without_noise(module: nn.Module) -> nn.Module:
    """The module itself, its dropout and other layers that draw random numbers put into evaluation mode.

    These are torch's dropout layers, `RReLU`, and attention that drops out; what a `forward` of the user's own draws
    cannot be seen from outside.
    """
    for part in module.modules():
        drops = isinstance(part, nn.MultiheadAttention) and part.dropout > 0
        if drops or isinstance(part, nn.modules.dropout._DropoutNd | nn.RReLU):
            part.eval()
    return module
