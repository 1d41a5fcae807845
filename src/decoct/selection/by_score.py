"""Rows at one end, or in the middle, of the order that a score gives them."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.registry import unknown_name
from decoct.selection.lots import lots
from decoct.selection.own_scores import UNNAMED, score_column
from decoct.selection.scores import SCORES
from decoct.selection.selector import SCORED, Pick, Picks, Selector, checked
from decoct.selection.sources import Sources

CARD = MethodCard(
    name="hardest, easiest, middle",
    line="rows with the largest, the smallest or the middle values of a score from training dynamics (--score)",
    axes="real rows · training dynamics · hard labels",
    paper="Paul, Ganguli, Dziugaite, Deep Learning on a Data Diet: Finding Important Examples Early in Training, 2021; "
    "Sorscher et al., Beyond Neural Scaling Laws: Beating Power Law Scaling via Data Pruning, 2022",
    link="https://arxiv.org/abs/2107.07075",
    bibtex="""@inproceedings{paul2021deep,
  title = {Deep Learning on a Data Diet: Finding Important Examples Early in Training},
  author = {Paul, Mansheej and Ganguli, Surya and Dziugaite, Gintare Karolina},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2021},
  url = {https://arxiv.org/abs/2107.07075}
}
@inproceedings{sorscher2022beyond,
  title = {Beyond Neural Scaling Laws: Beating Power Law Scaling via Data Pruning},
  author = {Sorscher, Ben and Geirhos, Robert and Shekhar, Shashank and Ganguli, Surya and Morcos, Ari S.},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2022},
  url = {https://arxiv.org/abs/2206.14486}
}""",
)


@dataclass(frozen=True)
class ByScore(Selector):
    """A selector that looks at one number a row, larger for harder rows, and at nothing else.

    The number is a score of `scores.SCORES` by name. An array of the user's, `features` of shape `[n]` or `[n, 1]`,
    takes its place: scores of other tools are used that way. A wider array is refused.
    Shapes: scores `[n, 1]`, in any unit. Weights are 1; the score of a pick is its score. Among rows of equal score the
    ids and the seed draw lots, not the order of the file.
    """

    because = "chosen by {score}, which is {value:.4g}"

    needs_features: ClassVar[bool] = False
    score: str = "el2n"
    """Name of the score."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score not in SCORES:
            raise unknown_name("score", self.score, list(SCORES))

    def reason(self, score: float, features: str) -> str:
        return self.because.format(value=score, **{**vars(self), "score": self.called(features)})

    def settings(self, features: str) -> dict[str, Any]:
        return {**super().settings(features), "score": self.called(features)}

    def called(self, features: str) -> str:
        """What the score is called where `features` is what stands in its place."""
        return UNNAMED if features == "array" else (features.partition(SCORED)[2] or self.score)

    def trains(self, kind: str) -> bool:
        return kind != "array"

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """Sorting."""
        return n * math.log2(max(2, n))

    def values(self, sources: Sources) -> Float[Tensor, " n"]:
        """The score of every training row: the user's, else from training dynamics.

        Raises `DataError` for an array with more than one number a row, and what `require_used` raises.
        """
        if sources.kind != "array":
            return self.computed(sources)
        self.require_used()
        return torch.as_tensor(score_column(sources.table))[:, 0]

    def computed(self, sources: Sources) -> Float[Tensor, " n"]:
        """The score of every training row from training dynamics."""
        return SCORES[self.score].of(sources.dynamics)

    def require_used(self) -> None:
        """Raise `ConfigError` for settings that say nothing where the score is the user's own."""

    def bind(self, sources: Sources) -> Pick:
        table = self.values(sources)[:, None]
        lot = lots(sources.data.train.ids, sources.seed)

        def from_rows(rows: Int64[Tensor, " m"], count: int, generator: torch.Generator) -> Picks:
            # `pick` leaves equals in the order in which they are given: here by lot.
            mixed = lot[rows].argsort()
            own, weights = rows[mixed], sources.data.train.weight(rows[mixed])
            if weights is None:
                found = self.pick(table[own], count, generator)
            else:
                found = self.pick_weighted(table[own], weights.float(), count, generator)
            return Picks(mixed[found.rows], found.weights, found.scores)

        return from_rows

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        values = checked(features, count, compared=False)[:, 0]
        rows = self.order(values, count, generator)[:count]
        return Picks(rows, torch.ones(count), values[rows])

    @abstractmethod
    def order(self, values: Float[Tensor, " n"], count: int, generator: torch.Generator) -> Int64[Tensor, " m"]:
        """Rows by these scores, those to be kept first, at least `count` of them."""


@dataclass(frozen=True)
class Hardest(ByScore):
    """The k rows with the largest scores, hardest first: right where data are plenty and clean.

    S = the first k of the rows sorted by falling score, ties by lot; cost O(n log n).
    Paper: Paul et al., "Deep Learning on a Data Diet" (2021), https://arxiv.org/abs/2107.07075, code
    https://github.com/mansheej/data_diet. Mislabelled rows are hard too: with label noise this keeps them.
    """

    because = "among the largest values of {score}, at {value:.4g}"

    def order(self, values: Float[Tensor, " n"], count: int, generator: torch.Generator) -> Int64[Tensor, " m"]:
        return torch.sort(values, descending=True, stable=True).indices


@dataclass(frozen=True)
class Easiest(ByScore):
    """The k rows with the smallest scores, easiest first: right where data are few, or labels noisy.

    S = the first k of the rows sorted by rising score, ties by lot; cost O(n log n).
    Paper: Sorscher et al., "Beyond Neural Scaling Laws" (2022), https://arxiv.org/abs/2206.14486; what the authors
    published, https://github.com/rgeirhos/dataset-pruning-metrics, is scores of ImageNet, no code that picks.
    Differs: the score is one of `scores.SCORES`, el2n unless another is named, or the user's own, where the paper
    measures the distance to prototypes in self-supervised features too; classes have equal shares by default.
    """

    because = "among the smallest values of {score}, at {value:.4g}"

    def order(self, values: Float[Tensor, " n"], count: int, generator: torch.Generator) -> Int64[Tensor, " m"]:
        return torch.sort(values, stable=True).indices


@dataclass(frozen=True)
class Middle(ByScore):
    """The k rows whose scores stand nearest to the middle of the order, the median first.

    S = the first k of the rows sorted by |rank - (n - 1) / 2|, the easier of two equals first; cost O(n log n). Any
    prefix is a middle too. Leaves out both what is learned at once and what is likely mislabelled.
    Paper: none of its own, so there is no official code and nothing to differ from; both ends are those of Sorscher
    et al. (2022), https://arxiv.org/abs/2206.14486.
    """

    because = "near the middle of {score}, at {value:.4g}"

    def order(self, values: Float[Tensor, " n"], count: int, generator: torch.Generator) -> Int64[Tensor, " m"]:
        by_score = torch.sort(values, stable=True).indices
        away = (torch.arange(len(values)) - (len(values) - 1) / 2).abs()
        return by_score[torch.sort(away, stable=True).indices]
