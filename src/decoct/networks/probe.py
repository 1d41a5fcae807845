"""Looking at a network with made-up inputs without leaving a trace on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Run `module` in evaluation mode without gradients, so that running statistics stay as they are.

    Every sub-module gets its own mode back.
    """
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def blank_inputs(module: nn.Module, shape: tuple[int, ...], count: int) -> Tensor:
    """`count` inputs of zeros, on the device and in the precision of the module's parameters: `[count, *shape]`."""
    for parameter in module.parameters():
        if not isinstance(parameter, nn.UninitializedParameter):
            return torch.zeros(count, *shape, device=parameter.device, dtype=parameter.dtype)
    return torch.zeros(count, *shape)
