"""The engines on a small covering problem: order, gains, bound, and that lazy equals naive."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoct.errors import ConfigError, DataError
from decoct.selection.greedy import SetFunction, greedy


class Cover(SetFunction):
    """Weighted cover: what the union of the chosen sets weighs."""

    def __init__(self, sets: torch.Tensor, worth: torch.Tensor) -> None:
        self.sets, self.worth, self.n = sets, worth, len(sets)
        self.left = torch.ones(len(worth), dtype=torch.bool)
        self.asked = 0

    def gains(self, candidates: torch.Tensor) -> torch.Tensor:
        self.asked += len(candidates)
        return (self.sets[candidates] & self.left).float() @ self.worth

    def add(self, row: int) -> None:
        self.left &= ~self.sets[row]


def _cover(seed: int, n: int = 9, things: int = 12, share: float = 0.3) -> Cover:
    generator = torch.Generator().manual_seed(seed)
    # Whole numbers, so that ties happen and rounding does not.
    worth = torch.randint(1, 6, (things,), generator=generator).float()
    return Cover(torch.rand(n, things, generator=generator) < share, worth)


def _run(seed: int, count: int, engine: str, **sizes: float) -> tuple[list[int], list[float], int]:
    function = _cover(seed, **sizes)  # type: ignore[arg-type]
    rows, gains = greedy(function, count, engine, torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
    return rows.tolist(), gains.tolist(), function.asked


@given(seed=st.integers(0, 10_000), count=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_lazy_equals_naive_ties_and_gains_of_zero_included(seed: int, count: int) -> None:
    rows, gains, _ = _run(seed, count, "naive")
    assert _run(seed, count, "lazy")[:2] == (rows, gains)
    assert len(set(rows)) == count
    assert gains == sorted(gains, reverse=True)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_greedy_is_worth_its_share_of_the_best(seed: int, count: int) -> None:
    cover = _cover(seed)
    best = max(float(cover.sets[list(s)].any(0).float() @ cover.worth) for s in combinations(range(9), count))
    assert sum(_run(seed, count, "naive")[1]) >= (1 - 1 / math.e) * best


def test_lazy_asks_for_far_fewer_gains() -> None:
    naive, lazy = (_run(0, 40, engine, n=400, things=2000, share=0.01) for engine in ("naive", "lazy"))
    assert lazy[:2] == naive[:2]
    assert lazy[2] < naive[2] / 2


def test_stochastic_looks_at_samples_and_loses_little() -> None:
    rows, gains, asked = _run(0, 40, "stochastic", n=400, things=300)
    assert len(set(rows)) == 40
    assert asked == 40 * math.ceil(10 * math.log(100))
    assert sum(gains) >= (1 - 1 / math.e - 0.01) * sum(_run(0, 40, "naive", n=400, things=300)[1])
    assert _run(0, 40, "stochastic", n=400, things=300)[0] == rows
    drawn = {
        tuple(greedy(_cover(0, 400, 300), 5, "stochastic", torch.Generator().manual_seed(s), 0.5)[0].tolist())
        for s in range(4)
    }
    assert len(drawn) == 4


def test_stochastic_can_take_every_row() -> None:
    assert sorted(_run(3, 9, "stochastic")[0]) == list(range(9))


@pytest.mark.parametrize("epsilon", [0.0, 1.0, -0.1])
def test_an_impossible_epsilon_is_refused(epsilon: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        greedy(_cover(0), 2, "stochastic", torch.Generator(), epsilon)


@pytest.mark.parametrize("engine", ["naive", "lazy", "stochastic"])
@pytest.mark.parametrize("later", [False, True])
def test_a_gain_that_is_no_number_ends_the_search(engine: str, later: bool) -> None:
    class Broken(Cover):
        def gains(self, candidates: torch.Tensor) -> torch.Tensor:
            broken = not later or not bool(self.left.all())
            return torch.full((len(candidates),), torch.nan) if broken else super().gains(candidates)

    whole = _cover(0)
    with pytest.raises(DataError, match=r"a gain of nan for row \d(.|\n)*finite gains"):
        greedy(Broken(whole.sets, whole.worth), 3, engine, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
