"""`implicit`: the networks of the ridge regression adapt to the set, and the gradient passes through that (RCIG)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from decoct.augment.siamese import Siamese
from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.objective.ridge import as_scores, platt_loss, ridge_predict, squared_loss
from decoct.distillation.pool import Pool
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.networks.embedding import embed_and_classify
from decoct.settings import require_above, require_at_least
from decoct.streams import Streams
from decoct.training.optimise import trained

Weights = dict[str, Tensor]
TINY = 1e-30


@dataclass(frozen=True)
class Implicit(Objective):
    """`L = L_t(w + D*(S), S)`, `D*(S) = argmin_D 1/2 sum_j || f(x_j; w) + J_j D - y_j ||^2 + l2 m/2 ||D||^2`.

    Paper: "Dataset Distillation with Convexified Implicit Gradients" (RCIG), Loo, Hasani, Lechner, Rus, ICML 2023,
    https://arxiv.org/abs/2302.06755; code of the authors: https://github.com/yolky/RCIG.

    `w` are the weights of a pooled network, `J_j = df(x_j; w)/dw`, S the synthetic rows `[m, ...]` with scores `y`
    `[m, C]`. The inner problem is the network linearised at `w` (its frozen tangent kernel) fitted to S: quadratic,
    with the Hessian `H = J^T J + l2 m I`. The outer loss is kernel ridge regression on the features of the moved
    network, `phi(.; w + D*)`, of real rows `[n, ...]` against S; half the squared error, or the cross-entropy of the
    predictions times a learned scale (Platt). By the implicit function theorem

        dL/dS = dL_t/dS - d/dS [ v . dL_s/dD ],   H v = dL_t/dw,   v . dL_s/dD = J v . (f + J D* - y) + l2 m v . D*

    with D* and v held fixed on the right. Both linear systems are solved by so many steps of conjugate gradients on
    products with J and J^T; nothing is unrolled and no Hessian is formed. The pool is that of `ridge`.

    Cost of a step: n rows forward and backward for the weights, `inner_steps + hvp_steps` times about 6 forward passes
    of m rows, and one solve as in `ridge`; memory does not depend on the number of inner steps.

    Differs from the paper: squared error with a linear inner problem in all weights, head included, where the paper
    keeps the head of the body's loss optimal; conjugate gradients for both solves in place of 20 steps of Adam each,
    whose step sizes have to be tuned while the run goes on - the problem is quadratic with a positive matrix, for
    which they need none and, on the rows of a small set, converge in few steps. `D*` starts at the pooled network.
    Softplus in place of ReLU is a matter of the network: `-softplus`. Where the solves are cut off early, the gradient
    is that of the cut-off system, as in the paper.
    """

    label_space = "scores"
    real_batch: int = 512
    """Real rows of a step, classes in equal shares."""
    pool: int = 30
    """Networks kept."""
    max_age: int = 100
    """Training steps after which a network is drawn anew; ages are staggered at the start."""
    online_lr: float = 3e-4
    """Adam step size of the pooled networks."""
    inner_steps: int = 20
    """Steps of conjugate gradients that fit the linearised network; 0 leaves it where it is."""
    hvp_steps: int = 20
    """Steps of conjugate gradients for the product with the inverse Hessian."""
    l2: float = 5e-4
    """Weight of the squared distance from the pooled network, for each synthetic row."""
    reg: float = 5e-3
    """Ridge added to the kernel of the outer regression, as a share of its mean diagonal."""
    loss: Literal["mse", "platt"] = "platt"
    """Squared error, or cross-entropy of scaled predictions."""
    augmented: bool = False
    """Apply the siamese augmentation of the problem: one draw for all that a step sees."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {"real_batch": 1, "pool": 1, "max_age": 1, "inner_steps": 0, "hvp_steps": 0, "l2": 0, "reg": 0}
        require_at_least(self, "the objective 'implicit'", **least)
        require_above(self, "the objective 'implicit'", online_lr=0)

    def augments(self, families: tuple[str, ...]) -> tuple[str, ...]:
        return families if self.augmented else ()

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        return ImplicitState(self, problem, streams)

    def flops(self, problem: Problem) -> float:
        probe = network(problem.network, problem.shape, problem.class_count, 0)
        rows = problem.class_count * problem.ipc * (20 + 6 * (self.inner_steps + self.hvp_steps))
        return (3.0 * self.real_batch + rows) * flops_forward(probe, problem.shape)


def dot(left: Weights, right: Weights) -> Float[Tensor, ""]:
    """The inner product of two sets of weights."""
    return torch.stack([(value * right[name]).sum() for name, value in left.items()]).sum()


def add(left: Weights, right: Weights, factor: Tensor | float = 1.0) -> Weights:
    """`left + factor right`."""
    return {name: value + factor * right[name] for name, value in left.items()}


def conjugate_gradients(product: Callable[[Weights], Weights], right: Weights, steps: int) -> Weights:
    """`steps` steps of conjugate gradients from zero for `A x = right`, A symmetric and positive.

    The number of steps is fixed; once the residual is nothing, the rest change nothing.
    """
    solution = {name: torch.zeros_like(value) for name, value in right.items()}
    residual = direction = right
    size = dot(residual, residual)
    floor = size * torch.finfo(size.dtype).eps ** 2
    for _ in range(steps):
        moved = product(direction)
        open_ = (size > floor).to(size.dtype)
        length = open_ * size / dot(direction, moved).clamp_min(TINY)
        solution = add(solution, direction, length)
        residual = add(residual, moved, -length)
        before, size = size, dot(residual, residual)
        direction = add(residual, direction, open_ * size / before.clamp_min(TINY))
    return solution


