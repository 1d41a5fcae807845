"""Log-determinant: rows that span as much as they can, the most probable set of a determinantal point process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.errors import ConfigError
from decoct.machine import require_memory
from decoct.selection.greedy import SetFunction
from decoct.selection.similarity import operations, similarity
from decoct.selection.similarity_forms import Similarity
from decoct.selection.submodular import Submodular

CARD = MethodCard(
    name="log-det",
    line="rows that span the largest volume: greedy on the log-determinant of their similarities",
    axes="real rows · log-determinant of similarities · hard labels",
    paper="Chen, Zhang, Zhou, Fast Greedy MAP Inference for Determinantal Point Process to Improve Recommendation "
    "Diversity, 2018",
    link="https://arxiv.org/abs/1709.05135",
    bibtex="""@inproceedings{chen2018fast,
  author    = {Chen, Laming and Zhang, Guoxin and Zhou, Hanning},
  title     = {Fast Greedy {MAP} Inference for Determinantal Point Process to Improve Recommendation Diversity},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {31},
  year      = {2018},
  eprint    = {1709.05135},
  archiveprefix = {arXiv}
}""",
)
TIE = 1e-9
"""By how many nats the row farthest from the mean stands back: only equal gains are told apart by it."""


class LogDeterminant(SetFunction):
    """f(S) = log det(K_S + ridge I), with the rows of its Cholesky factor for all candidates at once."""

    def __init__(self, alike: Similarity, count: int, ridge: float, away: Float[Tensor, " n"]) -> None:
        n = self.n = alike.n
        require_memory(
            f"picking {count} of {n} rows by log-determinant",
            needed=8 * n * count,
            remedy="select class by class (balance='class'), or lower the budget; facility-location asks for less",
        )
        self.alike, self.ridge, self.size = alike, ridge, 0
        self.tie = TIE * away.double() / away.double().max().clamp_min(1e-300)
        self.residual = alike.diagonal.double() + ridge
        """What the picks leave unexplained of every row: K_jj + ridge - K_jS (K_S + ridge I)^-1 K_Sj."""
        self.factor = self.residual.new_empty(count, n)

    def gains(self, candidates: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
        # Rounding may take a residual below the ridge, which it cannot fall below by the formula.
        candidates = candidates.to(self.residual.device)
        return self.residual[candidates].clamp_min(self.ridge).log() - self.tie[candidates]

    def add(self, row: int) -> None:
        factor = self.factor[: self.size]
        found = self.alike.rows(torch.tensor([row], device=self.residual.device))[0].double()
        pivot = self.residual[row].clamp_min(self.ridge).sqrt()
        self.factor[self.size] = (found - factor[:, row] @ factor) / pivot
        self.residual -= self.factor[self.size].square()
        self.size += 1


@dataclass(frozen=True)
class LogDet(Submodular[LogDeterminant]):
    """Greedy on `f(S) = log det(K_S + r I)`, K the similarities of the picks, r the ridge.

    Gain of row j: `log(K_jj + r - K_jS (K_S + r I)^-1 K_Sj)`, the log of the residual that the picks leave of it.

    Paper: Chen, Zhang, Zhou (2018), https://arxiv.org/abs/1709.05135, code https://github.com/laming-chen/fast-map-dpp.
    Shapes: features `[n, d]`, similarities `[n, n]` that are computed or kept by `form`, factor `[k, n]` in double
    precision.
    Weights are 1. The score of a pick is its gain, in nats, from log(r) for one that adds nothing to log(1 + r) for
    one unlike all before ("rbf"). A prefix is what greedy picks for fewer. Cost: O(n (d + k)) time for each pick and
    8 n k bytes; all gains are kept up to date, so the engines cost alike. Of equal gains (all, at first, under "rbf")
    the row nearest to the mean is picked.
    f is submodular, and `f(S) - |S| log r` is monotone, with the same picks and the guarantee of 1 - 1/e.
    Differs from DeepCore, whose gain is the part that the picks do explain: it gathers copies of one row. Differs from
    Chen et al. by the ridge, so that more picks than the rank of K, or equal rows, have an order too.
    """

    because = "adds {value:.4g} nats to the diversity of the picks"

    kind: Literal["rbf", "cosine", "dot"] = "rbf"
    """Which similarity; "cosine" has rank d + 1 at most and "dot" d, and only the ridge counts beyond."""
    ridge: float = 1e-3
    """r, above 0, in similarities: what is added to the diagonal. Larger treats near copies as more alike."""
    form: Literal["auto", "dense", "blocks"] = "auto"
    """How similarities are kept: "dense" (n x n, up to 4096 rows by "auto") or "blocks" (computed when asked)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.ridge < torch.inf:
            raise ConfigError(
                "picking rows by log-determinant",
                received=f"ridge={self.ridge}",
                expected="a number above 0",
                remedy="keep the default, 0.001",
            )

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """A row of similarities for each pick, and a row of the factor from all rows of it before."""
        return operations(self.form, n, d, k) + float(n) * k * k

    def function(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> LogDeterminant:
        alike = similarity(features, self.kind, generator, self.form)
        away = (features - features.mean(0, dtype=torch.float64)).norm(dim=1)
        return LogDeterminant(alike, count, self.ridge, away)
