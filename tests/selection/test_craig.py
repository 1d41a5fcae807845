"""CRAIG against facility location by brute force, and its weights."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from test_gradients import a_layer, chance, written_out
from toys import blob_features

from decoct.networks.build import network
from decoct.selection.craig import Craig, distance_columns, facility_location
from decoct.selection.driver import select
from decoct.selection.gradients import LastLayer
from decoct.selection.sources import Sources


def clusters(sizes: tuple[int, ...] = (30, 20, 10)) -> torch.Tensor:
    centres = (torch.eye(len(sizes)) * 30).repeat_interleave(torch.tensor(sizes), 0)
    return centres + torch.randn(centres.shape, generator=chance(7))


def value(table: torch.Tensor, rows: list[int], masses: torch.Tensor | None = None) -> float:
    gained = table.max() - table[:, rows].min(1).values
    return float((gained if masses is None else gained * masses).sum())


def naive(table: torch.Tensor, picked: list[int], masses: torch.Tensor | None = None) -> list[int]:
    """What greedy picks. Of two rows that gain exactly the same, as rows nearest to each other do, the one in `picked`
    is right as well."""
    rows: list[int] = []
    for place in range(len(picked)):
        left = [row for row in range(len(table)) if row not in rows]
        gains = torch.tensor([value(table.double(), [*rows, row], masses) for row in left], dtype=torch.float64)
        best = [left[at] for at in (gains >= gains.max() * (1 - 1e-7)).nonzero()[:, 0]]
        assert len(best) <= 2
        rows.append(picked[place] if picked[place] in best else best[0])
    return rows


@pytest.mark.parametrize("seed", range(6))
def test_lazy_equals_naive_and_keeps_the_bound_on_gradients_written_out(seed: int):
    layer, seen = a_layer(n=12, seed=10 * seed)
    full = written_out(layer, seen)
    table = torch.cdist(full, full)
    picks = Craig().pick_from(seen.gradients(), 4, chance())
    assert picks.rows.tolist() == naive(table, picks.rows.tolist())
    best = max(value(table, list(rows)) for rows in combinations(range(12), 4))
    assert value(table, picks.rows.tolist()) >= (1 - 1 / torch.e) * best
    assert abs(float(picks.scores.sum()) * 12 - value(table, picks.rows.tolist())) < 1e-3


def test_lazy_equals_naive_on_more_rows_than_are_renewed_together():
    table = torch.randn(90, 3, generator=chance(3), dtype=torch.float64)
    rows = Craig().pick(table, 25, chance()).rows.tolist()
    assert rows == naive(torch.cdist(table, table), rows)
    # Where rows count differently, none tie.
    masses = torch.rand(90, generator=chance(4), dtype=torch.float64) + 0.5
    weighed = Craig().pick_weighted(table, masses, 25, chance()).rows.tolist()
    assert weighed == naive(torch.cdist(table, table), [-1] * 25, masses)


def test_weights_count_every_row_once():
    phi = clusters()
    columns = distance_columns(LastLayer.of_table(phi.double()), 100)
    rows, _, owner = facility_location(columns, 60, 3)
    sizes = torch.bincount(owner, minlength=3)
    assert int(sizes.sum()) == 60
    assert sorted(zip((rows >= 30).long().add((rows >= 50).long()).tolist(), sizes.tolist(), strict=True)) == [
        (0, 30), (1, 20), (2, 10),
    ]  # fmt: skip
    picks = Craig().pick(phi, 3, chance())
    torch.testing.assert_close(picks.weights, sizes.float() / 20)


def test_every_row_is_its_own_where_all_are_kept():
    phi = torch.ones(5, 2)
    assert Craig().pick(phi, 5, chance()).weights.tolist() == [1.0] * 5
    assert Craig().pick(clusters(), 60, chance()).weights.tolist() == [1.0] * 60


def test_columns_on_demand_give_the_same_answer_as_the_table(monkeypatch):
    phi = clusters()
    kept = Craig().pick(phi, 12, chance())
    demanded = Craig(table_rows=0).pick(phi, 12, chance())
    monkeypatch.setattr("decoct.selection.craig.available_memory", lambda: 60 * 60 * 4)
    tight = Craig().pick(phi, 12, chance())
    for other in (demanded, tight):
        assert other.rows.tolist() == kept.rows.tolist()
        assert torch.equal(other.weights, kept.weights)


def test_shuffled_data_give_the_same_rows(monkeypatch):
    """Gradients read in another order than the rows are numbered in give random members of a class."""
    data = blob_features(classes=2, per_class=15)
    monkeypatch.setattr(Sources, "expert", network("mlp", data.spec.shape, 2, 0))
    shuffled = data.with_train(torch.randperm(30, generator=chance()))
    first, second = select(data, "craig", ipc=4), select(shuffled, "craig", ipc=4)
    assert list(first.ids) == list(second.ids)
    torch.testing.assert_close(first.weights, second.weights)


def test_a_larger_budget_only_adds_rows():
    phi = clusters()
    assert Craig().pick(phi, 20, chance()).rows[:7].tolist() == Craig().pick(phi, 7, chance()).rows.tolist()
