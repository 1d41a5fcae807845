"""Facility location: rows such that every row has one of them near."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.selection.greedy import SetFunction
from decoct.selection.selector import unit_mean
from decoct.selection.similarity import operations, similarity
from decoct.selection.similarity_forms import Similarity
from decoct.selection.submodular import Pairwise

CARD = MethodCard(
    name="facility-location",
    line="every row should have a similar pick: greedy on the sum of the largest similarities",
    axes="real rows · similarity to the nearest pick · hard labels",
    paper="Nemhauser, Wolsey, Fisher, An Analysis of Approximations for Maximizing Submodular Set Functions, 1978; for "
    "training sets Wei, Iyer, Bilmes, Submodularity in Data Subset Selection and Active Learning, 2015",
    link="https://proceedings.mlr.press/v37/wei15.html",
    bibtex="""@article{nemhauser1978analysis,
  author  = {Nemhauser, George L. and Wolsey, Laurence A. and Fisher, Marshall L.},
  title   = {An Analysis of Approximations for Maximizing Submodular Set Functions -- {I}},
  journal = {Mathematical Programming},
  volume  = {14},
  pages   = {265--294},
  year    = {1978},
  doi     = {10.1007/BF01588971}
}
@inproceedings{wei2015submodularity,
  author    = {Wei, Kai and Iyer, Rishabh and Bilmes, Jeff},
  title     = {Submodularity in Data Subset Selection and Active Learning},
  booktitle = {Proceedings of the 32nd International Conference on Machine Learning},
  pages     = {1954--1963},
  year      = {2015}
}""",
)


class Coverage(SetFunction):
    """f(S) = sum over all rows i of mass_i max(0, max over j in S of s_ij), with masses of 1 where none are given."""

    def __init__(self, alike: Similarity, masses: Float[Tensor, " n"] | None = None) -> None:
        self.alike, self.n, self.masses = alike, alike.n, masses
        self.level = torch.zeros_like(alike.diagonal)
        """Similarity of every row to its nearest pick."""
        self.owner = torch.full_like(self.level, -1, dtype=torch.int64)
        """That pick, as its row; -1 for rows that are like none."""

    def gains(self, candidates: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
        return self.alike.above(candidates.to(self.level.device), self.level, self.masses)

    def add(self, row: int) -> None:
        found = self.alike.rows(torch.tensor([row], device=self.level.device))[0]
        self.owner[found > self.level] = row
        self.level = torch.maximum(self.level, found)


@dataclass(frozen=True)
class FacilityLocation(Pairwise[Coverage]):
    """Greedy on `f(S) = sum_i max_{j in S} s_ij`: at least 1 - 1/e of the best value for k rows.

    Gain of row j: `sum_i max(0, s_ij - max_{l in S} s_il)`, the sum over all rows i of the group, in pieces.

    Paper: Wei, Iyer, Bilmes (2015), https://proceedings.mlr.press/v37/wei15.html; guarantee Nemhauser et al. (1978).
    Shapes: features `[n, d]`, similarities `[n, n]` that are computed or kept by `form`.
    Weights are the sizes of the clusters (every row to the pick most like it; each pick has at least itself), scaled
    to mean 1. The score of a pick is its gain, in similarities, at most n; their sum is f. A prefix is what greedy
    picks for fewer. Two rows that are nearest to each other, and better than all picks for nobody else, gain exactly
    the same: of such rows, and of others that tie, what they hold decides which comes first, and of equal rows the
    lowest. Cost: O(n^2 d) time for the first gains, then O(n d) for each gain that the lazy engine renews, and O(n d)
    memory, with "blocks"; 4 n^2 bytes with "dense"; O(n k) time a round with "sparse" of k neighbours.
    Differs from DeepCore, whose sum in pieces takes in the first piece of the rows only. Negative similarities ("dot")
    count as 0. Where rows have weights, each term of the sum over i has that of row i, and clusters weigh what their
    rows do.
    """

    paired: ClassVar[bool] = True
    because = "adds {value:.4g} to how well the picks cover all rows"

    kind: Literal["cosine", "rbf", "dot"] = "cosine"
    """Which similarity: `similarity` says their formulas."""

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """All rows with all for the first gains, then a row of similarities for each gain that is renewed."""
        return operations(self.form, n, d, self.looks(n, k), self.neighbours, self.search)

    def function(
        self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator,
        masses: Float[Tensor, " n"] | None = None,
    ) -> Coverage:  # fmt: skip
        return Coverage(similarity(features, self.kind, generator, self.form, self.neighbours, self.search), masses)

    def weights(self, function: Coverage, rows: Int64[Tensor, " k"]) -> Float[Tensor, " k"]:
        owner = function.owner.cpu()
        owner[rows] = rows
        owned, masses = owner >= 0, function.masses
        sizes = torch.bincount(owner[owned], None if masses is None else masses.cpu()[owned], minlength=function.n)
        return unit_mean(sizes[rows])
