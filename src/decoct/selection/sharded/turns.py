"""How many picks each shard has, and in which order the shards take turns."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from decoct.selection.selector import Picks, unit_mean


def turns(sizes: Sequence[int], count: int) -> NDArray[np.int64]:
    """Which shard has each of `count` turns: the one with the largest `size / (2 turns + 1)` that has rows left.

    Webster's method, by which parliaments share out seats: after every turn the shards have turns in proportion to
    their rows, as near as whole numbers go. A smaller count is a prefix, which sharing out by largest remainder does
    not promise. Ties go to the first shard. At most `sum(sizes)` turns; cost O(count log shards).
    """
    queue = [(1 / size, shard, 0) for shard, size in enumerate(sizes) if size > 0]
    heapq.heapify(queue)
    found = np.empty(count, np.int64)
    for turn in range(count):
        _, shard, taken = heapq.heappop(queue)
        found[turn] = shard
        if taken + 1 < sizes[shard]:
            heapq.heappush(queue, ((2 * taken + 3) / sizes[shard], shard, taken + 1))
    return found


def in_order(takers: NDArray[np.integer]) -> Int64[Tensor, " k"]:
    """Where in the joined picks (shard by shard, each in its own order) the pick of every turn stands."""
    places = np.empty(len(takers), np.int64)
    places[np.argsort(takers, kind="stable")] = np.arange(len(takers))
    return torch.from_numpy(places)


def joined(parts: Sequence[Picks], takers: NDArray[np.integer]) -> Picks:
    """The picks of all shards, `parts` in the order of their numbers, in the order of the turns.

    The weights of each part are the rows that its picks stand for, in sum those of its shard (`standing`); of what is
    returned they have mean 1.
    """
    order = in_order(takers)
    rows, weights, scores = (
        torch.cat([getattr(part, field) for part in parts])[order] for field in ("rows", "weights", "scores")
    )
    return Picks(rows, unit_mean(weights), scores)


def standing(picks: Picks, rows: int) -> Picks:
    """The same picks, with weights that say how many of the `rows` of their shard each stands for."""
    return Picks(picks.rows, picks.weights * (rows / float(picks.weights.sum())), picks.scores)
