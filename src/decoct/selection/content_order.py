"""An order of rows that follows from what they hold and not from where they stand.

Whoever draws rows by their place draws others when the same rows come in another order. Draws that go by this order
stay with the rows: permuting the rows permutes the answer, as long as they come with the same bits. Equal rows cannot
be told apart, and stand in the order in which they came.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped, UInt64
from torch import Tensor

from decoct.selection.selector import Picks

BLOCK = 8192
"""Rows looked at at a time."""


def marks(rows: Shaped[np.ndarray, "n d"]) -> UInt64[np.ndarray, " n"]:
    """A 64-bit number for every row that follows from its bytes alone, evenly spread; equal rows have equal ones."""
    width = rows.shape[1] * rows.itemsize
    count = -(-width // 8)
    # Odd factors, so that a change of one word always changes the sum.
    factors = np.random.default_rng(0).integers(0, 2**63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    found = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), BLOCK):
        part = np.ascontiguousarray(rows[start : start + BLOCK])
        padded = np.zeros((len(part), 8 * count), np.uint8)
        padded[:, :width] = part.view(np.uint8).reshape(len(part), width)
        words = padded.view(np.uint64)
        found[start : start + BLOCK] = ((words ^ (words >> np.uint64(29))) * factors).sum(1, dtype=np.uint64)
    return stirred(found)


def stirred(values: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """The finishing steps of SplitMix64 (Steele, Lea, Flood, 2014): every bit changes with every other, and different
    numbers stay different."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def content_order(features: Shaped[Tensor, "n d"]) -> Int64[Tensor, " n"]:
    """The rows by rising marks, on the CPU. Cost: O(n d) time, O(n) memory."""
    return torch.from_numpy(np.argsort(marks(features.detach().cpu().numpy()), kind="stable"))


def shuffled(features: Float[Tensor, "n d"], generator: torch.Generator) -> Int64[Tensor, " n"]:
    """The rows in random order, in which every row has its place whatever the order in which they come."""
    return content_order(features)[torch.randperm(len(features), generator=generator)]


def numbered(picks: Picks, order: Int64[Tensor, " n"]) -> Picks:
    """Picks from rows that were laid out in this order, with the numbers that the rows had before."""
    return Picks(order[picks.rows], picks.weights, picks.scores)
