"""Herding against the formula, computed naively, and against its sign."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoct.selection.herding import Herding


def _gaps(phi: np.ndarray, picked: list[int]) -> np.ndarray:
    """||(t + 1) mu - sum - phi(x)|| for every row x after t picks, from scratch; infinite for the picked."""
    gaps = np.linalg.norm((len(picked) + 1) * phi.mean(0) - phi[picked].sum(0) - phi, axis=1)
    gaps[picked] = np.inf
    return gaps


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_each_pick_is_the_least_of_the_formula(seed: int, n: int, d: int) -> None:
    phi = np.random.default_rng(seed).normal(5, 2, (n, d))
    rows = Herding().pick(torch.tensor(phi, dtype=torch.float32), n, torch.Generator()).rows.tolist()
    assert sorted(rows) == list(range(n))
    for t, row in enumerate(rows):
        gaps = _gaps(phi, rows[:t])
        assert gaps[row] < gaps.min() + 1e-4  # not the same row: two may be equally near, to rounding


def test_without_ties_the_rows_are_those_of_the_formula() -> None:
    phi, expected = np.random.default_rng(0).normal(5, 2, (200, 8)), []
    for _ in range(30):
        expected.append(int(_gaps(phi, expected).argmin()))
    assert Herding().pick(torch.tensor(phi, dtype=torch.float32), 30, torch.Generator()).rows.tolist() == expected


def test_scores_are_the_error_of_each_prefix() -> None:
    phi = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)) + 3
    picks = Herding().pick(phi, 20, torch.Generator())
    errors = [float((phi[picks.rows[:t]].mean(0) - phi.mean(0)).norm()) for t in range(1, 21)]
    torch.testing.assert_close(picks.scores, torch.tensor(errors), atol=1e-5, rtol=1e-4)


def test_the_error_falls_like_one_over_k_and_random_does_not() -> None:
    generator = torch.Generator().manual_seed(1)
    phi = torch.randn(2000, 32, generator=generator)
    scores = Herding().pick(phi, 200, generator).scores
    draws = [phi[torch.randperm(2000, generator=generator)[:200]].mean(0) for _ in range(20)]
    random_error = torch.stack([(draw - phi.mean(0)).norm() for draw in draws]).mean()
    # k times the error stays in a band while k grows twentyfold; the picks that walk away from the mean are at 2.0.
    scaled = torch.arange(1, 201) * scores
    assert scaled[[9, 49, 199]].max() < 1.5 * scaled[9]
    assert scores[199] < random_error / 5


def test_the_sign_is_right_on_a_cluster_with_outliers() -> None:
    generator = torch.Generator().manual_seed(2)
    phi = torch.cat([torch.randn(40, 3, generator=generator) * 0.1, torch.tensor([[9.0, 0, 0], [-9.0, 0, 0]])])
    rows = Herding().pick(phi, 5, generator).rows
    assert set(rows.tolist()).isdisjoint({40, 41})
