"""Kernel thinning: rows whose mean in a kernel's feature space is that of all rows, better than a random sample's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.data.sample_weights import random_order
from decoct.errors import ConfigError
from decoct.selection.content_order import content_order, shuffled
from decoct.selection.selector import Picks, Selector, checked
from decoct.selection.similarity import operations, similarity
from decoct.selection.similarity_forms import Similarity

CARD = MethodCard(
    name="kernel-thinning",
    line="halve the rows again and again so that both halves have the same mean in a kernel's space, then swap",
    axes="real rows · mean in a kernel's feature space · hard labels",
    paper="Dwivedi, Mackey, Kernel Thinning, 2021; Dwivedi, Mackey, Generalized Kernel Thinning, 2022",
    link="https://arxiv.org/abs/2105.05842",
    bibtex="""@article{dwivedi2024kernel,
  author  = {Dwivedi, Raaz and Mackey, Lester},
  title   = {Kernel Thinning},
  journal = {Journal of Machine Learning Research},
  volume  = {25},
  year    = {2024},
  eprint  = {2105.05842},
  archiveprefix = {arXiv}
}
@inproceedings{dwivedi2022generalized,
  author    = {Dwivedi, Raaz and Mackey, Lester},
  title     = {Generalized Kernel Thinning},
  booktitle = {International Conference on Learning Representations},
  year      = {2022},
  eprint    = {2110.01593},
  archiveprefix = {arXiv}
}""",
)


@dataclass(frozen=True)
class KernelThinning(Selector):
    """Split and swap: `min over S, |S| = k, of MMD(S) = || mean_{i in V} s(i, .) - mean_{j in S} s(j, .) ||`.

    Split: rows of a list go two by two into two halves, the signs of their difference `b = s(x, .) - s(y, .)` drawn so
    that the difference of the halves stays small (a self-balancing walk); m rounds of it give 2^m lists. Swap: of the
    list with the smallest MMD each row in turn is exchanged for the row of V that leaves the smallest MMD.

    Paper: Dwivedi and Mackey, "Kernel Thinning" (2021), https://arxiv.org/abs/2105.05842; one kernel for both parts as
    in (2022), https://arxiv.org/abs/2110.01593; code https://github.com/microsoft/goodpoints.
    Shapes: features `[n, d]`, similarities `[n, n]` of kind "rbf", computed or kept by `form`.
    Weights are 1. The score of pick t is the MMD of picks 1..t, in [0, 1.42]. Picks are ordered greedily, so that a
    prefix is good too; that of k = 3 is no prefix of that of k = 6. Cost: O(n^2 d) time, O(n d) memory with "blocks".
    Differs from the paper, whose sets have n / 2^m rows: to give exactly k, the lists start from k 2^m rows drawn at
    random, m as large as n allows, and the swaps are chosen from all n. Above n / 2 no split is left, and the swaps
    alone work on a random start. Never picks a row twice.
    Where rows have weights, the mean over V is the weighted one, whose width of "rbf" is that of the rows without
    weights; the start of the lists is drawn in proportion to them, and the splits keep to the lists.
    """

    because = "brings the picks to a kernel distance of {value:.4g} from all rows"

    products: ClassVar[bool] = True
    delta: float = 0.5
    """Chance that the walk fails to balance, between 0 and 1; smaller is more random and surer."""
    form: Literal["auto", "dense", "blocks"] = "auto"
    """How similarities are kept: "dense" (n x n, up to 4096 rows by "auto") or "blocks" (computed when asked)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.delta < 1:
            raise ConfigError(
                "picking rows by kernel thinning",
                received=f"delta={self.delta}",
                expected="a number between 0 and 1",
                remedy="keep the default, 0.5",
            )

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """Sums over all rows, the walks inside the lists, the discrepancy of each, then swaps and the order."""
        start = k * 2 ** int(math.log2(n // k))
        return operations(self.form, n, d, n + start * (1 + start / n) + 4 * k)

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        features = checked(features, count).cpu()
        alike = similarity(features, "rbf", generator, self.form)
        mean, order = alike.sums() / len(features), shuffled(features, generator)
        return self._thinned(alike, mean, order, count, generator)

    def pick_weighted(
        self, features: Float[Tensor, "n d"], weights: Float[Tensor, " n"], count: int, generator: torch.Generator
    ) -> Picks:
        """The same with `sum_i w_i s(i, .) / sum_i w_i` as the mean."""
        features, masses = checked(features, count).cpu(), weights.double().cpu()
        alike = similarity(features, "rbf", generator, self.form)
        mean = alike.sums(masses) / masses.sum()
        by_content = content_order(torch.cat([features.double(), masses[:, None]], 1))
        order = by_content[random_order(len(features), masses[by_content], generator)]
        return self._thinned(alike, mean, order, count, generator, masses)

    def _thinned(
        self, alike: Similarity, mean: Float[Tensor, " n"], order: Int64[Tensor, " n"], count: int,
        generator: torch.Generator, masses: Float[Tensor, " n"] | None = None,
    ) -> Picks:  # fmt: skip
        rounds = int(math.log2(alike.n // count))
        lists = order[None, : count * 2**rounds]
        for _ in range(rounds):
            lists = _halve(alike, lists, self.delta / alike.n, generator)
        best = min(lists, key=lambda rows: _discrepancy(alike, mean, rows))
        level = float(mean.mean() if masses is None else masses @ mean / masses.sum())
        return _ordered(alike, mean, level, _swap(alike, mean, best))


def _halve(
    alike: Similarity, lists: Int64[Tensor, "b m"], delta: float, generator: torch.Generator
) -> Int64[Tensor, "c l"]:
    """Both halves of every list, whose means are close in the kernel's space."""
    pairs = lists.unflatten(1, (-1, 2))
    coins = torch.rand(pairs.shape[:2], dtype=torch.float64, generator=generator)
    # Of the rows to come with the first half, less with the second.
    lead = torch.zeros(lists.shape, dtype=torch.float64)
    scale = torch.zeros(len(lists), dtype=torch.float64)
    first, second = [], []
    for step, (x, y) in enumerate(zip(pairs[:, :, 0].T, pairs[:, :, 1].T, strict=True)):
        length = alike.diagonal[x].double() + alike.diagonal[y].double() - 2 * alike.some(x, y[:, None])[:, 0].double()
        length = length.clamp_min(0)
        limit = torch.maximum((length * scale).sqrt() * math.sqrt(2 * math.log(2 / delta)), length).clamp_min(1e-300)
        scale = scale + length * (1 + (length - 2 * limit) * scale / limit.square()).clamp_min(0)
        slope = lead[:, 2 * step] - lead[:, 2 * step + 1]
        swapped = coins[:, step] < (0.5 * (1 + slope / limit)).clamp(0, 1)
        one, other = torch.where(swapped, y, x), torch.where(swapped, x, y)
        later = lists[:, 2 * step + 2 :]
        if later.numel():
            lead[:, 2 * step + 2 :] += alike.some(one, later).double() - alike.some(other, later).double()
        first.append(one)
        second.append(other)
    return torch.cat([torch.stack(first, 1), torch.stack(second, 1)])


def _total(alike: Similarity, rows: Int64[Tensor, " k"]) -> Float[Tensor, " n"]:
    """Similarities of all rows with these, summed."""
    return torch.stack([alike.rows(part).sum(0, dtype=torch.float64) for part in alike.blocks(rows)]).sum(0)


def _discrepancy(alike: Similarity, mean: Float[Tensor, " n"], rows: Int64[Tensor, " k"]) -> float:
    """The squared MMD of these rows, less what is the same for all sets."""
    return float(_total(alike, rows)[rows].mean() / len(rows) - 2 * mean[rows].mean())


def _swap(alike: Similarity, mean: Float[Tensor, " n"], rows: Int64[Tensor, " k"]) -> Int64[Tensor, " k"]:
    """These rows, each exchanged for the one that is best beside the others, once round."""
    rows, k = rows.clone(), len(rows)
    own = alike.diagonal.double()
    total = _total(alike, rows)
    taken = torch.zeros(alike.n, dtype=torch.bool)
    taken[rows] = True
    for place in range(k):
        row = rows[place]
        total -= alike.rows(row[None])[0].double()
        worth = 2 * total + own - 2 * k * mean
        stay = worth[row].clone()
        worth[taken] = torch.inf
        best = worth.argmin()
        if worth[best] < stay - 1e-6:
            taken[row], taken[best] = False, True
            rows[place] = row = best
        total += alike.rows(row[None])[0].double()
    return rows


def _ordered(alike: Similarity, mean: Float[Tensor, " n"], level: float, rows: Int64[Tensor, " k"]) -> Picks:
    """These rows, each next one that which leaves the smallest MMD of all so far; `level` is the mean of the mean."""
    rows = rows.sort().values
    total = torch.zeros(len(rows), dtype=torch.float64)
    own, target = alike.diagonal[rows].double(), mean[rows]
    inside = linear = 0.0
    left = torch.zeros(len(rows), dtype=torch.float64)
    order, scores = [], []
    for t in range(1, len(rows) + 1):
        place = int((2 * total + own - 2 * t * target + left).argmin())
        inside += float(2 * total[place] + own[place])
        linear += float(target[place])
        left[place] = torch.inf
        total += alike.rows(rows[place][None])[0][rows].double()
        order.append(place)
        scores.append(math.sqrt(max(0.0, level - 2 * linear / t + inside / t**2)))
    return Picks(rows[order], torch.ones(len(rows)), torch.tensor(scores))
