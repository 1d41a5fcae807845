"""One look at all rows of a table on disk: whether they are finite, a sample of them, and a mark of what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from decoct.data.feature_table import FeatureTable
from decoct.errors import DataError
from decoct.progress import Ticker
from decoct.selection.content_order import marks
from decoct.selection.sharded.shards import drawn

SAMPLE = 65536
"""Rows that the middles are learned from."""

Blocks = Callable[[], Iterator[tuple[NDArray[np.int64], NDArray[np.floating]]]]
"""() -> (numbers of rows in the table, these rows as they are in the file), block by block."""


@dataclass(frozen=True)
class Seen:
    """What one look at all rows of a table tells."""

    fingerprint: str
    """Of the rows, whatever their order."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Of each feature over a sample; 1 for constant ones."""


def survey(table: FeatureTable, tick: Ticker) -> tuple[Float[Tensor, "s d"], Seen]:
    """Look at every row once: a sample of rows that all differ, in an order that their contents decide, and facts.

    `tick` counts rows. Raises `DataError` for NaN or infinite features.
    """
    sample, total = sampled(_finite(table, tick), table.rows)
    mean, std = sample.double().mean(0), sample.double().std(0, correction=0)
    std[std.float() == 0] = 1
    mark = f"rows-{table.rows}x{table.width}-{table.dtype[1:]}-{total:016x}"
    return sample, Seen(mark, tuple(mean.tolist()), tuple(std.tolist()))


def _finite(table: FeatureTable, tick: Ticker) -> Blocks:
    """The rows of the table, counted; raises `DataError` where one is not finite."""

    def blocks() -> Iterator[tuple[NDArray[np.int64], NDArray[np.floating]]]:
        for start, rows in table.blocks():
            bad = ~torch.isfinite(torch.from_numpy(rows).float().sum(1))
            if bad.any():
                raise DataError(
                    f"selecting from {table.name}",
                    received=f"NaN, infinity or a sum beyond float32 in row {start + int(bad.nonzero()[0])}",
                    expected="finite numbers",
                    remedy="repair or drop such rows before selecting",
                )
            yield np.arange(start, start + len(rows)), rows
            tick(start + len(rows), "looking at rows")

    return blocks


def sampled(blocks: Blocks, count: int) -> tuple[Float[Tensor, "s d"], int]:
    """The sample, and the sum of all marks."""
    rows, own, total, lowest = [], [], 0, (2**64, np.zeros((0, 0)))
    for _, block in blocks():
        numbers = marks(block)
        least = int(numbers.argmin())
        lowest = min(lowest, (int(numbers[least]), block[least : least + 1]), key=lambda pair: pair[0])
        total = (total + int(numbers.sum(dtype=np.uint64))) % 2**64
        chosen = drawn(numbers, SAMPLE, count)
        rows.append(block[chosen])
        own.append(numbers[chosen])
    _, first = np.unique(np.concatenate(own), return_index=True)
    # Where nearly all rows are equal, the sample may miss them: then one row says as much, whatever their order.
    sample = np.concatenate(rows)[first] if len(first) else lowest[1]
    return torch.from_numpy(sample.astype(np.float32)), total
