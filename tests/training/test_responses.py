"""Trajectories of hyper-parameters: responses against retraining, targets against the definition, refusals."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from decoct.errors import ConfigError, DivergenceError
from decoct.training.flat import FlatNetwork
from decoct.training.hypergradient import hypergradient
from decoct.training.hyperparameters import LabelSmoothing, WeightDecay
from decoct.training.responses import (
    Points,
    Rows,
    Walk,
    projected_slope,
    responses_at,
    train_at,
    validation_loss,
    validation_slope,
    walk_through,
)
from decoct.training.solvers import ConjugateGradient, Neumann
from decoct.training.space import Space

EXACT = ConjugateGradient(steps=300, tolerance=1e-10)
SPACE = Space((WeightDecay(1e-2, 1.0), LabelSmoothing()))


def rows(count: int, seed: int) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (count,), generator=generator)
    x = torch.randn(count, 4, generator=generator, dtype=torch.float64) + F.one_hot(y, 4)
    return Rows(x, F.one_hot(y, 3).double())


@pytest.fixture(scope="module")
def linear():
    """Softmax regression: the loss is strictly convex, so weights at a minimum are known to any precision."""
    return FlatNetwork(nn.Linear(4, 3).double())


def minimum(net, hyper, train):
    theta = torch.zeros(net.count, dtype=torch.float64)

    def loss(weights):
        x, y = SPACE.batch(net, hyper, train.inputs, train.targets)
        return F.cross_entropy(net.logits(weights, x), y) + SPACE.penalty(net, hyper, weights, weights)

    for _ in range(20):
        slope = torch.autograd.functional.jacobian(loss, theta)
        theta = theta - torch.linalg.solve(torch.autograd.functional.hessian(loss, theta), slope)
    return theta


@pytest.mark.parametrize("curvature", ["gauss-newton", "hessian"])
def test_the_response_is_the_finite_difference_of_retraining(linear, curvature):
    train, hyper = rows(30, 0), torch.tensor([0.4, 0.3], dtype=torch.float64)
    theta = minimum(linear, hyper, train)
    walk = Walk(solver=EXACT, curvature=curvature)
    found, residual = responses_at(linear, SPACE, hyper, theta, theta, train, walk)
    assert residual < 1e-8
    step = 1e-5
    for knob in range(2):
        ends = [hyper.clone(), hyper.clone()]
        ends[0][knob] += step
        ends[1][knob] -= step
        up, down = (minimum(linear, end, train) for end in ends)
        assert torch.allclose(found[:, knob], (up - down) / (2 * step), atol=1e-6)


def test_the_projected_slope_is_the_hypergradient_and_carries_a_graph(linear):
    train, val, hyper = rows(30, 0), rows(12, 1), torch.tensor([0.4, 0.3], dtype=torch.float64)
    theta = minimum(linear, hyper, train)

    def loss(weights, knobs):
        x, y = SPACE.batch(linear, knobs, train.inputs, train.targets)
        return F.cross_entropy(linear.logits(weights, x), y) + SPACE.penalty(linear, knobs, weights, weights.detach())

    moves, _ = responses_at(linear, SPACE, hyper, theta, theta, train, Walk(solver=EXACT))
    expected = hypergradient(loss, lambda w, _: validation_loss(linear, w, val), theta, hyper, EXACT).value
    leaf = Rows(val.inputs.clone().requires_grad_(True), val.targets)
    found = projected_slope(linear, theta, moves, leaf)
    assert torch.allclose(found, expected, atol=1e-8)
    assert torch.allclose(moves.T @ validation_slope(linear, theta, val), expected, atol=1e-8)

    # Against central differences in one value of one row.
    (slope,) = torch.autograd.grad(found[0], leaf.inputs)
    ends = []
    for sign in (1, -1):
        moved = val.inputs.clone()
        moved[3, 2] += sign * 1e-5
        ends.append(float(projected_slope(linear, theta, moves, Rows(moved, val.targets))[0].detach()))
    assert float(slope[3, 2]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


@pytest.mark.parametrize("curvature", ["gauss-newton", "hessian"])
def test_a_row_of_weight_two_counts_as_the_row_twice(linear, curvature):
    """In training, in losses and slopes, in the response of the weights, and in a batch."""
    few, hyper, start = rows(12, 0), torch.tensor([0.4, 0.3], dtype=torch.float64), torch.zeros(15).double()
    twice = [*range(12), *range(6)]
    doubled = Rows(few.inputs[twice], few.targets[twice])
    weighted = Rows.of(few.inputs, few.targets, torch.tensor([2.0] * 6 + [1.0] * 6), 3, "cpu")
    assert float(weighted.weights.mean()) == pytest.approx(1.0)
    assert Rows.of(few.inputs, few.targets, torch.full((12,), 3.0), 3, "cpu").weights is None
    walk = Walk(solver=EXACT, curvature=curvature)
    thetas, moved = [], []
    for train in (doubled, weighted):
        thetas.append(train_at(linear, SPACE, hyper, start, start, train, steps=40, lr=0.05))
        moved.append(responses_at(linear, SPACE, hyper, thetas[0], start, train, walk)[0])
    assert torch.allclose(*thetas, atol=1e-10)
    assert torch.allclose(*moved, atol=1e-8)
    torch.testing.assert_close(
        validation_loss(linear, thetas[0], weighted), validation_loss(linear, thetas[0], doubled)
    )
    torch.testing.assert_close(
        validation_slope(linear, thetas[0], weighted), validation_slope(linear, thetas[0], doubled)
    )
    one = Rows(few.inputs, few.targets)
    assert not torch.allclose(train_at(linear, SPACE, hyper, start, start, one, steps=40, lr=0.05), thetas[0])
    batched = [
        train_at(linear, SPACE, hyper, start, start, train, steps=4, lr=0.05, batch=5,
                 generator=torch.Generator().manual_seed(0))
        for train in (weighted, one)
    ]  # fmt: skip
    assert not torch.allclose(*batched)


def test_the_key_of_rows_sees_inputs_labels_and_weights():
    few = rows(4, 0)
    other = Rows(few.inputs, few.targets.flip(1))
    weighted = Rows(few.inputs, few.targets, torch.tensor([2.0, 1.0, 0.5, 0.5]).double())
    keys = {few.key(), other.key(), weighted.key(), Rows(few.inputs + 1, few.targets).key()}
    assert len(keys) == 4
    assert rows(4, 0).key() == few.key()


def test_a_neumann_series_finds_the_response_that_conjugate_gradients_find(linear):
    train, hyper = rows(30, 0), torch.tensor([0.9, 0.3], dtype=torch.float64)
    theta = minimum(linear, hyper, train)
    exact, series = (
        responses_at(linear, SPACE, hyper, theta, theta, train, Walk(solver=solver))
        for solver in (EXACT, Neumann(terms=400))
    )
    assert torch.allclose(exact[0], series[0], atol=1e-6)


def test_a_trajectory_descends_the_validation_loss_inside_the_cube(linear):
    train, val = rows(20, 0), rows(200, 1)
    walk = Walk(starts=2, length=6, step=0.05, first_steps=300, next_steps=200, lr=0.05, solver=EXACT)
    points = walk_through(
        linear, lambda seed: torch.zeros(linear.count, dtype=torch.float64), SPACE, train, val, walk, seed=0
    )
    assert points.hyper.shape == (12, 2)
    assert points.response.shape == (12, linear.count, 2)
    assert float(points.hyper.min()) >= 0
    assert float(points.hyper.max()) <= 1
    losses = [float(validation_loss(linear, theta, val)) for theta in points.theta]
    assert losses[5] < losses[0]
    assert losses[11] < losses[6]
    assert points.residual < 1e-6


def test_hypergradients_of_networks_of_all_rows_are_kept_and_descended(linear):
    small, val = rows(20, 0), rows(200, 1)
    walk = Walk(starts=2, length=3, step=0.05, first_steps=100, next_steps=50, lr=0.05, solver=EXACT, full_batch=400)

    def walked(train: Rows, full: Rows | None = None) -> Points:
        start = torch.zeros(linear.count, dtype=torch.float64)
        return walk_through(linear, lambda _: start, SPACE, train, val, walk, seed=0, full=full)

    full = rows(400, 2)
    both, alone, whole = walked(small, full), walked(small), walked(full)
    torch.testing.assert_close(both.target, whole.target)
    torch.testing.assert_close(both.hyper, whole.hyper)
    assert not torch.allclose(both.target, alone.target, rtol=0.1)
    torch.testing.assert_close(both.theta[0], alone.theta[0])
    torch.testing.assert_close(both.response[0], alone.response[0])
    torch.testing.assert_close(walked(small, small).target, alone.target)


def test_a_part_of_the_rows_says_how_weights_move(linear):
    few, hyper = rows(30, 0), torch.tensor([0.6, 0.3], dtype=torch.float64)
    theta, walk = minimum(linear, hyper, few), Walk(solver=EXACT)
    weighted = Rows(few.inputs, few.targets, torch.linspace(0.5, 1.5, 30).double())
    for given in (few, weighted):
        thinned = Rows(given.inputs[::3], given.targets[::3], None if given.weights is None else given.weights[::3])
        part = responses_at(linear, SPACE, hyper, theta, theta, given, walk, 3)[0]
        torch.testing.assert_close(part, responses_at(linear, SPACE, hyper, theta, theta, thinned, walk)[0])


def test_training_in_batches_goes_where_training_on_all_rows_goes(linear):
    train, hyper = rows(60, 0), torch.tensor([0.5, 0.2], dtype=torch.float64)
    start = torch.zeros(linear.count, dtype=torch.float64)
    best = minimum(linear, hyper, train)
    generator = torch.Generator().manual_seed(0)
    for batch in (None, 20):
        found = train_at(
            linear, SPACE, hyper, start, start, train, steps=400, lr=0.03, batch=batch, generator=generator
        )
        assert float((found - best).norm() / best.norm()) < 0.05


def test_weights_that_are_not_finite_say_what_to_do(linear):
    start = torch.zeros(linear.count, dtype=torch.float64)
    bad = Rows(rows(5, 0).inputs * float("nan"), rows(5, 0).targets)
    with pytest.raises(DivergenceError, match=r"not finite.*\n.*\n.*lower lr \(now 0.1\)"):
        train_at(linear, SPACE, torch.zeros(2, dtype=torch.float64), start, start, bad, steps=2, lr=0.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("starts", 0), ("length", 0), ("first_steps", 0), ("next_steps", -1), ("step", 0.0), ("lr", 0.0)],
)
def test_settings_of_a_walk_are_checked(name, value):
    with pytest.raises(ConfigError, match=f"setting {name} of a Walk"):
        Walk(**{name: value})
