"""GradMatch: the solver against SciPy's, and what the pursuit makes of planted gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from test_gradients import a_layer, chance, written_out

from decoct import machine
from decoct.errors import ConfigError, MemoryEstimateError
from decoct.selection.grad_match import GradMatch, NonNegative, pursuit
from decoct.selection.gradients import LastLayer


def by_scipy(rows: torch.Tensor, target: torch.Tensor, ridge: float) -> np.ndarray:
    """min over w >= 0 of ||rows^T w - target||^2 + ridge ||w||^2, as one least-squares problem."""
    k = len(rows)
    matrix = np.concatenate([rows.T.numpy(), ridge**0.5 * np.eye(k)])
    return nnls(matrix, np.concatenate([target.numpy(), np.zeros(k)]))[0]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 14), ridge=st.sampled_from([1e-3, 0.1, 3.0]))
def test_weights_are_those_of_scipy_after_every_row(seed: int, k: int, ridge: float):
    rows = torch.randn(k, 6, generator=chance(seed), dtype=torch.float64)
    target = torch.randn(6, generator=chance(seed + 1), dtype=torch.float64)
    match = NonNegative(k, ridge)
    for size in range(1, k + 1):
        found = match.add(rows[:size] @ rows[size - 1], float(rows[size - 1] @ target))
        np.testing.assert_allclose(found.numpy(), by_scipy(rows[:size], target, ridge), atol=1e-6)


def test_the_pursuit_on_factors_is_the_one_on_gradients_written_out():
    layer, seen = a_layer(n=14)
    full = written_out(layer, seen)
    ridge = 0.5 * float(full.square().sum(1).mean())
    rows, weights, errors = pursuit(seen.gradients(), 6, 0.5)
    rest, chosen, expected = full.mean(0), [], torch.zeros(0)
    for step in range(6):
        gains = full @ rest / full.norm(dim=1)
        gains[chosen] = -torch.inf
        chosen.append(int(gains.argmax()))
        expected = torch.from_numpy(by_scipy(full[chosen], full.mean(0), ridge))
        rest = full.mean(0) - expected @ full[chosen]
        assert abs(float(errors[step]) - float(rest.norm() / full.mean(0).norm())) < 1e-6
    assert rows.tolist() == chosen
    torch.testing.assert_close(weights, expected, atol=1e-7, rtol=1e-5)


def test_without_ridge_the_mean_is_met_by_few_rows_and_the_error_never_grows():
    phi = torch.randn(60, 5, generator=chance(), dtype=torch.float64) + 0.3
    _, weights, errors = pursuit(LastLayer.of_table(phi), 20, 0.0)
    assert float(errors[-1]) < 1e-4
    assert bool((errors.diff() <= 1e-9).all())
    assert bool((weights >= 0).all())


def test_a_long_gradient_that_points_elsewhere_does_not_come_first():
    """Of a mean near (1, 0.2) the row (1, 0) has most; (4, 8) has the larger product with it, and is a wrong label."""
    table = torch.tensor([[1.0, 0.0]] * 40 + [[4.0, 8.0]], dtype=torch.float64)
    assert GradMatch().pick(table, 1, chance()).rows.tolist() == [0]


def test_planted_clusters_are_all_met_and_weigh_their_size():
    centres = (torch.eye(3) * 30).repeat_interleave(torch.tensor([30, 20, 10]), 0)
    phi = centres + torch.randn(60, 3, generator=chance(7))
    picks = GradMatch(ridge=1e-6).pick(phi, 3, chance())
    assert picks.rows.tolist() == sorted(picks.rows.tolist()), "the largest cluster first"
    torch.testing.assert_close(picks.weights, torch.tensor([1.5, 1.0, 0.5]), atol=0.12, rtol=0)


def test_what_lacks_is_filled_in_order_of_correlation_with_small_weights():
    table = torch.tensor([[-1.0, 0], [1, 0], [-2, 0], [1, 0], [6, 0]])
    picks = GradMatch(ridge=0.0).pick(table, 4, chance())
    assert picks.rows.tolist()[0] == 1, "all that point its way match as well, and the lowest row comes first"
    assert picks.weights[0] > 3.9
    torch.testing.assert_close(picks.weights[1:], torch.full((3,), 0.001), atol=1e-5, rtol=0)
    assert float(picks.scores.max()) < 1e-6


def test_opposite_gradients_have_nothing_to_match():
    picks = GradMatch().pick(torch.tensor([[1.0, 0], [-1, 0], [0, 2], [0, -2]]), 3, chance())
    assert picks.rows.tolist() == [0, 1, 2]
    assert picks.weights.tolist() == [1.0] * 3


def test_equal_rows_share_their_weight():
    picks = GradMatch().pick(torch.ones(12, 3), 4, chance())
    assert picks.rows.tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(picks.weights, torch.ones(4))


def test_too_large_a_gram_matrix_is_refused(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 1000)
    with pytest.raises(MemoryEstimateError, match="class by class"):
        GradMatch().pick(torch.zeros(100, 2), 50, chance())


@pytest.mark.parametrize("ridge", [-0.1, float("nan"), float("inf")])
def test_impossible_settings(ridge: float):
    with pytest.raises(ConfigError, match="keep the default"):
        GradMatch(ridge=ridge)
