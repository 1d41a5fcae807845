"""Shards of near rows, their turns, and a selector that picks from each on its own."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoct.errors import ConfigError
from decoct.selection.by_score import Hardest
from decoct.selection.content_order import marks
from decoct.selection.facility_location import FacilityLocation
from decoct.selection.graph_cut import GraphCut
from decoct.selection.k_center import KCenter
from decoct.selection.k_means import KMeans
from decoct.selection.selector import Picks
from decoct.selection.sharded.selector import Sharded
from decoct.selection.sharded.shards import drawn, middles, nearest_middle, split
from decoct.selection.sharded.turns import joined, standing, turns


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(rows: int, count: int = 12, width: int = 6) -> torch.Tensor:
    centres = 20 * torch.randn(count, width, generator=_generator(1))
    return centres[torch.arange(rows) % count] + torch.randn(rows, width, generator=_generator(2))


def test_marks_follow_from_the_row_alone_and_are_spread_evenly() -> None:
    rows = np.random.default_rng(0).standard_normal((4096, 5)).astype(np.float16)
    numbers = marks(rows)
    assert (marks(rows[[7, 3]]) == numbers[[7, 3]]).all()
    assert len(np.unique(numbers)) == len(np.unique(rows, axis=0))
    changed = rows.copy()
    changed[:, 4] = np.nextafter(rows[:, 4], np.float16(9))
    bits = np.unpackbits((marks(changed) ^ numbers).view(np.uint8)).mean()
    assert bits == pytest.approx(0.5, abs=0.01)
    assert drawn(numbers, 1024, 4096).mean() == pytest.approx(0.25, abs=0.03)
    assert drawn(numbers, 4096, 4096).all()


def test_the_nearest_middle_is_that_of_plain_distances() -> None:
    rows, points = clusters(500) + 1000, clusters(9, count=9) + 1000
    assert torch.equal(nearest_middle(rows, points), torch.cdist(rows.double(), points.double()).argmin(1))


def test_middles_of_few_rows_are_these_rows() -> None:
    sample = torch.tensor([[0.0], [5.0]])
    assert sorted(middles(sample, 9, 0)[:, 0].tolist()) == pytest.approx([0, 5])
    assert middles(sample, 1, 0).tolist() == [[2.5]]


@pytest.mark.parametrize("limit", [1, 40, 333, 5000])
def test_shards_hold_every_row_once_and_keep_the_limit(limit: int) -> None:
    phi = clusters(1000)
    shards = split(phi, limit, 0)
    assert torch.equal(torch.cat(shards).sort().values, torch.arange(1000))
    assert max(map(len, shards)) <= limit
    assert all(torch.equal(rows, rows.sort().values) for rows in shards)


def test_shards_are_the_clusters_where_these_fit() -> None:
    phi = clusters(1200)
    shards = split(phi, 110, 0)
    inside = sum(float((phi[rows] - phi[rows].mean(0)).square().sum()) for rows in shards)
    assert inside < 0.05 * float((phi - phi.mean(0)).square().sum())


@pytest.mark.parametrize(
    "phi", [torch.ones(300, 2), torch.eye(300)[:, :2], torch.cat([torch.randn(299, 2), torch.full((1, 2), 1e6)])]
)
def test_rows_without_clusters_are_cut_all_the_same(phi: torch.Tensor) -> None:
    shards = split(phi, 64, 0)
    assert torch.equal(torch.cat(shards).sort().values, torch.arange(300))
    assert max(map(len, shards)) <= 64


def test_permuting_rows_permutes_the_shards() -> None:
    phi, order = clusters(900), torch.randperm(900, generator=_generator(3))
    plain = {tuple(rows.tolist()) for rows in split(phi, 100, 0)}
    permuted = {tuple(order[rows].sort().values.tolist()) for rows in split(phi[order], 100, 0)}
    assert plain == permuted


sizes_and_count = st.lists(st.integers(0, 40), min_size=1, max_size=8).flatmap(
    lambda sizes: st.tuples(st.just(sizes), st.integers(0, sum(sizes)))
)


@given(sizes_and_count)
@settings(max_examples=60, deadline=None)
def test_turns_are_those_of_websters_method(drawn_: tuple[list[int], int]) -> None:
    sizes, count = drawn_
    taken, found = [0] * len(sizes), []
    for _ in range(count):
        claims = [
            Fraction(size, 2 * own + 1) if own < size else Fraction(-1) for size, own in zip(sizes, taken, strict=True)
        ]
        found.append(claims.index(max(claims)))
        taken[found[-1]] += 1
    assert turns(sizes, count).tolist() == found


def test_joined_picks_stand_in_the_order_of_the_turns() -> None:
    parts = [
        Picks(torch.tensor(rows), torch.ones(len(rows)), torch.tensor(rows).float()) for rows in ([7, 8], [5, 3, 1])
    ]
    both = joined(parts, np.array([4, 2, 4, 2, 4]))
    assert both.rows.tolist() == [5, 7, 3, 8, 1]
    assert both.scores.tolist() == both.rows.tolist()


def test_picks_stand_for_the_rows_of_their_shard() -> None:
    one = Picks(torch.tensor([0, 1]), torch.tensor([0.5, 1.5]), torch.zeros(2))
    other = Picks(torch.tensor([2]), torch.ones(1), torch.zeros(1))
    assert standing(one, 20).weights.tolist() == [5, 15]
    both = joined([standing(one, 20), standing(other, 40)], np.array([1, 0, 0]))
    assert both.rows.tolist() == [2, 0, 1]
    assert both.weights.tolist() == pytest.approx([2, 0.25, 0.75])


@pytest.mark.parametrize("inner", [KMeans(), KCenter()], ids=lambda one: type(one).__name__)
def test_the_picks_of_a_shard_weigh_what_its_rows_do(inner: KCenter) -> None:
    """Clusters of 90, 60 and 40 rows, each a shard of its own, have one pick each of three."""
    centres = (torch.eye(3) * 60).repeat_interleave(torch.tensor([90, 60, 40]), 0)
    picks = Sharded(inner, 95).pick(centres + torch.randn(190, 3, generator=_generator()), 3, _generator())
    place = np.searchsorted([90, 150, 190], picks.rows.numpy(), side="right")
    assert sorted(place.tolist()) == [0, 1, 2]
    expected = [3 * [90, 60, 40][number] / 190 for number in place]
    assert picks.weights.tolist() == pytest.approx(expected)


def test_one_shard_is_the_selector_itself() -> None:
    phi = clusters(200)
    for inner in (KCenter(), FacilityLocation(), GraphCut()):
        whole, sharded = inner.pick(phi, 20, _generator()), Sharded(inner, 200).pick(phi, 20, _generator())
        assert whole.rows.tolist() == sharded.rows.tolist()


@pytest.mark.parametrize("inner", [KCenter(), FacilityLocation(), GraphCut()], ids=lambda one: type(one).__name__)
def test_a_prefix_is_the_pick_of_fewer_and_permuting_rows_permutes_it(inner: KCenter) -> None:
    phi, order = clusters(900), torch.randperm(900, generator=_generator(3))
    picks = Sharded(inner, 120).pick(phi, 90, _generator())
    assert len(set(picks.rows.tolist())) == 90
    assert Sharded(inner, 120).pick(phi, 31, _generator()).rows.tolist() == picks.rows[:31].tolist()
    permuted = Sharded(inner, 120).pick(phi[order], 90, _generator())
    assert order[permuted.rows].tolist() == picks.rows.tolist()
    torch.testing.assert_close(permuted.scores, picks.scores, atol=1e-3, rtol=1e-3)
    assert float(picks.weights.mean()) == pytest.approx(1)


def test_what_sharding_loses_is_bounded_on_clusters() -> None:
    phi = clusters(1200)
    table = (1 + torch.nn.functional.cosine_similarity(phi[:, None], phi[None], dim=2)) / 2

    def worth(rows: torch.Tensor) -> float:
        return float(table[rows].amax(0).sum())

    whole = FacilityLocation().pick(phi, 48, _generator()).rows
    sharded = Sharded(FacilityLocation(), 150).pick(phi, 48, _generator()).rows
    chance = torch.randperm(1200, generator=_generator())[:48]
    assert worth(sharded) > worth(whole) - 0.5 * (worth(whole) - worth(chance))


def test_what_cannot_be_sharded_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"(?s)Hardest, which does not go by features.*without shards"):
        Sharded(Hardest())
    with pytest.raises(ConfigError, match="Sharded, which"):
        Sharded(Sharded(KCenter()))
    with pytest.raises(ConfigError, match="rows=0"):
        Sharded(KCenter(), 0)
