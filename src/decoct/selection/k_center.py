"""k-center: rows such that none of the others is far from all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.cards import MethodCard
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


@dataclass(frozen=True)
class KCenter(Selector):
    """Farthest-first traversal: at most twice the smallest covering radius that any k rows can have.

    d_i = min_{s in S} ||phi_i - phi_s||;  S <- S + argmax_i d_i.

    Paper: Gonzalez (1985), https://doi.org/10.1016/0304-3975(85)90224-5; as a coreset Sener and Savarese (2018),
    https://arxiv.org/abs/1708.00489, code https://github.com/ozansener/active_learning_coreset.
    Shapes: features phi `[n, d]`, in any unit.
    Weights are 1, as in the paper: weights by cell size would hide the rare rows that this method is chosen for. The
    score of pick t is the covering radius of picks 1..t, the largest distance of any row to them.
    Cost: O(n k d) time, O(n) memory beside the features; no k x n table. Ties go to the lowest row.
    Differs from Sener and Savarese, who refine the greedy answer with a mixed integer program, and from code that
    takes other features for this method than for the rest, so that methods are not compared on equal terms.
    """

    first: Literal["mean", "random"] = "mean"
    """The first pick: the row closest to the mean (no chance at all), or one drawn at random."""

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        features = checked(features, count)
        row = self._first(features, generator)
        nearest = torch.full_like(features[:, 0], torch.inf)
        rows, scores = [], []
        for _ in range(count):
            nearest = torch.minimum(nearest, distances(features, features[row : row + 1])[:, 0])
            # Below every distance, so that among equal rows none is picked twice.
            nearest[row] = -1
            rows.append(row)
            row = int(nearest.argmax())
            scores.append(max(0.0, float(nearest[row])))
        return Picks(torch.tensor(rows), torch.ones(count), torch.tensor(scores))

    def _first(self, features: Float[Tensor, "n d"], generator: torch.Generator) -> int:
        if self.first == "random":
            return int(torch.randint(len(features), (1,), generator=generator))
        mean = features.double().mean(0, keepdim=True).to(features.dtype)
        return int(distances(features, mean)[:, 0].argmin())