class Linearised:
    """A network linearised at its weights `w` on rows of inputs: `f + J D`, and the inner problem of that.

    `J u` is had by differentiating `J^T g` for `g`, so that any module will do whose backward pass is differentiable.
    """

    def __init__(self, module: nn.Module, images: Float[Tensor, "m ..."], l2: float) -> None:
        self._carrier, self._l2, self._rows = _Both(module), l2, len(images)
        self.weights: Weights = {
            f"inner.{name}": value.detach().requires_grad_() for name, value in trained(module).items()
        }
        others = {f"inner.{name}": value.detach() for name, value in module.named_parameters()}
        others |= {f"inner.{name}": value.detach() for name, value in module.named_buffers()}
        self._fixed = {name: value for name, value in others.items() if name not in self.weights}
        self.logits: Tensor = self.run(self.weights, images)[1]
        self._blank = torch.zeros_like(self.logits).requires_grad_()
        self._pulled = self.pull(self._blank, graph=True)

    def run(self, weights: Weights, images: Float[Tensor, "n ..."]) -> tuple[Tensor, Tensor]:
        """Features `[n, d]` and logits `[n, C]` under other weights; running statistics stay as they are."""
        fixed = {name: value.clone() for name, value in self._fixed.items()}
        return functional_call(self._carrier, weights | fixed, (images,))

    def pull(self, outputs: Float[Tensor, "m c"], graph: bool = False) -> Weights:
        """`J^T outputs`, with `graph` differentiable in the rows and in `outputs`."""
        found = torch.autograd.grad(
            self.logits, list(self.weights.values()), outputs,
            retain_graph=True, create_graph=graph, allow_unused=True, materialize_grads=True,
        )  # fmt: skip
        return dict(zip(self.weights, found, strict=True))

    def push(self, change: Weights) -> Float[Tensor, "m c"]:
        """`J change`."""
        used = {name: value for name, value in self._pulled.items() if value.requires_grad}
        (found,) = torch.autograd.grad(
            list(used.values()), self._blank, [change[name] for name in used], retain_graph=True
        )
        return found

    def fit(self, targets: Float[Tensor, "m c"], steps: int) -> Weights:
        """The change of the weights that solves the inner problem: `H D = J^T (y - f)`."""
        return self.solve(self.pull(targets - self.logits.detach()), steps)

    def solve(self, right: Weights, steps: int) -> Weights:
        """`H^-1 right` for `H = J^T J + l2 m I`."""
        return conjugate_gradients(
            lambda change: add(self.pull(self.push(change)), change, self._l2 * self._rows), right, steps
        )

    def coupling(self, targets: Float[Tensor, "m c"], change: Weights, other: Weights) -> Float[Tensor, ""]:
        """A number with the gradient of `v . dL_s/dD = J v . (f + J D - y)` for rows and targets.

        By the product rule every J stands in a backward pass with a constant, so that one order less is needed.
        """
        slope = self.push(other)
        gap = (self.logits + self.push(change) - targets).detach()
        joint = dot(self.pull(gap, graph=True), other) + dot(self.pull(slope, graph=True), change)
        return joint + (slope * (self.logits - targets)).sum()


class _Both(nn.Module):
    """Makes features and logits a forward pass, so that they can be had under other weights."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return embed_and_classify(self.inner, x)


class ImplicitState(ObjectiveState):
    """The pool and the learned scale of the predictions."""

    def __init__(self, config: Implicit, problem: Problem, streams: Streams) -> None:
        self._config, self._problem, self._streams = config, problem, streams
        self._pool = Pool(problem, streams, config.pool, config.max_age, config.online_lr)
        self._current = 0
        self._siamese = Siamese(problem.strategy) if config.augmented and problem.strategy else None
        self._scale = torch.zeros((), device=problem.device) if config.loss == "platt" else None

    @property
    def tensors(self) -> Tensors:
        return {} if self._scale is None else {"log_scale": self._scale}

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        config = self._config
        self._current = self._pool.pick()
        rows, labels = real.batch(config.real_batch)
        images, targets = synthetic.images, as_scores(synthetic.targets)
        if self._siamese is not None:
            drawn = self._siamese.draw(1, self._problem.shape, self._streams("augmentation"))
            rows, images = self._siamese.apply(rows, drawn), self._siamese.apply(images, drawn)
        frozen = Linearised(self._pool.modules[self._current], images, config.l2)
        change = frozen.fit(targets.detach(), config.inner_steps)
        moved = {name: value.detach().requires_grad_() for name, value in add(frozen.weights, change).items()}
        predicted = ridge_predict(frozen.run(moved, rows)[0], frozen.run(moved, images)[0], targets, config.reg)
        outer = squared_loss(predicted, labels) if self._scale is None else platt_loss(predicted, labels, self._scale)
        found = torch.autograd.grad(
            outer, list(moved.values()), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        other = frozen.solve(dict(zip(moved, found, strict=True)), config.hvp_steps)
        coupling = frozen.coupling(targets, change, other)
        return outer - (coupling - coupling.detach())

    def advance(self, synthetic: Synthetic, real: RealSource) -> None:
        images = synthetic.images.detach()
        if self._siamese is not None:
            images = self._siamese(images, self._streams("augmentation"))
        self._pool.train(self._current, images, as_scores(synthetic.targets).detach())

    def state_dict(self) -> Tensors:
        return self._pool.state_dict()

    def load_state_dict(self, state: Tensors) -> None:
        self._pool.load_state_dict(state)
