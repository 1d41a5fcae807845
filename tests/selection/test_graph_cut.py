"""Graph cut against brute force, its sign, and when it is monotone."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from decoct.errors import ConfigError, DataError
from decoct.selection.graph_cut import GraphCut


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _phi(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, generator=_generator(seed))


def _value(phi: torch.Tensor, rows: list[int], balance: float) -> float:
    table = (1 + cosine_similarity(phi.double()[:, None], phi.double()[None], dim=2)) / 2
    return float(balance * table[:, rows].sum() - table[rows][:, rows].sum())


@pytest.mark.parametrize("seed", range(4))
def test_it_is_worth_its_share_of_the_best_and_gains_add_up(seed: int) -> None:
    phi = _phi(10, seed)
    picks = GraphCut().pick(phi, 3, _generator())
    value = _value(phi, picks.rows.tolist(), 2.0)
    assert value >= (1 - 1 / math.e) * max(_value(phi, list(rows), 2.0) for rows in combinations(range(10), 3))
    assert float(picks.scores.sum()) == pytest.approx(value, abs=1e-4)


def test_gains_never_fall_below_zero_from_a_balance_of_two_on_and_do_below() -> None:
    phi = torch.ones(20, 2) + 0.01 * _phi(20)[:, :2]
    assert (GraphCut().pick(phi, 20, _generator()).scores > 0).all()
    assert (GraphCut(balance=1.0).pick(phi, 20, _generator()).scores[12:] < 0).all()


@pytest.mark.parametrize("form", ["dense", "blocks", "sparse"])
@pytest.mark.parametrize("engine", ["naive", "lazy"])
def test_every_form_and_engine_agrees(form: str, engine: str) -> None:
    phi = _phi(40)
    expected: list[int] = []
    for _ in range(8):
        values = [-math.inf if row in expected else _value(phi, [*expected, row], 2.0) for row in range(40)]
        expected.append(values.index(max(values)))
    method = GraphCut(form=form, engine=engine, neighbours=40)  # type: ignore[arg-type]
    assert method.pick(phi, 8, _generator()).rows.tolist() == expected


def test_copies_of_a_pick_go_behind_other_rows() -> None:
    """With the sign of the second term turned round, one cluster would be picked whole."""
    phi = torch.eye(2).repeat_interleave(5, 0) + 0.001 * _phi(10)[:, :2]
    assert [row // 5 for row in GraphCut(balance=1.0).pick(phi, 4, _generator()).rows.tolist()] in (
        [0, 1, 0, 1],
        [0, 1, 1, 0],
        [1, 0, 0, 1],
        [1, 0, 1, 0],
    )


def test_negative_similarities_and_balances_are_refused() -> None:
    with pytest.raises(DataError, match="negative similarity of row"):
        GraphCut(kind="dot").pick(torch.tensor([[1.0], [2.0], [-1.0]]), 2, _generator())
    with pytest.raises(ConfigError, match="balance=-1"):
        GraphCut(balance=-1.0)


def test_a_smaller_budget_is_a_prefix_of_a_larger_one_on_both_sides_of_a_quarter() -> None:
    phi = torch.randn(400, 8, generator=_generator())
    fewer, more = (GraphCut().pick(phi, count, _generator()) for count in (100, 101))
    assert fewer.rows.tolist() == more.rows[:100].tolist()
    assert torch.equal(fewer.scores, more.scores[:100])
