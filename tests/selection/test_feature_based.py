"""Feature-based selection against brute force and a loop over the formula."""

from __future__ import annotations

import itertools
import math
from itertools import combinations

import pytest
import torch

from decoct.selection import feature_based
from decoct.selection.feature_based import FeatureBased

CONCAVE = {"sqrt": torch.sqrt, "log": torch.log1p}


def _phi(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))


def _value(phi: torch.Tensor, rows: list[int], concave: str) -> float:
    scaled = phi.double() / phi.double().abs().mean()  # of rows at their own lengths
    held = [CONCAVE[concave](part[rows].sum(0)).sum() for part in (scaled.relu(), (-scaled).relu())]
    return float(sum(held))


@pytest.mark.parametrize("concave", ["sqrt", "log"])
@pytest.mark.parametrize("engine", ["naive", "lazy"])
def test_picks_and_gains_are_those_of_the_formula(monkeypatch: pytest.MonkeyPatch, concave: str, engine: str) -> None:
    monkeypatch.setattr(feature_based, "ENTRIES", 50)
    phi, expected = _phi(40), []
    for _ in range(10):
        values = [-1.0 if row in expected else _value(phi, [*expected, row], concave) for row in range(40)]
        expected.append(values.index(max(values)))
    method = FeatureBased(concave=concave, engine=engine, lengths="own")  # type: ignore[arg-type]
    picks = method.pick(phi, 10, torch.Generator())
    assert picks.rows.tolist() == expected
    assert float(picks.scores.sum()) == pytest.approx(_value(phi, expected, concave), abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_worth_its_share_of_the_best(seed: int) -> None:
    phi = _phi(10, seed)
    rows = FeatureBased(lengths="own").pick(phi, 3, torch.Generator()).rows.tolist()
    best = max(_value(phi, list(chosen), "sqrt") for chosen in combinations(range(10), 3))
    assert _value(phi, rows, "sqrt") >= (1 - 1 / math.e) * best


def test_the_unit_of_the_features_does_not_matter() -> None:
    phi = _phi(30)
    for concave, lengths in itertools.product(("sqrt", "log"), ("one", "own")):
        method = FeatureBased(concave=concave, lengths=lengths)  # type: ignore[arg-type]
        one, other = (method.pick(part, 8, torch.Generator()).rows.tolist() for part in (phi, 1024 * phi))
        assert one == other


def test_a_feature_that_is_there_already_counts_less() -> None:
    phi = torch.tensor([[5.0, 0.0], [4.9, 0.0], [0.0, 2.0]])
    for lengths in ("one", "own"):
        picks = FeatureBased(lengths=lengths).pick(phi, 3, torch.Generator())  # type: ignore[arg-type]
        assert picks.rows.tolist() == [0, 2, 1]


def test_how_long_a_row_is_counts_only_where_it_is_asked_for() -> None:
    phi = _phi(60)
    long = torch.zeros(60, dtype=torch.bool)
    long[::4] = True
    stretched = torch.where(long[:, None], 16 * phi, phi)
    one = FeatureBased().pick(stretched, 15, torch.Generator())
    assert one.rows.tolist() == FeatureBased().pick(phi, 15, torch.Generator()).rows.tolist()
    units = phi / phi.norm(dim=1, keepdim=True)
    assert one.rows.tolist() == FeatureBased(lengths="own").pick(units, 15, torch.Generator()).rows.tolist()
    own = FeatureBased(lengths="own").pick(stretched, 15, torch.Generator())
    assert int(long[own.rows].sum()) == 15
    assert int(long[one.rows].sum()) < 10


def test_features_of_zeros_have_an_order() -> None:
    picks = FeatureBased().pick(torch.zeros(4, 2), 3, torch.Generator())
    assert picks.rows.tolist() == [0, 1, 2]
    assert (picks.scores == 0).all()
