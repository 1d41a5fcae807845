"""What selectors by greedy maximisation of a set function share: the engine, and how similarities are kept."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.selection.content_order import content_order, numbered
from decoct.selection.greedy import Engine, SetFunction, greedy
from decoct.selection.neighbours import Search
from decoct.selection.selector import Picks, Selector, checked
from decoct.selection.similarity import Form
from decoct.settings import require_settings

F = TypeVar("F", bound=SetFunction)
RENEWED = 32
"""Gains that the lazy engine renews for a pick, roughly."""


@dataclass(frozen=True)
class Submodular(Selector, Generic[F]):
    """Picks in the order in which greedy search adds them. The score of a pick is its gain."""

    paired: ClassVar[bool] = False
    """Whether two rows often gain exactly the same, so that only rounding tells them apart."""
    engine: Engine = "lazy"
    """"lazy" and "naive" give the same picks; "stochastic" looks at a sample for each, for large budgets."""
    epsilon: float = 0.01
    """Share of the value that "stochastic" may lose, between 0 and 1: it looks at `(n / k) ln(1 / epsilon)` rows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_settings(
            self, "greedy selection",
            ("engine", self.engine in get_args(Engine), "one of " + ", ".join(get_args(Engine))),
            ("epsilon", 0 < self.epsilon < 1, "a number between 0 and 1"),
        )  # fmt: skip

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        features = checked(features, count)
        if self.engine != "stochastic" and not self.paired:
            return self._greedy(self.function(features, count, generator), count, generator)
        # Draws go by place, and rounding by the order of sums: both are the same whatever the order of the rows.
        order = content_order(features)
        function = self.function(features[order.to(features.device)], count, generator)
        return numbered(self._greedy(function, count, generator), order)

    def _greedy(self, function: F, count: int, generator: torch.Generator) -> Picks:
        rows, gains = greedy(function, count, self.engine, generator, self.epsilon)
        return Picks(rows, self.weights(function, rows), gains.float())

    def looks(self, n: int, k: int) -> float:
        """Gains that are computed for k picks of n rows, roughly."""
        if self.engine == "stochastic":
            return float(k * min(n, math.ceil(n / k * math.log(1 / self.epsilon))))
        return float(n * k if self.engine == "naive" else n + k * min(n, RENEWED))

    @abstractmethod
    def function(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> F:
        """The function to maximise, of the empty set."""

    def weights(self, function: F, rows: Int64[Tensor, " k"]) -> Float[Tensor, " k"]:
        """Weights of the picks, of mean 1."""
        return torch.ones(len(rows))


@dataclass(frozen=True)
class Pairwise(Submodular[F]):
    """Of a function of similarities that are not negative, in any form."""

    products: ClassVar[bool] = True
    form: Form = "auto"
    """How similarities are kept: "dense" (n x n, up to 4096 rows by "auto"), "blocks" (computed when asked: O(n d)
    memory) or "sparse" (between neighbours only)."""
    neighbours: int = 64
    """Neighbours of a row in the sparse form, 1 or more."""
    search: Search = "auto"
    """How these are found: "exact", "faiss" (nearly all of them), or by "auto" faiss above 100,000 rows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_settings(self, "greedy selection", ("neighbours", self.neighbours >= 1, "1 or more"))

    def pick_weighted(
        self, features: Float[Tensor, "n d"], weights: Float[Tensor, " n"], count: int, generator: torch.Generator
    ) -> Picks:
        """The same function of rows of which row i stands for `w_i` rows, and is picked once at most; the width of
        "rbf" is that of the rows without weights."""
        features, masses = checked(features, count), weights.to(features)
        if self.engine != "stochastic" and not self.paired:
            return self._greedy(self.function(features, count, generator, masses), count, generator)
        order = content_order(torch.cat([features, masses[:, None]], 1))
        place = order.to(features.device)
        function = self.function(features[place], count, generator, masses[place])
        return numbered(self._greedy(function, count, generator), order)

    @abstractmethod
    def function(
        self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator,
        masses: Float[Tensor, " n"] | None = None,
    ) -> F:  # fmt: skip
        """The function to maximise, of the empty set, where row i of all rows stands for `masses[i]` rows."""
