"""How large a network is and how much it computes."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from decoct.networks.probe import blank_inputs, undisturbed


def parameter_count(module: nn.Module) -> int:
    """The number of learnable values; a parameter that is used twice counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def flops_forward(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Floating-point operations of one forward image: two for each multiply-add of convolutions and linear layers.

    Normalisation, activation, pooling and the products inside attention are not counted. `module` runs once on two
    blank inputs of `shape`, in evaluation mode.
    """
    counts: list[int] = []

    def note(part: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(part, nn.Linear):
            counts.append(2 * output.numel() * part.in_features)
        elif isinstance(part, nn.Conv2d):
            counts.append(2 * output.numel() * part.in_channels // part.groups * prod(part.kernel_size))

    handles = [part.register_forward_hook(note) for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    try:
        with undisturbed(module):
            module(blank_inputs(module, shape, 2))
    finally:
        for handle in handles:
            handle.remove()
    return sum(counts) // 2
