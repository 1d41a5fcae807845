"""Facility location against brute force, in every form and by every engine."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from decoct.selection import similarity_forms as forms
from decoct.selection.facility_location import FacilityLocation
from decoct.selection.similarity import Form


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _phi(n: int, seed: int = 0, d: int = 3) -> torch.Tensor:
    return torch.randn(n, d, generator=_generator(seed))


def _table(phi: torch.Tensor) -> torch.Tensor:
    return (1 + cosine_similarity(phi.double()[:, None], phi.double()[None], dim=2)) / 2


def _value(table: torch.Tensor, rows: list[int]) -> float:
    return float(table[:, rows].amax(1).sum())


@pytest.mark.parametrize("seed", range(5))
def test_it_is_worth_its_share_of_the_best(seed: int) -> None:
    phi = _phi(11, seed)
    table = _table(phi)
    picks = FacilityLocation().pick(phi, 3, _generator())
    best = max(_value(table, list(rows)) for rows in combinations(range(11), 3))
    assert _value(table, picks.rows.tolist()) >= (1 - 1 / math.e) * best
    assert float(picks.scores.sum()) == pytest.approx(_value(table, picks.rows.tolist()), abs=1e-4)


@pytest.mark.parametrize("form", ["dense", "blocks", "sparse"])
def test_every_form_and_engine_picks_as_the_formula_does(monkeypatch: pytest.MonkeyPatch, form: Form) -> None:
    # Sums in pieces are sums over all rows: 3 rows at a time of 60.
    monkeypatch.setattr(forms, "ENTRIES", 180)
    phi = _phi(60)
    table, expected = _table(phi), []
    for _ in range(12):
        values = [-1.0 if row in expected else _value(table, [*expected, row]) for row in range(60)]
        expected.append(values.index(max(values)))
    for engine in ("naive", "lazy"):
        method = FacilityLocation(engine=engine, form=form, neighbours=60)  # type: ignore[arg-type]
        assert method.pick(phi, 12, _generator()).rows.tolist() == expected


def test_weights_are_shares_of_the_rows_nearest_to_each_pick() -> None:
    phi = torch.eye(3).repeat_interleave(torch.tensor([30, 20, 10]), 0) + 0.01 * _phi(60)
    picks = FacilityLocation().pick(phi, 3, _generator())
    assert [int(row >= 30) + int(row >= 50) for row in picks.rows] == [0, 1, 2]
    torch.testing.assert_close(picks.weights, torch.tensor([1.5, 1.0, 0.5]))


def test_a_sparse_graph_still_gives_every_pick_a_weight() -> None:
    picks = FacilityLocation(form="sparse", neighbours=2).pick(_phi(50), 30, _generator())
    assert len(set(picks.rows.tolist())) == 30
    assert float(picks.weights.mean()) == pytest.approx(1)
    assert (picks.weights > 0).all()


def test_the_stochastic_engine_comes_near() -> None:
    phi = _phi(300, d=8)
    lazy = FacilityLocation().pick(phi, 30, _generator())
    drawn = FacilityLocation(engine="stochastic", epsilon=0.05).pick(phi, 30, _generator())
    assert 0.9 < float(drawn.scores.sum() / lazy.scores.sum()) <= 1
