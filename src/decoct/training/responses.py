"""Trajectories of hyper-parameters: weights trained at each point, how they answer, and the hypergradient there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.errors import DivergenceError
from decoct.machine import require_memory
from decoct.progress import Ticker
from decoct.settings import require_above, require_at_least
from decoct.streams import Streams, derive_seed
from decoct.training.flat import FlatNetwork
from decoct.training.hypergradient import gauss_newton_product, hessian_product, response
from decoct.training.solvers import ConjugateGradient, Neumann, Product
from decoct.training.space import Space
from decoct.training.weighted_rows import Rows, mean_loss, pieces


@dataclass(frozen=True)
class Walk:
    """How trajectories of hyper-parameters are walked and measured."""

    starts: int = 6
    """Trajectories; each begins at a corner of the space."""
    length: int = 8
    """Points of each."""
    step: float = 0.15
    """Length of a step against the hypergradient, in the unit cube of hyper-parameters; it is cut at the faces."""
    first_steps: int = 150
    """Training steps at the first point of a trajectory."""
    next_steps: int = 40
    """Training steps at each later one, from the weights of the point before."""
    lr: float = 0.01
    """Step size of Adam, cosine down to 0 at every point."""
    solver: ConjugateGradient | Neumann = field(default_factory=lambda: ConjugateGradient(steps=20, damping=1e-3))
    """How `(H + damping)^-1` is applied: conjugate gradients, or the Neumann series of the paper."""
    full_batch: int = 64
    """Rows of a training step on all rows, where there are networks of these."""
    full_rows: int = 500
    """Of all rows, how many say how those networks move with the hyper-parameters."""
    curvature: Literal["gauss-newton", "hessian"] = "gauss-newton"
    """gauss-newton has no negative eigenvalue; the exact Hessian asks for weights at a minimum."""

    def __post_init__(self) -> None:
        require_at_least(self, "a Walk", starts=1, length=1, first_steps=1, next_steps=0, full_batch=1, full_rows=1)
        require_above(self, "a Walk", step=0, lr=0)


@dataclass(frozen=True, eq=False)
class Points:
    """K points of the space: `hyper` `[K, h]`, trained weights `theta` `[K, P]`, how they move with the
    hyper-parameters, `response` `[K, P, h]`, and of the whole validation set the gradient for the weights, `slope`
    `[K, P]`, and the hypergradient, `target` `[K, h]`, of these networks or of those trained on all rows.
    """

    hyper: Float[Tensor, "K h"]
    theta: Float[Tensor, "K P"]
    response: Float[Tensor, "K P h"]
    slope: Float[Tensor, "K P"]
    target: Float[Tensor, "K h"]
    residual: float
    """The largest relative residual of the systems that were solved."""

    def __len__(self) -> int:
        return len(self.hyper)


def train_at(
    net: FlatNetwork,
    space: Space,
    hyper: Float[Tensor, " h"],
    theta: Float[Tensor, " P"],
    start: Float[Tensor, " P"],
    rows: Rows,
    *,
    steps: int,
    lr: float,
    batch: int | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " P"]:
    """Weights after `steps` of Adam (cosine step size) from `theta` on the training loss at `hyper`.

    All rows are one batch, or `batch` of them, drawn from `generator` in shuffled passes. Raises `DivergenceError`.
    """
    inputs, targets = (part.detach() for part in space.batch(net, hyper, rows.inputs, rows.targets))
    weights = theta.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([weights], lr=lr)
    queue: list[Tensor] = []
    loss = torch.zeros(())
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        x, y, w = inputs, targets, rows.weights
        if batch is not None and batch < len(inputs):
            queue = queue or list(torch.randperm(len(inputs), generator=generator).split(batch))
            picked = queue.pop()
            x, y, w = inputs[picked], targets[picked], None if rows.weights is None else rows.weights[picked]
        optimizer.zero_grad()
        loss = mean_loss(net.logits(weights, x), y, w) + space.penalty(net, hyper, weights, start)
        loss.backward()
        optimizer.step()
    if not bool(torch.isfinite(weights).all()):
        raise DivergenceError(
            "training a network at a point of a hyper-parameter search",
            received=f"weights that are not finite, the last loss {loss.item():g}",
            expected="finite weights",
            remedy=f"lower lr (now {lr:g}), or the upper ends of the space",
        )
    return weights.detach()


def validation_loss(net: FlatNetwork, theta: Float[Tensor, " P"], rows: Rows) -> Float[Tensor, ""]:
    """Mean cross-entropy of these rows by their weights, differentiable."""
    return mean_loss(net.logits(theta, rows.inputs), rows.targets, rows.weights)


def validation_slope(net: FlatNetwork, theta: Float[Tensor, " P"], rows: Rows) -> Float[Tensor, " P"]:
    """Gradient of the validation loss for the weights, a piece of rows at a time.

    With BatchNorm each piece is normalised with its own statistics.
    """
    total = torch.zeros_like(theta)
    for piece in pieces(rows):
        at = theta.detach().requires_grad_(True)
        loss = validation_loss(net, at, piece) * (len(piece.inputs) / len(rows.inputs))
        total += torch.autograd.grad(loss, at)[0]
    return total


def responses_at(
    net: FlatNetwork, space: Space, hyper: Tensor, theta: Tensor, start: Tensor, rows: Rows, walk: Walk, every: int = 1
) -> tuple[Float[Tensor, "P h"], float]:
    """How weights trained on `rows` move with the hyper-parameters, by every so manieth row; the residual of that."""
    counts = None if rows.weights is None else rows.weights[::every]

    def batch(knobs: Tensor) -> tuple[Tensor, Tensor]:
        # All rows first: what a row becomes may hang on its place.
        x, y = space.batch(net, knobs, rows.inputs, rows.targets)
        return x[::every], y[::every]

    def loss(weights: Tensor, knobs: Tensor) -> Tensor:
        x, y = batch(knobs)
        return mean_loss(net.logits(weights, x), y, counts) + space.penalty(net, knobs, weights, start)

    def penalty(weights: Tensor) -> Tensor:
        return space.penalty(net, hyper, weights, start)

    x, y = (part.detach() for part in batch(hyper))
    return response(loss, theta, hyper, walk.solver, _product(net, theta, Rows(x, y, counts), penalty, walk))


def _product(net: FlatNetwork, theta: Tensor, rows: Rows, penalty: Callable[[Tensor], Tensor], walk: Walk) -> Product:
    x, y = rows.inputs, rows.targets
    if walk.curvature == "hessian":
        return hessian_product(lambda at: mean_loss(net.logits(at, x), y, rows.weights) + penalty(at), theta)
    return gauss_newton_product(
        lambda weights: net.logits(weights, x), lambda logits: mean_loss(logits, y, rows.weights), theta, penalty
    )


class _Walker:
    """Weights that are trained on `rows` from point to point of a trajectory; in batches with a `generator`."""

    def __init__(
        self, net: FlatNetwork, space: Space, walk: Walk, start: Tensor, rows: Rows,
        generator: torch.Generator | None = None,
    ) -> None:  # fmt: skip
        self._net, self._space, self._walk, self._rows, self._generator = net, space, walk, rows, generator
        self._start = self._theta = start

    def at(self, u: Tensor, steps: int) -> tuple[Tensor, Tensor, float]:
        """The weights after so many more steps at `u`, how they move with it, and the residual of that."""
        net, space, walk, rows, batched = self._net, self._space, self._walk, self._rows, self._generator is not None
        self._theta = train_at(
            net, space, u, self._theta, self._start, rows, steps=steps, lr=walk.lr,
            batch=walk.full_batch if batched else None, generator=self._generator,
        )  # fmt: skip
        every = -(-len(rows.inputs) // walk.full_rows) if batched else 1
        moves, residual = responses_at(net, space, u, self._theta, self._start, rows, walk, every)
        return self._theta, moves, residual


def walk_through(
    net: FlatNetwork,
    build: Callable[[int], Float[Tensor, " P"]],
    space: Space,
    train: Rows,
    val: Rows,
    walk: Walk,
    seed: int,
    tick: Ticker | None = None,
    full: Rows | None = None,
) -> Points:
    """Points on `walk.starts` trajectories of hyper-parameters, each descending the validation loss of all `val`.

    The points do not depend on any condensed validation set, so they are found once. Trajectory i starts from the
    weights `build(seed of i)`. With `full` rows a second network is trained on these beside the one trained on `train`,
    and the hypergradient that is kept and descended is that of the second. Cost at each point: the training steps, h
    solves and a gradient over `val`, twice with `full`; memory `K P (h + 2)` numbers.

    Raises `ConfigError`, `CurvatureError`, `DivergenceError`, `MemoryEstimateError`.
    """
    hyper = space.starts(net, walk.starts, Streams(seed)("starts")).to(train.inputs.device)
    count, knobs = walk.starts * walk.length, hyper.shape[1]
    require_memory(
        f"keeping {count} points of {knobs} hyper-parameters of a network of {net.count} weights",
        4 * count * net.count * (knobs + 2), "take fewer starts or a shorter length, a narrower network, fewer knobs",
    )  # fmt: skip
    kept: list[tuple[Tensor, ...]] = []
    worst = 0.0
    for number, u in enumerate(hyper):
        own = derive_seed(seed, "start", number)
        start = build(own).to(u.device)
        small = _Walker(net, space, walk, start, train)
        whole = full and _Walker(net, space, walk, start, full, Streams(own)("batches"))
        for place in range(walk.length):
            steps = walk.next_steps if place else walk.first_steps
            theta, moves, residual = small.at(u, steps)
            slope = validation_slope(net, theta, val)
            target = moves.T @ slope
            if whole:
                theta_full, moves_full, other = whole.at(u, steps)
                target, residual = moves_full.T @ validation_slope(net, theta_full, val), max(residual, other)
            kept.append((u, theta, moves, slope, target))
            worst = max(worst, residual)
            u = (u - walk.step * target / target.norm().clamp_min(1e-12)).clamp(0, 1)  # noqa: PLW2901
            if tick:
                tick(len(kept), f"residual {residual:.2g}")
    return Points(*(torch.stack(part) for part in zip(*kept, strict=True)), residual=worst)


def projected_slope(
    net: FlatNetwork, theta: Float[Tensor, " P"], moves: Float[Tensor, "P h"], rows: Rows
) -> Float[Tensor, " h"]:
    """`J^T d L_rows / d theta`, the hypergradient of these rows, with a graph to them.

    It is the slope of the loss along the h directions in which the hyper-parameters move the weights, so it needs one
    gradient for h numbers `e` at 0 with `theta + J e`.
    """
    along = torch.zeros(moves.shape[1], dtype=theta.dtype, device=theta.device, requires_grad=True)
    loss = validation_loss(net, theta + moves @ along, rows)
    return torch.autograd.grad(loss, along, create_graph=True)[0]
