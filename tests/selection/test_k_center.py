"""k-center: the factor of two against brute force, ties, and what it is for."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoct.selection.k_center import KCenter


def _radius(phi: torch.Tensor, rows: list[int]) -> float:
    return float(torch.cdist(phi.double(), phi[rows].double()).min(1).values.max())


@pytest.mark.parametrize("first", ["mean", "random"])
@given(seed=st.integers(0, 10_000), n=st.integers(4, 10), count=st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_the_radius_is_at_most_twice_the_smallest(first: str, seed: int, n: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    phi = torch.randn(n, 2, generator=generator)
    picks = KCenter(first=first).pick(phi, count, generator)
    optimum = min(_radius(phi, list(rows)) for rows in combinations(range(n), count))
    assert _radius(phi, picks.rows.tolist()) <= 2 * optimum + 1e-6


def test_scores_are_the_radius_of_each_prefix() -> None:
    phi = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    picks = KCenter().pick(phi, 12, torch.Generator())
    radii = [_radius(phi, picks.rows[:t].tolist()) for t in range(1, 13)]
    torch.testing.assert_close(picks.scores, torch.tensor(radii), atol=1e-5, rtol=1e-5)


def test_the_first_pick_is_nearest_to_the_mean_and_the_next_the_farthest_from_it() -> None:
    phi = torch.tensor([[0.0], [4.0], [10.0], [5.0], [1.0]])
    assert KCenter().pick(phi, 3, torch.Generator()).rows.tolist() == [1, 2, 0]


def test_five_planted_clusters_give_one_pick_each() -> None:
    generator = torch.Generator().manual_seed(3)
    phi = (torch.eye(5) * 20).repeat_interleave(10, 0) + 0.1 * torch.randn(50, 5, generator=generator)
    rows = KCenter(first="random").pick(phi, 5, generator).rows
    assert sorted((rows // 10).tolist()) == [0, 1, 2, 3, 4]


def test_a_drawn_first_pick_depends_on_the_seed() -> None:
    phi = torch.arange(100.0)[:, None]
    firsts = {int(KCenter("random").pick(phi, 1, torch.Generator().manual_seed(s)).rows[0]) for s in range(10)}
    assert len(firsts) > 5
