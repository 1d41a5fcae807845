"""Cutting rows into shards of near rows by mini-batch k-means, so that no shard has more rows than a limit.

Nothing here depends on the order of the rows: the sample that the middles are learned from is drawn by what the rows
hold, not by where they stand, so permuting the rows permutes the shards.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt64
from numpy.typing import NDArray
from torch import Tensor

from decoct.selection.content_order import marks
from decoct.streams import derive_seed

FEW = 64
"""Parts that rows in memory are cut into at once, at most; larger parts are cut again."""
A_PART = 256
"""Rows of the sample for each part."""
STUCK = 0.95
"""A part with more than this share of the rows shows that k-means finds nothing to cut."""
BLOCK = 8192
"""Rows looked at at a time."""


def drawn(numbers: UInt64[np.ndarray, " n"], wanted: int, out_of: int) -> NDArray[np.bool_]:
    """Which rows with these marks belong to a sample of about `wanted` in `out_of`."""
    if wanted >= out_of:
        return np.ones(len(numbers), np.bool_)
    return numbers < np.uint64(int(wanted / out_of * 2**64))


def middles(sample: Float[Tensor, "m d"], count: int, seed: int) -> Float[Tensor, "k d"]:
    """Middles of `count` clusters of the sample, whose rows all differ; fewer where it has fewer rows.

    Mini-batch k-means: Sculley, "Web-Scale K-Means Clustering" (2010), https://doi.org/10.1145/1772690.1772862.
    """
    count = min(count, len(sample))
    if count == 1:
        return sample.mean(0, keepdim=True)
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(count, init_size=max(3 * count, 3072), random_state=seed % 2**32)
    return torch.from_numpy(means.fit(sample.numpy()).cluster_centers_).float()


def nearest_middle(rows: Float[Tensor, "n d"], points: Float[Tensor, "k d"]) -> Int64[Tensor, " n"]:
    """The nearest of these middles for every row."""
    # Around the mean of the middles, because products of far vectors drown the differences.
    origin = points.mean(0)
    points = points - origin
    half = points.square().sum(1) / 2
    return torch.cat([(part - origin).matmul(points.T).sub_(half).argmax(1) for part in rows.split(BLOCK)])


def split(features: Float[Tensor, "n d"], limit: int, seed: int) -> list[Int64[Tensor, " m"]]:
    """Rows of every shard, ascending, none with more than `limit` rows.

    Parts that are too large are cut again, each into at most 64: O(n d log n) time and O(n d) memory. Rows among
    which k-means finds no clusters (equal rows, a cloud with one outlier) are cut into even pieces.
    """
    waiting, found, cuts = [torch.arange(len(features))], [], 0
    while waiting:
        rows = waiting.pop()
        if len(rows) <= limit:
            found.append(rows)
            continue
        whole = len(rows) == len(features)
        parts = _cut(features if whole else features[rows], limit, derive_seed(seed, "cut", cuts))
        waiting += [rows[part] for part in reversed(parts)]
        cuts += 1
    return found


def _cut(features: Float[Tensor, "n d"], limit: int, seed: int) -> list[Int64[Tensor, " m"]]:
    count = min(math.ceil(len(features) / limit), FEW)
    numbers = marks(features.numpy())
    chosen = np.flatnonzero(drawn(numbers, A_PART * count, len(features)))
    # In the order of their marks, each once: the same sample whatever the order of the rows.
    _, first = np.unique(numbers[chosen], return_index=True)
    sample = features[torch.from_numpy(chosen[first])]
    parts = _groups(nearest_middle(features, middles(sample, count, seed))) if len(sample) else []
    largest = max(map(len, parts), default=len(features))
    if largest <= STUCK * len(features):
        return parts
    order = torch.from_numpy(np.argsort(numbers, kind="stable"))
    return [piece.sort().values for piece in order.split(limit)]


def _groups(labels: Int64[Tensor, " n"]) -> list[Int64[Tensor, " m"]]:
    """Rows of each label that has any, ascending, in the order of the labels."""
    order = labels.sort(stable=True).indices
    sizes = torch.bincount(labels)
    return list(order.split(sizes[sizes > 0].tolist()))
