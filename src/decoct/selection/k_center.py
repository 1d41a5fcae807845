"""k-center: rows such that none of the others is far from all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.selection.content_order import shuffled
from decoct.selection.selector import Picks, Selector, checked, distances

CARD = MethodCard(
    name="k-center",
    line="the row farthest from all picks so far, again and again: covers the data, outliers included",
    axes="real rows · covering radius of the features · hard labels",
    paper="Gonzalez, Clustering to Minimize the Maximum Intercluster Distance, 1985; for training sets Sener, "
    "Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, 2018",
    link="https://arxiv.org/abs/1708.00489",
    bibtex="""@article{gonzalez1985clustering,
  author  = {Gonzalez, Teofilo F.},
  title   = {Clustering to Minimize the Maximum Intercluster Distance},
  journal = {Theoretical Computer Science},
  volume  = {38},
  pages   = {293--306},
  year    = {1985},
  doi     = {10.1016/0304-3975(85)90224-5}
}
@inproceedings{sener2018active,
  author    = {Sener, Ozan and Savarese, Silvio},
  title     = {Active Learning for Convolutional Neural Networks: A Core-Set Approach},
  booktitle = {International Conference on Learning Representations},
  year      = {2018},
  eprint    = {1708.00489},
  archiveprefix = {arXiv}
}""",
)
POOL = 512
"""Rows among which the next picks are looked for, at first, and picks that wait at most for being told to all rows."""
FEW = 32
"""Picks from one pool below which the next is twice as large."""
BLOCK = 4096
"""Rows told of new picks at a time."""
ROUNDING = 1e-5
"""What float32 may get wrong of a squared distance from inner products, as a share of the squared lengths."""


@dataclass(frozen=True)
class KCenter(Selector):
    """Farthest-first traversal: at most twice the smallest covering radius that any k rows can have.

    d_i = min_{s in S} ||phi_i - phi_s||;  S <- S + argmax_i d_i.

    Paper: Gonzalez (1985), https://doi.org/10.1016/0304-3975(85)90224-5; as a coreset Sener and Savarese (2018),
    https://arxiv.org/abs/1708.00489, code https://github.com/ozansener/active_learning_coreset.
    Shapes: features phi `[n, d]`, in any unit.
    Weights are 1, as in the paper: weights by cell size would hide the rare rows that this method is chosen for. The
    score of pick t is the covering radius of picks 1..t, the largest distance of any row to them.
    Cost: O(n k d) time, as products of matrices wherever picks can wait for each other; O(n) memory beside the
    features, and a pool of the rows that are farthest. Ties go to the lowest row.
    Differs from Sener and Savarese, who refine the greedy answer with a mixed integer program, and from code that
    takes other features for this method than for the rest, so that methods are not compared on equal terms.
    """

    because = "farthest from the picks before it; with it no row lies farther than {value:.4g} from a pick"

    first: Literal["mean", "random"] = "mean"
    """The first pick: the row closest to the mean (no chance at all), or one drawn at random."""

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        features = checked(features, count)
        walk = _walk(features, self._first(features, generator))
        # Where the walk would go next is how far the picks so far leave the farthest row.
        steps = list(islice(walk, count + 1))
        rows, radii = torch.tensor([row for row, _ in steps[:-1]]), [radius for _, radius in steps[1:]]
        return Picks(rows, torch.ones(count), torch.tensor(radii))

    def _first(self, features: Float[Tensor, "n d"], generator: torch.Generator) -> int:
        if self.first == "random":
            return int(shuffled(features, generator)[0])
        mean = features.mean(0, keepdim=True, dtype=torch.float64).to(features.dtype)
        return int(distances(features, mean)[:, 0].argmin())


def _walk(features: Float[Tensor, "n d"], first: int) -> Iterator[tuple[int, float]]:
    """Rows from farthest to farthest, each with its distance to all before it; no row twice in the first n.

    Distances only fall. So the rows that are farthest now are a pool in which the next picks are found, until none of
    it is farther than all rows outside were; until then only the pool learns of new picks.
    """
    mean = features.mean(0, dtype=torch.float64).to(features.dtype)
    nearest = distances(features, features[first : first + 1])[:, 0]
    # Below every distance, so that among equal rows none is picked twice.
    nearest[first] = -1
    yield first, torch.inf
    size = POOL
    while True:
        level = float(nearest.topk(min(size, len(nearest))).values[-1])
        pool = (nearest >= level).nonzero()[:, 0]
        whole = len(pool) == len(features)
        points, near = features if whole else features[pool], nearest[pool]
        waiting: list[int] = []
        while True:
            best = int(near.argmax())
            if not whole and (near[best] < level or len(waiting) == POOL):
                break
            waiting.append(int(pool[best]))
            yield waiting[-1], max(0.0, float(near[best]))
            near = torch.minimum(near, distances(points, points[best : best + 1])[:, 0])
            near[best] = -1
        _approach(features, mean, nearest, torch.tensor(waiting, device=features.device))
        nearest[pool] = near
        if len(waiting) < FEW:
            size = min(2 * size, max(POOL, len(features) // 8))


def _approach(
    features: Float[Tensor, "n d"], mean: Float[Tensor, " d"], nearest: Float[Tensor, " n"], picks: Int64[Tensor, " p"]
) -> None:
    """Lower `nearest`, in place, to the distances to these picks where those are less.

    Inner products of centred rows find which may be; those few are measured from differences, so that what is kept
    does not depend on rounding of the products.
    """
    points = features[picks] - mean
    lengths = points.square().sum(1)
    for start in range(0, len(features), BLOCK):
        part = features[start : start + BLOCK] - mean
        own, bound = part.square().sum(1), nearest[start : start + BLOCK].clamp(min=0).square()
        # Squared distances less the squared length of the row.
        table = torch.addmm(lengths, part, points.T, alpha=-2)
        least = table.amin(1) + own
        limit = torch.minimum(bound, least) + ROUNDING * (own + lengths.max())
        i = (least <= limit).nonzero()[:, 0]
        place, j = (table[i] + own[i, None] <= limit[i, None]).nonzero().T
        for rows, others in zip((i[place] + start).split(BLOCK), picks[j].split(BLOCK), strict=True):
            gaps = (features[rows] - features[others]).norm(dim=1)
            nearest.scatter_reduce_(0, rows, gaps, "amin")
