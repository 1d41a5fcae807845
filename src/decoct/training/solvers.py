"""Solving with a Hessian that is never written down, by products alone: conjugate gradients and Neumann's series."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.errors import CurvatureError
from decoct.settings import require_above, require_at_least

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
        require_at_least(self, "a solver", steps=1, damping=0)
        require_above(self, "a solver", tolerance=0)

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
        require_at_least(self, "a solver", terms=1, damping=0)
        require_above(self, "a solver", step=0)

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
