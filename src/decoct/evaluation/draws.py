"""Which real rows the baselines take: drawn afresh for each seed, or herded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.data.dataset import Dataset
from decoct.data.sample_weights import random_order
from decoct.selection.features import features
from decoct.selection.herding import Herding
from decoct.streams import Streams, derive_seed


def even_quota(available: Sequence[int], count: int, generator: torch.Generator) -> list[int]:
    """How many rows each class gives so that they sum to `count` as evenly as `available` allows.

    What does not divide goes to classes in an order drawn from `generator`. All there are where `count` is more.
    """
    order = torch.randperm(len(available), generator=generator).tolist()
    quota, left = [0] * len(available), min(count, sum(available))
    while left:
        open_classes = [c for c in order if quota[c] < available[c]]
        share = left // len(open_classes)
        for c in open_classes if share else open_classes[:left]:
            # What does not divide is given out last, when no class can be filled up by a whole share any more.
            more = min(max(share, 1), available[c] - quota[c])
            quota[c] += more
            left -= more
    return quota


def draw_rows(data: Dataset, count: int, seed: int) -> Int64[Tensor, " k"]:
    """`count` training rows at random, or all if there are fewer: by weight where they have some, as evenly over the
    classes as there are rows."""
    streams = Streams(derive_seed(seed, "judge", "random"))
    members = [torch.from_numpy(rows) for rows in data.train.class_rows(data.spec.classes)]
    shuffled = [
        rows[random_order(len(rows), data.train.weight(rows), streams(f"class {c}"))] for c, rows in enumerate(members)
    ]
    quota = even_quota([len(rows) for rows in members], count, streams("order"))
    return torch.cat([rows[:k] for rows, k in zip(shuffled, quota, strict=True)])


def herd_rows(data: Dataset, count: int) -> Int64[Tensor, " k"]:
    """`count` training rows by herding in each class, on the features that `select` uses by default."""
    streams = Streams(derive_seed(0, "judge", "herding"))
    table = features(data, "auto", seed=0)
    members = [torch.from_numpy(rows) for rows in data.train.class_rows(data.spec.classes)]
    quota = even_quota([len(rows) for rows in members], count, streams("order"))
    picked = [
        rows[_herded(table[rows], data.train.weight(rows), k, streams("pick"))]
        for rows, k in zip(members, quota, strict=True)
        if k
    ]  # fmt: skip
    return torch.cat(picked)


def _herded(
    table: Float[Tensor, "n d"], weights: Float[Tensor, " n"] | None, count: int, generator: torch.Generator
) -> Int64[Tensor, " k"]:
    if weights is None:
        return Herding().pick(table, count, generator).rows
    return Herding().pick_weighted(table, weights.float(), count, generator).rows


def equal_classes(labels: Int64[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Weights with which every class that is there counts the same, of mean 1.

    The rows that fit into some bytes seldom divide by the number of classes. In a short training one row more is
    enough for a network to answer with that class alone (11 digits: 10 % instead of 76 %), and such a baseline would
    flatter whatever it stands beside.
    """
    counts = torch.bincount(labels)
    return len(labels) / (int((counts > 0).sum()) * counts[labels]).float()
