"""SemDeDup: rows that are not nearly the same as one kept already."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.errors import ConfigError
from decoct.selection.content_order import content_order, numbered
from decoct.selection.selector import Picks, Selector, checked
from decoct.selection.similarity import unit_rows

CARD = MethodCard(
    name="semdedup",
    line="near duplicates go last: rows by how much they are like one kept before them",
    axes="real rows · cosine to the nearest kept row · hard labels",
    paper="Abbas, Tirumala, Simig, Ganguli, Morcos, SemDeDup: Data-efficient Learning at Web-scale through Semantic "
    "Deduplication, 2023",
    link="https://arxiv.org/abs/2303.09540",
    bibtex="""@article{abbas2023semdedup,
  author  = {Abbas, Amro and Tirumala, Kushal and Simig, D{\\'a}niel and Ganguli, Surya and Morcos, Ari S.},
  title   = {{SemDeDup}: Data-efficient Learning at Web-scale through Semantic Deduplication},
  journal = {arXiv preprint arXiv:2303.09540},
  year    = {2023}
}""",
)
ROUNDING = 1e-6
"""Cosine up to which float32 cannot tell two equal rows from two that are not."""


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which rows to keep, and what each of the others is nearly the same as."""

    kept: Bool[Tensor, " n"]
    original: Int64[Tensor, " n"]
    """The kept row that is most like each row; kept rows are their own."""
    redundancy: Float[Tensor, " n"]
    """Cosine, -1 to 1: of a kept row to those of its cluster kept before it (-1 for the first), of another to its
    original."""


def deduplicate(
    features: Float[Tensor, "n d"], eps: float, generator: torch.Generator, cluster_rows: int = 2048
) -> Duplicates:
    """Of rows within a cosine distance `eps` of each other keep one, cluster by cluster.

    In each cluster (k-means on rows of length 1, `cluster_rows` rows in each on average) the row farthest from the
    cluster's middle is kept first, then again and again the row least like all kept ones, until all that are left lie
    within `eps` of one. So no two kept rows of a cluster do, and what a larger `eps` keeps is kept under a smaller one
    too. Rows of different clusters are not compared. Permuting the rows permutes the answer.
    Cost: O(n c d) time for n / c clusters, less where much is left out; O(n d) memory.
    Raises `DataError` for NaN or infinite features, `ConfigError` for `eps` outside 0 to 2 or an empty cluster.
    """
    require_clusters(eps, cluster_rows)
    features = checked(features, 1).cpu()
    order = content_order(features)
    units = unit_rows(features[order])
    found = Duplicates(
        torch.zeros(len(units), dtype=torch.bool), torch.arange(len(units)), torch.full((len(units),), -1.0)
    )
    for rows in _clusters(units, max(1, round(len(units) / cluster_rows)), generator):
        _inside(units[rows], rows, eps, found)
    place = order.argsort()
    return Duplicates(found.kept[place], order[found.original[place]], found.redundancy[place])


def require_clusters(eps: float, cluster_rows: int) -> None:
    """Raise `ConfigError` for a distance that no cosine has, or an empty cluster."""
    if not 0 <= eps <= 2 or cluster_rows < 1:
        raise ConfigError(
            "leaving out near duplicates",
            received=f"eps={eps}, cluster_rows={cluster_rows}",
            expected="a cosine distance from 0 (equal rows only) to 2, and 1 row in a cluster or more",
            remedy="keep the defaults; a smaller eps keeps more rows",
        )


def _inside(units: Float[Tensor, "m d"], rows: Int64[Tensor, " m"], eps: float, found: Duplicates) -> None:
    """Fill in `found` for one cluster, whose rows these are."""
    outward = units.double() @ units.double().mean(0)
    order = torch.sort(outward, stable=True).indices
    units, rows = units[order], rows[order]
    # Below every cosine, so that the outermost row is the first whatever eps.
    nearest, original = torch.full((len(rows),), -2.0), rows.clone()
    redundancy = torch.full((len(rows),), -1.0)
    while float(nearest.min()) < 1 - eps - ROUNDING:
        place = int(nearest.argmin())
        redundancy[place] = nearest[place].clamp(min=-1)
        cosine = (units @ units[place]).clamp(-1, 1)
        closer = cosine > nearest
        nearest[closer], original[closer] = cosine[closer], rows[place]
        nearest[place], original[place] = torch.inf, rows[place]
    kept = nearest.isinf()
    redundancy[~kept] = nearest[~kept]
    found.kept[rows], found.original[rows], found.redundancy[rows] = kept, original, redundancy


def _clusters(units: Float[Tensor, "n d"], number: int, generator: torch.Generator) -> list[Int64[Tensor, " m"]]:
    """Rows of each cluster that has any."""
    if number == 1:
        return [torch.arange(len(units))]
    from sklearn.cluster import MiniBatchKMeans

    seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
    labels = MiniBatchKMeans(number, random_state=seed).fit_predict(units.numpy())
    order = torch.from_numpy(labels).long().sort(stable=True)
    return list(order.indices.split(torch.bincount(order.values)[order.values.unique()].tolist()))


@dataclass(frozen=True)
class SemDeDup(Selector):
    """Rows by rising redundancy, `r_i = max over j kept before i, in its cluster, of cos(phi_i, phi_j)`.

    A row is kept in that count if `r_i < 1 - eps`; the others, near duplicates of a kept row, come after all kept.
    Inside a cluster the next row kept is that with the least r, so r rises. So as long as k rows or more are kept, the
    first k picks are what `deduplicate` leaves with the larger eps that leaves k: no two of a cluster are more alike
    than the score of the last pick, and every other row is as much like one of them, or more.

    Paper: Abbas et al., "SemDeDup" (2023), https://arxiv.org/abs/2303.09540, code
    https://github.com/facebookresearch/SemDeDup (not for commercial use).
    Shapes: features phi `[n, d]`, in any unit; only directions count.
    Weights are 1. The score of a pick is its redundancy, a cosine: -1 for the first of a cluster, above 1 - eps for a
    near duplicate. A prefix is the pick of fewer. Cost: O(n c d) time for clusters of c rows, O(n d) memory.
    Differs from the authors' code, which looks at rows from the outermost inwards and drops a row that is near one
    already dropped, too: chains of rows then vanish whole but for one end, and removal with one eps says nothing of
    another. It takes outliers first; on data without near duplicates that is all it does.
    """

    because = "least like the picks of its cluster; the most alike has cosine {value:.4g}"

    eps: float = 0.05
    """Cosine distance, 0 to 2, within which two rows are near duplicates."""
    cluster_rows: int = 2048
    """Rows of a cluster on average, 1 or more; up to 1.5 times as many are compared all with all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_clusters(self.eps, self.cluster_rows)

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """Each row that is kept with all of its cluster, at most, and the clusters."""
        clusters = max(1, round(n / self.cluster_rows))
        cutting = 2.0 * clusters * d * (n + 102_400) if clusters > 1 else 0.0
        return 2.0 * n * (n / clusters) * d + cutting

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        features = checked(features, count)
        order = content_order(features)
        return numbered(self._pick(features[order.to(features.device)], count, generator), order)

    def _pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        found = deduplicate(features, self.eps, generator, self.cluster_rows)
        rising = torch.sort(found.redundancy, stable=True).indices
        # Kept before the others even where rounding puts both at 1 - eps.
        rows = torch.cat([rising[found.kept[rising]], rising[~found.kept[rising]]])[:count]
        return Picks(rows, torch.ones(count), found.redundancy[rows])
