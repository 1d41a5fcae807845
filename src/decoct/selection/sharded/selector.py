"""A selector that cuts its rows into shards and picks from each on its own: linear time for quadratic methods."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.errors import ConfigError
from decoct.selection.by_score import ByScore
from decoct.selection.content_order import numbered
from decoct.selection.selector import Picks, Selector, checked
from decoct.selection.sharded.shards import FEW, split
from decoct.selection.sharded.turns import joined, standing, turns
from decoct.selection.uniform import Uniform
from decoct.streams import Streams, derive_seed

ROWS = 4096
"""Rows of a shard at most: their similarities with each other take 67 MB."""


@dataclass(frozen=True)
class Sharded(Selector):
    """Picks of `inner` from shards of near rows, which take turns in proportion to their rows.

    Shards come from mini-batch k-means, cut again where they are too large (`shards.split`). With n rows, k picks and
    shards of m rows, what costs O(n^2) or O(n k) on the whole set costs O(n m) or O(n k m / n) here.

    What is lost: a shard knows nothing of its neighbours. k-center may pick on both sides of a border, and its score
    is the radius inside the shard; facility location and graph cut count similarities inside the shard only; near
    duplicates on both sides of a border are not found. A shard with fewer rows than one pick stands for may have none.
    Weights are those of `inner` inside a shard, times the rows of the shard for each of its picks: so the picks of a
    shard weigh together what its rows do, and where `inner` has weights of 1 they are near 1, larger in shards that
    got fewer turns than their rows ask for. A prefix is the pick of fewer wherever it is so for `inner`.
    """

    inner: Selector
    """What picks inside a shard: a selector that goes by features."""
    rows: int = ROWS
    """Rows of a shard at most, 1 or more; with as many rows or fewer there is one shard."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not by_features(self.inner) or isinstance(self.inner, Sharded):
            raise ConfigError(
                "picking shard by shard",
                received=f"{type(self.inner).__name__}, which does not go by features alone",
                expected="a selector by features, such as KCenter or FacilityLocation",
                remedy="use it without shards; scores and random picks need none",
            )
        if self.rows < 1:
            raise ConfigError(
                "picking shard by shard",
                received=f"rows={self.rows}",
                expected="1 row in a shard or more",
                remedy=f"keep the default, {ROWS}",
            )

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        if len(features) <= self.rows:
            return self.inner.pick(features, count, generator)
        features = checked(features, count)
        seed = int(torch.randint(2**62, (1,), generator=generator))
        # The shards lie on the processor, where they are cut; each is picked from where the features are.
        shards = split(features.cpu(), self.rows, derive_seed(seed, "shards"))
        takers, streams = turns([len(rows) for rows in shards], count), Streams(seed)
        quota = torch.bincount(torch.from_numpy(takers), minlength=len(shards)).tolist()
        parts = []
        for number, (rows, wanted) in enumerate(zip(shards, quota, strict=True)):
            if wanted:
                part = self.inner.pick(features[rows.to(features.device)], wanted, streams(f"shard/{number}"))
                parts.append(numbered(standing(part, len(rows)), rows))
        return joined(parts, takers)

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """Cutting, and the work of all shards."""
        shards = max(1, math.ceil(n / self.rows))
        if shards == 1:
            return self.inner.operations(n, k, d, classes)
        own = self.inner.operations(math.ceil(n / shards), max(1, round(k / shards)), d, classes)
        levels = math.ceil(math.log(shards, FEW))
        return shards * own + 2.0 * n * d * min(shards, FEW) * levels

    def reason(self, score: float, features: str) -> str:
        return self.inner.reason(score, features)


def sharded(method: Selector, rows: int) -> Selector:
    """The selector on shards of `rows` rows at most; itself where it needs none, as scores and random draws do.

    Raises `ConfigError` for a selector that goes by something else than features, and for fewer than one row.
    """
    return method if at_once(method) else Sharded(method, rows)


def at_once(method: Selector) -> bool:
    """Whether a selector takes one number a row or nothing, so that any number of rows is looked at together."""
    return isinstance(method, (ByScore, Uniform))


def by_features(method: Selector) -> bool:
    """Whether a selector asks for features of the rows and nothing else."""
    return method.needs_features and type(method).bind is Selector.bind
