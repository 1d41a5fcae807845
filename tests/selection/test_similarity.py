"""Similarities: their formulas, and the same answers in every form."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from decoct.errors import ConfigError, MemoryEstimateError
from decoct.selection import similarity as module
from decoct.selection.similarity import Form, Kind, similarity, sparse, unit_rows
from decoct.selection.similarity_forms import Dense, Similarity


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


PHI = torch.randn(30, 4, generator=_generator()) + 2


def _table(kind: str) -> torch.Tensor:
    phi = PHI.double()
    if kind == "dot":
        return phi @ phi.T
    if kind == "cosine":
        return (1 + cosine_similarity(phi[:, None], phi[None], dim=2)) / 2
    gaps = torch.cdist(phi, phi)
    width = gaps[*torch.triu_indices(30, 30, 1)].median()
    return (-gaps.square() / (2 * width**2)).exp()


def _check(alike: Similarity, table: torch.Tensor) -> None:
    rows, level = torch.tensor([3, 29, 0]), torch.linspace(0, 1, 30)
    others = torch.tensor([[1, 3], [29, 2], [0, 0]])
    close = {"atol": 2e-5, "rtol": 2e-5, "check_dtype": False}
    torch.testing.assert_close(alike.rows(rows), table[rows], **close)
    torch.testing.assert_close(alike.some(rows, others), table[rows[:, None], others], **close)
    torch.testing.assert_close(alike.sums(), table.sum(1), **close)
    torch.testing.assert_close(alike.diagonal, table.diagonal(), **close)
    torch.testing.assert_close(alike.above(rows, level), (table[rows] - level).clamp(min=0).sum(1), **close)


@pytest.mark.parametrize("kind", ["cosine", "rbf", "dot"])
@pytest.mark.parametrize("form", ["dense", "blocks", "sparse", "auto"])
def test_every_form_gives_the_formula(monkeypatch: pytest.MonkeyPatch, kind: Kind, form: Form) -> None:
    monkeypatch.setattr("decoct.selection.similarity_forms.ENTRIES", 70)  # two rows at a time
    _check(similarity(PHI, kind, _generator(), form, neighbours=30), _table(kind))


def test_sparse_keeps_the_nearest_of_either_row_and_zero_elsewhere() -> None:
    table = _table("rbf")
    rank = table.argsort(1, descending=True).argsort(1)
    kept = (rank < 4) | (rank.T < 4)
    _check(similarity(PHI, "rbf", _generator(), "sparse", neighbours=4), table * kept)


def test_rows_may_be_written_to() -> None:
    for form in ("dense", "blocks", "sparse"):
        alike = similarity(PHI, "cosine", _generator(), form)
        before = alike.rows(torch.tensor([1, 2])).clone()
        alike.rows(torch.tensor([1, 2])).zero_()
        assert torch.equal(before, alike.rows(torch.tensor([1, 2])))


@pytest.mark.parametrize("form", ["dense", "blocks"])
def test_tables_take_the_same_place(form: Form) -> None:
    """Anew each time, they left holes in the heap between results that stayed: gigabytes in a few seconds."""
    alike = similarity(PHI, "cosine", _generator(), form)
    places = {alike.rows(torch.arange(start, start + 5)).data_ptr() for start in range(0, 25, 5)}
    assert len(places) == 1
    assert alike.rows(torch.arange(3)).data_ptr() in places
    assert alike.rows(torch.arange(30)).shape == (30, 30)


def test_a_table_that_does_not_fit_is_refused_with_the_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.machine.available_memory", lambda: 3000)
    with pytest.raises(MemoryEstimateError, match=r"(?s)similarities of 30 rows.*form='blocks'.*form='sparse'"):
        similarity(PHI, "cosine", _generator(), "dense")
    with pytest.raises(MemoryEstimateError, match="keep fewer neighbours"):
        similarity(PHI, "cosine", _generator(), "sparse")
    assert similarity(PHI, "cosine", _generator(), "blocks").n == 30


def test_no_neighbours_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 neighbours"):
        sparse(Dense(torch.eye(3)), 0)


def test_rows_of_zeros_are_like_each_other_only() -> None:
    units = unit_rows(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(units @ units.T, torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]]))


@pytest.mark.parametrize("phi", [torch.ones(5, 2), torch.tensor([[0.0]] * 9 + [[1.0]])])
def test_equal_rows_have_a_similarity_of_one(phi: torch.Tensor) -> None:
    table = similarity(phi, "rbf", _generator()).rows(torch.arange(len(phi)))
    torch.testing.assert_close(table[:5, :5], torch.ones(5, 5))
    assert torch.isfinite(table).all()


def test_the_width_of_large_sets_comes_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 20)
    first, again = (similarity(PHI, "rbf", _generator()).sums() for _ in range(2))
    assert torch.equal(first, again)
    assert float((first - _table("rbf").sum(1)).abs().max()) < 5
