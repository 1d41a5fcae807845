"""k-median (k-medoids): rows such that the others are near to one of them on average."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.machine import require_memory
from decoct.selection.content_order import content_order, numbered
from decoct.selection.selector import Picks, Selector, checked, distances, unit_mean

BLOCK = 256

CARD = MethodCard(
    name="k-median",
    line="k rows with the least mean distance of all rows to the nearest of them (k-medoids)",
    axes="real rows · distance to the nearest pick · hard labels",
    paper="Kaufman, Rousseeuw, Finding Groups in Data, 1990; swaps as in Schubert, Rousseeuw, Fast and Eager "
    "k-Medoids Clustering, 2021",
    link="https://arxiv.org/abs/2008.05171",
    bibtex="""@book{kaufman1990finding,
  author    = {Kaufman, Leonard and Rousseeuw, Peter J.},
  title     = {Finding Groups in Data: An Introduction to Cluster Analysis},
  publisher = {John Wiley \\& Sons},
  year      = {1990},
  doi       = {10.1002/9780470316801}
}
@article{schubert2021fast,
  author  = {Schubert, Erich and Rousseeuw, Peter J.},
  title   = {Fast and Eager k-Medoids Clustering: {O}(k) Runtime Improvement of the {PAM}, {CLARA}, and {CLARANS}
             Algorithms},
  journal = {Information Systems},
  volume  = {101},
  pages   = {101804},
  year    = {2021},
  doi     = {10.1016/j.is.2021.101804}
}""",
)


@dataclass(frozen=True)
class KMedian(Selector):
    """PAM: greedy BUILD, then SWAP until no exchange of a pick for another row helps; CLARA for large sets.

    min over S, |S| = k, of sum_i min_{j in S} ||phi_i - phi_j||, S among the rows themselves.

    Paper: Kaufman and Rousseeuw (1990), https://doi.org/10.1002/9780470316801; swaps for all k picks at once as in
    FasterPAM (2021), https://arxiv.org/abs/2008.05171, code https://github.com/kno10/rust-kmedoids.
    Shapes: features phi `[n, d]`, in any unit; a table of distances `[n, n]` up to `exact_up_to` rows.
    Weights are the sizes of the clusters (every row to its nearest pick), scaled to mean 1. The score of a pick is
    the mean distance of its cluster to it. The final picks are ordered greedily: every prefix is the best
    continuation of the one before.
    Cost: O(n^2 d) time for the distances, at most O(n^2 k) for BUILD (in practice far less, since only rows that come
    nearer count), O(n^2) for each round of SWAP; 4 n^2 bytes. Above `exact_up_to` rows the same on `samples` samples
    of `sample_rows` rows (at least 4 k), each judged on all rows in O(n k d), and the best is kept; its picks are put
    in order by a table of 4 n k bytes. Raises `MemoryEstimateError` for a table that does not fit.
    Differs from FasterPAM, which looks at one candidate at a time: here the best swap among a block of 256
    candidates is made at once. The end is the same: a local optimum under single swaps.
    Where rows have weights, distances from row i count `w_i` times, and clusters weigh what their rows do; samples of
    a larger set are drawn evenly all the same.
    """

    because = "medoid of its cluster, whose rows lie {value:.4g} from it on average"

    exact_up_to: int = 8192
    """Up to how many rows all rows are candidates (8192 rows take 268 MB)."""
    samples: int = 5
    """How many samples a larger set is tried with."""
    sample_rows: int = 2048
    """Rows of each such sample."""

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """The distances of all rows, and going through their table; above `exact_up_to` those of the samples."""
        if n <= self.exact_up_to:
            return _search(n, k, d)
        size = min(n, max(self.sample_rows, 4 * k))
        return self.samples * (_search(size, k, d) + 3.0 * n * k * d)

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        features = checked(features, count)
        # Samples, and the blocks in which swaps are looked for, go by place.
        order = content_order(features)
        return numbered(self._medoids(features[order.to(features.device)], None, count, generator), order)

    def pick_weighted(
        self, features: Float[Tensor, "n d"], weights: Float[Tensor, " n"], count: int, generator: torch.Generator
    ) -> Picks:
        """The same with distances from row i times `w_i`."""
        features, masses = checked(features, count), weights.to(features)
        order = content_order(torch.cat([features, masses[:, None]], 1))
        place = order.to(features.device)
        return numbered(self._medoids(features[place], masses[place], count, generator), order)

    def _medoids(
        self, features: Float[Tensor, "n d"], masses: Float[Tensor, " n"] | None, count: int,
        generator: torch.Generator,
    ) -> Picks:  # fmt: skip
        if len(features) <= self.exact_up_to:
            return _picks(features, medoids(features, count, masses), masses)
        require_memory(
            f"putting {count} of {len(features)} rows in order by k-median",
            needed=4 * count * (len(features) + 4 * BLOCK),
            remedy="pick from shards (shard_rows=4096), which need no table of all rows, or lower the budget",
        )
        return _picks(features, self._sampled(features, masses, count, generator), masses)

    def _sampled(
        self, features: Float[Tensor, "n d"], masses: Float[Tensor, " n"] | None, count: int,
        generator: torch.Generator,
    ) -> Int64[Tensor, " k"]:  # fmt: skip
        """Medoids of the sample whose medoids are best for all rows."""
        size = min(len(features), max(self.sample_rows, 4 * count))
        found: list[Int64[Tensor, " k"]] = []
        losses: list[float] = []
        for _ in range(self.samples):
            sample = torch.randperm(len(features), generator=generator)[:size]
            place = sample.to(features.device)
            found.append(sample[medoids(features[place], count, None if masses is None else masses[place])])
            gaps = _nearest(features, found[-1])[0]
            losses.append(float((gaps if masses is None else gaps * masses).sum(dtype=torch.float64)))
        return found[losses.index(min(losses))]


def _search(n: int, k: int, d: int) -> float:
    """Operations of distances from differences, BUILD, and SWAP with about one swap for every two picks."""
    rounds = 2 + k * BLOCK / (2 * max(n, BLOCK))
    return 3.0 * n * n * d + n * n * (4 + 8 * rounds)


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
    table = _weighed(distances(features, features), masses)
    chosen = _build(table, count)
    return _swap(table, chosen).cpu()


def _weighed(table: Float[Tensor, "n m"], masses: Float[Tensor, " n"] | None) -> Float[Tensor, "n m"]:
    """The table as the search wants it: every row times its mass, which changes no order within a row."""
    return table if masses is None else table.mul_(masses[:, None])


def _build(table: Float[Tensor, "n m"], count: int) -> Int64[Tensor, " k"]:
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


def _nearest(features: Float[Tensor, "n d"], rows: Int64[Tensor, " k"]) -> tuple[Tensor, Tensor]:
    """For every row the distance `[n]` to the nearest of `rows`, and which one `[n]` that is."""
    points = features[rows.to(features.device)]
    parts = [distances(part, points).min(1) for part in features.split(BLOCK)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def _picks(features: Float[Tensor, "n d"], rows: Int64[Tensor, " k"], masses: Float[Tensor, " n"] | None) -> Picks:
    """These rows in greedy order, with the sizes of their clusters and the mean distances in them."""
    table = _weighed(distances(features, features[rows.to(features.device)]), masses)
    rows = rows[_build(table, len(rows))]
    gap, cluster = (part.cpu() for part in _nearest(features, rows))
    # Equal picks: each keeps at least itself.
    cluster[rows] = torch.arange(len(rows))
    held = torch.ones_like(gap) if masses is None else masses.cpu()
    sizes = torch.bincount(cluster, held, minlength=len(rows)).float()
    return Picks(rows, unit_mean(sizes), torch.zeros(len(rows)).index_add_(0, cluster, gap * held) / sizes)
