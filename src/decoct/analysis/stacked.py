"""Many trainings of one network at once: one weight vector and one weighting of the rows for each copy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import grad, vmap

from decoct.analysis.routine import Routine
from decoct.compact.compact_set import CompactSet
from decoct.errors import ConfigError, DivergenceError
from decoct.evaluation.contender import Material
from decoct.machine import available_memory, require_memory
from decoct.networks.count import activation_values, flops_forward, parameter_count
from decoct.training.flat import FlatNetwork
from decoct.training.graphs import draws_noise, mixes_rows
from decoct.training.losses import RowLosses, cross_entropy, row_losses, squared_error_and_class, with_classes

SMALL_STEP = 12e6
"""Floating-point operations of one copy's step below which copies are stacked on a processor: measured for both kinds
of networks, benchmarks/influence_speed.py."""
TINY_STEP = 2.5e6
"""The same, below which all of them are; above, the weights of many copies leave the cache."""
FEW = 25
"""Copies in one model between the two."""
_ROWS = 512
"""Rows that are measured at a time."""


def loss_rows(material: Material) -> tuple[RowLosses, Shaped[Tensor, "m ..."]]:
    """The loss of every row that goes with these labels, as `Material.student` trains, and the targets that it takes:
    probabilities at their temperature, scores with the class beside them where that has a weight."""
    if material.class_weight and material.classes is not None:
        losses = partial(squared_error_and_class, weight=material.class_weight)
        return losses, with_classes(material.targets, material.classes)
    name = {"hard": "ce", "probabilities": "kl", "scores": "mse"}[material.label_kind]
    return row_losses(name, material.temperature), material.targets  # type: ignore[arg-type]


def class_weight_key(compact_set: CompactSet) -> dict[str, float]:
    """What the weight of the class adds to the key of what is taken with `loss_rows`, which left it out once."""
    return {"class_weight": compact_set.class_weight} if compact_set.class_weight else {}


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

    On an accelerator, where small steps are bound by launches, as many as its free memory holds beside the weights of
    all `rows + 1`, by an estimate. On a processor for small steps only: stacking saves the time of calling the
    operations, not that of their arithmetic, and the weights of many copies leave its cache, where one set of weights
    stays; convolutions with other weights for every copy become grouped ones, which its libraries run far below their
    speed.
    """
    if device.startswith("cuda"):
        fit = copies_that_fit(module, shape, rows, available_memory(device))
        return min(most, fit) if fit > 1 else 0
    if device != "cpu":
        return most
    step = 3.0 * flops_forward(module, shape) * rows
    if step < TINY_STEP:
        return most
    return min(most, FEW) if step < SMALL_STEP else 0


def copies_that_fit(module: nn.Module, shape: tuple[int, ...], rows: int, free: int) -> int:
    """How many copies take a step together in `free` bytes beside the weights of all `rows + 1`.

    Each has its weights, velocity, gradient and a change of them, and for every row what layers put out with its
    gradient, and as much again for what lies between layers.
    """
    own = parameter_count(module)
    size = 4 * (4 * own + 4 * rows * activation_values(module, shape))
    return max(0, (free - 4 * (rows + 1) * own) // size)


def train_copies(
    module: nn.Module,
    inputs: Float[Tensor, "m ..."],
    targets: Shaped[Tensor, "m ..."],
    weights: Float[Tensor, "copies m"],
    routine: Routine,
    *,
    losses: RowLosses = cross_entropy,
    stack: int = 0,
) -> Float[Tensor, "copies P"]:
    """Train a copy of `module` for every row of `weights`, from the same start: `theta <- theta - lr v`, with
    `v <- momentum v + grad sum_i w_i l_i(theta)`, whole set a step and `losses` l; returns all weights, one vector a
    copy.

    Each row of `weights` `[copies, m]` is scaled to sum to 1, and 0 leaves a row out. `stack` copies are trained as
    one model by `vmap`, 0 trains one after the other. Both agree to rounding, which a long training enlarges. Cost
    O(copies steps m) passes; memory of the weights of all copies, `[copies, P]`, throughout, and of three more vectors
    and the activations of the `stack` copies in training.

    Raises `ConfigError` for a network in which rows see each other, `MemoryEstimateError` where the weights do not fit,
    `DivergenceError` where weights are not finite.
    """
    require_separate_rows(module)
    called = f"training {len(weights)} copies of a {type(module).__name__} for {routine.steps} steps"
    start = FlatNetwork(module).flatten(module)
    at_once = min(max(stack, 1), len(weights))
    require_memory(
        called, start.nbytes * (len(weights) + 3 * at_once),
        "take a narrower network, a smaller set or a smaller stack", str(inputs.device),
    )  # fmt: skip
    train: Callable[..., Tensor] = _stacked if stack else _alone
    found = start.new_empty(len(weights), len(start))
    shares = weights / weights.sum(1, keepdim=True)
    for part, own in zip(shares.split(stack or 1), found.split(stack or 1), strict=True):
        own.copy_(train(module, inputs, targets, part, losses, routine))
        if not bool(torch.isfinite(own).all()):
            raise DivergenceError(
                called, received="weights that are not finite", expected="finite weights",
                remedy=f"take a smaller lr than {routine.lr}",
            )  # fmt: skip
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
    module: nn.Module, inputs: Tensor, targets: Tensor, shares: Tensor, losses: RowLosses, routine: Routine
) -> Float[Tensor, "1 P"]:
    """The plain loop of one copy: a row that is left out is not computed at all."""
    [share] = shares
    kept = torch.nonzero(share).flatten()
    inputs, targets, share = inputs[kept], targets[kept], share[kept]
    own = copy.deepcopy(module).train()
    fused = inputs.dtype in (torch.float32, torch.float64) and inputs.device.type in ("cpu", "cuda")
    optimizer = torch.optim.SGD(own.parameters(), lr=routine.lr, momentum=routine.momentum, fused=fused)
    for _ in range(routine.steps):
        optimizer.zero_grad()
        (share * losses(own(inputs), targets)).sum().backward()
        optimizer.step()
    return FlatNetwork(own).flatten(own)[None]


@torch.no_grad()
def losses_of_copies(
    module: nn.Module,
    thetas: Float[Tensor, "copies P"],
    inputs: Float[Tensor, "n ..."],
    targets: Shaped[Tensor, "n ..."],
    losses: RowLosses = cross_entropy,
) -> Float[Tensor, "copies n"]:
    """The loss of every row under every copy, one copy and one piece of the rows after the other."""
    network = FlatNetwork(module)
    pieces = list(zip(inputs.split(_ROWS), targets.split(_ROWS), strict=True))
    return torch.stack([torch.cat([losses(network.logits(theta, x), y) for x, y in pieces]) for theta in thetas])
