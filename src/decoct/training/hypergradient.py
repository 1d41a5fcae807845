"""How the validation loss of a trained network changes with its hyper-parameters, by the implicit function theorem."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.errors import ConfigError, CurvatureError

Loss = Callable[[Tensor, Tensor], Tensor]
"""`loss(theta [P], hyper [h]) -> scalar`, twice differentiable in `theta` and once more in `hyper`."""
Product = Callable[[Tensor], Tensor]
"""`product(v [P]) -> H v [P]` for a symmetric matrix that is never written down."""
POWER_STEPS = 12
"""Products with which Neumann's step size is found."""


@dataclass(frozen=True, eq=False)
class Solution:
    """`x` `[P]` with `(H + damping) x` near `b`; `residual` is what is left of it, relative to the norm of `b`."""

    x: Float[Tensor, " P"]
    residual: float
    products: int
    """Products with H that it took."""


class Solver(ABC):
    """Solves `(H + damping I) x = b` with products alone."""

    damping: float

    @abstractmethod
    def solve(self, product: Product, b: Float[Tensor, " P"]) -> Solution:
        """`x` for this right-hand side; zeros for zeros. Raises `CurvatureError` where H is not what it must be."""


@dataclass(frozen=True)
class ConjugateGradient(Solver):
    """Conjugate gradients: exact after P steps for a positive definite H, good after far fewer.

    Cost `steps` products and `4 P` numbers. Raises `CurvatureError` for a direction of negative curvature, along which
    the training loss could still fall: such weights are no minimum and have no hypergradient.
    """

    steps: int = 30
    """Products at most, 1 or more."""
    tolerance: float = 1e-4
    """Residual relative to the right-hand side at which it stops, above 0."""
    damping: float = 0.0
    """Added to every eigenvalue of H, 0 or more."""

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "steps", self.steps, "1 or more")
        _require(self.tolerance > 0, "tolerance", self.tolerance, "a number above 0")
        _require(self.damping >= 0, "damping", self.damping, "0 or more")

    def solve(self, product: Product, b: Float[Tensor, " P"]) -> Solution:
        x, r = torch.zeros_like(b), b.clone()
        p, square = r.clone(), float(b @ b)
        scale = math.sqrt(square)
        if scale == 0:
            return Solution(x, 0.0, 0)
        done = 0
        while done < self.steps and math.sqrt(square) > self.tolerance * scale:
            curved = product(p) + self.damping * p
            curvature = float(p @ curved)
            done += 1
            if not curvature > 0:
                raise _not_positive(curvature / float(p @ p), done, self.damping)
            step = square / curvature
            x, r = x + step * p, r - step * curved
            before, square = square, float(r @ r)
            p = r + square / before * p
        return Solution(x, math.sqrt(square) / scale, done)


@dataclass(frozen=True)
class Neumann(Solver):
    """The series `x = s sum_j (I - s (H + damping))^j b` for `j = 0 .. terms - 1`, which converges for
    `0 < s < 2 / lambda_max`.

    Without a `step`, `s = 1 / lambda_max`, the largest eigenvalue found by a few products (power iteration, the same
    start every time). Cost `terms` products (and 12 for the step). Raises `CurvatureError` where the terms grow.
    """

    terms: int = 50
    """Terms of the series, 1 or more."""
    step: float | None = None
    """Step size s, below 2 / lambda_max; none finds one."""
    damping: float = 0.0
    """Added to every eigenvalue of H, 0 or more."""

    def __post_init__(self) -> None:
        _require(self.terms >= 1, "terms", self.terms, "1 or more")
        _require(self.step is None or self.step > 0, "step", self.step, "a number above 0, or none")
        _require(self.damping >= 0, "damping", self.damping, "0 or more")

    def solve(self, product: Product, b: Float[Tensor, " P"]) -> Solution:
        scale = float(b.norm())
        if scale == 0:
            return Solution(torch.zeros_like(b), 0.0, 0)
        spent = 0 if self.step else POWER_STEPS
        step = self.step or 1 / (1.05 * (largest_eigenvalue(product, b) + self.damping))
        x, term = torch.zeros_like(b), b.clone()
        for number in range(self.terms):
            x = x + step * term
            term = term - step * (product(term) + self.damping * term)
            # Every factor is at most 1 where the series converges, so a term above the first one says that it does not.
            if not float(term.norm()) <= 1.01 * scale:
                raise _growing(float(term.norm()) / scale, number + 1, step)
        # (H + damping) x = b - (I - s (H + damping))^terms b: the next term is what is left.
        return Solution(x, float(term.norm()) / scale, spent + self.terms)


