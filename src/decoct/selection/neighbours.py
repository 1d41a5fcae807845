"""Nearest rows of every row: exactly in blocks, or through faiss where the rows are many.

Comparing all rows costs O(n^2 d): minutes at 100,000 rows of 256 numbers on two cores, hours at a million. faiss cuts
space into cells and looks into those near a row only: O(n^1.5 d), and a few neighbours are missed.

Johnson, Douze, Jegou, "Billion-scale similarity search with GPUs" (2017), https://arxiv.org/abs/1702.08734; code
https://github.com/facebookresearch/faiss.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.errors import MissingExtraError

Search: TypeAlias = Literal["auto", "exact", "faiss"]
"""How neighbours are found; "auto" is "exact" up to 100,000 rows and "faiss" above."""
EXACT_UP_TO = 100_000
CELLS = 4
"""Cells for each square root of the number of rows."""
PROBES = 32
"""Cells looked into for each row: on clustered rows next to all neighbours are found, on one cloud most."""
A_CELL = 64
"""Rows of each cell that its middle is learned from."""
BLOCK = 65536
"""Rows looked up at a time."""


def exactly(n: int, search: Search) -> bool:
    """Whether neighbours of `n` rows are found by comparing all with all."""
    return search == "exact" or (search == "auto" and n <= EXACT_UP_TO)


def search_operations(n: int, d: int, search: Search) -> float:
    """Floating-point operations of finding the neighbours of `n` rows with `d` numbers each, roughly."""
    compared = n if exactly(n, search) else min(n, n * PROBES / (CELLS * math.sqrt(n)))
    return 2.0 * n * compared * d


def through_faiss(points: Float[Tensor, "n d"], k: int, metric: Literal["inner", "euclidean"]) -> Int64[Tensor, "n k"]:
    """About the k rows with the largest inner product, or at the least distance; best first, a row itself among them.

    A place for which no row was found holds the row itself. The same rows give the same answer. Memory: a copy of the
    rows. Raises `MissingExtraError` where faiss is missing.
    """
    faiss = import_faiss()
    rows = points.detach().cpu().float().contiguous().numpy()
    cells = max(1, min(round(CELLS * math.sqrt(len(rows))), len(rows) // A_CELL))
    kind = faiss.METRIC_INNER_PRODUCT if metric == "inner" else faiss.METRIC_L2
    flat = faiss.IndexFlat(rows.shape[1], kind)
    index = faiss.IndexIVFFlat(flat, rows.shape[1], cells, kind)
    index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = A_CELL, 1
    index.train(rows)
    index.add(rows)
    index.nprobe = min(PROBES, cells)
    found = torch.cat([torch.from_numpy(index.search(part, k)[1]) for part in _parts(rows)])
    return torch.where(found < 0, torch.arange(len(rows))[:, None], found)


def others_through_faiss(points: Float[Tensor, "n d"], k: int) -> Int64[Tensor, "n k"]:
    """About the k rows at the least distance to each row, without the row itself."""
    found = through_faiss(points, k + 1, "euclidean")
    own = found == torch.arange(len(points))[:, None]
    # Among many equal rows, a row may not be among its own nearest: then the last one goes. One place goes in any case.
    first = torch.where(own.any(1), own.int().argmax(1), torch.full((len(points),), k))
    stays = torch.ones_like(own).scatter_(1, first[:, None], False)
    return found[stays].view(len(points), k)


def _parts(rows: Any) -> list[Any]:
    return [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]


def import_faiss() -> Any:
    """faiss; raises `MissingExtraError`."""
    try:
        with warnings.catch_warnings():
            # Its generated bindings warn of themselves.
            warnings.simplefilter("ignore", DeprecationWarning)
            import faiss
    except ImportError as error:
        raise MissingExtraError(
            "finding nearest rows of many rows",
            received=f"the package 'faiss' cannot be imported ({error})",
            expected=f"faiss above {EXACT_UP_TO} rows",
            remedy="pip install 'decoct[faiss]', or ask for search='exact', which takes O(n^2) time, or pick from "
            "shards (shard_rows=4096)",
        ) from error
    return faiss
