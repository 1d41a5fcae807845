"""Greedy maximisation of a set function: naive, lazy or stochastic, all through one small interface.

Nemhauser, Wolsey, Fisher (1978): for a monotone submodular function the greedy set is worth at least 1 - 1/e of the
best set of its size. Lazy: Minoux (1978), https://doi.org/10.1007/BFb0006528. Stochastic: Mirzasoleiman et al., "Lazier
Than Lazy Greedy" (2015), https://arxiv.org/abs/1409.7938.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.errors import ConfigError, DataError

Engine: TypeAlias = Literal["naive", "lazy", "stochastic"]
BATCH = 16
"""Rows that the lazy engine looks at first, twice as many each time that they do not decide."""


class SetFunction(ABC):
    """A function of a set of rows out of 0..n-1, and the set that has been chosen so far."""

    n: int

    @abstractmethod
    def gains(self, candidates: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
        """By how much each candidate alone would raise the function; candidates are not in the set."""

    @abstractmethod
    def add(self, row: int) -> None:
        """Put the row into the set."""


def greedy(
    function: SetFunction, count: int, engine: Engine, generator: torch.Generator, epsilon: float = 0.01
) -> tuple[Int64[Tensor, " k"], Float[Tensor, " k"]]:
    """`count` rows in the order added, each with its gain when it was added; ties go to the lowest row.

    - "naive" looks at all rows for every pick.
    - "lazy" keeps old gains as bounds in a queue and renews the largest until a renewed one leads. Same picks as
      "naive" for a submodular function, whose gains never grow.
    - "stochastic" looks at `(n / count) ln(1 / epsilon)` rows drawn afresh for every pick: in all O(n ln(1/epsilon))
      gains whatever the count, and in the mean at least `1 - 1/e - epsilon` of the best value.

    Raises `ConfigError` unless 0 < epsilon < 1, and `DataError` for a gain that is no finite number.
    """
    if not 0 < epsilon < 1:
        raise ConfigError(
            "greedy selection",
            received=f"epsilon={epsilon}",
            expected="a number between 0 and 1",
            remedy="keep the default, 0.01; a smaller one looks at more rows for every pick",
        )
    size = min(function.n, math.ceil(function.n / count * math.log(1 / epsilon)))
    choose = {"naive": _naive, "lazy": _lazy, "stochastic": _stochastic}[engine](function, size, generator)
    rows, values = [], []
    for _ in range(count):
        row, gain = choose()
        function.add(row)
        rows.append(row)
        values.append(gain)
    return torch.tensor(rows), torch.tensor(values)


Choice = Callable[[], tuple[int, float]]


def _gains(function: SetFunction, rows: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Gains on the CPU; of NaN, which is above nothing, no row would ever lead."""
    gains = function.gains(rows).cpu()
    bad = ~torch.isfinite(gains)
    if bad.any():
        place = int(bad.nonzero()[0])
        raise DataError(
            "picking rows by greedy search", received=f"a gain of {float(gains[place])} for row {int(rows[place])}",
            expected="finite gains",
            remedy="look for values in the features that are far too large, or scale them down",
        )  # fmt: skip
    return gains


def _naive(function: SetFunction, size: int, generator: torch.Generator) -> Choice:
    everything = torch.arange(function.n)
    taken = torch.zeros(function.n, dtype=torch.bool)

    def choose() -> tuple[int, float]:
        rows = everything[~taken]
        gains = _gains(function, rows)
        best = int(gains.argmax())
        taken[rows[best]] = True
        return int(rows[best]), float(gains[best])

    return choose


def _lazy(function: SetFunction, size: int, generator: torch.Generator) -> Choice:
    bounds = _gains(function, torch.arange(function.n))
    fresh = torch.ones(function.n, dtype=torch.bool)

    def choose() -> tuple[int, float]:
        batch = BATCH
        # argmax gives the first of equals: a row with an old bound as large would come later, and so not be picked.
        while not fresh[row := int(bounds.argmax())]:
            old = bounds.masked_fill(fresh, -torch.inf)
            rows = old.topk(min(batch, function.n)).indices.sort().values
            best = bounds.masked_fill(~fresh, -torch.inf).max()
            rows = rows[~fresh[rows] & (bounds[rows] >= best) & (bounds[rows] > -torch.inf)]
            bounds[rows] = _gains(function, rows).to(bounds.dtype)
            fresh[rows] = True
            batch *= 2
        gain = float(bounds[row])
        fresh.fill_(False)
        bounds[row] = -torch.inf
        return row, gain

    return choose


def _stochastic(function: SetFunction, size: int, generator: torch.Generator) -> Choice:
    taken = torch.zeros(function.n, dtype=torch.bool)
    everything = torch.arange(function.n)

    def choose() -> tuple[int, float]:
        rows = everything[~taken]
        rows = rows[torch.randperm(len(rows), generator=generator)[:size].sort().values]
        gains = _gains(function, rows)
        best = int(gains.argmax())
        taken[rows[best]] = True
        return int(rows[best]), float(gains[best])

    return choose