def largest_eigenvalue(product: Product, like: Float[Tensor, " P"]) -> float:
    """The largest eigenvalue in size, from below, by power iteration from one fixed start.

    Raises `CurvatureError` for a matrix of zeros.
    """
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(len(like), generator=generator, dtype=torch.float64).to(like)
    size = 0.0
    for _ in range(POWER_STEPS):
        v = product(v / v.norm())
        size = float(v.norm())
        if not 0 < size < math.inf:
            raise CurvatureError(
                "looking for the step size of a Neumann series",
                received=f"a product of norm {size}",
                expected="a Hessian that is neither zero nor infinite",
                remedy="check the training loss for NaN, or give the step yourself",
            )
    return size


@dataclass(frozen=True, eq=False)
class Hypergradient:
    """`value` `[h]` and what tells how far to trust it."""

    value: Float[Tensor, " h"]
    residual: float
    """Of the linear system, relative; 0 is exact."""
    stationarity: float
    """Norm of the training gradient at `theta`: the theorem asks for 0."""


def hessian_product(loss: Callable[[Tensor], Tensor], theta: Float[Tensor, " P"]) -> Product:
    """Products with the Hessian of `loss(theta)`; one graph serves all of them."""
    at = theta.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(loss(at), at, create_graph=True)

    def product(v: Tensor) -> Tensor:
        return torch.autograd.grad(slope, at, v, retain_graph=True)[0].detach()

    return product


def gauss_newton_product(
    outputs: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor], Tensor],
    theta: Float[Tensor, " P"],
    penalty: Callable[[Tensor], Tensor] | None = None,
) -> Product:
    """Products with `J^T (d^2 loss / d outputs^2) J` plus the Hessian of `penalty(theta)`, `J = d outputs / d theta`.

    It is what the Hessian is where the network is linear in its weights, and for a convex `loss` of the outputs it has
    no negative eigenvalue, so conjugate gradients always run through. One graph serves all products.
    """
    at = theta.detach().requires_grad_(True)
    found = outputs(at)
    dummy = torch.zeros_like(found, requires_grad=True)
    (pulled,) = torch.autograd.grad(found, at, dummy, create_graph=True)
    leaf = found.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    other = None if penalty is None else hessian_product(penalty, theta)

    def product(v: Tensor) -> Tensor:
        (pushed,) = torch.autograd.grad(pulled, dummy, v, retain_graph=True)
        (bent,) = torch.autograd.grad(slope, leaf, pushed, retain_graph=True)
        (back,) = torch.autograd.grad(found, at, bent, retain_graph=True)
        return back.detach() if other is None else back.detach() + other(v)

    return product


