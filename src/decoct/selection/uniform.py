"""Random rows: the baseline that a method has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.cards import MethodCard
from decoct.data.sample_weights import random_order
from decoct.selection.selector import DRAWN, Picks, Selector, checked

CARD = MethodCard(
    name="random",
    line="rows drawn without replacement, stratified by class: the baseline that a method has to beat",
    axes="real rows · nothing is optimised · hard labels",
    paper="Neyman, On the Two Different Aspects of the Representative Method: The Method of Stratified Sampling and "
    "the Method of Purposive Selection, 1934",
    link="https://doi.org/10.2307/2342192",
    bibtex="""@article{neyman1934two,
  author  = {Neyman, Jerzy},
  title   = {On the Two Different Aspects of the Representative Method: The Method of Stratified Sampling and the
             Method of Purposive Selection},
  journal = {Journal of the Royal Statistical Society},
  volume  = {97},
  number  = {4},
  pages   = {558--625},
  year    = {1934},
  doi     = {10.2307/2342192}
}""",
)


@dataclass(frozen=True)
class Uniform(Selector):
    """Rows drawn uniformly without replacement; classes make the strata where the set is picked class by class.

    S = the first k of a random permutation of 1..n.

    Paper: Neyman (1934), https://doi.org/10.2307/2342192 (stratified sampling).
    Shapes: features `[n, d]`, of which only n is used.
    Weights are 1. Scores are 0: no row is better than another.
    Cost: O(n) time and memory.
    Differs from common code, which resets one global seed for every repeat and so measures one subset again and
    again: every seed is a new draw here, and the draw for k is a prefix of the draw for any larger count.
    """

    because = DRAWN

    needs_features: ClassVar[bool] = False

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """Drawing a permutation."""
        return float(n)

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        features = checked(features, count, compared=False)
        rows = random_order(len(features), None, generator)[:count].clone()
        return Picks(rows, torch.ones(count), torch.zeros(count))

    def pick_weighted(
        self, features: Float[Tensor, "n d"], weights: Float[Tensor, " n"], count: int, generator: torch.Generator
    ) -> Picks:
        """Each next row in proportion to its weight among those left (`sample_weights.random_order`)."""
        rows = random_order(len(checked(features, count, compared=False)), weights, generator)[:count].clone()
        return Picks(rows, torch.ones(count), torch.zeros(count))
