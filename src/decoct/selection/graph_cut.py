"""Graph cut: rows that are like all others, and unlike each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.errors import ConfigError, DataError
from decoct.selection.greedy import SetFunction
from decoct.selection.similarity import Form, operations, similarity
from decoct.selection.similarity_forms import Similarity
from decoct.selection.submodular import Pairwise

CARD = MethodCard(
    name="graph-cut",
    line="rows like all others and unlike each other: greedy on a graph cut",
    axes="real rows · similarity to all rows less that among picks · hard labels",
    paper="Iyer, Khargoankar, Bilmes, Asnani, Submodular Combinatorial Information Measures with Applications in "
    "Machine Learning, 2021",
    link="https://arxiv.org/abs/2006.15412",
    bibtex="""@inproceedings{iyer2021submodular,
  author    = {Iyer, Rishabh and Khargoankar, Ninad and Bilmes, Jeff and Asnani, Himanshu},
  title     = {Submodular Combinatorial Information Measures with Applications in Machine Learning},
  booktitle = {Algorithmic Learning Theory},
  year      = {2021},
  eprint    = {2006.15412},
  archiveprefix = {arXiv}
}""",
)
ROUNDING = 1e-6
"""What rounding may take a similarity of 0 below it."""


class Cut(SetFunction):
    """f(S) = balance * sum over i in all, j in S of s_ij - sum over i, j in S of s_ij."""

    def __init__(self, alike: Similarity, balance: float, masses: Float[Tensor, " n"] | None = None) -> None:
        self.alike, self.n = alike, alike.n
        self.gain = balance * alike.sums(masses) - alike.diagonal
        """Gains of all rows, in double precision."""

    def gains(self, candidates: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
        return self.gain[candidates.to(self.gain.device)]

    def add(self, row: int) -> None:
        found = self.alike.rows(torch.tensor([row], device=self.gain.device))[0]
        if bool(found.min() < -ROUNDING):
            raise DataError(
                "picking rows by graph cut",
                received=f"a negative similarity of row {row} ({float(found.min()):.3g})",
                expected="similarities of 0 or more, without which the function is not submodular",
                remedy="use kind='cosine' or kind='rbf', or features of 0 or more",
            )
        self.gain -= 2 * found


@dataclass(frozen=True)
class GraphCut(Pairwise[Cut]):
    """Greedy on `f(S) = b sum_{i in V, j in S} s_ij - sum_{i,j in S} s_ij`, with V all rows of the group.

    Gain of row j: `b sum_{i in V} s_ij - s_jj - 2 sum_{l in S} s_lj`. Submodular for similarities of 0 or more, and
    monotone for b of 2 or more, where greedy is worth at least 1 - 1/e of the best value.

    Paper: Iyer et al. (2021), https://arxiv.org/abs/2006.15412.
    Shapes: features `[n, d]`, similarities `[n, n]` that are computed or kept by `form`; "auto" computes those of
    "cosine" and "dot" when asked, whatever n.
    Weights are 1. The score of a pick is its gain, in similarities; below b = 2 it can be negative. A prefix is what
    greedy picks for fewer. Cost: O(n d) time for each pick and O(n d) memory; before, O(n d) for the sums of "cosine",
    O(n^2 d) for those of "rbf".
    Differs from DeepCore, which takes b = 1 (not monotone) by default. Where the picks are few beside the rows, the
    first term outweighs the second: picks are typical rather than spread out. A smaller b spreads them.
    Where rows have weights, row i of V counts `w_i` times in the first sum.
    """

    because = "adds {value:.4g}: like many rows, unlike the picks before it"

    kind: Literal["cosine", "rbf", "dot"] = "cosine"
    """Which similarity: `similarity` says their formulas."""
    balance: float = 2.0
    """b, 0 or more: what being like all rows is worth beside being unlike the picks. Monotone from 2 on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.balance < torch.inf:
            raise ConfigError(
                "picking rows by graph cut",
                received=f"balance={self.balance}",
                expected="a number of 0 or more",
                remedy="keep the default, 2.0; less of it spreads the picks, and is not monotone",
            )

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """The sums, and a row of similarities for each pick."""
        sums = n if self.kind == "rbf" else 2
        return operations(self._form, n, d, k + sums, self.neighbours, self.search)

    @property
    def _form(self) -> Form:
        # Sums of inner products need no table, and each pick one of its rows. Forms round in different ways: chosen by
        # the budget, they would part a small selection from the prefix of a large one.
        return "blocks" if self.form == "auto" and self.kind != "rbf" else self.form

    def function(
        self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator,
        masses: Float[Tensor, " n"] | None = None,
    ) -> Cut:  # fmt: skip
        alike = similarity(features, self.kind, generator, self._form, self.neighbours, self.search)
        return Cut(alike, self.balance, masses)
