"""How large a network is and how much it computes."""

from __future__ import annotations

from collections.abc import Callable
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

    def operations(part: nn.Module, output: Tensor) -> int:
        if isinstance(part, nn.Linear):
            return 2 * output.numel() * part.in_features
        if isinstance(part, nn.Conv2d):
            return 2 * output.numel() * part.in_channels // part.groups * prod(part.kernel_size)
        return 0

    return _of_a_row(module, shape, operations)


def activation_values(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Values that one row leaves in the layers that have none inside them; `module` runs as for `flops_forward`."""
    return _of_a_row(module, shape, lambda part, output: 0 if list(part.children()) else output.numel())


def _of_a_row(module: nn.Module, shape: tuple[int, ...], count: Callable[[nn.Module, Tensor], int]) -> int:
    """The sum of what every part of a network that puts out a tensor counts for."""
    counts: list[int] = []

    def note(part: nn.Module, _: tuple[Tensor, ...], output: object) -> None:
        counts.append(count(part, output) if isinstance(output, Tensor) else 0)

    handles = [part.register_forward_hook(note) for part in module.modules()]
    try:
        with undisturbed(module):
            module(blank_inputs(module, shape, 2))
    finally:
        for handle in handles:
            handle.remove()
    return sum(counts) // 2
