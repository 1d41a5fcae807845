"""How the validation loss of a trained network changes with its hyper-parameters, by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.training.solvers import Product, Solver

Loss = Callable[[Tensor, Tensor], Tensor]
"""`loss(theta [P], hyper [h]) -> scalar`, twice differentiable in `theta` and once more in `hyper`."""


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
