"""Weights that undo a bias, for the `SampleWeights` hook: by known groups, by density, by who is learned early."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from decoct.data.dataset import Dataset, Split
from decoct.data.sample_weights import SampleWeights
from decoct.errors import ConfigError
from decoct.networks.build import narrow_network
from decoct.networks.embedding import embed_and_classify
from decoct.trust.bias.attributes import unbiased_rate
from decoct.trust.bias.coloured import COLOURS
from decoct.trust.bias.early import early_network
from decoct.trust.bias.groups import Groups

BLOCK = 2048
"""Rows embedded, or whose distances are computed, at a time."""
NEIGHBOUR = 10
"""Whose distance makes the bandwidth, where none is given: the neighbour of this rank."""
OfSplit = Callable[[Split, str], NDArray[np.float64]]
"""Weights of the rows of a split that is called by this name."""


def by_groups(data: Dataset, groups: Groups) -> SampleWeights:
    """Known groups: within a class every attribute has the same weight, `w_i = n_c / (A_c n_(c, a_i))`.

    `n_c` rows of the class, of which `n_(c, a)` carry attribute a, and `A_c` attributes that occur in it; the weight
    of each class stays what it was. Training and validation rows are weighed alike, each by their own counts.
    Raises `MismatchError` where rows have no group.
    """

    def weigh(split: Split, name: str) -> NDArray[np.float64]:
        return balanced(split.y, groups.of(split, name))

    return _both(data, weigh)


def balanced(labels: NDArray[np.int64], attributes: NDArray[np.int64]) -> Float[NDArray[np.float64], " n"]:
    """`n_c / (A_c n_(c, a))` for every row."""
    table = np.zeros((labels.max() + 1, attributes.max() + 1))
    np.add.at(table, (labels, attributes), 1)
    rows, kinds = table.sum(1), (table > 0).sum(1)
    return rows[labels] / (kinds[labels] * table[labels, attributes])


def by_density(
    data: Dataset, *, bandwidth: float | None = None, network: str | None = None, epochs: int = 1, seed: int = 0,
    device: str = "cpu",
) -> SampleWeights:  # fmt: skip
    """Inverse kernel density in an embedding: `w_i ~ 1 / mean_j exp(-||z_i - z_j||^2 / (2 h^2))`, j in the class of i.

    Paper: "Mitigating Bias in Dataset Distillation", Cui, Wang, Xiong, Hsieh, ICML 2024,
    https://arxiv.org/abs/2406.06609; no code of the authors is public. `z` `[n, d]` are features of length 1 of a
    network that was trained for a few passes, so that it has learned the cue and little else; `h` is the bandwidth, in
    units of their distance (0 to 2), by default the median over rows of the distance to their tenth neighbour in the
    class. Where rows with one cue lie close together, well apart from the others, this is the weight of known groups.
    Validation rows are weighed by their density among the training rows and themselves, `(sum_j k_j + 1) / (n + 1)`,
    as every training row counts itself: none weighs more than n + 1 times another. Weights have the mean 1 in a class.

    Differs from the paper, which trains the embedding by supervised contrast: see `early_network`. Cost: that
    training, and `O(sum_c n_c^2 d)` in blocks, with `O(n_c)` memory a block row. Raises `ConfigError` for a bandwidth
    that is not above 0, and what training raises.
    """
    if bandwidth is not None and not bandwidth > 0:
        raise ConfigError(
            "weighing rows by density", received=f"bandwidth={bandwidth!r}", expected="a number above 0, or none",
            remedy="leave it out: it is then chosen from the distances between neighbours",
        )  # fmt: skip
    module = early_network(data, network or narrow_network(data.spec.shape), epochs, seed, device)
    train, _ = _seen(module, data, data.train, device)

    def weigh(split: Split, name: str) -> NDArray[np.float64]:
        own = train if split is data.train else _seen(module, data, split, device)[0]
        weights = np.ones(len(split))
        for label in np.unique(split.y):
            rows, others = np.flatnonzero(split.y == label), train[data.train.y == label]
            if len(others):
                width = bandwidth or neighbour_distance(others)
                inverse = 1 / density(own[rows], others, width, among=split is data.train)
                weights[rows] = (inverse / inverse.mean()).numpy()
        return weights

    return _both(data, weigh)


def density(
    points: Float[Tensor, "m d"], others: Float[Tensor, "n d"], bandwidth: float | int, *, among: bool = True
) -> Float[Tensor, " m"]:
    """Mean of the Gaussian kernel of each point with all others, float64, in blocks.

    A point that is `among` the others has a kernel of its own in that mean, 1, so that its density is at least 1 / n.
    One that is not gets the same: `(sum_j k_j + 1) / (n + 1)`. Without it the density of a lone point is 0.
    """
    sums = [torch.exp(-_distances(b, others).square() / (2 * bandwidth**2)).sum(1) for b in points.split(BLOCK)]
    found = torch.cat(sums)
    return found / len(others) if among else (found + 1) / (len(others) + 1)


def _distances(points: Float[Tensor, "m d"], others: Float[Tensor, "n d"]) -> Float[Tensor, "m n"]:
    """Exact ones: by matrix products, equal rows are up to 1e-3 apart, which is more than a bandwidth may be."""
    return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist").double()


def neighbour_distance(points: Float[Tensor, "n d"]) -> float:
    """The median over rows of the distance to their tenth neighbour (the furthest of fewer), never quite 0."""
    rank = min(NEIGHBOUR, len(points) - 1) + 1
    found = [_distances(block, points).topk(rank, largest=False).values[:, -1] for block in points.split(BLOCK)]
    return max(float(torch.cat(found).median()), 1e-4)


def by_early_errors(
    data: Dataset, *, share: float | None = None, network: str | None = None, epochs: int = 1, seed: int = 0,
    device: str = "cpu",
) -> SampleWeights:  # fmt: skip
    """Without group labels: rows that an early, biased network gets wrong count as conflicting, the others as aligned.

    Within each class the conflicting rows get `share` of the weight and the aligned ones the rest; by default
    `1 - 1 / min(C, 10)` for C classes, which is unbiased where each has its attribute out of 10 at most, as in the sets
    of `make_biased`; give another share where there are more attributes. A class in which all rows are of
    one kind is left as it is. The split is that of "Learning from Failure", Nam et al., NeurIPS 2020,
    https://arxiv.org/abs/2007.02561 (a network that prefers what is easy) and "Just Train Twice", Liu et al., ICML
    2021, https://arxiv.org/abs/2107.09044 (its errors are the rows to count more). Hard and mislabelled rows are wrong
    too and get as much weight. Cost: one short training. Raises `ConfigError` for a share outside (0, 1).
    """
    chosen = 1 - unbiased_rate(min(data.spec.classes, COLOURS)) if share is None else share
    if not 0 < chosen < 1:
        raise ConfigError(
            "weighing rows by early errors", received=f"share={share!r}", expected="a share between 0 and 1, or none",
            remedy="leave it out, or give the share of conflicting rows in data without bias",
        )  # fmt: skip
    module = early_network(data, network or narrow_network(data.spec.shape), epochs, seed, device)

    def weigh(split: Split, name: str) -> NDArray[np.float64]:
        _, logits = _seen(module, data, split, device)
        return halves(split.y, (logits.argmax(1) != split.labels()).numpy(), chosen)

    return _both(data, weigh)


def halves(
    labels: NDArray[np.int64], conflicting: Bool[NDArray[np.bool_], " n"], share: float
) -> Float[NDArray[np.float64], " n"]:
    """Weights with which the conflicting rows of each class have `share` of its weight."""
    weights = np.ones(len(labels))
    for label in np.unique(labels):
        own = labels == label
        few, many = own & conflicting, own & ~conflicting
        if few.any() and many.any():
            weights[few], weights[many] = own.sum() * share / few.sum(), own.sum() * (1 - share) / many.sum()
    return weights


def _both(data: Dataset, weigh: OfSplit) -> SampleWeights:
    """Weights of training and validation rows: what is chosen on validation is chosen without the bias too."""
    splits = [(data.train, "training")] + ([(data.val, "validation")] if len(data.val) else [])
    ids = np.concatenate([split.ids.astype(np.str_) for split, _ in splits])
    return SampleWeights(ids, np.concatenate([weigh(split, name) for split, name in splits]))


def _seen(
    module: torch.nn.Module, data: Dataset, split: Split, device: str
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n classes"]]:
    """Features of length 1 and logits of every row."""

    def blocks() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(split), BLOCK):
            features, logits = embed_and_classify(module, data.inputs(split, slice(start, start + BLOCK), device))
            yield F.normalize(features.float(), dim=1).cpu(), logits.float().cpu()

    with torch.no_grad():
        features, logits = zip(*blocks(), strict=True)
    return torch.cat(features), torch.cat(logits)
