"""CCS: rows from all strata of difficulty, the very hardest left out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.data.sample_weights import random_order
from decoct.errors import ConfigError
from decoct.selection.by_score import ByScore
from decoct.selection.selector import Picks, checked

CARD = MethodCard(
    name="ccs",
    line="coverage-centric: drop the hardest share, cut the scores into strata, draw alike from each",
    axes="real rows · training dynamics · hard labels",
    paper="Zheng, Liu, Lai, Prakash, Coverage-centric Coreset Selection for High Pruning Rates, 2023",
    link="https://arxiv.org/abs/2210.15809",
    bibtex="""@inproceedings{zheng2023coverage,
  title = {Coverage-centric Coreset Selection for High Pruning Rates},
  author = {Zheng, Haizhong and Liu, Rui and Lai, Fan and Prakash, Atul},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year = {2023},
  url = {https://arxiv.org/abs/2210.15809}
}""",
)


@dataclass(frozen=True)
class Coverage(ByScore):
    """Drop the `drop` hardest share of the n rows, cut the range of the rest into strata, fill them from the smallest.

    Of m strata of equal width in the score, sorted by size, each gets `min(its size, what is left / strata left)`,
    rounded up; inside a stratum rows are drawn at random. The order takes the strata in turn, the smallest first, so a
    prefix covers them too, and is the pick of fewer as long as no dropped row has to come back.
    Paper: Zheng et al. (2023), https://arxiv.org/abs/2210.15809; code
    https://github.com/haizhongzheng/Coverage-centric-coreset-selection (no licence file).
    Shapes: scores `[n, 1]`. Weights are 1; the score of a pick is its score. Cost O(n log n).
    Differs from the authors' code, which in its balanced mode shares out the last class's size to all classes: a class
    is a group of its own here. Where fewer than k rows are left after dropping, the easiest of the dropped come back.
    Where rows have weights, the hardest are dropped as long as their weights come to the share of all, and rows of a
    stratum are drawn in proportion to them; how many a stratum gives goes by its rows, which are picked once.
    """

    because = "drawn from its stratum of {score}, which is {value:.4g}"

    score: str = "aum"
    strata: int = 50
    """Strata of equal width, 1 or more."""
    drop: float = 0.1
    """Share of the hardest rows left out, from 0 to below 1; the paper tunes it for each budget."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strata < 1 or not 0 <= self.drop < 1:
            raise ConfigError(
                "selecting by coverage of difficulty",
                received=f"strata={self.strata}, drop={self.drop}",
                expected="1 stratum or more, and a share to drop from 0 to below 1",
                remedy="keep the defaults, strata=50 and drop=0.1",
            )

    def pick_weighted(
        self, features: Float[Tensor, "n d"], weights: Float[Tensor, " n"], count: int, generator: torch.Generator
    ) -> Picks:
        values = checked(features, count, compared=False)[:, 0]
        by_score, masses = torch.sort(values, stable=True).indices, weights.double().cpu()
        # A row goes where it is dropped whole, with all harder ones.
        heavy = masses[by_score].flip(0).cumsum(0)
        dropped = int((heavy <= self.drop * float(masses.sum())).sum())
        kept = by_score[: max(count, len(values) - dropped)]
        drawn = random_order(len(kept), masses[kept], generator)
        rows = self._in_turn(self._strata(values[kept], kept, drawn))[:count]
        return Picks(rows, torch.ones(count), values[rows])

    def order(self, values: Float[Tensor, " n"], count: int, generator: torch.Generator) -> Int64[Tensor, " m"]:
        by_score = torch.sort(values, stable=True).indices
        kept = by_score[: max(count, len(values) - int(self.drop * len(values)))]
        shuffled = torch.randperm(len(kept), generator=generator)
        return self._in_turn(self._strata(values[kept], kept, shuffled))

    def _in_turn(self, strata: list[Int64[Tensor, " _"]]) -> Int64[Tensor, " m"]:
        # Taking turns, the smallest first, fills them as the paper does, and does not ask for the budget.
        strata = sorted(strata, key=len)
        turns = torch.cat([torch.arange(len(rows)) for rows in strata])
        return torch.cat(strata)[torch.sort(turns, stable=True).indices]

    def _strata(
        self, values: Float[Tensor, " m"], rows: Int64[Tensor, " m"], shuffled: Int64[Tensor, " m"]
    ) -> list[Int64[Tensor, " s"]]:
        """Rows of every stratum that has any, in this order of them."""
        low, high = values.min(), values.max()
        place = ((values - low) / (high - low).clamp_min(1e-12) * self.strata).long().clamp_max(self.strata - 1)
        found = [shuffled[place[shuffled] == stratum] for stratum in place.unique().tolist()]
        return [rows[members] for members in found]
