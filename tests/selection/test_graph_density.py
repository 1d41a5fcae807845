"""Graph density: its graph and densities written out, its rounds, and its sign."""

from __future__ import annotations

import pytest
import torch

from decoct.errors import ConfigError, MemoryEstimateError
from decoct.selection.graph_density import GraphDensity


def _phi(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


def _by_hand(phi: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Who is whose neighbour, and the density of every row."""
    gaps = torch.cdist(phi.double(), phi.double())
    linked = gaps.argsort(1).argsort(1) <= k
    linked = (linked | linked.T) & ~torch.eye(len(phi), dtype=torch.bool)
    width = gaps[linked].sort().values[(int(linked.sum()) - 1) // 2]
    weight = linked * (-gaps.square() / (2 * width**2)).exp()
    return linked, weight.sum(1) / linked.sum(1)


@pytest.mark.parametrize("k", [1, 4, 24])
def test_picks_go_in_rounds_of_the_densest_rows_that_have_no_pick_of_the_round_beside_them(k: int) -> None:
    phi = _phi(25)
    linked, density = _by_hand(phi, k)
    picks = GraphDensity(neighbours=k).pick(phi, 25, torch.Generator())
    left, beside, rounds = set(range(25)), set(), 1
    for row, score in zip(picks.rows.tolist(), picks.scores.tolist(), strict=True):
        if not left - beside:
            beside, rounds = set(), rounds + 1
        assert row == max(left - beside, key=lambda other: float(density[other]))
        assert score == pytest.approx(float(density[row]), abs=1e-4)
        left.remove(row)
        beside |= set(linked[row].nonzero()[:, 0].tolist())
    assert rounds > 1


@pytest.mark.parametrize("seed", range(3))
def test_no_row_gains_by_a_pick_beside_it_and_half_of_two_clusters_stays_spread(seed: int) -> None:
    phi = torch.cat([_phi(150, seed), _phi(150, seed + 10) + 20])
    linked, density = _by_hand(phi, 8)
    picks = GraphDensity(neighbours=8).pick(phi, 150, torch.Generator())
    assert (picks.scores <= density[picks.rows] + 2e-3).all()
    assert (picks.scores > 0).all()
    steps = linked[picks.rows[:-1], picks.rows[1:]]
    assert float(steps.float().mean()) < 0.05, "no walk from neighbour to neighbour"
    lead = (2 * (picks.rows >= 150).long() - 1).cumsum(0).abs()
    assert int(lead.max()) <= 10, "neither cluster is ever far ahead"


def test_a_smaller_pick_is_a_prefix_in_every_round() -> None:
    whole = GraphDensity(neighbours=4).pick(_phi(60), 60, torch.Generator()).rows.tolist()
    assert sorted(whole) == list(range(60))
    for count in (1, 7, 20, 45):
        assert GraphDensity(neighbours=4).pick(_phi(60), count, torch.Generator()).rows.tolist() == whole[:count]


def test_the_middle_of_a_cluster_comes_before_outliers() -> None:
    phi = torch.cat([0.3 * _phi(30), torch.tensor([[9.0, 0, 0], [0, -9.0, 0], [0, 0, 9.0]])])
    # Two picks take up the density of the whole cluster of 30; after them an outlier is as good as any row.
    rows = GraphDensity().pick(phi, 2, torch.Generator()).rows.tolist()
    assert set(rows).isdisjoint({30, 31, 32})


def test_clusters_no_larger_than_a_neighbourhood_are_met_one_after_the_other() -> None:
    phi = (torch.eye(3) * 30).repeat_interleave(11, 0) + _phi(33)
    rows = GraphDensity().pick(phi, 3, torch.Generator()).rows
    assert sorted((rows // 11).tolist()) == [0, 1, 2]


def test_no_neighbours_and_a_graph_that_does_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="neighbours=0"):
        GraphDensity(neighbours=0)
    monkeypatch.setattr("decoct.machine.available_memory", lambda: 5000)
    with pytest.raises(MemoryEstimateError, match="fewer neighbours"):
        GraphDensity().pick(_phi(30), 5, torch.Generator())
