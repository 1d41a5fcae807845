"""k-median (k-medoids): rows such that the others are near to one of them on average."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.machine import require_memory
from decoct.selection.content_order import content_order, numbered
from decoct.selection.medoids import BLOCK, build, medoids, weighed
from decoct.selection.selector import Picks, Selector, checked, distances, unit_mean
from decoct.settings import require_settings

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
    """How many samples a larger set is tried with, 1 or more."""
    sample_rows: int = 2048
    """Rows of each such sample, 1 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_settings(
            self, "k-median",
            ("exact_up_to", self.exact_up_to >= 0, "0 or more"),
            ("samples", self.samples >= 1, "1 or more"),
            ("sample_rows", self.sample_rows >= 1, "1 or more"),
        )  # fmt: skip

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


def _nearest(features: Float[Tensor, "n d"], rows: Int64[Tensor, " k"]) -> tuple[Tensor, Tensor]:
    """For every row the distance `[n]` to the nearest of `rows`, and which one `[n]` that is."""
    points = features[rows.to(features.device)]
    parts = [distances(part, points).min(1) for part in features.split(BLOCK)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def _picks(features: Float[Tensor, "n d"], rows: Int64[Tensor, " k"], masses: Float[Tensor, " n"] | None) -> Picks:
    """These rows in greedy order, with the sizes of their clusters and the mean distances in them."""
    table = weighed(distances(features, features[rows.to(features.device)]), masses)
    rows = rows[build(table, len(rows))]
    gap, cluster = (part.cpu() for part in _nearest(features, rows))
    # Equal picks: each keeps at least itself.
    cluster[rows] = torch.arange(len(rows))
    held = torch.ones_like(gap) if masses is None else masses.cpu()
    sizes = torch.bincount(cluster, held, minlength=len(rows)).float()
    return Picks(rows, unit_mean(sizes), torch.zeros(len(rows)).index_add_(0, cluster, gap * held) / sizes)
