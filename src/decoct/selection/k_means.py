"""k-means: the real row nearest to each centre of k clusters."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from decoct.cards import MethodCard
from decoct.selection.content_order import content_order, numbered
from decoct.selection.selector import Picks, Selector, checked, distances, unit_mean
from decoct.settings import require_settings

CARD = MethodCard(
    name="k-means",
    line="the real row nearest to the centre of each of k clusters, weighted by the size of its cluster",
    axes="real rows · squared distance to the nearest centre · hard labels",
    paper="Lloyd, Least Squares Quantization in PCM, 1982; seeding of Arthur, Vassilvitskii, k-means++: The "
    "Advantages of Careful Seeding, 2007",
    link="https://doi.org/10.1109/TIT.1982.1056489",
    bibtex="""@article{lloyd1982least,
  author  = {Lloyd, Stuart P.},
  title   = {Least Squares Quantization in {PCM}},
  journal = {IEEE Transactions on Information Theory},
  volume  = {28},
  number  = {2},
  pages   = {129--137},
  year    = {1982},
  doi     = {10.1109/TIT.1982.1056489}
}
@inproceedings{arthur2007kmeans,
  author    = {Arthur, David and Vassilvitskii, Sergei},
  title     = {k-means++: The Advantages of Careful Seeding},
  booktitle = {Proceedings of the 18th Annual ACM-SIAM Symposium on Discrete Algorithms},
  pages     = {1027--1035},
  year      = {2007}
}""",
)


ROUNDS = 15
"""Rounds of Lloyd's algorithm that real features take, roughly."""
BATCHES = 100
"""Mini-batches that they take, of 1024 rows each."""


@dataclass(frozen=True)
class KMeans(Selector):
    """Lloyd's algorithm from k-means++ seeds (scikit-learn's), then one real row for each cluster.

    min over centres c_1..c_k of sum_i min_j ||phi_i - c_j||^2;  pick_j = argmin_{i in cluster j} ||phi_i - c_j||.

    Paper: Lloyd (1982), https://doi.org/10.1109/TIT.1982.1056489.
    Shapes: features phi `[n, d]`, in any unit.
    Weights are the sizes of the clusters, scaled to mean 1. The score of a pick is its distance to the centre of its
    cluster. Picks are ordered by cluster size, largest first, so a prefix stands for the most rows that it can.
    Cost: O(n k d) a round of Lloyd, `restarts` times, at most 300 rounds each; O(n + k d) memory beside the features.
    Above `batch_above` rows mini-batches are used: centres are then approximate, assignments still exact.
    Differs from taking the nearest row of the whole set to each centre, where two centres can claim the same row:
    here each cluster gives a row of its own, and a cluster left empty (equal rows, mini-batches) gives the nearest
    row that is still free. The order of a k-means coreset does not nest: that of k = 3 is no prefix of that of k = 6.
    """

    because = "nearest to the centre of its cluster, {value:.4g} away from it"

    products: ClassVar[bool] = True
    restarts: int = 3
    """How many times k-means is started, 1 or more; the one with the least squared distance is kept."""
    batch_above: int = 50_000
    """Above how many rows mini-batches are used; 0 always uses them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        restarts, above = self.restarts >= 1, self.batch_above >= 0
        require_settings(self, "k-means", ("restarts", restarts, "1 or more"), ("batch_above", above, "0 or more"))

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """Seeds, rounds and restarts; each round compares all rows, or those of a batch, with all centres."""
        seeds = 2 + math.log(k)
        if n <= self.batch_above:
            return 2.0 * n * k * d * self.restarts * (seeds + ROUNDS)
        return 2.0 * k * d * (n + 1024 * BATCHES + max(3072, 3 * k) * seeds * self.restarts)

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        features = checked(features, count).cpu()
        order = content_order(features)
        return numbered(self._nearest(features[order], None, count, generator), order)

    def pick_weighted(
        self, features: Float[Tensor, "n d"], weights: Float[Tensor, " n"], count: int, generator: torch.Generator
    ) -> Picks:
        """The same with squared distances times `w_i`; the size of a cluster is the weight in it."""
        features, weights = checked(features, count).cpu(), weights.double().cpu()
        order = content_order(torch.cat([features.double(), weights[:, None]], 1))
        return numbered(self._nearest(features[order], weights[order], count, generator), order)

    def _nearest(
        self, features: Float[Tensor, "n d"], weights: Float[Tensor, " n"] | None, count: int,
        generator: torch.Generator,
    ) -> Picks:  # fmt: skip
        centres, cluster = self._cluster(features.numpy(), weights, count, generator)
        sizes = torch.bincount(cluster, weights, minlength=count)
        free = torch.ones(len(features), dtype=torch.bool)
        rows, scores = [], []
        order = torch.sort(sizes, descending=True, stable=True).indices
        for j in order.tolist():
            members = (cluster == j).nonzero()[:, 0] if sizes[j] else free.nonzero()[:, 0]
            gaps = distances(features[members], centres[j : j + 1])[:, 0]
            row = int(members[gaps.argmin()])
            free[row] = False
            rows.append(row)
            scores.append(float(gaps.min()))
        least = 1 if weights is None else float(weights.min())
        return Picks(torch.tensor(rows), unit_mean(sizes[order].clamp(min=least)), torch.tensor(scores))

    def _cluster(
        self, features: NDArray[np.float32], weights: Float[Tensor, " n"] | None, count: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Centres `[k, d]` and the cluster `[n]` of every row."""
        from sklearn import cluster
        from sklearn.exceptions import ConvergenceWarning

        seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
        kind = cluster.MiniBatchKMeans if len(features) > self.batch_above else cluster.KMeans
        model = kind(count, random_state=seed).set_params(n_init=self.restarts)
        with warnings.catch_warnings():
            # Fewer distinct rows than clusters: handled above, nothing that a user could mend.
            warnings.simplefilter("ignore", ConvergenceWarning)
            labels = model.fit_predict(features, sample_weight=None if weights is None else weights.numpy())
        return torch.from_numpy(model.cluster_centers_), torch.from_numpy(labels.astype(np.int64))
