"""Walking over many rows a few at a time, so that nothing as large as the data is ever made twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 8 << 20


def row_blocks(x: NDArray[np.generic], block_bytes: int = BLOCK_BYTES) -> Iterator[NDArray[np.generic]]:
    """Consecutive pieces of `x` `[n, ...]`, each of about `block_bytes` and of one row at least; views, not copies."""
    step = max(1, block_bytes // max(1, x[:1].nbytes))
    for start in range(0, len(x), step):
        yield x[start : start + step]
