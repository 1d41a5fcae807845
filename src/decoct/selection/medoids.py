"""The search for medoids in a table of distances: greedily first, then by exchanging picks for other rows."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.machine import require_memory
from decoct.selection.selector import distances

BLOCK = 256


def medoids(
    features: Float[Tensor, "n d"], count: int, masses: Float[Tensor, " n"] | None = None
) -> Int64[Tensor, " k"]:
    """Rows of a local optimum, from the whole table of distances. Raises `MemoryEstimateError`."""
    n = len(features)
    require_memory(
        "picking rows by k-median",
        needed=4 * n * (n + 4 * BLOCK),
        remedy="lower the budget, lower `exact_up_to` and `sample_rows` so that smaller samples are searched, or pick "
        "from shards (shard_rows=4096)",
    )
    table = weighed(distances(features, features), masses)
    chosen = build(table, count)
    return _swap(table, chosen).cpu()


def weighed(table: Float[Tensor, "n m"], masses: Float[Tensor, " n"] | None) -> Float[Tensor, "n m"]:
    """The table as the search wants it: every row times its mass, which changes no order within a row."""
    return table if masses is None else table.mul_(masses[:, None])


def build(table: Float[Tensor, "n m"], count: int) -> Int64[Tensor, " k"]:
    """Greedily the column of `table` that lowers the sum of the row minima the most, `count` times.

    What every column would save is kept, and corrected after a pick only for the rows that came nearer by it.
    """
    chosen = [int(table.sum(0).argmin())]
    nearest = table[:, chosen[0]].clone()
    saving = torch.zeros_like(table[0], dtype=torch.float64)
    for part, far in zip(table.split(BLOCK), nearest.split(BLOCK), strict=True):
        saving += (far[:, None] - part).clamp(min=0).sum(0, dtype=torch.float64)
    while len(chosen) < count:
        saving[chosen[-1]] = -torch.inf
        chosen.append(int(saving.argmax()))
        closer = torch.minimum(nearest, table[:, chosen[-1]])
        for rows in (closer < nearest).nonzero()[:, 0].split(BLOCK):
            old, new = nearest[rows, None], closer[rows, None]
            saving -= (old - table[rows].clamp(new, old)).sum(0, dtype=torch.float64)
        nearest = closer
    return torch.tensor(chosen)


def _swap(table: Float[Tensor, "n n"], chosen: Int64[Tensor, " k"]) -> Int64[Tensor, " k"]:
    """Exchange picks for other rows until a whole round of candidates brings nothing."""
    if len(chosen) in (1, len(table)):
        return chosen
    starts = range(0, len(table), BLOCK)
    near, which = table[:, chosen].topk(2, largest=False)
    position = idle = 0
    while idle < len(starts):
        start = starts[position]
        change, leaving, entering = _best_swap(table[:, start : start + BLOCK], near, which[:, 0], len(chosen))
        total = float(near[:, 0].sum(dtype=torch.float64))
        if change < -1e-6 * total:
            swapped = chosen.clone()
            swapped[leaving] = start + entering
            closer = _two_nearest(table, swapped, leaving, near, which)
            # Rounding could otherwise swap to and fro for ever.
            if float(closer[0][:, 0].sum(dtype=torch.float64)) < total:
                chosen, (near, which), idle = swapped, closer, 0
                continue
        idle += 1
        position = (position + 1) % len(starts)
    return chosen


def _two_nearest(
    table: Float[Tensor, "n n"],
    chosen: Int64[Tensor, " k"],
    place: int,
    near: Float[Tensor, "n 2"],
    which: Int64[Tensor, "n 2"],
) -> tuple[Float[Tensor, "n 2"], Int64[Tensor, "n 2"]]:
    """The two nearest picks of every row after the one at `place` has been exchanged: distances and places."""
    three = torch.cat([near, table[:, chosen[place], None]], 1)
    near, order = three.topk(2, largest=False)
    lost = (which == place).any(1)
    which = torch.cat([which, torch.full_like(which[:, :1], place)], 1).gather(1, order)
    near[lost], which[lost] = table[lost][:, chosen].topk(2, largest=False)
    return near, which


def _best_swap(
    candidates: Float[Tensor, "n b"], near: Float[Tensor, "n 2"], cluster: Int64[Tensor, " n"], count: int
) -> tuple[float, int, int]:
    """The best exchange with these candidates: change of the sum, which pick leaves, which candidate enters.

    A row moves to the candidate where that is nearer (the same for all picks that may leave); rows of the pick that
    leaves go to the candidate or to their second nearest pick.
    """
    first, second = near[:, :1], near[:, 1:]
    shared = (candidates - first).clamp(max=0).sum(0)
    change = candidates.new_zeros(count, candidates.shape[1])
    change.index_add_(0, cluster, candidates.clamp(first, second) - first)
    change += shared
    flat = int(change.argmin())
    leaving, entering = divmod(flat, candidates.shape[1])
    return float(change.flatten()[flat]), leaving, entering
