"""What became of the rows that were not kept: the nearest kept row of each, as a table."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.compact.coreset import Coreset
from decoct.compact.stored import readable
from decoct.data.dataset import Dataset
from decoct.files import write_atomically
from decoct.progress import progress
from decoct.selection.selector import distances

BLOCK = 1024
"""Rows compared together."""


def nearest_of(
    table: Float[Tensor, "n d"], rows: Int64[Tensor, " m"], kept: Int64[Tensor, " k"]
) -> tuple[Int64[Tensor, " m"], Float[Tensor, " m"]]:
    """For each of `rows` the place among `kept` of the nearest kept row, and its distance; O(m k d), in blocks."""
    places, gaps = torch.zeros(len(rows), dtype=torch.int64), torch.full((len(rows),), torch.inf)
    with progress("looking for the nearest kept rows", float(len(rows))) as tick:
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            for first in range(0, len(kept), BLOCK):
                found = distances(table[rows[part]], table[kept[first : first + BLOCK]]).min(1)
                # Of equals the one that was picked first.
                nearer = found.values < gaps[part]
                places[part] = torch.where(nearer, found.indices + first, places[part])
                gaps[part] = torch.where(nearer, found.values, gaps[part])
            tick(float(min(start + BLOCK, len(rows))))
    return places, gaps


def write_dropped(
    path: Path, core: Coreset, data: Dataset, table: Float[Tensor, "n d"], scores: Float[Tensor, " n"] | None = None
) -> None:
    """Write parquet with a row for each training row that is not in the coreset, in the order of `data.train`.

    Columns: index, id and class of the row; nearest_index, nearest_id and nearest_class of the kept row that is
    nearest by `table`, of any class; their distance, in units of the features; and the row's score where `scores`
    are given. Raises `OutputError`.
    """
    dropped = torch.ones(len(data.train), dtype=torch.bool)
    dropped[core.indices] = False
    rows = dropped.nonzero()[:, 0]
    places, gaps = nearest_of(table, rows, core.indices)
    near, labels = core.indices[places], data.train.labels()
    columns = {
        "index": pa.array(rows.numpy(), pa.int64()),
        "id": pa.array([readable(str(data.train.ids[row])) for row in rows.tolist()], pa.string()),
        "class": pa.array(labels[rows].numpy(), pa.int64()),
        "nearest_index": pa.array(near.numpy(), pa.int64()),
        "nearest_id": pa.array([readable(str(data.train.ids[row])) for row in near.tolist()], pa.string()),
        "nearest_class": pa.array(labels[near].numpy(), pa.int64()),
        "distance": pa.array(gaps.numpy(), pa.float32()),
    }
    if scores is not None:
        columns["score"] = pa.array(scores[rows].float().numpy(), pa.float32())
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer)
    write_atomically(path, lambda file: Path(file).write_bytes(buffer.getvalue()))
