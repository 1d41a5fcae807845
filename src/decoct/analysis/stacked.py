"""Many trainings of one network at once: one weight vector and one weighting of the rows for each copy."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import grad, vmap

from decoct.analysis.routine import Routine
from decoct.errors import ConfigError, DivergenceError
from decoct.networks.count import flops_forward
from decoct.training.config import LabelKind
from decoct.training.flat import FlatNetwork
from decoct.training.graphs import draws_noise, mixes_rows
from decoct.training.losses import RowLosses, row_losses

SMALL_STEP = 12e6
"""Floating-point operations of one copy's step below which copies are stacked on a processor: measured for both kinds
of networks, benchmarks/influence_speed.py."""
TINY_STEP = 2.5e6
"""The same, below which all of them are; above, the weights of many copies leave the cache."""
FEW = 25
"""Copies in one model between the two."""


def loss_rows(kind: LabelKind, temperature: float = 1.0) -> RowLosses:
    """The loss of every row that goes with labels of this kind, probabilities at their temperature."""
    return row_losses({"hard": "ce", "probabilities": "kl", "scores": "mse"}[kind], temperature)  # type: ignore[arg-type]


def require_separate_rows(module: nn.Module) -> None:
    """Raise `ConfigError` for a network in which rows see each other: leaving one out would change the others."""
    training = copy.deepcopy(module).train()
    if mixes_rows(training) or draws_noise(training):
        raise ConfigError(
            f"training copies of a {type(module).__name__} with rows left out",
            received="a network with batch normalisation or dropout",
            expected="a network whose output for a row depends on that row and the weights alone",
            remedy="take another normalisation, such as convnet3 (instance normalisation), or an mlp",
        )


def copies_at_once(module: nn.Module, shape: tuple[int, ...], rows: int, device: str, most: int) -> int:
    """How many copies to train as one stacked model, at most `most`; 0 where they are faster in turn.

    On an accelerator `most`, where small steps are bound by launches. On a processor for small steps only: stacking
    saves the time of calling the operations, not that of their arithmetic, and the weights of many copies leave its
    cache, where one set of weights stays; convolutions with other weights for every copy become grouped ones, which
    its libraries run far below their speed.
    """
    if device != "cpu":
        return most
    step = 3.0 * flops_forward(module, shape) * rows
    if step < TINY_STEP:
        return most
    return min(most, FEW) if step < SMALL_STEP else 0


def train_copies(
    module: nn.Module,
    inputs: Float[Tensor, "m ..."],
    targets: Shaped[Tensor, "m ..."],
    weights: Float[Tensor, "copies m"],
    routine: Routine,
    *,
    label_kind: LabelKind = "hard",
    temperature: float = 1.0,
    stack: int = 0,
) -> Float[Tensor, "copies P"]:
    """Train a copy of `module` for every row of `weights`, from the same start: `theta <- theta - lr v`, with
    `v <- momentum v + grad sum_i w_i l_i(theta)`, whole set a step; returns all weights, one vector a copy.

    Each row of `weights` `[copies, m]` is scaled to sum to 1, and 0 leaves a row out. `stack` copies are trained as
    one model by `vmap`, 0 trains one after the other. Both agree to rounding, which a long training enlarges. Cost
    O(copies steps m) passes; memory of `stack` copies of weights and activations.

    Raises `ConfigError` for a network in which rows see each other, `DivergenceError` where weights are not finite.
    """
    require_separate_rows(module)
    shares = weights / weights.sum(1, keepdim=True)
    losses = loss_rows(label_kind, temperature)
    if stack:
        parts = [_stacked(module, inputs, targets, part, losses, routine) for part in shares.split(stack)]
    else:
        parts = [_alone(module, inputs, targets, share, losses, routine)[None] for share in shares]
    found = torch.cat(parts)
    if not bool(torch.isfinite(found).all()):
        raise DivergenceError(
            f"training {len(weights)} copies of a {type(module).__name__} for {routine.steps} steps",
            received="weights that are not finite",
            expected="finite weights",
            remedy=f"take a smaller lr than {routine.lr}",
        )
    return found


def _stacked(
    module: nn.Module, inputs: Tensor, targets: Tensor, shares: Tensor, losses: RowLosses, routine: Routine
) -> Float[Tensor, "copies P"]:
    network = FlatNetwork(module)

    def loss(theta: Tensor, share: Tensor) -> Tensor:
        return (share * losses(network.logits(theta, inputs), targets)).sum()

    gradient = vmap(grad(loss))
    theta = network.flatten(module).repeat(len(shares), 1)
    velocity = torch.zeros_like(theta)
    for _ in range(routine.steps):
        velocity.mul_(routine.momentum).add_(gradient(theta, shares))
        theta.sub_(velocity, alpha=routine.lr)
    return theta


def _alone(
    module: nn.Module, inputs: Tensor, targets: Tensor, share: Tensor, losses: RowLosses, routine: Routine
) -> Float[Tensor, " P"]:
    """The plain loop: a row that is left out is not computed at all."""
    kept = torch.nonzero(share).flatten()
    inputs, targets, share = inputs[kept], targets[kept], share[kept]
    own = copy.deepcopy(module).train()
    fused = inputs.dtype in (torch.float32, torch.float64) and inputs.device.type in ("cpu", "cuda")
    optimizer = torch.optim.SGD(own.parameters(), lr=routine.lr, momentum=routine.momentum, fused=fused)
    for _ in range(routine.steps):
        optimizer.zero_grad()
        (share * losses(own(inputs), targets)).sum().backward()
        optimizer.step()
    return FlatNetwork(own).flatten(own)


@torch.no_grad()
def losses_of_copies(
    module: nn.Module,
    thetas: Float[Tensor, "copies P"],
    inputs: Float[Tensor, "n ..."],
    targets: Shaped[Tensor, "n ..."],
    label_kind: LabelKind = "hard",
) -> Float[Tensor, "copies n"]:
    """The loss of every row under every copy, one copy after the other."""
    network, losses = FlatNetwork(module), loss_rows(label_kind)
    return torch.stack([losses(network.logits(theta, inputs), targets) for theta in thetas])
