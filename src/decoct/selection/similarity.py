"""How much alike rows are: as a table, row by row when asked, or between neighbours only.

s_ij = (1 + cos(phi_i, phi_j)) / 2          "cosine", in [0, 1]
s_ij = exp(-||phi_i - phi_j||^2 / 2 w^2)    "rbf", in [0, 1], w the median distance between two rows
s_ij = <phi_i, phi_j>                       "dot", any number
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.errors import ConfigError
from decoct.machine import require_memory
from decoct.selection.content_order import shuffled
from decoct.selection.neighbours import Search, exactly, search_operations, through_faiss
from decoct.selection.similarity_forms import Blocks, Dense, Similarity, Sparse

Kind: TypeAlias = Literal["cosine", "rbf", "dot"]
Form: TypeAlias = Literal["auto", "dense", "blocks", "sparse"]
DENSE_UP_TO = 4096
"""Rows up to which "auto" keeps the whole table (67 MB)."""
FOUND = 1024
"""Rows whose similarities to neighbours that were found are computed at a time."""
SAMPLE = 1024
"""Rows whose distances give the width of "rbf"."""


def similarity(
    features: Float[Tensor, "n d"],
    kind: Kind,
    generator: torch.Generator,
    form: Form = "auto",
    neighbours: int = 64,
    search: Search = "auto",
) -> Similarity:
    """Similarities of the rows of `features` (finite float32) of this kind, in this form.

    "auto" is "dense" up to 4096 rows, else "blocks". Chance is used by "rbf" above 1024 rows, whose width is then
    measured on a sample. "sparse" keeps `neighbours` of every row, found by `search`: exactly up to 100,000 rows,
    through faiss above.
    Raises `ConfigError` for fewer than one neighbour, `MemoryEstimateError` where the form does not fit, and
    `MissingExtraError` where faiss is needed and missing.
    """
    n = len(features)
    blocks = Blocks(*_prepared(features, kind, generator))
    if form == "auto":
        form = "dense" if n <= DENSE_UP_TO else "blocks"
    if form == "dense":
        require_memory(
            f"keeping the similarities of {n} rows with each other",
            needed=4 * n * n,
            remedy="use form='blocks', which computes them when asked, or form='sparse', which keeps those of "
            "neighbours only; or select class by class (balance='class'), or from shards (shard_rows=4096)",
        )
        table = blocks.points.new_empty(n, n)
        for part in blocks.blocks(torch.arange(n, device=table.device)):
            table[part] = blocks.rows(part)
        return Dense(table)
    return blocks if form == "blocks" else sparse(blocks, neighbours, search)


def operations(form: Form, n: int, d: int, rows: float | int, neighbours: int = 64, search: Search = "auto") -> float:
    """Floating-point operations of keeping similarities in this form and going through `rows` of their rows."""
    if form == "sparse":
        return search_operations(n, d, search) + 3.0 * rows * neighbours
    if form == "dense" or (form == "auto" and n <= DENSE_UP_TO):
        return 2.0 * n * n * d + 3.0 * rows * n
    return rows * n * (2.0 * d + 3)


def sparse(whole: Similarity, neighbours: int, search: Search = "exact") -> Sparse:
    """Only the `neighbours` largest similarities of every row, its own among them, and their mirror images.

    Raises `ConfigError`, `MemoryEstimateError` and `MissingExtraError`.
    """
    n, kept = whole.n, min(neighbours, whole.n)
    if kept < 1:
        raise ConfigError(
            "keeping similarities of neighbours",
            received=f"{neighbours} neighbours",
            expected="1 or more",
            remedy="keep the default, 64",
        )
    # Keys, their sorting and the entries of both directions, in whole numbers of 8 bytes.
    require_memory(
        f"keeping the similarities of {n} rows with {kept} neighbours each",
        needed=2 * n * kept * 64,
        remedy="keep fewer neighbours",
    )
    own = torch.arange(n, device=whole.diagonal.device)
    if isinstance(whole, Blocks) and not exactly(n, search):
        columns = through_faiss(whole.points, kept, "inner" if whole.half is None else "euclidean").to(own.device)
        pieces = zip(own.split(FOUND), columns.split(FOUND), strict=True)
        values = torch.cat([whole.some(rows, others) for rows, others in pieces])
    else:
        values, columns = nearest(whole.rows, whole.blocks(own), kept)
    i, j = own.repeat_interleave(kept), columns.flatten()
    keys, place = torch.unique(torch.cat([i * n + j, j * n + i, own * n + own]), return_inverse=True)
    entries = values.new_empty(len(keys))
    entries[place] = torch.cat([values.flatten(), values.flatten(), whole.diagonal])
    starts = torch.zeros(n + 1, dtype=torch.int64, device=keys.device)
    starts[1:] = torch.bincount(keys // n, minlength=n).cumsum(0)
    return Sparse(starts, keys % n, entries, whole.diagonal)


def nearest(
    rows: Callable[[Tensor], Tensor], parts: tuple[Int64[Tensor, " _"], ...], k: int
) -> tuple[Float[Tensor, "n k"], Int64[Tensor, "n k"]]:
    """The k largest entries of every row of a table that `rows` gives piece by piece: values, columns."""
    found = [rows(part).topk(k, dim=1) for part in parts]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def unit_rows(features: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
    """Rows of length 1. Rows of zeros become like each other and unlike the rest: they get a column of their own."""
    lengths = features.norm(dim=1, keepdim=True)
    empty = lengths == 0
    units = features / lengths.clamp_min(torch.finfo(features.dtype).tiny)
    return torch.cat([units, empty.to(units.dtype)], 1) if bool(empty.any()) else units


def _prepared(features: Float[Tensor, "n d"], kind: Kind, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Points and half squared lengths as `Blocks` wants them."""
    if kind == "dot":
        return features.float(), None
    if kind == "cosine":
        units = unit_rows(features.float())
        return torch.cat([units, torch.ones_like(units[:, :1])], 1) * 0.5**0.5, None
    # Lengths from the middle: products of far vectors would drown the differences.
    points = features - features.mean(0, dtype=torch.float64).to(features.dtype)
    sample = points
    if len(points) > SAMPLE:
        sample = points[shuffled(features, generator)[:SAMPLE].to(points.device)]
    points = points / _median_distance(sample)
    return points, points.square().sum(1) / 2


def _median_distance(points: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The median distance between two rows; where most are equal, the mean; 1 where all are."""
    gaps = torch.pdist(points)
    if not bool((gaps > 0).any()):
        return points.new_ones(())
    median = gaps.median()
    return median if bool(median > 0) else gaps.mean()
