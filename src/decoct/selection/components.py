"""Principal components of rows that come in blocks, so that no copy of all of them in floating point is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.machine import require_memory
from decoct.streams import Streams

NARROW = 1000
"""Numbers in a row up to which the covariance, which is their square, is computed and taken apart exactly."""
SPARE = 10
"""Directions followed beside those that are asked for, where not all are."""
ROUNDS = 7
"""Times that the directions of long rows are turned towards the largest variance; each is a pass over all rows."""
KEPT = 256 << 20
"""Bytes of rows that are kept between the passes; more are asked for again in each, with the same result."""

Blocks = Callable[[], Iterable[Tensor]]
"""All rows `[n, d]` in float32, some at a time, from the first to the last, whenever it is called."""


def components(blocks: Blocks, n: int, width: int, count: int, seed: int, exact: bool = False) -> Float[Tensor, "n k"]:
    """Rows about their mean along the `count` directions of largest variance, the largest first; float32.

    X_c V with V the eigenvectors of X_c^T X_c; the largest entry of each is positive. Rows of up to `NARROW` numbers,
    and any with `exact`, go through the covariance: three passes over the rows, O(n d^2 + d^3) time, O(d^2) memory.
    Longer ones go through block power iteration from directions drawn by `seed`, as in Halko, Martinsson, Tropp,
    "Finding structure with randomness" (2011), https://arxiv.org/abs/0909.4061: nine passes, O(n d k) time, O(d k)
    memory; exact for few rows. Beside that memory holds one block, the answer, and up to 256 MB of rows.

    `count` is at most n and d. Raises `MemoryEstimateError`.
    """
    size, kept = min(count + SPARE, n, width), 4 * n * width <= KEPT
    narrow = exact or width <= NARROW
    require_memory(
        f"fitting principal components of {n} rows with {width} numbers each",
        needed=kept * 4 * n * width + 8 * n * count + 8 * width * (3 * width if narrow else 4 * size),
        remedy="use features='network' or your own, or select from fewer rows (data.with_train)",
    )
    held = list(blocks()) if kept else None

    def all_rows() -> Iterable[Tensor]:
        return held or blocks()

    mean = _summed(all_rows, lambda rows: rows.double().sum(0)).div(n).float()

    def centred() -> Iterable[Tensor]:
        return (rows - mean for rows in all_rows())

    found = _exact(centred) if narrow else _followed(centred, width, size, seed)
    found = found[:, :count]
    top = found.gather(0, found.abs().argmax(0, keepdim=True))
    directions = (found * top.sign()).float()
    return torch.cat([rows @ directions for rows in centred()])


def _exact(blocks: Blocks) -> Float[Tensor, "d d"]:
    """All directions, by falling variance."""
    return torch.linalg.eigh(_summed(blocks, lambda rows: (rows.T @ rows).double())).eigenvectors.flip(1)


def _followed(blocks: Blocks, width: int, size: int, seed: int) -> Float[Tensor, "d s"]:
    """So many directions, by falling variance, nearly those of the largest."""
    start = torch.randn(width, size, generator=Streams(seed)("components"))
    found = torch.linalg.qr(start.double()).Q
    for _ in range(ROUNDS):
        now = found.float()
        found = torch.linalg.qr(_summed(blocks, lambda rows, now=now: (rows.T @ (rows @ now)).double())).Q
    now = found.float()
    seen = _summed(blocks, lambda rows: (rows @ now).T.double() @ (rows @ now).double())
    return found @ torch.linalg.eigh(seen).eigenvectors.flip(1)


def _summed(blocks: Blocks, part: Callable[[Tensor], Tensor]) -> Tensor:
    """The sum of what is computed of each block, in double precision."""
    rest = iter(blocks())
    total = part(next(rest))
    for rows in rest:
        total += part(rows)
    return total
