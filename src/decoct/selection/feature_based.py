"""Feature-based: rows that together are rich in every feature, with less and less worth in more of the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.selection.greedy import SetFunction
from decoct.selection.submodular import Submodular

CARD = MethodCard(
    name="feature-based",
    line="rich in every feature: greedy on a concave function of each feature's sum over the picks; linear in rows",
    axes="real rows · concave function of feature sums · hard labels",
    paper="Wei, Liu, Kirchhoff, Bartels, Bilmes, Submodular Subset Selection for Large-Scale Speech Training Data, "
    "2014",
    link="https://doi.org/10.1109/ICASSP.2014.6854213",
    bibtex="""@inproceedings{wei2014submodular,
  author    = {Wei, Kai and Liu, Yuzong and Kirchhoff, Katrin and Bartels, Chris and Bilmes, Jeff},
  title     = {Submodular Subset Selection for Large-Scale Speech Training Data},
  booktitle = {IEEE International Conference on Acoustics, Speech and Signal Processing},
  pages     = {3311--3315},
  year      = {2014},
  doi       = {10.1109/ICASSP.2014.6854213}
}""",
)
ENTRIES = 1 << 20


class Richness(SetFunction):
    """f(S) = sum over features of concave(sum over S), features 0 or more."""

    def __init__(self, amounts: Float[Tensor, "n d"], concave: Literal["sqrt", "log"]) -> None:
        self.amounts, self.n = amounts, len(amounts)
        self.concave = torch.sqrt if concave == "sqrt" else torch.log1p
        self.total = amounts.new_zeros(amounts.shape[1])

    def gains(self, candidates: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
        held = self.concave(self.total)
        size = max(1, ENTRIES // len(held))
        parts = candidates.to(held.device).split(size)
        return torch.cat([(self.concave(self.total + self.amounts[part]) - held).sum(1) for part in parts])

    def add(self, row: int) -> None:
        self.total += self.amounts[row]


@dataclass(frozen=True)
class FeatureBased(Submodular[Richness]):
    """Greedy on `f(S) = sum_u g(sum_{j in S} m_ju)`, g concave: at least 1 - 1/e of the best value for k rows.

    Amounts m of 0 or more are the positive parts of all features beside the negative parts, `[max(phi, 0), max(-phi,
    0)]`, of rows of length 1, over the mean of |phi|, so that the unit of the features does not matter.

    Paper: Wei et al. (2014), https://doi.org/10.1109/ICASSP.2014.6854213.
    Shapes: features phi `[n, d]`, amounts `[n, 2 d]` in double precision.
    Weights are 1. The score of a pick is its gain. A prefix is what greedy picks for fewer. Cost: O(n d) time for the
    first gains, then O(d) for each that the lazy engine renews; 16 n d bytes; no pairs of rows anywhere.
    Differs from the paper, whose features are counts of phones, never negative, and which leaves rows at their own
    lengths: long rows are then worth more than short ones, and outliers are picked early. With `lengths="own"` it is so
    here, which is right where an amount is one: counts of words, seconds of speech.
    """

    because = "adds {value:.4g} to how richly the picks show the features"

    concave: Literal["sqrt", "log"] = "sqrt"
    """g: the square root, or log(1 + amount), under which a feature that is present is soon worth nothing more."""
    lengths: Literal["one", "own"] = "one"
    """"one" scales every row to length 1 first (rows of zeros stay), "own" leaves rows as they are, as published."""

    def looks(self, n: int, k: int) -> float:
        # Each pick lowers the gains of all rows alike, so that the lazy engine renews about half of them.
        return n * k / 2 if self.engine == "lazy" else super().looks(n, k)

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """Two square roots or logarithms, a sum and a difference for each of 2 d amounts of every gain."""
        return 8.0 * d * self.looks(n, k)

    def function(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Richness:
        if self.lengths == "one":
            features = features / features.norm(dim=1, keepdim=True).clamp_min(torch.finfo(features.dtype).tiny)
        amounts = torch.cat([features.clamp(min=0), (-features).clamp(min=0)], 1).double()
        unit = features.double().abs().mean()
        return Richness(amounts / (unit if bool(unit > 0) else 1), self.concave)
