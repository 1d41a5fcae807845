"""The vocabulary of real data: `Split`, `DataSpec`, `Dataset`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Integer
from numpy.typing import NDArray
from torch import Tensor

from decoct.data.sample_weights import Weights, weighted, weights_key
from decoct.data.transform import Transform

Rows = Integer[Tensor, " k"] | NDArray[np.integer] | slice


@dataclass(frozen=True, eq=False)
class Split:
    """Raw rows with labels and stable ids.

    `x` is uint8 `[n, c, h, w]` (images) or float32 `[n, d]` (features), in memory or memory-mapped; `y` is int64
    `[n]`; `ids` is a string array `[n]`, unique, the same for the same source (its own ids or file names, if any);
    `weights` `[n]`, positive with mean 1, say how much each row counts, None that all count the same.
    """

    x: NDArray[np.generic]
    y: NDArray[np.int64]
    ids: NDArray[np.generic]
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Rows) -> Split:
        """The split of these rows, in this order."""
        index = rows.numpy() if isinstance(rows, Tensor) else rows
        weights = None if self.weights is None else self.weights[index]
        return Split(self.x[index], self.y[index], self.ids[index], weights)

    def raw(self, rows: Rows | None = None) -> Tensor:
        """Raw rows as a tensor (a copy): uint8 `[k, c, h, w]` or float32 `[k, d]`."""
        index = slice(None) if rows is None else rows.numpy() if isinstance(rows, Tensor) else rows
        return torch.from_numpy(np.array(self.x[index]))

    def labels(self, rows: Rows | None = None) -> Integer[Tensor, " k"]:
        index = slice(None) if rows is None else rows.numpy() if isinstance(rows, Tensor) else rows
        return torch.from_numpy(np.array(self.y[index]))

    def weight(self, rows: Rows | None = None) -> Float[Tensor, " k"] | None:
        """Weights of these rows; None where all rows count the same."""
        if self.weights is None:
            return None
        index = slice(None) if rows is None else rows.numpy() if isinstance(rows, Tensor) else rows
        return torch.from_numpy(np.array(self.weights[index]))

    @property
    def rows_key(self) -> str:
        """A hash of the ids in their order, and of the weights: which rows of a source these are."""
        return hashlib.sha256(("\n".join(self.ids.tolist()) + weights_key(self)).encode()).hexdigest()

    def class_rows(self, classes: int) -> list[NDArray[np.int64]]:
        """For each class the row numbers that belong to it, ascending."""
        order = np.argsort(self.y, kind="stable")
        return list(np.split(order, np.searchsorted(self.y[order], np.arange(1, classes))))


@dataclass(frozen=True, eq=False)
class DataSpec:
    """What a set of data is: enough to decode, show, judge and match a result made from it.

    `shape` is `(c, h, w)` for images or `(d,)` for features; `class_names` are in label order; `transform` turns raw
    rows into network inputs; `fingerprint` is a hash of the content of all splits, of the shape and of the names;
    `notices` are sentences for a person about what was decided or left out while opening the source.
    """

    source: str
    shape: tuple[int, ...]
    class_names: tuple[str, ...]
    transform: Transform
    fingerprint: str
    task: str = "classification"
    notices: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3

    @property
    def row_bytes(self) -> int:
        """Bytes of one raw row: one a value for images, four for features."""
        size = int(np.prod(self.shape))
        return size if self.is_image else 4 * size


@dataclass(frozen=True, eq=False)
class Dataset:
    """Real data in three disjoint splits. `test` is for the final judgement; every choice is made on `val`."""

    spec: DataSpec
    train: Split
    val: Split
    test: Split

    def inputs(self, split: Split, rows: Rows | None = None, device: str = "cpu") -> Float[Tensor, "k ..."]:
        """Network inputs of `rows` of `split`: transformed float32 on `device`."""
        return self.spec.transform(split.raw(rows).to(device))

    @property
    def rows_key(self) -> str:
        """A hash of what training depends on: the training rows with their weights, and those of validation rows."""
        own, choice = self.train.rows_key, weights_key(self.val)
        return hashlib.sha256((own + choice).encode()).hexdigest() if choice else own

    @property
    def weighted(self) -> bool:
        """Whether training or validation rows count differently."""
        return self.train.weights is not None or self.val.weights is not None

    def with_weights(self, weights: Weights | None) -> Dataset:
        """The same data with `SampleWeights`, or an array in the order of `train`, on its rows: `sample_weights`."""
        return weighted(self, weights)

    def with_train(self, rows: Rows) -> Dataset:
        """The same data with only these rows to train on (the fingerprint stays that of the source)."""
        return replace(self, train=self.train.take(rows))
