"""Hypergradients by implicit differentiation: closed form on ridge regression, finite differences, and refusals."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from decoct.errors import ConfigError, CurvatureError
from decoct.training.hypergradient import gauss_newton_product, hessian_product, hypergradient, response
from decoct.training.solvers import ConjugateGradient, Neumann, largest_eigenvalue

EXACT = ConjugateGradient(steps=200, tolerance=1e-12)


@pytest.fixture
def ridge():
    """Rows, targets and one penalty for each of two groups of weights, all in double precision."""
    generator = torch.Generator().manual_seed(0)
    x, x_val = (torch.randn(n, 6, generator=generator, dtype=torch.float64) for n in (30, 20))
    w = torch.randn(6, generator=generator, dtype=torch.float64)
    noise = torch.randn(50, generator=generator, dtype=torch.float64)
    return x, x @ w + noise[:30], x_val, x_val @ w + noise[30:]


GROUP = torch.tensor([0, 0, 0, 1, 1, 1])


def minimum(ridge, hyper):
    """`argmin_w |X w - y|^2 / 2 + sum_i exp(hyper_g(i)) w_i^2 / 2`, as a formula."""
    x, y, _, _ = ridge
    return torch.linalg.solve(x.T @ x + torch.diag(hyper.exp()[GROUP]), x.T @ y)


def losses(ridge):
    x, y, x_val, y_val = ridge

    def train(w, hyper):
        return (x @ w - y).square().sum() / 2 + (hyper.exp()[GROUP] * w.square()).sum() / 2

    def val(w, hyper):
        return (x_val @ w - y_val).square().mean()

    return train, val


@pytest.mark.parametrize("solver", [EXACT, Neumann(terms=4000)])
def test_ridge_regression_agrees_with_the_derivative_of_the_closed_form(ridge, solver):
    train, val = losses(ridge)
    hyper = torch.tensor([0.3, -1.0], dtype=torch.float64)
    knobs = hyper.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(val(minimum(ridge, knobs), knobs), knobs)
    found = hypergradient(train, val, minimum(ridge, hyper), hyper, solver)
    assert torch.allclose(found.value, expected, rtol=1e-8)
    assert found.residual < 1e-9
    assert found.stationarity < 1e-9


def test_the_response_of_ridge_regression_is_that_of_the_closed_form(ridge):
    train, val = losses(ridge)
    hyper = torch.tensor([0.3, -1.0], dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(lambda knobs: minimum(ridge, knobs), hyper)
    theta = minimum(ridge, hyper)
    found, residual = response(train, theta, hyper, EXACT)
    assert torch.allclose(found, expected, rtol=1e-8)
    assert residual < 1e-9
    slope = torch.autograd.functional.jacobian(lambda w: val(w, hyper), theta)
    assert torch.allclose(found.T @ slope, hypergradient(train, val, theta, hyper, EXACT).value, rtol=1e-8)


def logistic():
    """Softmax regression with log weight decay and label smoothing as hyper-parameters."""
    generator = torch.Generator().manual_seed(1)
    x, x_val = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (24, 16))
    y, y_val = (torch.randint(3, (n,), generator=generator) for n in (24, 16))

    def outputs(theta, rows=x):
        return rows @ theta.view(4, 3)

    def loss(logits, hyper):
        return F.cross_entropy(logits, (1 - hyper[1]) * F.one_hot(y, 3) + hyper[1] / 3)

    def train(theta, hyper):
        return loss(outputs(theta), hyper) + hyper[0].exp() * theta.square().sum() / 2

    def val(theta, hyper):
        return F.cross_entropy(outputs(theta, x_val), y_val) + 0.1 * hyper[1]

    return outputs, loss, train, val


def newton(train, hyper):
    theta = torch.zeros(12, dtype=torch.float64)
    for _ in range(30):
        slope = torch.autograd.functional.jacobian(lambda t: train(t, hyper), theta)
        theta = theta - torch.linalg.solve(torch.autograd.functional.hessian(lambda t: train(t, hyper), theta), slope)
    return theta


def test_finite_differences_of_retraining_agree_the_direct_part_included():
    outputs, loss, train, val = logistic()
    hyper = torch.tensor([-3.0, 0.1], dtype=torch.float64)
    theta = newton(train, hyper)
    step = 1e-5
    expected = []
    for knob in range(2):
        ends = []
        for sign in (1, -1):
            moved = hyper.clone()
            moved[knob] += sign * step
            ends.append(float(val(newton(train, moved), moved)))
        expected.append((ends[0] - ends[1]) / (2 * step))
    found = hypergradient(train, val, theta, hyper, EXACT).value
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-5)
    gauss = gauss_newton_product(
        outputs, lambda z: loss(z, hyper), theta, lambda t: hyper[0].exp() * t.square().sum() / 2
    )
    # The network is linear in its weights, where Gauss and Newton agree.
    again = hypergradient(train, val, theta, hyper, EXACT, gauss).value
    assert torch.allclose(again, found, rtol=1e-8)


def test_products_are_those_of_the_matrix_and_gauss_newton_has_no_negative_eigenvalue():
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(9, 3, generator=generator), torch.randint(2, (9,), generator=generator)

    def outputs(theta):
        return torch.tanh(x @ theta[:12].view(3, 4)) @ theta[12:].view(4, 2)

    def loss(logits):
        return F.cross_entropy(logits, y)

    theta = torch.randn(20, generator=generator)
    eye = torch.eye(20)
    hessian = torch.autograd.functional.hessian(lambda t: loss(outputs(t)), theta)
    product = hessian_product(lambda t: loss(outputs(t)), theta)
    assert torch.allclose(torch.stack([product(v) for v in eye]), hessian, atol=1e-6)
    jacobian = torch.autograd.functional.jacobian(outputs, theta).flatten(0, 1)
    bend = torch.autograd.functional.hessian(loss, outputs(theta)).reshape(18, 18)
    gauss = gauss_newton_product(outputs, loss, theta)
    found = torch.stack([gauss(v) for v in eye])
    assert torch.allclose(found, jacobian.T @ bend @ jacobian, atol=1e-6)
    assert torch.linalg.eigvalsh(hessian)[0] < -1e-3
    assert torch.linalg.eigvalsh(found)[0] > -1e-6


def test_power_iteration_finds_the_largest_eigenvalue():
    matrix = torch.diag(torch.tensor([1.0, 2.0, 9.0]))
    assert largest_eigenvalue(lambda v: matrix @ v, torch.zeros(3)) == pytest.approx(9.0, rel=1e-3)


def test_damping_is_added_to_every_eigenvalue():
    matrix, b = torch.diag(torch.tensor([1.0, 4.0])), torch.tensor([3.0, 6.0])
    for solver in (ConjugateGradient(damping=2.0, tolerance=1e-7), Neumann(terms=200, damping=2.0)):
        assert torch.allclose(solver.solve(lambda v: matrix @ v, b).x, torch.tensor([1.0, 1.0]), atol=1e-5)


def test_nothing_to_solve_costs_nothing():
    for solver in (ConjugateGradient(), Neumann()):
        solved = solver.solve(lambda v: v, torch.zeros(3))
        assert (solved.products, solved.residual, float(solved.x.abs().sum())) == (0, 0.0, 0.0)


def test_a_loss_that_ignores_its_hyper_parameters_has_no_response():
    found, _ = response(lambda t, h: t.square().sum(), torch.zeros(3), torch.zeros(2), EXACT)
    assert torch.equal(found, torch.zeros(3, 2))
    direct = hypergradient(
        lambda t, h: t.square().sum(), lambda t, h: 2 * h.sum(), torch.zeros(3), torch.zeros(2), EXACT
    )
    assert torch.equal(direct.value, torch.full((2,), 2.0))


def test_negative_curvature_says_what_to_do():
    matrix = torch.diag(torch.tensor([1.0, -0.5]))
    with pytest.raises(CurvatureError, match=r"curvature .*\n.*positive definite.*\n.*raise the damping above .*decay"):
        ConjugateGradient().solve(lambda v: matrix @ v, torch.tensor([1.0, 5.0]))


def test_a_series_that_grows_says_what_to_do():
    matrix = torch.diag(torch.tensor([1.0, 9.0]))
    with pytest.raises(CurvatureError, match=r"term 1.*\n.*2 / lambda_max.*\n.*lower the step"):
        Neumann(step=1.0).solve(lambda v: matrix @ v, torch.tensor([1.0, 1.0]))
    with pytest.raises(CurvatureError, match="neither zero nor infinite"):
        Neumann().solve(torch.zeros_like, torch.ones(2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConjugateGradient(steps=0),
        lambda: ConjugateGradient(tolerance=0.0),
        lambda: Neumann(terms=0),
        lambda: Neumann(step=-1.0),
        lambda: Neumann(damping=-1.0),
    ],
)
def test_settings_that_cannot_work_are_refused(make):
    with pytest.raises(ConfigError, match="of a solver"):
        make()