def hypergradient(
    train_loss: Loss,
    val_loss: Loss,
    theta: Float[Tensor, " P"],
    hyper: Float[Tensor, " h"],
    solver: Solver,
    product: Product | None = None,
) -> Hypergradient:
    """`d L_val / d hyper = d_hyper L_val - (d^2 L_train / d hyper d theta) (H + damping)^-1 d_theta L_val`.

    `theta` `[P]` must be a minimum of `train_loss(., hyper)`; H is its Hessian there, or what `product` says (such as
    `gauss_newton_product`). After "Optimizing Millions of Hyperparameters by Implicit Differentiation", Lorraine,
    Vicol, Duvenaud, 2020, https://arxiv.org/abs/1911.02590. Cost one solve, two gradients and one mixed product.

    Raises `CurvatureError` where the solver does.
    """
    at, knobs = _leaves(theta, hyper)
    outer = torch.autograd.grad(val_loss(at, knobs), (at, knobs), allow_unused=True, materialize_grads=True)
    product = product or hessian_product(lambda weights: train_loss(weights, hyper), theta)
    solved = solver.solve(product, outer[0])
    (slope,) = torch.autograd.grad(train_loss(at, knobs), at, create_graph=True)
    mixed = _mixed(slope, knobs, solved.x)
    return Hypergradient(outer[1] - mixed, solved.residual, float(slope.detach().norm()))


def response(
    train_loss: Loss,
    theta: Float[Tensor, " P"],
    hyper: Float[Tensor, " h"],
    solver: Solver,
    product: Product | None = None,
) -> tuple[Float[Tensor, "P h"], float]:
    """How the trained weights move with the hyper-parameters: `J = -(H + damping)^-1 d^2 L_train / d theta d hyper`.

    With it the hypergradient of any validation loss is `d_hyper L_val + J^T d_theta L_val`, without another solve.
    Returns J and the largest relative residual of its h columns. Cost h solves. Raises `CurvatureError`.
    """
    at, knobs = _leaves(theta, hyper)
    product = product or hessian_product(lambda weights: train_loss(weights, hyper), theta)
    (slope,) = torch.autograd.grad(train_loss(at, knobs), at, create_graph=True)
    dummy = torch.zeros_like(slope, requires_grad=True)
    columns, worst = [], 0.0
    if not slope.requires_grad:
        return theta.new_zeros(len(theta), len(hyper)), 0.0
    (pulled,) = torch.autograd.grad(slope, knobs, dummy, create_graph=True, allow_unused=True, materialize_grads=True)
    for knob in range(len(hyper)):
        found = (None,)
        if pulled.requires_grad:
            found = torch.autograd.grad(pulled[knob], dummy, retain_graph=True, allow_unused=True)
        solved = solver.solve(product, torch.zeros_like(theta) if found[0] is None else found[0])
        columns.append(-solved.x)
        worst = max(worst, solved.residual)
    return torch.stack(columns, 1), worst


def _leaves(theta: Tensor, hyper: Tensor) -> tuple[Tensor, Tensor]:
    return theta.detach().requires_grad_(True), hyper.detach().requires_grad_(True)


def _mixed(slope: Tensor, knobs: Tensor, x: Tensor) -> Tensor:
    """`x^T d slope / d knobs`, zeros where the training loss does not depend on the knobs."""
    if not slope.requires_grad:
        return torch.zeros_like(knobs)
    return torch.autograd.grad(slope, knobs, x, allow_unused=True, materialize_grads=True)[0]


def _require(good: bool, name: str, value: object, expected: str) -> None:
    if not good:
        raise ConfigError(
            f"setting {name} of a solver", received=repr(value), expected=expected, remedy=f"give another {name}"
        )


def _not_positive(curvature: float, step: int, damping: float) -> CurvatureError:
    return CurvatureError(
        f"conjugate gradients, step {step}",
        received=f"a direction of curvature {curvature:.3g} (damping {damping:g} included)",
        expected="a positive definite Hessian: weights at a minimum of the training loss",
        remedy=f"train longer, raise the damping above {abs(curvature) + damping:.1g}, add weight decay, or use "
        "gauss_newton_product, which has no negative curvature",
    )


def _growing(times: float, term: int, step: float) -> CurvatureError:
    return CurvatureError(
        f"a Neumann series with the step {step:.3g}",
        received=f"term {term}, {times:.3g} times as large as the first",
        expected="terms that shrink: a step below 2 / lambda_max, and no negative eigenvalue",
        remedy="lower the step (none finds one), raise the damping, train longer, or use gauss_newton_product",
    )
