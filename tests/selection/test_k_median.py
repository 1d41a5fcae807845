"""k-median against brute force, and the sampled form against the exact one."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoct import machine
from decoct.errors import MemoryEstimateError
from decoct.selection.k_median import KMedian
from decoct.selection.medoids import build, medoids


def _loss(phi: torch.Tensor, rows: list[int]) -> float:
    return float(torch.cdist(phi.double(), phi[rows].double()).min(1).values.sum())


@given(seed=st.integers(0, 10_000), n=st.integers(3, 12), count=st.integers(1, 4), d=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_no_single_swap_helps(seed: int, n: int, count: int, d: int) -> None:
    count = min(count, n)
    phi = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    rows = medoids(phi, count).tolist()
    loss = _loss(phi, rows)
    for place in range(count):
        for other in range(n):
            assert _loss(phi, [*rows[:place], other, *rows[place + 1 :]]) >= loss - 1e-5 * (1 + loss)


def test_no_single_swap_helps_across_blocks_of_candidates() -> None:
    phi = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    table, rows = torch.cdist(phi.double(), phi.double()), medoids(phi, 7)
    loss = float(table[:, rows].min(1).values.sum())
    for place in range(7):
        others = table[:, torch.cat([rows[:place], rows[place + 1 :]])].min(1).values
        assert float(torch.minimum(table, others[:, None]).sum(0).min()) >= loss * (1 - 2e-6)


def test_small_sets_reach_the_optimum() -> None:
    """PAM ends in a local optimum, which on nearly all sets as small as these is the global one."""
    reached, worst = 0, 1.0
    for seed in range(40):
        phi = torch.randn(10, 2, generator=torch.Generator().manual_seed(seed))
        for count in (1, 2, 3):
            optimum = min(_loss(phi, list(rows)) for rows in combinations(range(10), count))
            ratio = _loss(phi, medoids(phi, count).tolist()) / optimum
            reached += ratio < 1 + 1e-5
            worst = max(worst, ratio)
    assert reached >= 110
    assert worst < 1.15


def test_build_is_the_greedy_that_it_says_across_blocks() -> None:
    phi = torch.randn(700, 3, generator=torch.Generator().manual_seed(0))
    table = torch.cdist(phi, phi)
    nearest, expected = torch.full((700,), 1e9), []
    for _ in range(12):
        sums = torch.minimum(table.double(), nearest[:, None].double()).sum(0)
        expected.append(int(sums.argmin()))
        nearest = torch.minimum(nearest, table[:, expected[-1]])
    assert build(table, 12).tolist() == expected


def test_swap_repairs_what_build_gets_wrong() -> None:
    """The best single row is between the two clusters; the best pair is one in each."""
    phi = torch.tensor([[-10.0], [-10.1], [-9.9], [0.0], [10.0], [10.1], [9.9]])
    picks = KMedian().pick(phi, 2, torch.Generator())
    # The row between is as near to the innermost row of a cluster as makes up for the others: two answers are best.
    assert sorted((picks.rows > 3).tolist()) == [False, True]
    assert 3 not in picks.rows.tolist()
    assert _loss(phi, picks.rows.tolist()) == pytest.approx(10.4)
    assert picks.scores.max() < 4


def test_weights_are_cluster_sizes_and_prefixes_greedy() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = (torch.eye(3) * 30).repeat_interleave(torch.tensor([10, 40, 10]), 0)
    picks = KMedian().pick(centres + torch.randn(60, 3, generator=generator), 3, generator)
    assert 10 <= int(picks.rows[0]) < 50
    torch.testing.assert_close(picks.weights, torch.tensor([2.0, 0.5, 0.5]))


def test_samples_come_close_to_the_exact_answer_on_a_large_set() -> None:
    generator = torch.Generator().manual_seed(0)
    phi = torch.randn(900, 2, generator=generator)
    exact = KMedian().pick(phi, 6, generator)
    sampled = KMedian(exact_up_to=200, sample_rows=150).pick(phi, 6, generator)
    assert _loss(phi, sampled.rows.tolist()) < 1.08 * _loss(phi, exact.rows.tolist())
    assert len(set(sampled.rows.tolist())) == 6


def test_a_table_of_many_picks_is_refused_before_samples_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.selection.k_median.medoids", lambda *_: pytest.fail("searched first"))
    monkeypatch.setattr(machine, "available_memory", lambda: 20_000)
    with pytest.raises(MemoryEstimateError, match=r"(?s)20 of 300 rows.*k-median.*shards \(shard_rows=4096\)"):
        KMedian(exact_up_to=100, sample_rows=40).pick(torch.zeros(300, 2), 20, torch.Generator())


def test_too_large_a_table_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 1000)
    with pytest.raises(MemoryEstimateError, match=r"k-median[\s\S]*lower `exact_up_to`[\s\S]*shard_rows=4096"):
        KMedian().pick(torch.zeros(100, 2), 3, torch.Generator())
